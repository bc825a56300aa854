"""A z-buffer: triangles seen by a labelled camera to depth, face and barycentric coordinates of every pixel, and soft alpha.

What the faces mean (class, colour, part) is left to the callers; `scene` says what is drawn. The loop is plain Python over
arrays, compiled by numba; tests run it uncompiled as its own slow twin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.camera import Camera
from ....datasets.compiled import compiled

if TYPE_CHECKING:
    from .ribbons import StrandBuffers

NEAREST = 0.05
"""World units in front of the camera within which a triangle is left out."""


@dataclass(frozen=True, eq=False)
class Buffers:
    """What a camera sees, per pixel of an (S, S) picture."""

    face: Array
    """(S, S) int32 index of the nearest face that is opaque enough there; -1 where there is none."""
    bary: Array
    """(S, S, 2) float32: weights of the face's second and third corner, corrected for perspective."""
    depth: Array
    """(S, S) float32 distance along the optical axis; infinity where there is nothing."""
    clear: Array
    """(S, S) float32: share of the background that is seen through everything, 0 to 1."""
    strands: StrandBuffers | None = None
    """What lies before it of strands, where there are any; `clear` knows only of those behind glass."""

    def blend(self, values: Array, faces: Array) -> Floats:
        """Interpolate values given at corners.

        Args:
            values: (V, C) values.
            faces: (F, 3) indices of each face's corners into `values`.

        Returns:
            (S, S, C), zero where there is no face.
        """
        seen = self.face >= 0
        corners = values[faces[self.face[seen]]]
        second, third = self.bary[seen][:, 0:1], self.bary[seen][:, 1:2]
        out = np.zeros((*self.face.shape, values.shape[1]))
        out[seen] = corners[:, 0] * (1.0 - second - third) + corners[:, 1] * second + corners[:, 2] * third
        return out


@dataclass(frozen=True, eq=False)
class AlphaMaps:
    """Alpha textures of all faces, end to end."""

    pixels: Array
    """(N,) uint8."""
    places: Array
    """(K, 3) int64: offset, height and width of each map."""
    of_face: Array
    """(F,) int32 index of a face's map; -1 where it is opaque."""
    seen_from: Array
    """(K,) float64 opacity from which a pixel of that map counts as seen."""


def rasterise(
    points: Floats, faces: Array, uvs: Array, face_uvs: Array, alpha: AlphaMaps, camera: Camera, size: int,
    order: Array | None = None, onto: Buffers | None = None,
) -> Buffers:  # fmt: skip
    """Draw triangles, both sides.

    Args:
        points: (V, 3) world points.
        faces: (F, 3) indices into `points`.
        uvs: (T, 2) texture coordinates, v down.
        face_uvs: (F, 3) indices into `uvs`.
        alpha: alpha textures.
        camera: who looks.
        size: side of the picture in pixels.
        order: indices of the faces to draw, the first of two at one place wins; all of them in their order where None. It is
            fastest with opaque faces first.
        onto: buffers to draw on, which are changed; new ones where None.
    """
    image, depth = camera.project(points)
    out = onto or Buffers(
        np.full((size, size), -1, dtype=np.int32), np.zeros((size, size, 2), dtype=np.float32),
        np.full((size, size), np.inf, dtype=np.float32), np.ones((size, size), dtype=np.float32),
    )  # fmt: skip
    compiled(fill, opacity_at)(
        np.ascontiguousarray(image * size), np.ascontiguousarray(depth), np.ascontiguousarray(faces, dtype=np.int32),
        np.ascontiguousarray(uvs), np.ascontiguousarray(face_uvs, dtype=np.int32), alpha.pixels, alpha.places, alpha.of_face,
        alpha.seen_from, np.arange(len(faces)) if order is None else order, NEAREST, out.face, out.bary, out.depth, out.clear,
    )  # fmt: skip
    return out


