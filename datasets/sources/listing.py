"""Lists of photographs: a table of paths or addresses with rights and labels known beside the pixels; or EG3D's dataset.json.

Rows keep the list's order and are read one after the other, so that a list may be larger than memory. How tables are read is
`tables`' business.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from typing import Any

from ...manifests.config import brief
from ..sample import Drop, Rights, SourceImage
from ..shown import shown_address
from ..stores.addresses import is_address, joined, read_address
from .base import Refused, Source, SourceError
from .folder import file_stamp, io_error, kind_of, read_file
from .names import storable, to_bytes, to_text
from .outside_json import MAX_BYTES
from .tables import CAMERA_COLUMNS, FILES, RIGHTS, Row, Table, TableError

log = logging.getLogger(__name__)

ADDRESS = "address"
"""Entry of a file's sidecar with the address it is read from, secrets and all."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ListSource(Source):
    """The files that a CSV, TSV, parquet or JSON table names by path or address, in its order."""

    def __init__(self, label: str, path: str, data: bytes | None = None) -> None:
        """Read the list at `path`; the files it names are relative to its folder.

        Args:
            label: name in manifests.
            path: the list; a URL where `data` is given.
            data: the bytes of a list that lies elsewhere.

        Raises:
            SourceError: it cannot be read or has no path column.
        """
        self.label, self.path = label, path if data is not None else os.path.abspath(path)  # noqa: PTH100
        self._remote = data is not None
        self._folder = os.fsencode(os.path.dirname(self.path)) + b"/"  # noqa: PTH120 - may be no text
        try:
            is_json = self.path.partition("?")[0].lower().endswith(".json")
            self._table = Table(self.path, ("key",) if is_json else ("path",), data)
        except TableError as error:
            raise SourceError(f"cannot read the list {self.path!r}: {error}") from error

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Name the file of every row; a row that cannot be read, or whose file is missing or special, is refused by number."""
        odd_labels = 0
        try:
            for row in self._table.rows():
                problem = row.problem or _no_name(row)
                if problem:
                    place = storable(str(row.cells.get("path") or row.cells.get("key", ""))) or f"row {row.number}"
                    yield Refused(self.label, place, "io_error", f"row {row.number}: {problem}")
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
        if self._remote or "://" in path:
            return self._addressed(row, path, camera)
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

    def _addressed(self, row: Row, path: str, camera: str) -> SourceImage | Refused:
        """Return the file of a row that names an address; nothing is asked of its server yet."""
        url = joined(self.path, path) if self._remote else path
        sha256 = str(row.cells.get("sha256", "")).strip().lower()
        if not is_address(url):
            detail = f"row {row.number}: expected a path, or an address of http, https, s3, gs or az"
            return Refused(self.label, shown_address(url), "io_error", detail)
        if sha256 and not _SHA256.fullmatch(sha256):
            return Refused(self.label, shown_address(url), "digest_mismatch", f"row {row.number}: sha256 is no 64 hex digits")
        sidecar = {name: str(row.cells[name]) for name in FILES if name != "camera" and row.cells.get(name)}
        sidecar |= {ADDRESS: url} | ({"camera": camera} if camera else {}) | ({"sha256": sha256} if sha256 else {})
        rights = _rights(*(str(row.cells.get(name, "")) for name in RIGHTS))
        return SourceImage(self.label, shown_address(url), 0, sha256 or "listed", rights, sidecar)

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
        if ADDRESS in image.sidecar:
            return read_address(image.sidecar[ADDRESS], image.sidecar.get("sha256", ""), self.max_bytes)
        return read_file(self._resolve(image.path), image, self.max_bytes, follow=True)

    def sidecar(self, image: SourceImage, kind: str) -> bytes | None:
        """Return the bytes of the file that a sidecar column names, or of the JSON it holds; see `Source.sidecar`."""
        text = image.sidecar.get(kind, "")
        if not text:
            return None
        if ADDRESS in image.sidecar and not text.lstrip().startswith(("[", "{")):
            return self._beside(image, text, kind)
        if kind == "camera" and text.lstrip()[:1] in ("[", "{"):
            return text.encode()
        try:
            found, status = self._find(text)
            limit = MAX_BYTES if kind == "camera" else self.max_bytes
            return read_file(self._resolve(found), SourceImage(self.label, found, status.st_size), limit, follow=True)
        except (OSError, ValueError, Drop) as error:
            raise Drop("sidecar_mismatch", f"{kind} {brief(text)} cannot be read: {error}") from error

    def _beside(self, image: SourceImage, text: str, kind: str) -> bytes:
        """Return the file beside an address, whose own address is relative to the list's, or to the photograph's."""
        url = joined(self.path if self._remote else image.sidecar[ADDRESS], text)
        try:
            return read_address(url, "", MAX_BYTES if kind == "camera" else self.max_bytes)
        except Drop as drop:
            if drop.reason in ("store_unavailable", "store_denied"):
                raise
            raise Drop("sidecar_mismatch", f"{kind} {brief(text)} cannot be read: {drop.detail}") from drop


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


def _no_name(row: Row) -> str:
    """Say what keeps a row's path from being a file's name; empty where nothing does."""
    path = str(row.cells.get("path") or row.cells.get("key", ""))
    if "\0" in path:
        return "a NUL character in the path, which no file's name has"
    return "half a character (a lone surrogate) in the path, which no file's name has" if storable(path) != path else ""


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
