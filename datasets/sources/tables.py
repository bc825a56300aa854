"""Tables from outside, row by row: CSV, TSV, parquet and JSON with one naming of columns, for lists and for cameras.

A cell that cannot be read is its row's problem, never the table's. What rows mean is left to `listing` and `camera_sidecar`.
"""

from __future__ import annotations

import csv
import difflib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from ...manifests.config import brief
from ..sample import Rights
from .folder import open_regular
from .names import is_text, to_text
from .outside_json import RepeatedKeys, parse

RIGHTS = tuple(field.name for field in fields(Rights))
"""Columns that say whose picture it is."""
FILES = ("camera", "mask", "parsing")
"""Columns of what is known beside the pixels: a path relative to the table; `camera` may hold the 25 numbers as JSON."""
KEYS = ("id", "sha256", "path", "key")
"""Columns that name a head or a photograph."""
CAMERA_COLUMNS = tuple(f"camera_{index}" for index in range(25))
"""The camera as 25 columns of numbers."""
COLUMNS = (*KEYS, *RIGHTS, *FILES, *CAMERA_COLUMNS)
"""Every column that is understood."""
ALIASES = {
    "licence": "license", "licence_url": "license_url", "file": "path", "file_name": "path", "filename": "path",
    "label": "camera", **{str(index): f"camera_{index}" for index in range(25)},
}  # fmt: skip
"""Other names that are understood."""
ENDINGS = (".json", ".csv", ".tsv", ".parquet")
"""Endings of tables."""
_DELIMITERS = {".csv": ",;\t|", ".tsv": "\t,;|"}
_BATCH_ROWS = 8192
_MAX_JSON = 4 << 30
_MAX_CELL = 16 << 20

log = logging.getLogger(__name__)


class TableError(ValueError):
    """A table that cannot be read at all; the message names it and says what was expected."""


@dataclass(frozen=True)
class Row:
    """One row."""

    number: int
    """From 1, the header not counted."""
    cells: dict[str, Any]
    """Name of `COLUMNS` -> text, empty where nothing stands; `camera` may be a list, a mapping or JSON text."""
    problem: str = ""
    """What cannot be read of it."""
    named_label: bool = False
    """Whether the file calls the column of the camera "label", which may mean anything in a list."""


