"""Cameras that somebody already knows: a JSON, CSV or parquet file that maps a head to its 25 numbers.

A key is a sample id, the sha256 of a photograph, or its path in the source. Whether a camera keeps to the contract is asked
where it is used.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..sample import Sample

KEY_COLUMNS = ("id", "sha256", "path", "key")
"""Columns of a CSV or parquet file that may hold the key; the first that exists is used."""


class SidecarError(ValueError):
    """A sidecar file that cannot be read; the message names it, the row and what was expected."""


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
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_cameras(path: str) -> dict[str, tuple[float, ...]]:
    """Read key -> label (25 numbers) from a file by its ending.

    JSON: {"key": [25 numbers], ...}, or {"labels": [["path", [25 numbers]], ...]} as EG3D's dataset.json has it. CSV and
    parquet: a key column (id, sha256, path or key) and either a column "label" with the 25 numbers or columns "0" to "24".

    Raises:
        SidecarError: no such file, another ending, or a row without a key and 25 numbers.
    """
    file_sha256(path)
    readers = {".json": _from_json, ".csv": _from_csv, ".parquet": _from_parquet}
    reader = readers.get(Path(path).suffix.lower())
    if reader is None:
        raise SidecarError(f"expected a sidecar of {' | '.join(readers)}, got {Path(path).name}")
    try:
        rows = list(reader(Path(path)))
    except (json.JSONDecodeError, UnicodeDecodeError, OSError, csv.Error) as error:
        raise SidecarError(f"cannot read cameras from {Path(path).name}: {error}") from error
    return {str(key): _numbers(label, str(key), Path(path).name) for key, label in rows}


def look_up(cameras: Mapping[str, tuple[float, ...]], sample: Sample) -> tuple[float, ...] | None:
    """Return the label of a sample: by its id; else, for the only head of a photograph, by sha256 or path."""
    if sample.id in cameras:
        return cameras[sample.id]
    if sample.head is not None and sample.head.num_heads > 1:
        return None
    return cameras.get(sample.photo.sha256, cameras.get(sample.photo.source.path))


def _numbers(label: Any, key: str, name: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in (json.loads(label) if isinstance(label, str) else label))
    except (TypeError, ValueError) as error:
        raise SidecarError(f"{name}: expected 25 numbers for {key!r}, got {label!r}") from error
    if len(numbers) != 25:
        raise SidecarError(f"{name}: expected 25 numbers for {key!r} (cam2world 16, intrinsics 9), got {len(numbers)}")
    return numbers


def _from_json(path: Path) -> Iterable[tuple[str, Any]]:
    data = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(data, dict) and isinstance(data.get("labels"), list):
        return [(row[0], row[1]) for row in data["labels"]]
    if isinstance(data, dict):
        return list(data.items())
    raise SidecarError(f"{path.name}: expected an object of key -> 25 numbers, got {type(data).__name__}")


def _from_csv(path: Path) -> Iterable[tuple[str, Any]]:
    return _from_table(list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))), path.name)


def _from_parquet(path: Path) -> Iterable[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return _from_table(pq.read_table(path).to_pylist(), path.name)
    except pa.ArrowException as error:
        raise SidecarError(f"cannot read cameras from {path.name}: {error}") from error


def _from_table(rows: list[dict[str, Any]], name: str) -> Iterable[tuple[str, Any]]:
    if not rows:
        return []
    column = next((column for column in KEY_COLUMNS if column in rows[0]), None)
    if column is None:
        raise SidecarError(f"{name}: expected a column {' | '.join(KEY_COLUMNS)}, got {', '.join(rows[0])}")
    if "label" in rows[0]:
        return [(row[column], row["label"]) for row in rows]
    if all(str(index) in rows[0] for index in range(25)):
        return [(row[column], [row[str(index)] for index in range(25)]) for row in rows]
    raise SidecarError(f"{name}: expected a column 'label' or columns '0' to '24', got {', '.join(rows[0])}")
