"""Photographs inside archives: zip files, and the tar shards of this toolkit or any other WebDataset writer.

Nothing is ever unpacked to disk, so that no member's name can lead anywhere.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

from ..sample import Drop, Rights, SourceImage
from .base import Refused, Source, SourceError
from .folder import file_stamp, guard_size, io_error, is_hidden

PICTURES = ("jpg", "jpeg", "png", "webp")
"""Suffixes of a shard's picture, in the order in which they are looked for."""
SIDECARS = {"mask": "mask.png", "parsing": "seg.png", "camera": "cam.json", "record": "json"}
"""Kind of sidecar -> its suffix in a shard."""
_BLOCK = 512


class ZipSource(Source):
    """The members of a zip file, in the order in which a folder of the same files would be read."""

    def __init__(self, label: str, path: str) -> None:
        """Read from the zip file at `path`.

        Raises:
            SourceError: it is no readable zip file.
        """
        self.label, self.path = label, os.path.abspath(path)  # noqa: PTH100
        self._zip: zipfile.ZipFile | None = None
        self._opened()

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process without the open file."""
        return {**self.__dict__, "_zip": None}

    def _opened(self) -> zipfile.ZipFile:
        if self._zip is None:
            try:
                self._zip = zipfile.ZipFile(self.path)
            except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
                raise SourceError(f"expected a zip file at {self.path!r}: {error}") from error
        return self._zip

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Name every member. The zip's own table of contents is in memory, as the format demands."""
        members = [info for info in self._opened().infolist() if not info.is_dir()]
        members.sort(key=lambda info: (_parts(info), info.header_offset))
        stamp = file_stamp(Path(self.path).stat())
        told: set[str] = set()
        for info in members:
            name = "/".join(part.decode("utf-8", "surrogateescape") for part in _parts(info))
            hidden = _hidden_part(name)
            if hidden:
                if hidden not in told:
                    told.add(hidden)
                    yield Refused(self.label, hidden, "hidden_file", "a folder, not entered" if hidden.endswith("/") else "")
            elif stat.S_ISLNK(info.external_attr >> 16):
                yield Refused(self.label, name, "special_file", "a symbolic link inside the zip; links are not followed")
            else:
                tag = f"{info.file_size}-{info.CRC:08x}-{info.header_offset}-{stamp}"
                yield SourceImage(self.label, name, info.file_size, tag, sidecar={"offset": str(info.header_offset)})

    def read(self, image: SourceImage) -> bytes:
        """Read one member; its checksum is compared.

        Raises:
            Drop: see `Source.read`; a damaged, encrypted or unsupported member is an io_error.
        """
        opened = self._opened()
        info = self._member(opened, image)
        if info.flag_bits & 1:
            raise Drop("io_error", "the member is encrypted: unpack the zip with its password first")
        try:
            with opened.open(info) as file:
                if info.file_size > self.max_bytes:
                    guard_size(file.read(4096), info.file_size, self.max_bytes)
                data = file.read(info.file_size + 1)
        except EOFError as error:
            raise Drop("truncated", f"the zip ends inside this member: {error}") from error
        except OSError as error:
            raise io_error(error) from error
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError) as error:
            raise Drop("io_error", f"the zip member cannot be read: {error}") from error
        if len(data) != image.num_bytes:
            raise Drop("changed_while_reading", f"the zip promised {image.num_bytes} bytes, {len(data)} came")
        return data

    def _member(self, opened: zipfile.ZipFile, image: SourceImage) -> zipfile.ZipInfo:
        """Find a member by name and place: a zip may hold one name twice."""
        offset = int(image.sidecar.get("offset", -1))
        with contextlib.suppress(KeyError):
            info = opened.getinfo(image.path)
            if offset in (-1, info.header_offset):
                return info
        for info in opened.infolist():
            if info.header_offset == offset:
                return info
        raise Drop("changed_while_reading", "the zip has no such member any more")


def _parts(info: zipfile.ZipInfo) -> list[bytes]:
    return [part.encode("utf-8", "surrogateescape") for part in info.filename.split("/") if part]


def _hidden_part(path: str) -> str:
    """Return the path up to its first hidden part (with a slash where that is a folder), empty where nothing is hidden."""
    parts = path.split("/")
    for index, part in enumerate(parts):
        if is_hidden(part) and part not in (".", ".."):
            return "/".join(parts[: index + 1]) + ("/" if index + 1 < len(parts) else "")
    return ""


@dataclass
class _Group:
    """The members of one key, as (offset, size) by suffix."""

    key: str
    folder: str
    members: dict[str, tuple[int, int]]


