"""What a reader of heads sees in generated pictures: whole faces in front, none behind, the asked rotation, the drawn classes.

Any reader will do that tells a picture's rotation and classes; which it is is left to the caller. It reads the
data too, whose row says how far it can be believed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...datasets.arrays import Array, Floats, Pixels
from ...datasets.camera import Camera, geodesic
from ...datasets.classes import CLASSES, INDEX, UNLABELLED
from .faces import BACK_DEGREES, FRONT_DEGREES, FaceCount, FaceRates

SIDE = 64
"""Side in pixels at which class maps are compared."""
FACE = ("left_eye", "right_eye", "nose", "mouth")
"""Parts that a whole face shows. The mouth is that between the lips or the lips themselves."""
LIPS = ("mouth", "upper_lip", "lower_lip")
LEAST = 3.0 / SIDE**2
"""Share of a picture that a part must cover to be seen."""


@dataclass(frozen=True, eq=False)
class HeadReading:
    """What a reader says of a canonical picture of a head."""

    rotation: Floats
    """(3, 3) world to camera."""
    classes: Pixels
    """(s, s) uint8 class map of the whole picture."""


HeadReader = Callable[[Pixels], HeadReading]
"""An (S, S, 3) uint8 picture to its reading."""


@dataclass(frozen=True, eq=False)
class ReadView:
    """A picture's reading beside what was asked for."""

    reading: HeadReading
    camera: Array
    """(25,) label that the picture was made or labelled with."""
    classes: Pixels | None
    """(r, r) uint8 class map that came with the picture."""

    @property
    def degrees(self) -> float:
        """Angle between the read and the asked rotation."""
        return math.degrees(geodesic(self.reading.rotation, Camera.from_label(self.camera).world2cam[:3, :3]))

    @property
    def off_front(self) -> float:
        """Absolute yaw of the asked camera in degrees."""
        return abs(math.degrees(Camera.from_label(self.camera).yaw))


@dataclass(frozen=True)
class ReadingSummary:
    """What a reader says of a set of pictures."""

    faces: FaceRates
    """Views with two eyes, nose and mouth."""
    degrees: float
    """Median angle between read and asked rotations."""
    class_iou: float
    """Mean IoU of read and drawn classes over those that are drawn on a thousandth of all pixels; NaN without drawn classes."""


def shows_face(classes: Pixels) -> bool:
    """Return whether a class map shows two eyes, a nose and a mouth, each on at least three of 64 x 64 pixels."""
    share = np.bincount(classes[classes != UNLABELLED].ravel(), minlength=len(CLASSES)) / classes.size
    mouth = sum(share[INDEX[name]] for name in LIPS)
    return bool(min(mouth, *(share[INDEX[name]] for name in FACE[:-1])) >= LEAST)


def summarise_readings(views: Sequence[ReadView]) -> ReadingSummary:
    """Sum up readings.

    Raises:
        ValueError: there are none.
    """
    if not views:
        raise ValueError("expected readings of pictures, got none")
    fronts = [shows_face(view.reading.classes) for view in views if view.off_front <= FRONT_DEGREES]
    backs = [shows_face(view.reading.classes) for view in views if view.off_front >= BACK_DEGREES]
    rates = FaceRates(FaceCount(sum(fronts), len(fronts)), FaceCount(sum(backs), len(backs)))
    return ReadingSummary(rates, float(np.median([view.degrees for view in views])), class_agreement(views))


def class_agreement(views: Sequence[ReadView]) -> float:
    """Return the mean IoU of read and drawn class maps, over the classes drawn on at least a thousandth of all pixels."""
    matrix = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    for view in views:
        if view.classes is None:
            continue
        drawn, read = (_at_side(plane) for plane in (view.classes, view.reading.classes))
        known = (drawn < len(CLASSES)) & (read < len(CLASSES))
        matrix += np.bincount(drawn[known].astype(np.int64) * len(CLASSES) + read[known], minlength=matrix.size).reshape(
            matrix.shape
        )
    drawn_count = matrix.sum(axis=1)
    counted = drawn_count > 0.001 * max(int(matrix.sum()), 1)
    if not counted.any():
        return math.nan
    hits = np.diag(matrix)
    return float(np.mean(hits[counted] / (drawn_count + matrix.sum(axis=0) - hits)[counted]))


def _at_side(classes: Pixels) -> Pixels:
    return np.asarray(cv2.resize(classes, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
