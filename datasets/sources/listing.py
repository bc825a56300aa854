"""Lists of photographs: a CSV or parquet table with a path column, rights, and labels known beside the pixels.

Rows keep the list's order and are read in batches, so that a list may be larger than memory.
"""

from __future__ import annotations

import difflib
import functools
import json
import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..sample import Drop, Rights, SourceImage
from .base import Refused, Source, SourceError
from .folder import file_stamp, io_error, kind_of, read_file

RIGHTS = tuple(field.name for field in fields(Rights))
"""Columns that say whose picture it is."""
FILES = ("camera", "mask", "parsing")
"""Columns with a path, relative to the list; `camera` may hold the 25 numbers as JSON instead."""
CAMERA_COLUMNS = tuple(f"camera_{index}" for index in range(25))
"""The camera as 25 columns of numbers."""
ALIASES = {"licence": "license", "licence_url": "license_url", "file": "path", "file_name": "path", "filename": "path"}
"""Other names that are understood."""
_BATCH_ROWS = 8192

log = logging.getLogger(__name__)


class ListSource(Source):
    """The files that a CSV, TSV or parquet table names, in its order."""

    def __init__(self, label: str, path: str) -> None:
        """Read the list at `path`; the files it names are relative to its folder.

        Raises:
            SourceError: it cannot be read or has no path column.
        """
        self.label, self.path = label, os.path.abspath(path)  # noqa: PTH100
        self._folder = os.fsencode(Path(self.path).parent) + b"/"
        self.columns = self._columns()

    def _columns(self) -> dict[str, str]:
        """Return the known columns: our name -> the list's name."""
        try:
            names = next(iter(self._batches(None))).schema.names
        except StopIteration:
            raise SourceError(f"expected a header line with a path column in {self.path!r}, the list is empty") from None
        known = ("path", "id", *RIGHTS, *FILES, *CAMERA_COLUMNS)
        columns: dict[str, str] = {}
        for name in names:
            ours = ALIASES.get(name.strip().lower(), name.strip().lower())
            if ours in known:
                columns.setdefault(ours, name)
            elif near := difflib.get_close_matches(ours, known, n=1, cutoff=0.85):
                log.warning("%s: column %r is not known and ignored; did you mean %r?", self.label, name, near[0])
        if "path" not in columns:
            raise SourceError(f"expected a column 'path' in {self.path!r}, got {', '.join(names)}")
        cameras = [name for name in CAMERA_COLUMNS if name in columns]
        if cameras and len(cameras) < 25:
            raise SourceError(f"expected all 25 columns camera_0 to camera_24 in {self.path!r}, got {len(cameras)}")
        return columns

    def _batches(self, columns: list[str] | None) -> Iterator[Any]:
        """Stream the table as Arrow batches; every CSV cell is text."""
        import pyarrow as pa

        try:
            yield from self._parquet(columns) if self.path.lower().endswith(".parquet") else self._csv(columns)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            message = f"cannot read the list {self.path!r}: {error}; expected UTF-8 CSV with a header line, or parquet"
            raise SourceError(message) from error

    def _parquet(self, columns: list[str] | None) -> Iterator[Any]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            if columns is None:
                yield file.schema_arrow.empty_table()
                return
            yield from file.iter_batches(_BATCH_ROWS, columns=columns)

    def _csv(self, columns: list[str] | None) -> Iterator[Any]:
        import csv

        import pyarrow as pa
        import pyarrow.csv as arrow_csv

        delimiter = "\t" if self.path.lower().endswith(".tsv") else ","
        with Path(self.path).open(encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file, delimiter=delimiter), [])
        if columns is None:
            if names:
                yield pa.table({name: pa.array([], pa.string()) for name in names})
            return
        convert = arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), include_columns=columns, strings_can_be_null=False
        )
        parse = arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        with arrow_csv.open_csv(self.path, parse_options=parse, convert_options=convert) as reader:
            yield from reader

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Name the file of every row; a row whose file is missing or special is refused, with its number."""
        number = 0
        for batch in self._batches(list(self.columns.values())):
            table = {ours: [_text(value) for value in batch.column(name).to_pylist()] for ours, name in self.columns.items()}
            if CAMERA_COLUMNS[0] in table:
                table["camera"] = _cameras(table, batch.num_rows)
            blank = [""] * batch.num_rows
            rights = zip(*(table.get(name, blank) for name in RIGHTS), strict=True)
            known = [name for name in ("id", *FILES) if name in table]
            beside = zip(*(table[name] for name in known), strict=True) if known else ((),) * batch.num_rows
            for path, owner, values in zip(table["path"], rights, beside, strict=True):
                number += 1
                sidecar = {name: value for name, value in zip(known, values, strict=True) if value}
                yield self._entry(path, number, _rights(*owner), sidecar)

    def _entry(self, path: str, number: int, rights: Rights, sidecar: dict[str, str]) -> SourceImage | Refused:
        if not path:
            return Refused(self.label, f"row {number}", "io_error", "the path column is empty")
        if "://" in path:
            return Refused(self.label, path, "io_error", f"row {number}: only local files are read; download it first")
        try:
            status = os.stat(self._resolve(path))  # noqa: PTH116 - bytes path
        except (OSError, ValueError) as error:
            drop = io_error(error) if isinstance(error, OSError) else Drop("io_error", str(error))
            return Refused(self.label, path, drop.reason, f"row {number}: {drop.detail}")
        if not stat.S_ISREG(status.st_mode):
            return Refused(self.label, path, "special_file", f"row {number}: {kind_of(status.st_mode)}")
        return SourceImage(self.label, path, status.st_size, file_stamp(status), rights, sidecar)

    def _resolve(self, path: str) -> bytes:
        return os.fsencode(path) if path.startswith("/") else self._folder + os.fsencode(path)

    def read(self, image: SourceImage) -> bytes:
        """Read one file; the list names it, so a link is followed. See `Source.read`."""
        return read_file(self._resolve(image.path), image, self.max_bytes, follow=True)

    def sidecar(self, image: SourceImage, kind: str) -> bytes | None:
        """Return the bytes of the file that a sidecar column names, or of the JSON it holds; see `Source.sidecar`."""
        text = image.sidecar.get(kind, "")
        if not text:
            return None
        if kind == "id" or (kind == "camera" and text.lstrip()[:1] in ("[", "{")):
            return text.encode()
        try:
            path = self._resolve(text)
            size = os.stat(path).st_size  # noqa: PTH116 - bytes path
            return read_file(path, SourceImage(self.label, text, size), self.max_bytes, follow=True)
        except (OSError, ValueError, Drop) as error:
            raise Drop("sidecar_mismatch", f"{kind} {text!r} cannot be read: {error}") from error


def _text(value: Any) -> str:
    """Return a cell as text: empty for null, JSON for lists, the shortest form for numbers."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list | dict):
        return json.dumps(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _cameras(table: dict[str, list[str]], num_rows: int) -> list[str]:
    """Return the camera of each row as JSON: its own column first, then the 25 columns, empty where nothing stands."""
    numbers = zip(*(table[name] for name in CAMERA_COLUMNS), strict=True)
    texts = table.get("camera", [""] * num_rows)
    joined = ("[" + ",".join(value or "null" for value in row) + "]" if any(row) else "" for row in numbers)
    return [text or other for text, other in zip(texts, joined, strict=True)]


@functools.lru_cache(maxsize=4096)
def _rights(*values: str) -> Rights:
    """Make the rights of a row; lists repeat them."""
    return Rights(*values)
