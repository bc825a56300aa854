"""Face rates: on how many fronts a detector sees a face, and on how many backs it sees one that must not be there.

Any detector will do that gives a picture a score; it is calibrated on the data, so that rates of two detectors mean the same.
Which detector that is is left to the caller: this folder knows none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...datasets.arrays import Pixels

FaceScore = Callable[[Pixels], float]
"""An (S, S, 3) uint8 picture to the score of its best face, 0 where there is none."""
FRONT_SHARE = 0.84
"""Share of the data's fronts on which the calibrated detector fires."""
FRONT_DEGREES, BACK_DEGREES = 30.0, 130.0
"""Fronts are seen from nearer than the first angle, backs from farther than the second."""


@dataclass(frozen=True)
class FaceCount:
    """Pictures with a face, and all pictures."""

    faces: int
    total: int

    @property
    def rate(self) -> float:
        """Share of pictures with a face; NaN where there are no pictures."""
        return self.faces / self.total if self.total else float("nan")


@dataclass(frozen=True)
class FaceRates:
    """Face rates at one score."""

    front: FaceCount
    """Views from in front: the rest are missing faces."""
    back: FaceCount
    """Views from behind: the multiple-face rate."""


def calibrated(scores: Sequence[float], share: float = FRONT_SHARE) -> float:
    """Return the score that a share of the data's fronts reaches: the largest such score among them.

    Raises:
        ValueError: no scores.
    """
    if not len(scores):
        raise ValueError("expected scores of fronts, got none")
    ordered = np.sort(np.asarray(scores, dtype=np.float64))[::-1]
    return float(ordered[max(int(np.ceil(share * len(ordered))) - 1, 0)])


def count(scores: Sequence[float], threshold: float) -> FaceCount:
    """Count the scores that reach a threshold above 0."""
    return FaceCount(sum(score >= threshold and score > 0 for score in scores), len(scores))


def prepared(picture: Pixels, resolution: int) -> Pixels:
    """Return what a detector is shown: pictures brought to one resolution, enlarged to 256 pixels and framed by their border.

    Args:
        picture: (S, S, 3) uint8 sRGB.
        resolution: side that all sets are brought to first, so that sharpness compares.
    """
    small = picture
    if len(picture) != resolution:
        small = np.asarray(cv2.resize(picture, (resolution, resolution), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    large = cv2.resize(small, (256, 256), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.copyMakeBorder(large, 64, 64, 64, 64, cv2.BORDER_REPLICATE), dtype=np.uint8)
