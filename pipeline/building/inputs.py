"""What a build reads: sources opened by their text, and their files as rows of the build's memory.

Folders and archives are `datasets.sources`' business; the kinds that this layer brings are registered here.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...datasets.exchange import eg3d_source, scene_source, video_source
from ...datasets.sample import Drop, SourceImage
from ...datasets.sources.base import SCHEMES, Refused, Source, SourceError, register_source
from ...datasets.sources.folder import FolderSource
from ...datasets.sources.names import from_native, native, printable
from ...datasets.sources.open import open_sources
from ...datasets.sources.remote import open as remote
from ...manifests.config import ConfigError, canonical_json, user_path
from ..recipe import Recipe
from ..synthetic import back_view
from ..synthetic import source as makehuman
from ..synthetic.derived_source import DerivedSource, KeptHead
from ..synthetic.scans import source as mesh_source
from .known_cameras import KnownCameras
from .memory.tables import mark_of

for _scheme, _opener in (
    (makehuman.SCHEME, makehuman.MakeHumanSource),
    (back_view.SCHEME, back_view.MissingViews),
    (mesh_source.SCHEME, mesh_source.MeshSource),
    (eg3d_source.SCHEME, eg3d_source.open_eg3d),
    *((_scheme, remote.open_remote) for _scheme in remote.SCHEMES),
    (scene_source.NERFSTUDIO, scene_source.scene_opener(scene_source.NERFSTUDIO)),
    (scene_source.COLMAP, scene_source.scene_opener(scene_source.COLMAP)),
    (scene_source.RIG, scene_source.open_rig),
    (video_source.SCHEME, video_source.open_video),
):
    register_source(_scheme)(_opener)
InputRow = tuple[Any, ...]
"""A row for `InputList.fill`."""


def is_path(text: str) -> bool:
    """Return whether a source's text names a path rather than a kind of its own."""
    return not text.startswith(tuple(SCHEMES))


def open_all(texts: Sequence[str], recipe: Recipe, follow_links: bool = False) -> tuple[Source, ...]:
    """Open a build's sources.

    Args:
        texts: what they are opened from.
        recipe: the limits of its decoder hold.
        follow_links: whether symbolic links in folders are followed.

    Raises:
        ConfigError: one is not there or is nothing that can be read.
    """
    try:
        return tuple(open_sources(texts, recipe.decode.max_bytes, follow_links=follow_links))
    except SourceError as error:
        raise ConfigError(str(error)) from error


class Opened(NamedTuple):
    """What a build reads, opened; nothing is written for it."""

    sources: tuple[Source, ...]
    cameras: KnownCameras | None
    recipe: Recipe
    """Resolved."""

    @classmethod
    def of(cls, texts: Sequence[str], recipe: Recipe, follow_links: bool = False) -> Opened:
        """Open the sources, the known cameras and the stages of a build.

        Args:
            texts: what the sources are opened from.
            recipe: as asked for.
            follow_links: whether symbolic links in folders are followed.

        Raises:
            ConfigError: a source or a list of cameras is not there, or a stage lacks what it needs.
        """
        return cls(open_all(texts, recipe, follow_links), KnownCameras.of(recipe), recipe.resolved())


def input_rows(
    sources: Sequence[Source],
    texts: Sequence[str],
    limit: int = 0,
    cameras: KnownCameras | None = None,
    out: Path | None = None,
) -> Iterator[InputRow]:
    """Yield the inputs of all sources in order, as rows for `InputList.fill`.

    Args:
        sources: opened.
        texts: what they were opened from.
        limit: maximum number of inputs; 0 for all.
        cameras: labels that photographs get by their paths.
        out: where the build writes: what lies there is no input, though it lie in a source.
    """
    count = 0
    for index, source in enumerate(sources):
        if isinstance(source, FolderSource) and out is not None and out.is_dir():
            found = out.stat()
            source.skipped = (found.st_dev, found.st_ino)
        entries = _outside(source.entries(), _inner(texts[index], out))
        entries = entries if cameras is None else cameras.attach(entries)
        for row in _rows(index, source, texts[index], entries):
            if limit and count >= limit:
                return
            count += 1
            yield row


def _inner(text: str, out: Path | None) -> str:
    """Return where in a source's folder `out` lies, as the source's paths begin; empty where it does not."""
    root = user_path(native(text))
    if out is None or not is_path(text) or not root.is_dir():
        return ""
    place, target = root.resolve(), out.resolve()
    return from_native(f"{target.relative_to(place).as_posix()}/") if place in target.parents else ""


def _outside(entries: Iterable[SourceImage | Refused], inner: str) -> Iterator[SourceImage | Refused]:
    """Leave out what lies in a folder of the source."""
    return (entry for entry in entries if not inner or not f"{entry.path.removesuffix('/')}/".startswith(inner))


def file_digests(texts: Sequence[str], recipe: Recipe) -> dict[tuple[str, str], str]:
    """Return what the files of sources hold now: (source, path) as the table of inputs has them -> sha256.

    Args:
        texts: what the sources are opened from.
        recipe: the limits of its decoder hold.

    Returns:
        Empty digests for files that are refused or cannot be read.
    """
    found = {}
    for source in open_all(texts, recipe):
        for entry in source.entries():
            key = printable(source.label), printable(entry.path)
            found[key] = ""
            with contextlib.suppress(Drop):
                if isinstance(entry, SourceImage):
                    found[key] = hashlib.sha256(source.read(entry)).hexdigest()
    return found


def derived_rows(
    sources: Sequence[Source], texts: Sequence[str], recipe: Recipe, kept: Sequence[KeptHead]
) -> Iterator[InputRow]:
    """Yield the inputs of derived sources, as `input_rows` does those of all others."""
    for index, source in enumerate(sources):
        if isinstance(source, DerivedSource):
            yield from _rows(index, source, texts[index], source.derived(kept, recipe))


def _rows(index: int, source: Source, text: str, entries: Iterable[SourceImage | Refused]) -> Iterator[InputRow]:
    empty = SourceImage.rights
    root = text.partition(":")[0] if not is_path(text) else Path(native(text)).resolve()
    for entry in entries:
        if isinstance(entry, Refused):
            drop = Drop(entry.reason, entry.detail)
            yield index, source.label, entry.path, b"", 0, "", "", "", drop.outcome, entry.reason, entry.detail
            continue
        rights = "" if entry.rights is empty or entry.rights == empty else canonical_json(entry.rights)
        sidecar = canonical_json(dict(entry.sidecar)) if entry.sidecar else ""
        mark = mark_of(f"{root}\0{entry.path}\0{sidecar}", entry.stamp)
        yield index, source.label, entry.path, mark, entry.num_bytes, entry.stamp, rights, sidecar, "", "", ""
