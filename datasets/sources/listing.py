"""Lists of photographs: a table with a path column, rights, and labels known beside the pixels; or EG3D's dataset.json.

Rows keep the list's order and are read one after the other, so that a list may be larger than memory. How tables are read is
`tables`' business.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import stat
import unicodedata
from collections.abc import Iterator
from typing import Any

from ...manifests.config import brief
from ..sample import Drop, Rights, SourceImage
from .base import Refused, Source, SourceError
from .folder import file_stamp, io_error, kind_of, read_file
from .names import to_bytes, to_text
from .outside_json import MAX_BYTES
from .tables import CAMERA_COLUMNS, FILES, RIGHTS, Row, Table, TableError

log = logging.getLogger(__name__)


class ListSource(Source):
    """The files that a CSV, TSV, parquet or JSON table names, in its order."""

    def __init__(self, label: str, path: str) -> None:
        """Read the list at `path`; the files it names are relative to its folder.

        Raises:
            SourceError: it cannot be read or has no path column.
        """
        self.label, self.path = label, os.path.abspath(path)  # noqa: PTH100
        self._folder = os.fsencode(os.path.dirname(self.path)) + b"/"  # noqa: PTH120 - may be no text
        try:
            self._table = Table(self.path, ("key",) if self.path.lower().endswith(".json") else ("path",))
        except TableError as error:
            raise SourceError(f"cannot read the list {self.path!r}: {error}") from error

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Name the file of every row; a row that cannot be read, or whose file is missing or special, is refused by number."""
        odd_labels = 0
        try:
            for row in self._table.rows():
                if row.problem:
                    place = str(row.cells.get("path", "")) or f"row {row.number}"
                    yield Refused(self.label, place, "io_error", f"row {row.number}: {row.problem}")
                    continue
                camera = _camera(row)
                if camera is None:
                    odd_labels += 1
                yield self._entry(row, camera or "")
        except TableError as error:
            raise SourceError(f"cannot read the list {self.path!r}: {error}") from error
        if odd_labels:
            log.warning("%s: column 'label' holds no cameras in %d rows and is ignored there", self.label, odd_labels)

    def _entry(self, row: Row, camera: str) -> SourceImage | Refused:
        path, number = str(row.cells.get("path") or row.cells.get("key", "")), row.number
        if not path:
            return Refused(self.label, f"row {number}", "io_error", "the path column is empty")
        if "://" in path:
            return Refused(self.label, path, "io_error", f"row {number}: only local files are read; download it first")
        try:
            found, status = self._find(path)
        except (Drop, OSError) as error:
            drop = error if isinstance(error, Drop) else io_error(error)
            return Refused(self.label, path, drop.reason, f"row {number}: {drop.detail}")
        if not stat.S_ISREG(status.st_mode):
            return Refused(self.label, path, "special_file", f"row {number}: {kind_of(status.st_mode)}")
        sidecar = {name: str(row.cells[name]) for name in FILES if name != "camera" and row.cells.get(name)}
        if camera:
            sidecar["camera"] = camera
        rights = _rights(*(str(row.cells.get(name, "")) for name in RIGHTS))
        return SourceImage(self.label, found, status.st_size, file_stamp(status), rights, sidecar)

    def _find(self, path: str) -> tuple[str, os.stat_result]:
        """Return the path as the disk has it, and its status.

        Names that differ by Unicode form (a list from a Mac) or by the slash (from Windows) are found where one file answers.

        Raises:
            Drop: nothing is there, or several files are meant.
        """
        try:
            return path, os.stat(self._resolve(path))  # noqa: PTH116 - bytes path
        except (OSError, ValueError) as error:
            drop = io_error(error) if isinstance(error, OSError) else Drop("io_error", str(error))
        for other in dict.fromkeys((path, path.replace("\\", "/"))):
            found = self._by_form(other)
            if len(found) > 1:
                raise Drop("io_error", f"several files are named so in other Unicode forms: {', '.join(found)}")
            if found:
                return found[0], os.stat(self._resolve(found[0]))  # noqa: PTH116 - bytes path
        raise drop

    def _by_form(self, path: str) -> list[str]:
        """Return the paths that are there and differ from this one by the Unicode form of their parts alone."""
        found = [""] if not path.startswith("/") else ["/"]
        for part in [part for part in path.split("/") if part]:
            if part in (".", ".."):
                found = [f"{start}{part}/" for start in found]
                continue
            wanted = unicodedata.normalize("NFC", part)
            found = [f"{start}{name}/" for start in found for name in _names_by_form(self._resolve(start)).get(wanted, ())]
        return sorted(start.rstrip("/") for start in found if start.rstrip("/"))

    def _resolve(self, path: str) -> bytes:
        return to_bytes(path) if path.startswith("/") else self._folder + to_bytes(path)

    def read(self, image: SourceImage) -> bytes:
        """Read one file; the list names it, so a link is followed. See `Source.read`."""
        return read_file(self._resolve(image.path), image, self.max_bytes, follow=True)

    def sidecar(self, image: SourceImage, kind: str) -> bytes | None:
        """Return the bytes of the file that a sidecar column names, or of the JSON it holds; see `Source.sidecar`."""
        text = image.sidecar.get(kind, "")
        if not text:
            return None
        if kind == "camera" and text.lstrip()[:1] in ("[", "{"):
            return text.encode()
        try:
            found, status = self._find(text)
            limit = MAX_BYTES if kind == "camera" else self.max_bytes
            return read_file(self._resolve(found), SourceImage(self.label, found, status.st_size), limit, follow=True)
        except (OSError, ValueError, Drop) as error:
            raise Drop("sidecar_mismatch", f"{kind} {brief(text)} cannot be read: {error}") from error


def _names_by_form(folder: bytes) -> dict[str, list[str]]:
    """Return the names in a folder by their composed form; none where it cannot be listed."""
    try:
        return _listed(folder, os.stat(folder).st_mtime_ns)  # noqa: PTH116 - bytes path
    except (OSError, ValueError):
        return {}


@functools.lru_cache(maxsize=64)
def _listed(folder: bytes, changed: int) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name in os.listdir(folder):  # noqa: PTH208 - bytes path
        text = to_text(name)
        names.setdefault(unicodedata.normalize("NFC", text), []).append(text)
    return names


def _camera(row: Row) -> str | None:
    """Return a row's camera as JSON or as the path of a file: its own column first, then the 25 columns; empty where none.

    None where a column named "label", which may mean anything, holds no camera.
    """
    value: Any = row.cells.get("camera", "")
    if isinstance(value, str) and value and row.named_label and value.lstrip()[:1] not in ("[", "{"):
        return None
    if value not in ("", None):
        return value if isinstance(value, str) else json.dumps(value)
    numbers = [str(row.cells.get(name, "")) for name in CAMERA_COLUMNS]
    return "[" + ",".join(number or "null" for number in numbers) + "]" if any(numbers) else ""


@functools.lru_cache(maxsize=4096)
def _rights(*values: str) -> Rights:
    """Make the rights of a row; lists repeat them."""
    return Rights(*values)
