"""A look at the first sound sample of every set: does it have what a stream is asked for.

What the manifest says is left to `index`, the samples of the stream itself to `loader`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Pixels
from ..depth import MEMBER as DEPTH
from ..shards.storage import DataError, Source
from .batch import members_of, picture_of, shrink_factor
from .index import Rows

if TYPE_CHECKING:
    from .loader import StreamSettings

_LOOKS = 16
"""Samples of a set that may be damaged before it is refused unseen."""


def look_at_sets(sources: Sequence[Source], rows: Rows, settings: StreamSettings) -> tuple[bool, bool]:
    """Read the first sample of each set, and return whether all sets have masks and any has class maps.

    Raises:
        DataError: pictures of a size that does not fit, or no masks, class maps or depth maps where they are needed.
    """
    masks, maps, depths = [], [], []
    for number, source in enumerate(sources):
        key, members, image = _first_sound(number, source, rows)
        try:
            shrink_factor(image.shape[:2], settings.resolution)
        except ValueError as error:
            raise DataError(f"{source.place}: sample {key}: {error}") from error
        masks.append("mask.png" in members)
        maps.append("seg.png" in members)
        depths.append(DEPTH in members)
        for what, needed, found in (("masks", settings.need_mask, masks), ("class maps", settings.need_parsing, maps)):
            if needed and not found[-1]:
                without = ", or train with --no-parsing" if what == "class maps" else ""
                raise DataError(f"{source.place} has no {what}, which this training needs; build it with their stage{without}")
    if settings.read_depth and not any(depths):
        places = ", ".join(source.place for source in sources)
        raise DataError(f"{places}: no depth maps, which this training needs; build from makehuman: with depth=true")
    return settings.read_mask and all(masks), settings.read_parsing and any(maps)


def _first_sound(number: int, source: Source, rows: Rows) -> tuple[str, dict[str, memoryview], Pixels]:
    """Return id, members and picture of the first sample of a set that decodes."""
    set_of = np.array([number for number, _ in rows.shards])[rows.shard]
    problem = ""
    for row in np.flatnonzero(set_of == number)[:_LOOKS].tolist():
        key, start = rows.ids[row].decode(), int(rows.offset[row])
        data = source.read(rows.shards[int(rows.shard[row])][1], start, start + int(rows.num_bytes[row]))
        try:
            members = members_of(memoryview(data), key)
            return key, members, picture_of(members, int(rows.digest[row]))
        except ValueError as error:
            problem = problem or f"sample {key}: {error}"
    raise DataError(f"{source.place}: none of the first {_LOOKS} samples decodes; {problem}; copy the set again, or rebuild it")
