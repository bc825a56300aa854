"""Which tar files hold finished heads: those that the manifest of a data set lists, sample by sample.

How they are read is `tars`' business; a tar beside a foreign `manifest.json`, or one that ours does not list, is none of them.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ...manifests.store import HEADER, Header, Manifest, ManifestError, read, read_header
from .base import SourceError

ENDINGS = ("jpg", "webp", "png")
"""Endings of a finished head's picture, in the order in which they are looked for."""


@dataclass(frozen=True)
class FinishedShard:
    """What a manifest says of one shard."""

    placed: dict[str, tuple[int, str]]
    """Id of a sample -> byte of its first header, and the sha256 of its picture (empty where not noted)."""
    endings: tuple[str, ...] = ENDINGS

    def digest(self, id: str, start: int) -> str | None:
        """Return the sha256 that the picture of a sample at a byte must have; None where no such sample is listed."""
        place = self.placed.get(id)
        return place[1] if place is not None and place[0] == start else None


def data_set_header(folder: Path) -> Header | None:
    """Return the header of the data set in a folder; None where the folder holds none of ours.

    Raises:
        SourceError: there is one, but damaged or of another version.
    """
    path = folder / HEADER
    if not path.is_file():
        return None
    try:
        plain = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError):
        return None
    if not isinstance(plain, dict) or not {"schema_version", "shards", "manifest_sha256"} <= set(plain):
        return None
    try:
        return read_header(folder)
    except ManifestError as error:
        raise SourceError(str(error)) from error


def finished_shard(tar: Path) -> FinishedShard | None:
    """Return what the manifest beside a tar says of it; None where none lists it.

    Raises:
        SourceError: the manifest lists it, but its table is damaged.
    """
    header = data_set_header(tar.parent)
    if header is None or tar.name not in {entry.name for entry in header.shards}:
        return None
    table = _table(tar.parent, header.manifest_sha256)
    rows = table.filter(pc.equal(table["shard"], tar.name)).to_pylist()
    return FinishedShard({row["id"]: (row["offset"], row["image_sha256"] or "") for row in rows})


_COLUMNS = {
    "id": pa.string(), "status": pa.string(), "shard": pa.string(), "offset": pa.int64(), "image_sha256": pa.string(),
}  # fmt: skip


@functools.lru_cache(maxsize=2)
def _table(folder: Path, digest: str) -> pa.Table:
    try:
        manifest: Manifest = read(folder, [*_COLUMNS])
        kept = manifest.kept
        return pa.table({name: pc.cast(kept[name], kind) for name, kind in _COLUMNS.items()})
    except (ManifestError, pa.ArrowException, OSError, LookupError) as error:
        raise SourceError(f"{error}; the shards in {folder} cannot be read as finished heads") from error