class ShardSource(Source):
    """The samples of tar shards: one picture each, with the camera, mask and class map that lie beside it."""

    def __init__(self, label: str, tars: tuple[str, ...]) -> None:
        """Read the shards in the given order."""
        self.label = label
        self.tars = tuple(os.path.abspath(tar) for tar in tars)  # noqa: PTH100

    @classmethod
    def matching(cls, pattern: Path, label: str) -> ShardSource:
        """Open every shard whose path matches a pattern such as `set/*.tar`, in the order of names.

        Raises:
            SourceError: none does.
        """
        tars = tuple(sorted(glob.glob(os.fspath(pattern))))  # noqa: PTH207 - the pattern may be absolute
        if not tars:
            raise SourceError(f"expected at least one shard that matches {str(pattern)!r}, found none")
        return cls(label, tars)

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Name the picture of every sample; a damaged shard gives what stands before the damage, and one refusal."""
        for index, tar in enumerate(self.tars):
            try:
                with Path(tar).open("rb") as file:
                    stamp = file_stamp(os.fstat(file.fileno()))
                    for group in _groups(file):
                        yield self._entry(index, group, stamp, file)
            except tarfile.TarError as error:
                yield Refused(self.label, Path(tar).name, "truncated", f"the shard is damaged or ends early: {error}")
            except OSError as error:
                drop = io_error(error)
                yield Refused(self.label, Path(tar).name, drop.reason, drop.detail)

    def _entry(self, index: int, group: _Group, stamp: str, file: IO[bytes]) -> SourceImage | Refused:
        """Describe one sample; its sidecars are named by shard number, offset and size."""
        name = Path(self.tars[index]).name
        suffix = next((suffix for suffix in PICTURES if suffix in group.members), "")
        if not suffix:
            text = f"sample without a picture, only {', '.join(sorted(group.members))}"
            return Refused(self.label, f"{name}/{group.folder}{group.key}", "not_an_image", text)
        offset, size = group.members[suffix]
        places = {"picture": f"{index}:{offset}:{size}", "id": group.key}
        for kind, ending in SIDECARS.items():
            if ending in group.members:
                places[kind] = "{}:{}:{}".format(index, *group.members[ending])
        rights = _rights(file, *group.members["json"]) if "json" in group.members else Rights()
        path = f"{name}/{group.folder}{group.key}.{suffix}"
        return SourceImage(self.label, path, size, f"{size}-{offset}-{stamp}", rights, places)

    def read(self, image: SourceImage) -> bytes:
        """Read one picture; see `Source.read`."""
        return self._piece(image.sidecar["picture"])

    def sidecar(self, image: SourceImage, kind: str) -> bytes | None:
        """Return a sidecar's bytes, "id" as the sample's key; see `Source.sidecar`."""
        if kind not in image.sidecar:
            return None
        return image.sidecar[kind].encode() if kind == "id" else self._piece(image.sidecar[kind])

    def _piece(self, place: str) -> bytes:
        index, offset, size = map(int, place.split(":"))
        try:
            with Path(self.tars[index]).open("rb") as file:
                file.seek(offset)
                if size > self.max_bytes:
                    guard_size(file.read(4096), size, self.max_bytes)
                data = file.read(size)
        except OSError as error:
            raise io_error(error) from error
        if len(data) != size:
            raise Drop("truncated", f"the shard holds {len(data)} of {size} bytes")
        return data


def _groups(file: IO[bytes]) -> Iterator[_Group]:
    """Yield the samples of a tar: neighbours whose names agree up to the first dot of the last part (WebDataset's rule).

    Raises:
        tarfile.TarError: damaged, or cut before the two empty blocks that end every archive.
    """
    group = _Group("", "", {})
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for info in tar:
            tar.members = []  # type: ignore[attr-defined]  # tarfile would keep every header
            folder, _, base = info.name.rpartition("/")
            key, _, suffix = base.partition(".")
            if not info.isfile() or not key:
                continue
            folder += "/" if folder else ""
            if (key, folder) != (group.key, group.folder):
                if group.members:
                    yield group
                group = _Group(key, folder, {})
            group.members[suffix.lower()] = (info.offset_data, info.size)
        end = tar.offset
    if group.members:
        yield group
    file.seek(max(0, end - _BLOCK))
    if file.read(2 * _BLOCK)[-_BLOCK:] != bytes(_BLOCK):
        raise tarfile.ReadError("no end-of-archive mark")


def _rights(file: IO[bytes], offset: int, size: int) -> Rights:
    """Read what a sample's JSON says of rights; empty where it says nothing."""
    place = file.tell()
    file.seek(offset)
    data = file.read(min(size, 1 << 20))
    file.seek(place)
    try:
        record = json.loads(data)
    except ValueError:
        return Rights()
    if not isinstance(record, dict):
        return Rights()
    names = [field.name for field in fields(Rights)]
    return Rights(**{name: record[name] for name in names if isinstance(record.get(name), str)})
