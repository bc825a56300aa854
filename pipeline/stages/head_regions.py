"""Where on a crop the head, its face, its parts without hair and its background surely are: what measures of quality look at.

What is measured there is left to `quality`.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from ...datasets import spectra, warp
from ...datasets.arrays import Pixels
from ...datasets.classes import INDEX, NOT_HEAD, is_class
from ...datasets.sample import Sample
from ..annotators.faces.face_regions import FACE_OVAL, fill
from ..curation.measures import Region

_FACE = tuple(
    INDEX[name]
    for name in ("skin", "left_brow", "right_brow", "left_eye", "right_eye", "nose", "mouth", "upper_lip", "lower_lip")
)
_EYES, _MIN_EYES_SHARE = (INDEX["left_eye"], INDEX["right_eye"]), 1e-4
"""Share of the crop from which on eyes are seen: without, skin is a nape's, a cheek's or a bald head's and no exposed face."""
_NO_STRANDS = (*(INDEX[name] for name in ("left_ear", "right_ear", "neck", "cloth", "glasses")), *_FACE)
"""Where halos and noise are looked for: strands and braids lie side by side, bright and dark, and look like halos of each
other, and locs and curls of a few pixels look like noise."""
_MIN_PLAIN_SHARE = 0.02
"""Share of the crop below which a region says nothing of halos or noise."""
_MIN_FACE_SHARE = 0.015
"""A face of less than this share of the crop is not judged by its skin: the head is seen from behind."""
_HEAD_CENTRE, _HEAD_RADII = (0.5, 0.46), (0.30, 0.38)
"""The ellipse of the crop in which the head frame puts a head, from wherever it is seen."""
_SOURCE_SIDE = 768
"""Largest side of the part of the photograph in which compression blocks are looked for."""


def regions(sample: Sample) -> tuple[Region, Region | None]:
    """Return where the head and, if it is seen, the face lie in the crop, each drawn in by a margin.

    The head is what the parsing calls head, else the matte, else where the head frame puts a head. The face is
    what the parsing calls face where it sees an eye or a mesh fitted, else the mesh's oval, else the hull of the landmarks.

    Returns:
        Two (S, S) boolean maps; None for a face that nothing shows.
    """
    size = sample.require("image").shape[0]
    face = _face(sample, size)
    if sample.parsing is not None:
        head = ~is_class(sample.parsing, NOT_HEAD)
    elif sample.mask is not None:
        head = sample.mask > 127
    else:
        head = expected_head(size)
    if face is not None and np.count_nonzero(face) < _MIN_FACE_SHARE * size * size:
        face = None
    return spectra.drawn_in(head), None if face is None else spectra.drawn_in(face)


def without_strands(sample: Sample, face: Region | None) -> Region | None:
    """Return the (S, S) part of head and shoulders without hair, drawn in by a margin; None where too little is known of it."""
    found = face if sample.parsing is None else spectra.drawn_in(is_class(sample.parsing, _NO_STRANDS))
    return None if found is None or np.count_nonzero(found) < _MIN_PLAIN_SHARE * found.size else found


def background(sample: Sample) -> Region | None:
    """Return the (S, S) part of the crop that shows no person, drawn in by a margin; None where too little is known of it.

    What is one even colour, as a cut-out's ground or a burnt-out sky, is left out: no sensor's noise is left there.
    """
    if sample.parsing is None:
        return None
    grey = cv2.cvtColor(sample.require("image"), cv2.COLOR_RGB2GRAY)
    even = cv2.dilate(grey, np.ones((3, 3))) == cv2.erode(grey, np.ones((3, 3)))
    found = spectra.drawn_in(is_class(sample.parsing, (INDEX["background"],))) & ~even
    return None if np.count_nonzero(found) < _MIN_PLAIN_SHARE * found.size else found


@cache
def expected_head(size: int) -> Region:
    """Return the (size, size) ellipse in which the head frame puts the head; read-only."""
    axis = (np.arange(size) + 0.5) / size
    x, y = (axis - _HEAD_CENTRE[0]) / _HEAD_RADII[0], (axis - _HEAD_CENTRE[1]) / _HEAD_RADII[1]
    inside: Region = x[None, :] ** 2 + y[:, None] ** 2 <= 1.0
    inside.setflags(write=False)
    return inside


def source_region(sample: Sample) -> Pixels:
    """Return the photograph's own pixels under the crop, at most `_SOURCE_SIDE` a side round its middle; none may be there."""
    crop, pixels = sample.require("crop"), sample.photo.pixels
    corners = warp.quad(crop.matrix, crop.size)
    middle = corners.mean(axis=0)
    low = np.maximum(corners.min(axis=0), middle - _SOURCE_SIDE / 2)
    high = np.minimum(corners.max(axis=0), middle + _SOURCE_SIDE / 2)
    x0, y0 = np.maximum(np.floor(low), 0).astype(int)
    x1, y1 = np.ceil(high).astype(int)
    return np.ascontiguousarray(pixels[y0 : max(y1, 0), x0 : max(x1, 0)])


def _face(sample: Sample, size: int) -> Region | None:
    if sample.parsing is not None:
        eyes = np.count_nonzero(is_class(sample.parsing, _EYES))
        seen = sample.mesh is not None or eyes >= _MIN_EYES_SHARE * size * size
        return is_class(sample.parsing, _FACE) if seen else None
    if sample.mesh is not None:
        polygon = sample.mesh[list(FACE_OVAL), :2]
    elif sample.landmarks is not None:
        polygon = cv2.convexHull(np.asarray(sample.landmarks, dtype=np.float32)).reshape(-1, 2)
    else:
        return None
    canvas = np.zeros((size, size), dtype=np.uint8)
    fill(canvas, polygon, 1)
    return np.asarray(canvas > 0)
