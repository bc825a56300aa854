"""A finished data set behind a URL as a folder: its tables are copied here, its shards are read where they lie.

Who looks into a data set takes a folder; this module makes one of a URL for as long as it is looked into, and answers what the
folder itself cannot: sizes, pieces and whole copies of shards.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ...manifests.store import HEADER, MANIFEST, ORIGINS, ManifestError, read_header, write_bytes
from ..stores.connection import is_store, scheme_of
from ..stores.objects import ObjectStore, StoredObject
from .storage import Source, open_source

NOTE = ".place.json"
"""File in a mirror with the URL of its shards; no build writes one."""
TABLES = (HEADER, MANIFEST, ORIGINS, "run.json")
"""Files of a data set that are copied."""
_PIECE = 8 << 20


@contextlib.contextmanager
def mirrored(place: str, refused: bool = False) -> Iterator[Path]:
    """Yield a folder for a data set: its own where it is one, else a temporary one with its tables.

    Args:
        place: a folder, or a URL of a web server or an object store.
        refused: copy the small pictures of what was refused too, where the store can be listed.

    Raises:
        ManifestError: no data set lies behind the URL.
        DataError: it cannot be read.
    """
    if not scheme_of(place):
        yield Path(place)
        return
    with tempfile.TemporaryDirectory(prefix="spherehead-") as name:
        folder = Path(name) / (place.partition("?")[0].rstrip("/").rpartition("/")[2] or "set")
        folder.mkdir()
        files = open_source(place)
        for table in TABLES:
            size = files.size(table)
            if size is None and table == HEADER:
                raise ManifestError(f"no {HEADER} in {files.place}; expected the URL of a set that build-dataset finished")
            if size is not None:
                _copy(files, table, size, folder / table)
        if refused and is_store(place):
            store = ObjectStore(place)
            for found in store.walk("quarantine"):
                if isinstance(found, StoredObject) and ".." not in found.key.split("/"):
                    write_bytes(folder / found.key, store.read(found.key, found))
        write_bytes(folder / NOTE, json.dumps({"url": place}).encode())
        yield folder


def _copy(files: Source, name: str, size: int, target: Path) -> None:
    """Copy a file piece by piece."""
    with target.open("wb") as file:
        for start in range(0, size, _PIECE):
            file.write(files.read(name, start, min(start + _PIECE, size)))


def elsewhere(folder: Path) -> Source | None:
    """Return the files of a mirror's data set; None for a folder that holds its own shards."""
    note = folder / NOTE
    return open_source(json.loads(note.read_bytes())["url"]) if note.is_file() else None


def shard_sizes(folder: Path) -> dict[str, int]:
    """Return name -> bytes of every shard that is there; behind a web server those that the header lists."""
    files = elsewhere(folder)
    if files is None:
        return {path.name: path.stat().st_size for path in sorted(folder.glob("*.tar")) if path.is_file()}
    url = json.loads((folder / NOTE).read_bytes())["url"]
    if is_store(url):
        found = {one.key: one.num_bytes for one in ObjectStore(url).walk() if isinstance(one, StoredObject)}
        return {key: size for key, size in found.items() if key.endswith(".tar") and "/" not in key}
    sizes = {entry.name: files.size(entry.name) for entry in read_header(folder).shards}
    return {name: size for name, size in sizes.items() if size is not None}


@contextlib.contextmanager
def shard_file(folder: Path, name: str) -> Iterator[Path | None]:
    """Yield a shard as a file here, copied for as long as it is looked at where it lies elsewhere; None where there is none."""
    files = elsewhere(folder)
    path = folder / name
    if files is None:
        yield path if path.is_file() else None
        return
    size = files.size(name)
    if size is None:
        yield None
        return
    try:
        _copy(files, name, size, path)
        yield path
    finally:
        path.unlink(missing_ok=True)
