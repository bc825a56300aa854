"""What of the sky each vertex of a figure sees, once a person, and what a lamp sees: depth maps of triangles without shading.

A vertex keeps one weight for each of `NUM_DIRECTIONS` directions (precomputed radiance transfer, Sloan et al. 2002, with the
directions themselves as basis), so that a new sky costs one product of matrices. How light becomes colour is `deferred`'s.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.compiled import compiled

NUM_DIRECTIONS = 48
"""Directions in which a vertex looks for the sky, spread evenly over the sphere."""
MAP_SIDE = 128
"""Side in texels of the depth map of a direction."""
REACH = 0.75
"""World units from the origin within which things hide the sky."""
LIFT = 1.4 * 2.0 * REACH / MAP_SIDE
"""World units by which vertices are lifted along their normals, so that slopes do not hide themselves: more than a texel."""


@cache
def directions() -> Floats:
    """Return (K, 3) unit directions on a Fibonacci lattice, poles left out."""
    index = np.arange(NUM_DIRECTIONS) + 0.5
    height = 1.0 - 2.0 * index / NUM_DIRECTIONS
    angle = np.pi * (1.0 + np.sqrt(5.0)) * index
    level = np.sqrt(1.0 - height**2)
    return np.column_stack([level * np.cos(angle), height, level * np.sin(angle)])


def visibility(
    points: Floats, lifted: Floats, faces: Array, near: Array, centre: Floats | float = 0.0, reach: float = REACH,
    side: int = MAP_SIDE,
) -> Array:  # fmt: skip
    """Return the (V, K) float32 share of each direction that a vertex sees.

    Args:
        points: (V, 3) world points.
        lifted: (V, 3) the same, moved to where the sky is looked for, such as by `LIFT` along their normals.
        faces: (F, 3) int32, those that hide something.
        near: (V,) float32 distance before a lifted point within which nothing hides it.
        centre, reach: (3,) world point and world units around it within which things hide the sky.
        side: texels of a depth map along each axis.
    """
    seen = np.empty((NUM_DIRECTIONS, len(points)), dtype=np.float32)
    for number in range(NUM_DIRECTIONS):
        nearest = depth_map(placed_in(points, number, reach, centre, side), faces, side)
        compiled(lit)(placed_in(lifted, number, reach, centre, side), nearest, near, seen[number])
    return np.ascontiguousarray(seen.T)


def placed_in(points: Array, towards: int, reach: float = REACH, centre: Floats | float = 0.0, side: int = MAP_SIDE) -> Array:
    """Return (N, 3) float32 column, row and depth of points in the depth map that looks from a direction.

    Args:
        points: (N, 3) world points.
        towards: index in `directions`.
        reach, centre, side: as in `visibility`.
    """
    out = np.empty((len(points), 3), dtype=np.float32)
    middle = np.zeros(3) + centre
    compiled(place_all)(points, _frame(towards), middle, side / (2.0 * reach), 0.5 * side, out)
    return out


@cache
def _frame(number: int) -> Floats:
    """Return (3, 3) unit vectors across, down and away of the depth map that looks from a direction."""
    towards = directions()[number]
    across = np.cross([0.0, 1.0, 0.0] if abs(towards[1]) < 0.9 else [1.0, 0.0, 0.0], towards)
    across /= np.linalg.norm(across)
    return np.ascontiguousarray(np.stack([across, np.cross(towards, across), -towards]))


def place_all(points: Any, frame: Any, middle: Any, scale: float, half: float, out: Any) -> None:
    """Write column, row and depth of points (N, 3) around `middle` into `out`: `scale` texels a unit, the middle at `half`."""
    for n in range(points.shape[0]):
        x, y, z = points[n, 0] - middle[0], points[n, 1] - middle[1], points[n, 2] - middle[2]
        out[n, 0] = (x * frame[0, 0] + y * frame[0, 1] + z * frame[0, 2]) * scale + half
        out[n, 1] = (x * frame[1, 0] + y * frame[1, 1] + z * frame[1, 2]) * scale + half
        out[n, 2] = x * frame[2, 0] + y * frame[2, 1] + z * frame[2, 2]


def depth_map(placed: Array, faces: Array, side: int) -> Array:
    """Return the (side, side) float32 least depth of triangles; infinity where there is none.

    Args:
        placed: (V, 3) float32 column and row in texels, and depth.
        faces: (F, 3) int32.
        side: texels along each axis.
    """
    nearest = np.full((side, side), np.inf, dtype=np.float32)
    compiled(fill_depth)(placed, faces, nearest)
    return nearest


def fill_depth(placed: Any, faces: Any, nearest: Any) -> None:
    """Lower `nearest` (S, S) to the depth of each triangle at the texels' centres; small ones count at their middle."""
    side, half, one = nearest.shape[0], np.float32(0.5), np.float32(1.0)
    for index in range(faces.shape[0]):
        a, b, c = faces[index, 0], faces[index, 1], faces[index, 2]
        ax, ay, bx, by, cx, cy = placed[a, 0], placed[a, 1], placed[b, 0], placed[b, 1], placed[c, 0], placed[c, 1]
        left, right = int(np.floor(min(ax, bx, cx))), int(np.floor(max(ax, bx, cx)))
        top, bottom = int(np.floor(min(ay, by, cy))), int(np.floor(max(ay, by, cy)))
        if right < 0 or bottom < 0 or left >= side or top >= side:
            continue
        if right - left <= 1 and bottom - top <= 1:
            column, row = int((ax + bx + cx) / 3.0), int((ay + by + cy) / 3.0)
            if 0 <= column < side and 0 <= row < side:
                depth = (placed[a, 2] + placed[b, 2] + placed[c, 2]) / np.float32(3.0)
                if depth < nearest[row, column]:
                    nearest[row, column] = depth
            continue
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        inverse = np.float32(1.0) / area
        along, slope = (by - cy) * inverse, (cy - ay) * inverse
        start = max(left, 0)
        x = np.float32(start) + half
        for row in range(max(top, 0), min(bottom, side - 1) + 1):
            y = np.float32(row) + half
            first = ((bx - x) * (cy - y) - (by - y) * (cx - x)) * inverse
            second = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) * inverse
            for column in range(start, min(right, side - 1) + 1):
                third = one - first - second
                if first >= 0.0 and second >= 0.0 and third >= 0.0:
                    depth = first * placed[a, 2] + second * placed[b, 2] + third * placed[c, 2]
                    if depth < nearest[row, column]:
                        nearest[row, column] = depth
                first += along
                second += slope


def lit(placed: Any, nearest: Any, near: Any, out: Any) -> None:
    """Write into `out` (V,) how much of a direction each vertex sees: bilinear over four texels, 1 outside the map."""
    side = nearest.shape[0]
    for vertex in range(placed.shape[0]):
        x, y = placed[vertex, 0] - np.float32(0.5), placed[vertex, 1] - np.float32(0.5)
        column, row = int(np.floor(x)), int(np.floor(y))
        if column < 0 or row < 0 or column + 1 >= side or row + 1 >= side:
            out[vertex] = 1.0
            continue
        across, down = x - column, y - row
        limit = placed[vertex, 2] - near[vertex]
        share = np.float32(0.0)
        if nearest[row, column] > limit:
            share += (1.0 - across) * (1.0 - down)
        if nearest[row, column + 1] > limit:
            share += across * (1.0 - down)
        if nearest[row + 1, column] > limit:
            share += (1.0 - across) * down
        if nearest[row + 1, column + 1] > limit:
            share += across * down
        out[vertex] = share
