"""Find every head of a photograph, a crowd's small ones too: by what copies of all scales, in tiles, and closer looks agree on.

One copy alone is wrong about heads that another one shows well, and takes for heads what no other one does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....datasets.arrays import Pixels
from ....datasets.warp import warp_reduced
from ..faces.face_crop import resized_by
from ..faces.tiles import tiles
from .boxes import middle
from .finder import FoundHead, HeadFinder, is_twin
from .reader import Square

LEAST_SHOWN = 24.0
"""Pixels of a head in a copy from which the finder sees it well: the least that it was trained to find."""
TILE, TILE_OVERLAP = 960, 160
"""Side in pixels of a tile, and by how much tiles overlap at least: a head of that size in a copy is whole in one of them, and
a larger one has half the size in the next copy."""
COARSEST = 96
"""Longest side in pixels of a copy from which no coarser one is looked at."""
LEAST_SCORE = 0.15
"""Score from which a single look counts."""
AGREEING = 3
"""Copies, those with the best scores, whose scores are joined."""
WINDOW = 128
"""Side in pixels of a closer look's picture: that of the finder's training."""
SHOWN = 40.0
"""Pixels that the longer side of a head's box has there."""
WORTH_A_LOOK = 0.4
"""Joined score from which something is looked at more closely."""


@dataclass
class Sighting:
    """What several looks took for one head."""

    box: tuple[float, float, float, float]
    """Of the look with the best score."""
    by_copy: dict[int, float]
    """Best score by copy."""

    def joined(self) -> float:
        """Return the chance that not all of the best copies are wrong, as if they were independent."""
        best = sorted(self.by_copy.values(), reverse=True)[:AGREEING]
        return 1.0 - math.prod(1.0 - score for score in best)


def find_crowd(finder: HeadFinder, image: Pixels, least_head: float = LEAST_SHOWN) -> list[FoundHead]:
    """Return the heads of an (H, W, 3) uint8 RGB picture, best score first.

    Args:
        finder: the network.
        image: the picture.
        least_head: height in pixels of the smallest heads that are sought; work falls with its square where it is over 24.

    Returns:
        Boxes in pixels of the picture. A score is the mean of what the copies say together, see `Sighting`, and of what a
        closer look says: another scale than that of one score of the finder.
    """
    found: list[tuple[int, FoundHead]] = []
    for number, factor in enumerate(factors_of_copies(image.shape[1], image.shape[0], least_head)):
        found += [(number, head) for head in in_copy(finder, image, factor)]
    joined = [(sighting.box, sighting.joined()) for sighting in together(found)]
    worth = [(box, score) for box, score in joined if score >= WORTH_A_LOOK]
    heads = [FoundHead(box, 0.5 * (score + look_again(finder, image, box))) for box, score in worth]
    return sorted(heads, key=lambda head: (-head.score, head.box))


def factors_of_copies(width: int, height: int, least_head: float) -> list[float]:
    """Return by how much a picture is reduced for each copy: the finest shows the least head well, others are half as large."""
    longest = max(width, height)
    factors = [max(1.0, least_head / LEAST_SHOWN)]
    while longest / factors[-1] > COARSEST:
        factors.append(2.0 * factors[-1])
    return factors


def in_copy(finder: HeadFinder, image: Pixels, factor: float) -> list[FoundHead]:
    """Return what the finder sees in a copy that is `factor` times smaller, tile by tile, in pixels of the picture.

    A tile tells of heads with the middle in its own part alone, half of the overlap away from the border to the next tile, so
    that none is cut.
    """
    height, width = image.shape[:2]
    size = max(1, round(width / factor)), max(1, round(height / factor))
    copy, scale = resized_by(image, min(int(factor), height, width), size)
    found = []
    for x, y in tiles(*size, TILE, TILE_OVERLAP):
        tile = copy[y : y + TILE, x : x + TILE]
        for head in finder.find(tile, (max(tile.shape[:2]),), LEAST_SCORE):
            left, top, wide, high = head.box
            box = (scale[0] * (x + left), scale[1] * (y + top), scale[0] * wide, scale[1] * high)
            if is_own((x, y), middle((x + left, y + top, wide, high)), size):
                found.append(FoundHead(box, head.score))
    return found


def is_own(corner: tuple[int, int], point: tuple[float, float], size: tuple[int, int]) -> bool:
    """Tell whether a point of a copy lies in the own part of the tile with some left upper corner."""
    margin = TILE_OVERLAP / 2.0
    return all(
        (start == 0 or place >= start + margin) and (start + TILE >= length or place <= start + TILE - margin)
        for start, place, length in zip(corner, point, size, strict=True)
    )


def together(found: Sequence[tuple[int, FoundHead]]) -> list[Sighting]:
    """Gather what several copies saw of the same head.

    Args:
        found: number of the copy, and what was seen in it.
    """
    gathered: list[Sighting] = []
    for number, head in sorted(found, key=lambda pair: (-pair[1].score, pair[1].box, pair[0])):
        same = next((sighting for sighting in gathered if is_twin(sighting.box, head.box)), None)
        if same is None:
            gathered.append(Sighting(head.box, {number: head.score}))
        else:
            same.by_copy[number] = max(head.score, same.by_copy.get(number, 0.0))
    return gathered


def look_again(finder: HeadFinder, image: Pixels, box: tuple[float, float, float, float]) -> float:
    """Return the finder's mean score of a box in a closer look about it and in that look's mirror image.

    Args:
        finder: the network.
        image: the picture.
        box: x, y, width and height in its pixels.
    """
    side = WINDOW * max(box[2:]) / SHOWN
    window = warp_reduced(image, Square(*middle(box), side).matrix(WINDOW), WINDOW, border="replicate")
    wide, high = SHOWN * box[2] / max(box[2:]), SHOWN * box[3] / max(box[2:])
    own = (WINDOW - wide) / 2.0, (WINDOW - high) / 2.0, wide, high
    scores = []
    for picture in (window, np.ascontiguousarray(window[:, ::-1])):
        heads = finder.find(picture, (WINDOW,), LEAST_SCORE)
        scores.append(max((head.score for head in heads if is_twin(head.box, own)), default=0.0))
    return sum(scores) / len(scores)