def opacity_at(uvs: Any, corners: Any, second: float, third: float, alphas: Any, place: Any) -> float:
    """Return the opacity, 0 to 1, that an alpha map has at a point of a triangle, read bilinearly.

    Args:
        uvs: (N, 2) texture coordinates.
        corners: (3,) indices of the triangle's corners among them.
        second, third: barycentric coordinates of the point.
        alphas: all maps, one after the other, 0 to 255.
        place: (start, height, width) of the map.
    """
    first = 1.0 - second - third
    ua, ub, uc = corners
    start, height, width = place
    u = (uvs[ua, 0] * first + uvs[ub, 0] * second + uvs[uc, 0] * third) * width - 0.5
    v = (uvs[ua, 1] * first + uvs[ub, 1] * second + uvs[uc, 1] * third) * height - 0.5
    u0, v0 = int(np.floor(u)), int(np.floor(v))
    fu, fv = u - u0, v - v0
    x0, x1 = min(max(u0, 0), width - 1), min(max(u0 + 1, 0), width - 1)
    upper = start + min(max(v0, 0), height - 1) * width
    lower = start + min(max(v0 + 1, 0), height - 1) * width
    above = alphas[upper + x0] * (1.0 - fu) + alphas[upper + x1] * fu
    below = alphas[lower + x0] * (1.0 - fu) + alphas[lower + x1] * fu
    return float(above * (1.0 - fv) + below * fv) / 255.0


def fill(
    image: Any, depth: Any, faces: Any, uvs: Any, face_uvs: Any, alphas: Any, places: Any, alpha_of: Any, seen_from: Any,
    order: Any, nearest: float, out_face: Any, out_bary: Any, out_depth: Any, out_clear: Any,
) -> None:  # fmt: skip
    """Fill the four buffers in place; the arguments are the arrays that `rasterise` names, `image` in pixels."""
    size = out_face.shape[0]
    for index in order:
        a, b, c = faces[index, 0], faces[index, 1], faces[index, 2]
        if min(depth[a], depth[b], depth[c]) < nearest:
            continue
        ax, ay, bx, by, cx, cy = image[a, 0], image[a, 1], image[b, 0], image[b, 1], image[c, 0], image[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-12:
            continue
        left = max(0, int(np.ceil(min(ax, bx, cx) - 0.5)))
        right = min(size - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
        top = max(0, int(np.ceil(min(ay, by, cy) - 0.5)))
        bottom = min(size - 1, int(np.floor(max(ay, by, cy) - 0.5)))
        place = alpha_of[index]
        side = 1.0 if area > 0.0 else -1.0
        closest = min(depth[a], depth[b], depth[c]) * (1.0 - 1e-9)
        for row in range(top, bottom + 1):
            y = row + 0.5
            for column in range(left, right + 1):
                if closest > out_depth[row, column] and out_clear[row, column] == 0.0:
                    continue  # hidden whole
                x = column + 0.5
                first = (bx - x) * (cy - y) - (by - y) * (cx - x)
                second = (cx - x) * (ay - y) - (cy - y) * (ax - x)
                if first * side < 0.0 or second * side < 0.0:
                    continue
                first, second = first / area, second / area
                third = 1.0 - first - second
                if third < 0.0:
                    continue
                z = 1.0 / (first / depth[a] + second / depth[b] + third / depth[c])
                if out_clear[row, column] == 0.0 and z >= out_depth[row, column]:
                    continue  # hidden
                second, third = second * z / depth[b], third * z / depth[c]
                if place < 0:
                    out_clear[row, column] = 0.0
                else:
                    opacity = opacity_at(uvs, face_uvs[index], second, third, alphas, places[place])
                    out_clear[row, column] *= 1.0 - opacity
                    if opacity < seen_from[place]:
                        continue
                if z < out_depth[row, column]:
                    out_depth[row, column] = z
                    out_face[row, column] = index
                    out_bary[row, column, 0], out_bary[row, column, 1] = second, third
