"""Where the parts of a face lie on MediaPipe's 478-point mesh, and where ears are expected on the canonical head.

Indices are MediaPipe's; "right" and "left" are the subject's. Deciding which pixel belongs to what is left to `mesh_parser`.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.canonical_face import mirror_partners
from ....datasets.classes import INDEX

FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""Outline of the mesh, from the middle of the forehead over the subject's left cheek to the chin and back."""
JAW = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361)
"""Lower outline from under the subject's right ear over the chin to under the left one."""
RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
RIGHT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
UPPER_LIP = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191, 78)
LOWER_LIP = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95, 78)
MOUTH = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
"""The opening between the lips."""
_RIGHT_NOSE = (168, 193, 245, 128, 114, 217, 126, 49, 129, 64, 98, 97, 2)
"""Outline of the nose's right half, from the bridge to under the tip."""

CORE = (70, 300, 105, 334, 33, 263, 205, 425, 61, 291, 149, 378, 152, 176, 400)
"""Points whose hull is face in every picture: brows, eyes, cheeks, mouth and chin; hair may hang before the rest."""
CHIN, FOREHEAD = 152, 10

EAR_CENTRE = (8.3, 0.2, -4.6)
"""Middle of the left ear in the canonical face model's centimetres; the model's own side ends at x 7.7, z -2.4."""
EAR_HALF_HEIGHT = 3.4
"""Half length of an ear in centimetres."""
EAR_HALF_WIDTH = 2.2
"""Half width of an ear, measured along the ear, which stands off the head by about 35 degrees."""
EAR_LEAN = 0.18
"""Centimetres by which the ear leans back for every one that it rises."""


@cache
def _mirrored(indices: tuple[int, ...]) -> tuple[int, ...]:
    partners = mirror_partners()
    return tuple(int(partners[index]) for index in indices)


@cache
def feature_polygons() -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return (class name, mesh indices) in painting order: the nose comes last, since it hides the far eye."""
    nose = _RIGHT_NOSE + tuple(reversed(_mirrored(_RIGHT_NOSE[1:-1])))
    return (
        ("right_brow", RIGHT_BROW),
        ("left_brow", _mirrored(RIGHT_BROW)),
        ("right_eye", RIGHT_EYE),
        ("left_eye", _mirrored(RIGHT_EYE)),
        ("upper_lip", UPPER_LIP),
        ("lower_lip", LOWER_LIP),
        ("mouth", MOUTH),
        ("nose", nose),
    )


def fill(canvas: Pixels, polygon: Array, value: int) -> None:
    """Fill an (N, 2) polygon of continuous pixel coordinates into a canvas, a sixteenth of a pixel exact."""
    # a pixel's centre is at + 0.5 here and at a whole number in OpenCV
    corners = np.round((np.asarray(polygon, dtype=np.float64) - 0.5) * 16.0).astype(np.int32)
    cv2.fillPoly(canvas, [corners], value, shift=4)


def paint_features(parsing: Pixels, mesh: Array, where: Array) -> None:
    """Paint brows, eyes, lips, mouth and nose of a (478, 3) mesh in crop pixels, where the (H, W) boolean map allows it."""
    painted = np.zeros_like(parsing)
    for name, indices in feature_polygons():
        fill(painted, mesh[list(indices), :2], INDEX[name])
    np.copyto(parsing, painted, where=(painted > 0) & where)


def ear_outline(side: int, grow: float = 0.0) -> Floats:
    """Return the (24, 3) outline of an ear on the canonical face model, in its centimetres.

    Args:
        side: +1 the subject's left, -1 the right.
        grow: centimetres by which the outline is widened, for a search region.
    """
    angle = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    along = (EAR_HALF_WIDTH + grow) * np.cos(angle)
    up = (EAR_HALF_HEIGHT + grow) * np.sin(angle)
    x = EAR_CENTRE[0] + 0.57 * along
    z = EAR_CENTRE[2] - 0.82 * along - EAR_LEAN * up
    return np.stack([side * x, EAR_CENTRE[1] + up, z], axis=1)
