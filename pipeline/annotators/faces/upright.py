"""Whether a face stands the way it was taken to stand, or the other way up: both are shown to the face detector.

The mesh network draws a plausible face on an inverted one and is sure of it; the detector is not: it gives an upright face 0.9
and the same face inverted 0.6, where it sees one at all. What follows is left to the stages.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats, Pixels
from ...backends import mediapipe_models as models
from .face_crop import factor_to, reduce_by

SIDE = 224
"""Side in pixels of the cut-out that the detector sees."""
GROWTH = 1.3
"""Side of the cut-out in sides of the mesh network's square: about what surrounds faces in the detector's training."""
SURE = 0.7
"""Least score of another turn at which the face is taken to stand so."""
DOUBT = 0.85
"""Score below which quarter turns are tried as well: upright faces have 0.87 to 0.94."""
MARGIN = 0.06
"""Least by which it must be above the score of the turn that was assumed; of 44 upright faces each had the highest score of its
four turns, by 0.03 or more, and the opposite turn's was lower by 0.06 or more."""
CENTRAL = 0.3
"""Farthest that a face's middle may lie from the cut-out's, in its sides, to be the same face."""


def better_turn(finder: models.FaceFinder, pixels: Pixels, region: models.Region) -> models.Face | None:
    """Return the face as it stands where it was taken to stand otherwise; None where it was taken rightly, or nothing is sure.

    The opposite turn is always tried, quarter turns where the detector doubts the face as it was taken.

    Args:
        finder: the detector.
        pixels: (H, W, 3) uint8 picture.
        region: the mesh network's square around the face, turned as the face was taken to stand.
    """
    here = same_face(finder, pixels, region)
    score = here.score if here else 0.0
    turns = (math.pi,) if score >= DOUBT else (math.pi, 0.5 * math.pi, -0.5 * math.pi)
    others = [same_face(finder, pixels, dataclasses.replace(region, angle=region.angle + turn)) for turn in turns]
    best = max((face for face in others if face is not None), key=lambda face: face.score, default=None)
    if best is None or best.score < max(SURE, score + MARGIN):
        return None
    return best


def same_face(finder: models.FaceFinder, pixels: Pixels, region: models.Region) -> models.Face | None:
    """Look at a face once more, level in a cut-out; None where the detector sees none at its middle."""
    picture, back = _cut_out(pixels, region)
    for face in finder.find(picture):
        x, y, width, height = face.box
        if math.hypot(x + width / 2 - SIDE / 2, y + height / 2 - SIDE / 2) <= CENTRAL * SIDE:
            return _moved(face, back)
    return None


def region_of_face(face: models.Face, growth: float) -> models.Region:
    """Return the square around a detected face, `growth` sides of its box large, turned as its eyes say."""
    x, y, width, height = face.box
    across = face.points[1] - face.points[0]
    return models.Region(x + width / 2, y + height / 2, growth * max(width, height), math.atan2(across[1], across[0]))


def _cut_out(pixels: Pixels, region: models.Region) -> tuple[Pixels, Floats]:
    """Return a square cut-out in which the region stands level, and the (2, 3) map from it to the picture."""
    scale = GROWTH * region.side / SIDE
    c, s = scale * math.cos(region.angle), scale * math.sin(region.angle)
    middle = np.array([[c, -s], [s, c]]) @ (SIDE / 2.0, SIDE / 2.0)
    back = np.array([[c, -s, region.x - middle[0]], [s, c, region.y - middle[1]]])
    half = 0.75 * GROWTH * region.side + 2.0  # of the turned square, its corners included
    x0, y0 = max(0, math.floor(region.x - half)), max(0, math.floor(region.y - half))
    x1, y1 = min(pixels.shape[1], math.ceil(region.x + half)), min(pixels.shape[0], math.ceil(region.y + half))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return np.zeros((SIDE, SIDE, 3), dtype=np.uint8), back
    near = pixels[y0:y1, x0:x1]
    factor = min(max(1, int(scale)), factor_to(near, 1))
    near = reduce_by(near, factor)
    local = back.copy()
    local[:, 2] -= (x0, y0)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(near, local / factor, (SIDE, SIDE), flags=flags), dtype=np.uint8), back


def _moved(face: models.Face, back: Array) -> models.Face:
    x, y, width, height = face.box
    middle = back[:, :2] @ (x + width / 2, y + height / 2) + back[:, 2]
    scale = math.hypot(back[0, 0], back[1, 0])
    box = (middle[0] - scale * width / 2, middle[1] - scale * height / 2, scale * width, scale * height)
    points = (face.points @ back[:, :2].T + back[:, 2]).astype(np.float32)
    return models.Face((float(box[0]), float(box[1]), float(box[2]), float(box[3])), face.score, points)
