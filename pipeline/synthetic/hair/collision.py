"""How far points lie outside a head: signed distances on a grid, made anew for each person in a few hundredths of a second.

Strands are kept outside by it while they grow. What belongs to the head, from ears to collars, is the callers' business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ....datasets.arrays import Array
from ....datasets.compiled import compiled

LOW, HIGH = (-0.42, -0.60, -0.56), (0.42, 0.46, 0.40)
"""Corners of the box that is covered, in the head frame's world units; beyond it the distance at its border holds."""
CELL = 0.0125
"""Side of a cell, about 5 mm."""
SPACING = 0.010
"""Distance between neighbouring surface points: within it the plane through the nearest one tells the distance."""


@dataclass(frozen=True, eq=False)
class DistanceField:
    """Signed distances to a surface, positive outside."""

    values: Array
    """(X, Y, Z) float32 at the corners of cells, from `LOW` in steps of `CELL`."""

    def at(self, points: Array) -> Array:
        """Return the (N,) float32 distances of (N, 3) points."""
        out = np.empty((len(points), 4), dtype=np.float32)
        compiled(sample_many, sample)(
            self.values, np.asarray(LOW, np.float32), np.float32(CELL), points.astype(np.float32), out
        )
        return out[:, 0]

    def normals(self, points: Array) -> Array:
        """Return the (N, 3) float32 unit directions away from the surface at points."""
        out = np.empty((len(points), 4), dtype=np.float32)
        compiled(sample_many, sample)(
            self.values, np.asarray(LOW, np.float32), np.float32(CELL), points.astype(np.float32), out
        )
        return out[:, 1:]


def distance_field(points: Array, normals: Array) -> DistanceField:
    """Make the field of a surface that is told by dense points.

    Args:
        points: (N, 3) in the head frame.
        normals: (N, 3) unit vectors that point outwards.
    """
    shape = tuple(round((high - low) / CELL) + 1 for low, high in zip(LOW, HIGH, strict=True))
    nearest = np.full(shape, -1, dtype=np.int32)
    values = np.empty(shape, dtype=np.float32)
    low = np.asarray(LOW, dtype=np.float32)
    compiled(spread_nearest)(points.astype(np.float32), low, np.float32(CELL), nearest)
    compiled(tell_distances)(
        points.astype(np.float32), normals.astype(np.float32), nearest, low, np.float32(CELL), np.float32(SPACING), values
    )
    return DistanceField(values)


def spread_nearest(points: Any, low: Any, cell: float, nearest: Any) -> None:
    """Write the index of the (nearly) nearest point into every corner of the grid: points spread in four sweeps.

    Vector distance transform (Danielsson 1980), whose errors lie far below a cell.
    """
    nx, ny, nz = nearest.shape
    far = np.float32(1e9)
    best = np.full((nx, ny, nz), far, dtype=np.float32)
    for n in range(points.shape[0]):
        x, y, z = (points[n, 0] - low[0]) / cell, (points[n, 1] - low[1]) / cell, (points[n, 2] - low[2]) / cell
        if not (0.0 <= x <= nx - 1.0 and 0.0 <= y <= ny - 1.0 and 0.0 <= z <= nz - 1.0):
            continue
        i, j, k = int(x + 0.5), int(y + 0.5), int(z + 0.5)
        distance = (x - i) ** 2 + (y - j) ** 2 + (z - k) ** 2
        if distance < best[i, j, k]:
            best[i, j, k], nearest[i, j, k] = distance, n
    for sweep in range(4):
        sign = 1 if sweep % 2 == 0 else -1
        for a in range(nx):
            i = a if sign > 0 else nx - 1 - a
            for b in range(ny):
                j = b if sign > 0 else ny - 1 - b
                for c in range(nz):
                    k = c if sign > 0 else nz - 1 - c
                    for step in range(13):  # the half of the 26 neighbours that this sweep has passed
                        di, rest = -1 if step < 9 else 0, step if step < 9 else step - 9
                        dj = rest // 3 - 1 if step < 9 else (-1 if rest < 3 else 0)
                        dk = rest % 3 - 1 if step < 9 or rest < 3 else -1
                        p, q, r = i + sign * di, j + sign * dj, k + sign * dk
                        if p < 0 or q < 0 or r < 0 or p >= nx or q >= ny or r >= nz or nearest[p, q, r] < 0:
                            continue
                        n = nearest[p, q, r]
                        if n == nearest[i, j, k]:
                            continue
                        x, y, z = (points[n, 0] - low[0]) / cell - i, (points[n, 1] - low[1]) / cell - j, 0.0
                        z = (points[n, 2] - low[2]) / cell - k
                        distance = x * x + y * y + z * z
                        if distance < best[i, j, k]:
                            best[i, j, k], nearest[i, j, k] = distance, n


def tell_distances(points: Any, normals: Any, nearest: Any, low: Any, cell: float, spacing: float, values: Any) -> None:
    """Write signed distances into `values` from each corner's nearest point: of its plane near by, of the point farther off."""
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            for k in range(values.shape[2]):
                n = nearest[i, j, k]
                x, y = low[0] + i * cell - points[n, 0], low[1] + j * cell - points[n, 1]
                z = low[2] + k * cell - points[n, 2]
                plane = x * normals[n, 0] + y * normals[n, 1] + z * normals[n, 2]
                size = max(abs(plane), np.sqrt(x * x + y * y + z * z) - spacing)
                values[i, j, k] = size if plane > 0.0 else -size


def sample(values: Any, low: Any, cell: float, x: float, y: float, z: float) -> Any:
    """Return distance and unit gradient at a point, trilinear: (distance, nx, ny, nz). Loops that call it are compiled."""
    nx, ny, nz = values.shape
    one = np.float32(1.0)
    u = min(max((x - low[0]) / cell, np.float32(0.0)), np.float32(nx - 1.001))
    v = min(max((y - low[1]) / cell, np.float32(0.0)), np.float32(ny - 1.001))
    w = min(max((z - low[2]) / cell, np.float32(0.0)), np.float32(nz - 1.001))
    i, j, k = int(u), int(v), int(w)
    u, v, w = u - np.float32(i), v - np.float32(j), w - np.float32(k)
    a, b = values[i, j, k], values[i, j, k + 1]
    c, d = values[i, j + 1, k], values[i, j + 1, k + 1]
    e, f = values[i + 1, j, k], values[i + 1, j, k + 1]
    g, h = values[i + 1, j + 1, k], values[i + 1, j + 1, k + 1]
    ab, cd, ef, gh = a + (b - a) * w, c + (d - c) * w, e + (f - e) * w, g + (h - g) * w
    near, far = ab + (cd - ab) * v, ef + (gh - ef) * v
    dx = far - near
    dy = (cd - ab) * (one - u) + (gh - ef) * u
    dz = ((b - a) * (one - v) + (d - c) * v) * (one - u) + ((f - e) * (one - v) + (h - g) * v) * u
    length = np.sqrt(dx * dx + dy * dy + dz * dz) + np.float32(1e-9)
    return near + dx * u, dx / length, dy / length, dz / length


def sample_many(values: Any, low: Any, cell: float, points: Any, out: Any) -> None:
    """Write distance and unit gradient at (N, 3) points into `out` (N, 4)."""
    for n in range(points.shape[0]):
        out[n, 0], out[n, 1], out[n, 2], out[n, 3] = sample(values, low, cell, points[n, 0], points[n, 1], points[n, 2])