class Table:
    """A file of rows."""

    def __init__(self, path: str, wanted: Sequence[str], data: bytes | None = None) -> None:
        """Read the header.

        Args:
            path: the file.
            wanted: columns of `COLUMNS` of which at least one must be there.
            data: the file's bytes, where they were read from elsewhere; `path` then only names them.

        Raises:
            TableError: it is no table, lacks these columns, or has two columns of one meaning.
        """
        file = Path(path.partition("?")[0] if data is not None else path)  # an address may end in a query
        self.path, self.name, self.ending = path, file.name, file.suffix.lower()
        self._wanted, self._data = tuple(wanted), data
        self._delimiter = ","
        if self.ending not in ENDINGS:
            raise TableError(f"expected a table ({' | '.join(ENDINGS)}), got {self.name}")
        if self.ending == ".json":
            self.columns: dict[str, str] = {"key": "key", "camera": "camera"}
            return
        names = self._header()
        self.columns = self._meanings(names)
        if not any(name in self.columns for name in wanted):
            raise TableError(f"expected a column {' | '.join(wanted)} in {self.name}, got {brief(', '.join(names))}")
        cameras = [name for name in CAMERA_COLUMNS if name in self.columns]
        if cameras and len(cameras) < 25:
            missing = next(name for name in CAMERA_COLUMNS if name not in self.columns)
            raise TableError(f"expected all 25 columns camera_0 to camera_24 in {self.name}, {missing} is missing")

    def _header(self) -> list[str]:
        """Return the names of the columns as the file has them; for text, settle the delimiter."""
        with self._reading() as file:
            if self.ending == ".parquet":
                return [str(name) for name in self._parquet(file).schema_arrow.names]
            choices: list[list[str]] = []
            for delimiter in _DELIMITERS[self.ending]:
                names = next((row for row in self._csv(file, delimiter) if row), [])
                if any(_meaning(name) in self._wanted for name in names):
                    self._delimiter = delimiter
                    return names
                choices.append(names)
            if not choices[0]:
                raise TableError(f"expected a header line with a column {' | '.join(self._wanted)}, {self.name} is empty")
            return choices[0]

    def _meanings(self, names: Sequence[str]) -> dict[str, str]:
        """Return our name -> the file's name of each known column; a column's own name goes before an alias."""
        columns: dict[str, str] = {}
        for name in sorted(names, key=lambda name: _meaning(name) != _plain(name)):
            ours = _meaning(name)
            if ours not in COLUMNS:
                near = difflib.get_close_matches(ours, COLUMNS, n=1, cutoff=0.85)
                if near:
                    log.warning("%s: column %r is not known and ignored; did you mean %r?", self.name, name, near[0])
            elif ours not in columns:
                columns[ours] = name
            elif _plain(name) == ours or _plain(columns[ours]) != ours:
                text = f"{self.name} has two columns for {ours}: {columns[ours]!r} and {name!r}; remove or rename one"
                raise TableError(text)
            else:
                log.warning("%s: column %r is ignored, since column %r is there", self.name, name, columns[ours])
        return columns

    @property
    def _named_label(self) -> bool:
        return _plain(self.columns.get("camera", "")) == "label"

    def rows(self) -> Iterator[Row]:
        """Yield every row in order.

        Raises:
            TableError: the file cannot be read on; the message has the row.
        """
        with self._reading() as file:
            if self.ending == ".json":
                yield from self._json_rows(file)
            elif self.ending == ".parquet":
                yield from self._parquet_rows(file)
            else:
                yield from self._csv_rows(file)

    def _reading(self) -> IO[bytes]:
        if self._data is not None:
            return BytesIO(self._data)
        try:
            return open_regular(os.fsencode(self.path))
        except OSError as error:
            raise TableError(f"cannot read {self.name}: {error.strerror or error}") from error

    def _csv(self, file: IO[bytes], delimiter: str) -> Iterator[list[str]]:
        """Yield rows of cells; bytes that are no UTF-8 are surrogate-escaped, and a byte order mark is no part of a name."""
        number = 0
        csv.field_size_limit(_MAX_CELL)
        try:
            file.seek(0)
            if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                raise TableError(f"{self.name} is UTF-16 text; save it as UTF-8")
            file.seek(0)
            lines = (to_text(line) for line in file)
            first = next(lines, "").removeprefix("\ufeff")
            for row in csv.reader(_chain(first, lines), delimiter=delimiter):
                yield row
                number += 1
        except (csv.Error, OSError) as error:
            raise TableError(f"cannot read {self.name} behind row {number}: {error}; expected UTF-8 CSV") from error

    def _csv_rows(self, file: IO[bytes]) -> Iterator[Row]:
        rows = (row for row in self._csv(file, self._delimiter) if row)
        names = next(rows, [])
        places = {ours: names.index(name) for ours, name in self.columns.items() if name in names}
        for number, row in enumerate(rows, 1):
            if len(row) != len(names):
                yield Row(number, {}, f"expected {len(names)} cells, got {len(row)}")
                continue
            cells = {ours: row[place] for ours, place in places.items()}
            strange = [ours for ours in cells if ours not in ("path", "key") and not is_text(cells[ours])]
            yield Row(number, cells, f"column {strange[0]} is no UTF-8 text" if strange else "", self._named_label)

    def _parquet(self, file: IO[bytes]) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(file)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise TableError(f"cannot read {self.name} as parquet: {error}") from error

    def _parquet_rows(self, file: IO[bytes]) -> Iterator[Row]:
        import pyarrow as pa

        number = 0
        try:
            for batch in self._parquet(file).iter_batches(_BATCH_ROWS, columns=list(self.columns.values())):
                columns = [_cells(batch.column(name), ours) for ours, name in self.columns.items()]
                for values in zip(*columns, strict=True):
                    number += 1
                    cells = dict(zip(self.columns, (text for text, _ in values), strict=True))
                    problem = next((problem for _, problem in values if problem), "")
                    yield Row(number, cells, problem, self._named_label)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise TableError(f"cannot read {self.name} behind row {number}: {error}") from error

    def _json_rows(self, file: IO[bytes]) -> Iterator[Row]:
        """Yield the rows of {"key": camera}, {"labels": {"key": camera}} or {"labels": [["key", camera], ...]} (EG3D's)."""
        try:
            data = parse(file.read(_MAX_JSON), unique=True)
        except RepeatedKeys as error:
            raise TableError(f"{self.name}: {error}; which of its cameras counts?") from error
        except (ValueError, OSError, MemoryError) as error:
            raise TableError(f"cannot read cameras from {self.name} as JSON: {error}") from error
        if isinstance(data, dict) and "labels" in data:
            data = data["labels"]
        if isinstance(data, dict):
            data = list(data.items())
        if not isinstance(data, list):
            what = brief(data)
            raise TableError(f"{self.name}: expected an object of key -> camera or a list of [key, camera], got {what}")
        for number, item in enumerate(data, 1):
            if isinstance(item, list | tuple) and len(item) == 2 and isinstance(item[0], str):
                yield Row(number, {"key": item[0], "camera": item[1]})
            else:
                yield Row(number, {}, f"expected [key, camera], got {brief(item)}")


def _chain(first: str, lines: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from lines


def _plain(name: str) -> str:
    return name.strip().lower()


def _meaning(name: str) -> str:
    """Return our name of a column, or the column's own in lower case."""
    return ALIASES.get(_plain(name), _plain(name))


def _cells(column: Any, ours: str) -> list[tuple[Any, str]]:
    """Return (value, problem) of an Arrow column's cells; one that has no form in Python does not hide the others."""
    try:
        values = column.to_pylist()
    except (ValueError, OverflowError, ArithmeticError, LookupError, TypeError, ImportError):
        return [_cell_of(scalar, ours) for scalar in column]
    return [_cell(value, ours) for value in values]


def _cell_of(scalar: Any, ours: str) -> tuple[Any, str]:
    try:
        return _cell(scalar.as_py(), ours)
    except (ValueError, OverflowError, ArithmeticError, LookupError, TypeError, ImportError) as error:
        buffer = scalar.as_buffer() if hasattr(scalar, "as_buffer") else None
        if buffer is not None:  # text that is no UTF-8
            return _cell(buffer.to_pybytes(), ours)
        return "", f"column {ours}: {error}"


def _cell(value: Any, ours: str) -> tuple[Any, str]:
    """Return a cell as text (a camera as what it is) and what is wrong with it."""
    if value is None:
        return "", ""
    if ours == "camera" and isinstance(value, list | dict):
        return value, ""
    if isinstance(value, bytes):
        value = to_text(value)
    text = value if isinstance(value, str) else value.isoformat() if hasattr(value, "isoformat") else str(value)
    if ours not in ("path", "key") and not is_text(text):
        return "", f"column {ours} is no UTF-8 text"
    return text, ""
