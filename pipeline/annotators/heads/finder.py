"""Find every head in a picture, from any side, with the project's own network: boxes and scores.

How each head is turned is left to `reader`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ....datasets.arrays import Array, Pixels
from ..faces.face_crop import resized_by
from .files import network

STRIDE = 8
"""Pixels of the network's picture per cell of its maps."""
SIDES, FINE_SIDES = (96, 160), (96, 160, 320)
"""Longest sides of the copies that are looked at: for the heads that a photograph is of, and for small ones too."""
MULTIPLE = 16
"""Sides of the network's picture are multiples of this."""
FINER = 3.0
"""A picture is first reduced by a whole factor to no less than this many times the side that is looked at."""
MOST_OVERLAP = 0.4
"""Two boxes that overlap more (intersection over union) are one head."""


@dataclass(frozen=True)
class FoundHead:
    """One head as the finder saw it."""

    box: tuple[float, float, float, float]
    """x, y, width, height of the whole head in continuous pixels; long hair counts to just below the chin."""
    score: float
    """0 to 1."""


class HeadFinder:
    """The loaded finder; looks at reduced copies of a picture, the coarsest for heads that fill it."""

    def __init__(self, device: str = "cpu", networks: str = "") -> None:
        """Load the network from a folder of the user's, or the package's own.

        Raises:
            HeadNetworkError: the file is missing or changed.
        """
        self._model = network("finder", device, networks)

    def find(self, image: Pixels, sides: Sequence[int] = SIDES, min_score: float = 0.3) -> list[FoundHead]:
        """Return the heads of an (H, W, 3) uint8 RGB picture, best score first.

        Args:
            image: the picture.
            sides: longest sides in pixels of the copies that are looked at.
            min_score: least score.
        """
        found: list[FoundHead] = []
        for side in sides:
            found += self._at(image, side, min_score)
        return without_twins(found)

    def _at(self, image: Pixels, side: int, min_score: float) -> list[FoundHead]:
        height, width = image.shape[:2]
        scale = side / max(height, width)
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        # a whole factor first: a broken one over many pixels is several times slower
        reduced, (across, down) = resized_by(image, min(int(1.0 / (FINER * scale)), height, width), small)
        padded = cv2.copyMakeBorder(reduced, 0, -small[1] % MULTIPLE, 0, -small[0] % MULTIPLE, cv2.BORDER_REPLICATE)
        tensor = (padded.astype(np.float32) - np.float32(127.0)) / np.float32(128.0)
        heat, boxes = self._model(np.ascontiguousarray(tensor.transpose(2, 0, 1)[None]))
        return [
            FoundHead((x * across, y * down, w * across, h * down), score)
            for (x, y, w, h), score in peaks(heat[0, 0], boxes[0], min_score)
        ]


def peaks(heat: Array, boxes: Array, min_score: float) -> list[tuple[tuple[float, float, float, float], float]]:
    """Return boxes and scores at the local maxima of a heat map.

    Args:
        heat: (s, t) chances.
        boxes: (4, s, t): offset of the centre from the cell's middle in cells (x, y), logarithm of width and height in cells.
        min_score: least chance.

    Returns:
        x, y, width and height in pixels of the network's picture, and the chance.
    """
    highest = cv2.dilate(heat, np.ones((3, 3), dtype=np.uint8))
    found = []
    for row, column in np.argwhere((heat >= highest) & (heat >= min_score)).tolist():
        dx, dy, wide, high = boxes[:, row, column].tolist()
        width, height = STRIDE * math.exp(min(wide, 5.0)), STRIDE * math.exp(min(high, 5.0))
        x, y = STRIDE * (column + 0.5 + dx), STRIDE * (row + 0.5 + dy)
        found.append(((x - width / 2.0, y - height / 2.0, width, height), float(heat[row, column])))
    return found


def without_twins(heads: Sequence[FoundHead]) -> list[FoundHead]:
    """Keep of boxes that overlap, or of which one lies within the other, the one with the best score."""
    kept: list[FoundHead] = []
    for head in sorted(heads, key=lambda head: (-head.score, head.box)):
        if not any(is_twin(head.box, other.box) for other in kept):
            kept.append(head)
    return kept


def is_twin(first: Sequence[float], second: Sequence[float]) -> bool:
    """Tell whether two boxes are one head's: they overlap, or one lies within the other."""
    return _shared(first, second) > MOST_OVERLAP


def _shared(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the larger of intersection over union and 0.6 times intersection over the smaller box."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    common = max(width, 0.0) * max(height, 0.0)
    areas = first[2] * first[3], second[2] * second[3]
    return max(common / max(sum(areas) - common, 1e-9), 0.6 * common / max(min(areas), 1e-9))
