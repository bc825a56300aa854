"""The 19 head-parsing classes of CelebAMask-HQ in this toolkit's order, their mirror pairs and colours."""

from __future__ import annotations

import cv2
import numpy as np

from .arrays import Array, Pixels

CLASSES: tuple[str, ...] = (
    "background", "skin", "left_brow", "right_brow", "left_eye", "right_eye", "glasses", "left_ear", "right_ear", "earring",
    "nose", "mouth", "upper_lip", "lower_lip", "neck", "necklace", "cloth", "hair", "hat",
)  # fmt: skip
"""Class names by index; left is the subject's left. Beards, moustaches and stubble that is dense enough to be seen are hair,
with the skin between their hairs; rendered heads tell them apart in a second map
(`pipeline.synthetic.rendering.exact_pass.GROWTH`)."""

INDEX: dict[str, int] = {name: index for index, name in enumerate(CLASSES)}
"""Class index by name."""

NOT_HEAD: tuple[int, ...] = tuple(INDEX[name] for name in ("background", "neck", "necklace", "cloth"))
"""Classes that are no part of a head."""

UNLABELLED = 255
"""Class id of pixels that nobody labelled."""

MIRROR_PAIRS: tuple[tuple[int, int], ...] = ((2, 3), (4, 5), (7, 8))
"""Classes that change places when the picture is mirrored."""

PALETTE: Pixels = np.array(
    [
        (0, 0, 0), (232, 190, 172), (120, 74, 38), (160, 98, 50), (58, 134, 255), (0, 96, 214), (255, 215, 0), (255, 140, 105),
        (230, 100, 80), (255, 0, 255), (250, 160, 120), (130, 20, 40), (220, 60, 90), (190, 40, 70), (200, 150, 125),
        (0, 220, 220), (80, 160, 90), (110, 70, 170), (240, 90, 20),
    ],
    dtype=np.uint8,
)  # fmt: skip
"""(19, 3) sRGB colour of each class in overlays and label PNGs."""

_SWAP = np.arange(256, dtype=np.uint8)
for _left, _right in MIRROR_PAIRS:
    _SWAP[_left], _SWAP[_right] = _right, _left

LANDMARK_MIRROR: Array = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
     54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)  # fmt: skip
"""(68,) for each iBUG landmark the index of its mirror partner."""


def is_class(parsing: Pixels, kinds: tuple[int, ...]) -> Array:
    """Return the boolean map of the pixels of a (H, W) class map that have one of some classes."""
    table = np.zeros(256, dtype=np.uint8)
    table[list(kinds)] = 1
    return np.asarray(cv2.LUT(parsing, table)).view(bool)


def swap_sides(parsing: Pixels) -> Pixels:
    """Exchange left and right classes of a (H, W) class map, without moving any pixel."""
    return _SWAP[parsing]


def mirror_parsing(parsing: Pixels) -> Pixels:
    """Mirror a (H, W) class map left to right: pixels move and left and right classes change places."""
    return np.ascontiguousarray(swap_sides(parsing)[:, ::-1])


def mirror_landmarks(landmarks: Array, width: float) -> Array:
    """Mirror (68, 2) iBUG landmarks of an image `width` wide: x becomes width - x and partners change places."""
    mirrored = landmarks[LANDMARK_MIRROR].copy()
    mirrored[:, 0] = width - mirrored[:, 0]
    return mirrored


def colourise(parsing: Pixels) -> Pixels:
    """Return the (H, W, 3) picture of a (H, W) class map in `PALETTE`; spare classes are drawn white."""
    table = np.full((256, 3), 255, dtype=np.uint8)
    table[: len(PALETTE)] = PALETTE
    return table[parsing]
