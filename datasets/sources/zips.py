"""Photographs inside zip files, in the order in which a folder of the same files would be read.

Nothing is ever unpacked to disk, so that no member's name can lead anywhere; how a zip is laid out is `zip_members`' business.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO

from ..sample import Drop, SourceImage
from . import zip_members
from .base import Refused, Source, SourceError
from .folder import file_stamp, guard_size, io_error, open_regular
from .names import hidden_part, to_bytes
from .zip_members import Entry, ZipError


class ZipSource(Source):
    """The members of a zip file."""

    def __init__(self, label: str, path: str) -> None:
        """Read from the zip file at `path`.

        Raises:
            SourceError: it is no readable zip file.
        """
        self.label, self.path = label, os.path.abspath(path)  # noqa: PTH100
        self._file: BinaryIO | None = None
        self._entries: dict[int, Entry] = {}
        self._broken = ""
        entries, self._broken = self._table()
        if self._broken and not entries:
            raise SourceError(f"expected a zip file at {self.path!r}: {self._broken}")

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process without the open file."""
        return {**self.__dict__, "_file": None, "_entries": {}}

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._file = open_regular(os.fsencode(self.path))
        return self._file

    def _table(self) -> tuple[list[Entry], str]:
        """Return the table of contents as far as it goes, and why it does not go on."""
        found: list[Entry] = []
        try:
            for entry in zip_members.entries(self._opened()):
                found.append(entry)
        except (ZipError, OSError) as error:
            return found, str(error)
        return found, ""

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Name every member. The zip's own table of contents is in memory, as the format demands."""
        found, broken = self._table()
        claimed = zip_members.overlapping(found)
        stamp = file_stamp(os.fstat(self._opened().fileno()))
        told: set[str] = set()
        for index in sorted(range(len(found)), key=lambda index: _place(found[index])):
            entry, parts = found[index], _parts(found[index])
            if entry.text.endswith("/") and entry.size == 0:
                continue
            name = "/".join(parts)
            hidden = hidden_part(parts)
            if not name:
                yield Refused(self.label, f"member {index + 1}", "not_an_image", "a member without a name")
            elif hidden:
                if hidden not in told:
                    told.add(hidden)
                    yield Refused(self.label, hidden, "hidden_file", "a folder, not entered" if hidden.endswith("/") else "")
            elif stat.S_ISLNK(entry.mode):
                yield Refused(self.label, name, "special_file", "a symbolic link inside the zip; links are not followed")
            elif index in claimed:
                yield Refused(self.label, name, "io_error", "its bytes are those of another member: an archive made to swell")
            else:
                tag = f"{entry.size}-{entry.crc:08x}-{entry.offset}-{stamp}"
                yield SourceImage(self.label, name, entry.size, tag, sidecar={"offset": str(entry.offset)})
        if broken:
            yield Refused(self.label, os.path.basename(self.path), "truncated", broken)  # noqa: PTH119 - may be no text

    def read(self, image: SourceImage) -> bytes:
        """Read one member; its checksum is compared.

        Raises:
            Drop: see `Source.read`; a damaged, encrypted or unsupported member is an io_error.
        """
        try:
            entry = self._member(image)
            if entry.size > self.max_bytes:
                guard_size(zip_members.content(self._opened(), entry, 4096), entry.size, self.max_bytes)
            data = zip_members.content(self._opened(), entry)
        except EOFError as error:
            raise Drop("truncated", f"the zip ends inside this member: {error}") from error
        except OSError as error:
            raise io_error(error) from error
        except ZipError as error:
            raise Drop("io_error", f"the zip member cannot be read: {error}") from error
        if len(data) != image.num_bytes:
            raise Drop("changed_while_reading", f"the zip announced {image.num_bytes} bytes, {len(data)} came")
        return data

    def _member(self, image: SourceImage) -> Entry:
        """Find a member by name and place: a zip may hold one name twice."""
        if not self._entries:
            self._entries = {entry.offset: entry for entry in reversed(self._table()[0])}
        entry = self._entries.get(int(image.sidecar.get("offset", -1)))
        if entry is None or "/".join(_parts(entry)) != image.path:
            raise Drop("changed_while_reading", "the zip has no such member any more")
        return entry


def _parts(entry: Entry) -> list[str]:
    return [part for part in entry.text.split("/") if part]


def _place(entry: Entry) -> tuple[list[bytes], int]:
    """Return what members are sorted by: the bytes of their names' parts, as in a folder."""
    return [to_bytes(part) for part in _parts(entry)], entry.offset
