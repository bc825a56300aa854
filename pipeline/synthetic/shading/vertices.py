"""Loops of deferred shading over vertices: what of the sky arrives at each, and its highlights on hair.

Vertices carry 16 numbers: normal 0-2, tangent of hair 3-5, irradiance of the sky 6-8, its highlight on hair 9-11, how much of
an even sky arrives 12, and the place seen from the lamp 13-15. The loops are plain Python over arrays, compiled by numba.
"""

from __future__ import annotations

from typing import Any

import numpy as np

VERTEX_NUMBERS = 16


def mark_vertices(face: Any, faces: Any, needed: Any) -> None:
    """Set `needed` (V,) for the corners, faces (F, 3), of all that is seen, face (S, S)."""
    for row in range(face.shape[0]):
        before = -1
        for column in range(face.shape[1]):
            index = face[row, column]
            if index >= 0 and index != before:
                needed[faces[index, 0]] = needed[faces[index, 1]] = needed[faces[index, 2]] = True
                before = index


def light_vertices(
    needed: Any, normals: Any, tangents: Any, transfer: Any, ambient: Any, bounced: Any, points: Any, arriving: Any,
    to_lamp: Any, bounce: Any, out: Any,
) -> None:  # fmt: skip
    """Fill `out` (V, 16), but for hair's highlights, for the vertices that are `needed` (V,).

    Args:
        needed: which vertices are seen.
        normals, tangents, transfer, ambient, bounced: as in `surfaces.Surfaces`.
        points: (V, 3) world points.
        arriving: (K, 3) light from the sky's directions.
        to_lamp: (3, 4) from the world to the lamp's camera, the first two rows in texels; zeros without a lamp.
        bounce: (3,) irradiance that comes where the sky is hidden.
        out: changed in place.
    """
    for vertex in range(points.shape[0]):
        if not needed[vertex]:
            continue
        red = green = blue = np.float32(0.0)
        for k in range(arriving.shape[0]):
            share = transfer[vertex, k]
            red += share * arriving[k, 0]
            green += share * arriving[k, 1]
            blue += share * arriving[k, 2]
        hidden = bounced[vertex]
        out[vertex, 6], out[vertex, 7] = red + hidden * bounce[0], green + hidden * bounce[1]
        out[vertex, 8], out[vertex, 12] = blue + hidden * bounce[2], ambient[vertex]
        for axis in range(3):
            out[vertex, axis], out[vertex, 3 + axis] = normals[vertex, axis], tangents[vertex, axis]
            out[vertex, 13 + axis] = (
                to_lamp[axis, 0] * points[vertex, 0] + to_lamp[axis, 1] * points[vertex, 1]
                + to_lamp[axis, 2] * points[vertex, 2] + to_lamp[axis, 3]
            )  # fmt: skip


def light_hair(
    needed: Any, kinds: Any, tangents: Any, sees: Any, points: Any, arriving: Any, towards: Any, eye: Any, hair: int, out: Any
) -> None:  # fmt: skip
    """Fill numbers 9 to 11 of `out` (V, 16), the sky's highlights on hair (Kajiya and Kay 1989, exponent 16).

    Args:
        needed: (V,) which vertices are seen.
        kinds, tangents, sees: as in `surfaces.Surfaces`.
        points: (V, 3) world points.
        arriving, towards: (K, 3) light from the sky's directions, and the directions.
        eye: (3,) the camera's place.
        hair: the kind that has such highlights; others get none.
        out: changed in place.
    """
    for vertex in range(points.shape[0]):
        if not needed[vertex]:
            continue
        out[vertex, 9] = out[vertex, 10] = out[vertex, 11] = 0.0
        if kinds[vertex] != hair:
            continue
        vx, vy, vz = eye[0] - points[vertex, 0], eye[1] - points[vertex, 1], eye[2] - points[vertex, 2]
        length = np.sqrt(vx * vx + vy * vy + vz * vz)
        vx, vy, vz = vx / length, vy / length, vz / length
        red = green = blue = np.float32(0.0)
        for k in range(towards.shape[0]):
            if sees[vertex, k] <= 0.0:
                continue
            hx, hy, hz = towards[k, 0] + vx, towards[k, 1] + vy, towards[k, 2] + vz
            along = tangents[vertex, 0] * hx + tangents[vertex, 1] * hy + tangents[vertex, 2] * hz
            square = np.float32(1.0 - along * along / max(hx * hx + hy * hy + hz * hz, 1e-6))
            square *= square
            square *= square
            square *= square * sees[vertex, k]
            red += square * arriving[k, 0]
            green += square * arriving[k, 1]
            blue += square * arriving[k, 2]
        out[vertex, 9], out[vertex, 10], out[vertex, 11] = red, green, blue
