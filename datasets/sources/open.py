"""Open a source by its text: a folder, a picture, an archive, a list, or a kind that names itself by a scheme.

The kinds themselves are in modules of their own; further ones are registered under a scheme (`base`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from ..images.headers import sniff
from ..sample import Drop
from .base import MAX_BYTES, SCHEMES, Source, SourceError
from .finished import data_set_header
from .folder import FolderSource, io_error, kind_of, open_regular
from .listing import ListSource
from .names import from_native, native
from .tables import ENDINGS
from .tars import TarSource
from .zips import ZipSource

_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7z": "unxz", b"(\xb5\x2f\xfd": "unzstd"}


def open_source(text: str, label: str = "", max_bytes: int = MAX_BYTES, follow_links: bool = False) -> Source:
    """Open a source by what it is: a folder, a picture, a zip, a list (CSV, TSV, parquet, JSON), a data set, or tar files.

    Args:
        text: a path; tar files may also be given as a pattern such as `set/*.tar`.
        label: name in manifests; the file or folder's own name when empty.
        max_bytes: larger files are refused before they are read.
        follow_links: whether symbolic links in folders are followed.

    Raises:
        SourceError: there is nothing at that path, or nothing that can be read.
    """
    if not text or "\0" in text:
        raise SourceError(f"expected a folder, zip, list or shard set, got the name {text!r}")
    try:
        path = Path(native(text)).expanduser()
    except RuntimeError as error:  # "~nobody"
        raise SourceError(f"expected a folder, zip, list or shard set at {text!r}: {error}") from error
    name = label or from_native(path.resolve().name) or "root"
    ending = path.suffix.lower()
    if ending == ".tar" and any(mark in text for mark in "*?[") and not path.exists():
        source: Source = TarSource.matching(path, label or from_native(path.resolve().parent.name))
    elif _is_folder(path, text):
        source = _folder(path, name, follow_links)
    elif ending in ENDINGS:
        source = ListSource(name, os.fspath(path))
    elif ending == ".tar":
        source = _tar(path, name)
    elif ending == ".zip":
        source = ZipSource(name, os.fspath(path))
    else:
        source = _single(path, label)
    source.max_bytes = max_bytes
    return source


def _is_folder(path: Path, text: str) -> bool:
    """Tell a folder from a file.

    Raises:
        SourceError: it is neither: nothing is there, or a pipe or device, from which reading might never return.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - one call for all that is asked
    except (OSError, ValueError) as error:
        why = "nothing is there; check the path" if isinstance(error, FileNotFoundError) else str(error)
        raise SourceError(f"expected a folder, zip, list or shard set at {text!r}, but {why}") from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        what = f"found {kind_of(mode)}; save what comes out of it as a file first"
        raise SourceError(f"expected a folder, zip, list or shard set at {text!r}, {what}")
    return stat.S_ISDIR(mode)


def _folder(path: Path, name: str, follow_links: bool) -> Source:
    """Open a data set of ours by what its header lists, and any other folder by its files."""
    header = data_set_header(path)
    if header is None:
        return FolderSource(name, os.fspath(path), follow_links)
    listed = [path / entry.name for entry in header.shards]
    strays = sorted(tar for tar in path.glob("*.tar") if tar not in listed)
    return TarSource(name, tuple(map(str, listed)), tuple(tar.name for tar in strays))


def _tar(path: Path, name: str) -> Source:
    """Open one tar file.

    Raises:
        SourceError: it is compressed, so that no member can be read without all before it.
    """
    try:
        with open_regular(os.fsencode(path)) as file:
            start = file.read(4)
    except OSError as error:
        raise SourceError(f"cannot read {str(path)!r}: {io_error(error).detail}") from error
    program = next((program for mark, program in _COMPRESSED.items() if start.startswith(mark)), "")
    if program:
        raise SourceError(f"expected a plain tar at {str(path)!r}, it is compressed: {program} it first")
    return TarSource(name, (str(path),))


def _single(path: Path, label: str) -> Source:
    """Open one picture as a source of its own."""
    try:
        with open_regular(os.fsencode(path)) as file:
            sniff(file.read(4096))
    except (Drop, OSError) as error:
        message = f"expected a folder, picture, .zip, .csv, .parquet, .json or .tar, got {str(path)!r} ({error})"
        raise SourceError(message) from error
    return FolderSource(label or from_native(path.resolve().parent.name), os.fspath(path.parent), only=path.name)


def open_sources(texts: Sequence[str], max_bytes: int = MAX_BYTES, follow_links: bool = False) -> list[Source]:
    """Open several sources in the given order; a label that comes again gets its number, as in "photos#2".

    Args:
        texts: paths, or texts that begin with a scheme.
        max_bytes: larger files are refused before they are read.
        follow_links: whether symbolic links in folders are followed.

    Raises:
        SourceError: none is given, or one cannot be opened.
    """
    if not texts:
        raise SourceError("expected at least one source: a folder, zip, list or shard set")
    sources = []
    for text in texts:
        opener = next((opener for scheme, opener in SCHEMES.items() if text.startswith(scheme)), None)
        source = opener(text) if opener else open_source(text, follow_links=follow_links)
        source.max_bytes = max_bytes
        sources.append(source)
    used: dict[str, int] = {}
    for source in sources:
        used[source.label] = used.get(source.label, 0) + 1
        if used[source.label] > 1:
            source.label = f"{source.label}#{used[source.label]}"
    return sources
