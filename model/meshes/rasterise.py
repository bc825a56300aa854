"""Triangles onto a raster: which face covers a pixel, where in the face, and how far away; for cameras and for texture atlases.

The loop is plain Python over arrays, compiled by numba; tests run it uncompiled as its own slow twin. `pipeline` has a
rasteriser of its own, with alpha maps and strands, which `model` does not import.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...datasets.arrays import Array, Floats
from ...datasets.camera import Camera
from ...datasets.compiled import compiled
from .mesh import Mesh


@dataclass(frozen=True, eq=False)
class Raster:
    """What covers each pixel of an (S, S) raster."""

    face: Array
    """(S, S) int32 index of the nearest face; -1 for none."""
    bary: Array
    """(S, S, 3) float32 weights of its corners, corrected for perspective."""
    depth: Array
    """(S, S) float32 distance along the optical axis; infinity for none, 1 in an atlas."""

    def blend(self, values: Array, faces: Array) -> Floats:
        """Interpolate (V, C) values of corners at every covered pixel; returns (N, C), pixels row by row."""
        seen = self.face >= 0
        corners = values[faces[self.face[seen]]]
        return np.asarray(np.einsum("nk,nkc->nc", self.bary[seen].astype(np.float64), corners))


def seen_by(mesh: Mesh, camera: Camera, size: int) -> Raster:
    """Draw a mesh as a camera sees it, both sides of every face.

    Args:
        mesh: all of it in front of the camera.
        camera: any camera.
        size: pixels a side.
    """
    places, depths = camera.project(mesh.vertices)
    return _drawn(places * size, 1.0 / depths, mesh.faces, size)


def laid_out(uv: Floats, faces: Array, size: int) -> Raster:
    """Draw the triangles of a texture atlas; v runs downward, as in glTF.

    Args:
        uv: (W, 2) places in [0, 1].
        faces: (F, 3) indices into `uv`.
        size: texels a side.
    """
    return _drawn(uv * size, np.ones(len(uv)), faces, size)


def _drawn(points: Floats, inverse: Floats, faces: Array, size: int) -> Raster:
    face = np.full((size, size), -1, dtype=np.int32)
    bary = np.zeros((size, size, 3), dtype=np.float32)
    nearest = np.zeros((size, size), dtype=np.float64)
    compiled(draw)(
        np.ascontiguousarray(points), np.ascontiguousarray(inverse), np.ascontiguousarray(faces), face, bary, nearest
    )
    with np.errstate(divide="ignore"):
        depth = (1.0 / nearest).astype(np.float32)
    return Raster(face, bary, depth)


def draw(points: Floats, inverse: Floats, faces: Array, face: Array, bary: Array, nearest: Array) -> None:
    """Draw triangles onto buffers; of equally near ones the first stays.

    Args:
        points: (V, 2) places in pixels.
        inverse: (V,) reciprocal depths.
        faces: (F, 3) indices.
        face, bary, nearest: buffers of (S, S), (S, S, 3) and (S, S); `nearest` holds reciprocal depths.
    """
    size = face.shape[0]
    for index in range(faces.shape[0]):
        a, b, c = faces[index, 0], faces[index, 1], faces[index, 2]
        ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        left, right = max(0, int(np.ceil(min(ax, bx, cx) - 0.5))), min(size - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
        top, bottom = max(0, int(np.ceil(min(ay, by, cy) - 0.5))), min(size - 1, int(np.floor(max(ay, by, cy) - 0.5)))
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                x, y = column + 0.5, row + 0.5
                first = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                second = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                third = 1.0 - first - second
                if first < 0.0 or second < 0.0 or third < -1e-12:
                    continue
                near = first * inverse[a] + second * inverse[b] + third * inverse[c]
                if near > nearest[row, column]:
                    nearest[row, column] = near
                    face[row, column] = index
                    bary[row, column, 0] = first * inverse[a] / near
                    bary[row, column, 1] = second * inverse[b] / near
                    bary[row, column, 2] = third * inverse[c] / near
