"""Cameras that somebody already knows: a JSON, CSV, TSV or parquet file that maps a head to its 25 numbers.

A key is a sample id, the sha256 of a photograph, or its path, with or without the label of its source before it. How tables
are read is `tables`' business; whether a camera keeps to the contract is asked where it is used.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from ...manifests.config import ConfigError, brief
from ..arrays import Floats
from ..sample import Sample
from .folder import open_regular
from .sidecars import label_numbers
from .tables import CAMERA_COLUMNS, ENDINGS, KEYS, Row, Table, TableError

LABEL = "label"
"""What `SourceImage.sidecar` calls the label that a file of cameras gives a photograph by its path."""
_HEX = re.compile(r"[0-9a-f]{16}|[0-9a-f]{64}")


class SidecarError(ConfigError):
    """A file of cameras that cannot be used; the message names it, the row and what was expected."""


class Cameras(Mapping[str, tuple[float, ...]]):
    """Key -> label (25 numbers), in the order of the file."""

    def __init__(self, name: str, places: dict[str, int], labels: Floats, repeated: int = 0) -> None:
        """Hold the cameras of a file.

        Args:
            name: of the file.
            places: key -> row of `labels`.
            labels: (N, 25).
            repeated: keys that stood twice with the same numbers.
        """
        self.name, self._places, self._labels, self.repeated = name, places, labels, repeated

    def __getitem__(self, key: str) -> tuple[float, ...]:
        return tuple(self._labels[self._places[key]].tolist())

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def is_content_key(key: str) -> bool:
    """Tell whether a key looks like a sample id or a sha256, rather than like a path."""
    return _HEX.fullmatch(key) is not None


def file_sha256(path: str) -> str:
    """Return the sha256 of a sidecar file.

    Raises:
        SidecarError: there is no such file.
    """
    file = Path(path)
    if not file.is_file():
        raise SidecarError(f"expected a file of cameras at {path}, found none; check estimate_camera.sidecar")
    status = file.stat()
    return _digest(file, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    with open_regular(os.fsencode(path)) as stream:
        return hashlib.file_digest(cast(Any, stream), "sha256").hexdigest()


def read_cameras(path: str) -> Cameras:
    """Read key -> label (25 numbers) from a file by its ending.

    JSON: {"key": [25 numbers], ...}, or {"labels": ...} with such an object or with [["path", [25 numbers]], ...] as EG3D's
    dataset.json has it. Tables: a key column (path, id, sha256 or key) and a column "camera" or "label" with the 25 numbers, or
    columns "camera_0" to "camera_24", or "0" to "24"; the names are those of lists of photographs.

    Raises:
        SidecarError: no such file, another ending, a row without a key and 25 numbers, or a key twice with other numbers.
    """
    file_sha256(path)
    name = Path(path).name
    if Path(path).suffix.lower() not in ENDINGS:
        raise SidecarError(f"expected a sidecar of {' | '.join(ENDINGS)}, got {name}")
    places, labels, repeated = dict[str, int](), list[Floats](), 0
    try:
        table = Table(path, KEYS)
        if "camera" not in table.columns and CAMERA_COLUMNS[0] not in table.columns:
            raise SidecarError(f"{name}: expected a column 'camera' or 'label', or columns '0' to '24'; found no camera")
        for row in table.rows():
            key = _key(row, name)
            label = np.array(_numbers(row, key, name), dtype=np.float64)
            if key in places and not np.array_equal(labels[places[key]], label):
                text = f"the key {brief(key)} stands twice, again in row {row.number}, with other numbers; which one counts?"
                raise SidecarError(f"{name}: {text}")
            repeated += key in places
            if key not in places:
                places[key] = len(labels)
                labels.append(label)
    except TableError as error:
        raise SidecarError(f"cannot read cameras from {name}: {error}") from error
    return Cameras(name, places, np.array(labels).reshape(len(labels), 25), repeated)


def _key(row: Row, name: str) -> str:
    """Return a row's key: an id or sha256 where the column holds one, else the path, else the column "key"."""
    if row.problem:
        raise SidecarError(f"{name}, row {row.number}: {row.problem}")
    cells = {column: str(row.cells.get(column, "")) for column in KEYS}
    for column in ("id", "sha256"):
        if is_content_key(cells[column].lower()):
            return cells[column].lower()
    key = cells["path"] or cells["key"] or cells["id"] or cells["sha256"]
    if not key:
        raise SidecarError(f"{name}, row {row.number}: expected a key in the column {' | '.join(KEYS)}, it is empty")
    return key


def _numbers(row: Row, key: str, name: str) -> list[float]:
    value = row.cells.get("camera", "")
    if value == "" and CAMERA_COLUMNS[0] in row.cells:
        value = [row.cells[column] for column in CAMERA_COLUMNS]
    try:
        return label_numbers(value)
    except ValueError as error:
        raise SidecarError(f"{name}, row {row.number}: {error} (key {brief(key)})") from error


def look_up(cameras: Mapping[str, tuple[float, ...]], sample: Sample) -> tuple[float, ...] | None:
    """Return the label of a sample: by its id; else, for the only head of a photograph, by sha256 or as its path was found.

    Paths are compared where the inputs are listed (`pipeline.building.known_cameras`), since only all of them together tell
    whether a key means one photograph.
    """
    if sample.id in cameras:
        return cameras[sample.id]
    if sample.head is not None and sample.head.num_heads > 1:
        return None
    if sample.photo.sha256 in cameras:
        return cameras[sample.photo.sha256]
    text = sample.photo.source.sidecar.get(LABEL, "")
    return tuple(label_numbers(text)) if text else None
