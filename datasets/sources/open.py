"""Open a source by its text: a folder, a picture, an archive, a list, or a kind that names itself by a scheme.

The kinds themselves are in `folder`, `archive` and `listing`; further ones are registered under a scheme (`base`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..images.headers import sniff
from ..sample import Drop
from .archive import ShardSource, ZipSource
from .base import MAX_BYTES, SCHEMES, Source, SourceError
from .folder import FolderSource
from .listing import ListSource


def open_source(text: str, label: str = "", max_bytes: int = MAX_BYTES) -> Source:
    """Open a source by what it is: a folder, a picture, a zip, a CSV or parquet list, a data set, or tar shards.

    Args:
        text: a path; shards may also be given as a pattern such as `set/*.tar`.
        label: name in manifests; the file or folder's own name when empty.
        max_bytes: larger files are refused before they are read.

    Raises:
        SourceError: there is nothing at that path, or nothing that can be read.
    """

    path = Path(text).expanduser()
    name = label or path.resolve().name or "root"
    if path.suffix == ".tar" and any(mark in text for mark in "*?["):
        source: Source = ShardSource.matching(path, label or path.resolve().parent.name)
    elif path.is_dir():
        tars = sorted(path.glob("*.tar")) if (path / "manifest.json").is_file() else []
        source = ShardSource(name, tuple(map(str, tars))) if tars else FolderSource(name, os.fspath(path))
    elif not path.exists():
        raise SourceError(f"expected a folder, zip, list or shard set at {text!r}, but nothing is there; check the path")
    elif path.suffix.lower() in (".csv", ".tsv", ".parquet"):
        source = ListSource(name, os.fspath(path))
    elif path.suffix.lower() == ".tar":
        source = ShardSource(name, (str(path),))
    elif path.suffix.lower() == ".zip":
        source = ZipSource(name, os.fspath(path))
    else:
        source = _single(path, label)
    source.max_bytes = max_bytes
    return source


def _single(path: Path, label: str) -> Source:
    """Open one picture as a source of its own."""
    try:
        with path.open("rb") as file:
            sniff(file.read(4096))
    except (Drop, OSError) as error:
        message = f"expected a folder, picture, .zip, .csv, .parquet or .tar, got {str(path)!r} ({error})"
        raise SourceError(message) from error
    return FolderSource(label or path.resolve().parent.name, os.fspath(path.parent), only=path.name)


def open_sources(texts: Sequence[str], max_bytes: int = MAX_BYTES) -> list[Source]:
    """Open several sources in the given order; a label that comes again gets its number, as in "photos#2".

    Args:
        texts: paths, or texts that begin with a scheme.
        max_bytes: larger files are refused before they are read.

    Raises:
        SourceError: none is given, or one cannot be opened.
    """
    if not texts:
        raise SourceError("expected at least one source: a folder, zip, list or shard set")
    sources = []
    for text in texts:
        opener = next((opener for scheme, opener in SCHEMES.items() if text.startswith(scheme)), None)
        sources.append(opener(text) if opener else open_source(text, max_bytes=max_bytes))
    used: dict[str, int] = {}
    for source in sources:
        used[source.label] = used.get(source.label, 0) + 1
        if used[source.label] > 1:
            source.label = f"{source.label}#{used[source.label]}"
    return sources
