"""Where MediaPipe's 478 face points lie on a person's own surface, in the head frame: labels that nobody had to mark.

The first 468 are vertices of the body (`placement.face_vertices`), the last ten the irises as they are painted; what a camera
sees of them is left to whoever takes the picture.
"""

from __future__ import annotations

import numpy as np

from ....datasets.arrays import Floats
from .placement import face_vertices

IRIS_MIDDLES = ((150.5, 360.0), (361.5, 152.5))
"""Middles of both irises in the eyes' textures of 512 pixels."""
IRIS_RADIUS = 57.0
"""Their radius."""
NUM_POINTS = 478


def face_points(surface: Floats, right: Floats, left: Floats) -> Floats:
    """Return the (478, 3) points; irises that a person lacks are NaN.

    Args:
        surface: (V', 3) fine vertices of the bust in the head frame, the base mesh's own first.
        right, left: (5, 3) iris of each eye as `iris_points` returns it, or (0, 3).
    """
    irises = [iris if len(iris) else np.full((5, 3), np.nan) for iris in (right, left)]
    return np.vstack([surface[face_vertices()], *irises])


def iris_points(points: Floats, faces: Floats, uvs: Floats, face_uvs: Floats) -> Floats:
    """Return the (5, 3) middle of an eyeball's iris and its rim towards +x, +y, -x and -y; (0, 3) where it has none.

    Args:
        points: (V, 3) the eyeball in the head frame.
        faces: (F, 3) its triangles.
        uvs: (T, 2) texture coordinates, v down.
        face_uvs: (F, 3) their indices.
    """
    corners = uvs[face_uvs]
    for column, row in IRIS_MIDDLES:
        steps = np.array([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)]) * IRIS_RADIUS
        found = [_on_surface(place / 512.0, points, faces, corners) for place in np.array([column, row]) + steps]
        if any(point is None for point in found):
            continue
        middle, *rim = (np.asarray(point) for point in found)
        away = np.array(rim) - middle
        order = [int(np.argmax(away @ axis)) for axis in np.array([(1, 0, 0), (0, 1, 0), (-1, 0, 0), (0, -1, 0)])]
        return np.array([middle, *(rim[index] for index in order)])
    return np.zeros((0, 3))


def _on_surface(place: Floats, points: Floats, faces: Floats, corners: Floats) -> Floats | None:
    """Return the point whose texture coordinate is `place`, or None where no face has it."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    x, y = (place - corners[:, 0]).T
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        b = (x * second[:, 1] - y * second[:, 0]) / area
        c = (first[:, 0] * y - first[:, 1] * x) / area
    inside = np.flatnonzero((b >= -1e-9) & (c >= -1e-9) & (b + c <= 1.0 + 1e-9))
    if not len(inside):
        return None
    face = inside[0]
    weights = np.array([1.0 - b[face] - c[face], b[face], c[face]])
    return np.asarray(weights @ points[faces[face]])
