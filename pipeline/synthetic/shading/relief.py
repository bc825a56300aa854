"""Skin's relief: waves in the head frame that tilt normals, as far as a picture is fine enough to show them.

Without it highlights lie on skin as on porcelain. Normals in labels stay those of the meshes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ....datasets.arrays import Array
from ..hair.scalp import CENTIMETRE

LENGTHS, COUNT = (0.12, 0.45), 24
"""Shortest and longest waves in centimetres, and how many there are."""
STEEP = 0.045
"""Root mean square of the slope of all waves together."""


def waves(pixel: float) -> Array:
    """Return (W, 5) float32 waves: vectors in radians per world unit 0-2, phases 3, and heights in world units 4.

    Waves shorter than four pixels are lower, those below two are left out: they would flicker.

    Args:
        pixel: how wide a pixel is at the skin, world units.
    """
    found = _waves().copy()
    lengths = 2.0 * np.pi / np.linalg.norm(found[:, :3], axis=1)
    found[:, 4] *= np.clip(lengths / (2.0 * pixel) - 1.0, 0.0, 1.0)
    return np.ascontiguousarray(found[found[:, 4] > 0.0])


@cache
def _waves() -> Array:
    random = np.random.Generator(np.random.Philox(COUNT))
    towards = random.standard_normal((COUNT, 3))
    numbers = 2.0 * np.pi / (CENTIMETRE * np.geomspace(*LENGTHS, COUNT))
    towards *= (numbers / np.linalg.norm(towards, axis=1))[:, None]
    heights = STEEP * np.sqrt(2.0 / COUNT) / numbers
    return np.column_stack([towards, random.uniform(0.0, 2.0 * np.pi, COUNT), heights]).astype(np.float32)


def roughen(
    places: Any, parts: Any, finishes: Any, face: Any, bary: Any, faces: Any, points: Any, waves: Any, out: Any
) -> None:  # fmt: skip
    """Tilt the normals of skin, numbers 0 to 2 of `out` (N, 20), by the slopes of waves that stand in the head frame.

    Args:
        places, face, bary, faces, parts, finishes: as in `points.gather`.
        points: (V, 3) the figure's points.
        waves: (W, 5) wave vectors in radians per world unit, phases, and heights.
        out: changed in place, with the cosine 19 of the new normal; what turns away from the camera keeps its normal.
    """
    for place in range(places.shape[0]):
        if int(finishes[parts[place], 0]) != 1:
            continue
        row, column = places[place, 0], places[place, 1]
        index = face[row, column]
        second, third = bary[row, column, 0], bary[row, column, 1]
        first = np.float32(1.0) - second - third
        a, b, c = faces[index, 0], faces[index, 1], faces[index, 2]
        x = points[a, 0] * first + points[b, 0] * second + points[c, 0] * third
        y = points[a, 1] * first + points[b, 1] * second + points[c, 1] * third
        z = points[a, 2] * first + points[b, 2] * second + points[c, 2] * third
        sx = sy = sz = np.float32(0.0)
        for wave in range(waves.shape[0]):
            kx, ky, kz = waves[wave, 0], waves[wave, 1], waves[wave, 2]
            slope = np.cos(np.float32(kx * x + ky * y + kz * z + waves[wave, 3])) * waves[wave, 4]
            sx, sy, sz = sx + slope * kx, sy + slope * ky, sz + slope * kz
        nx, ny, nz = out[place, 0], out[place, 1], out[place, 2]
        along = sx * nx + sy * ny + sz * nz
        nx, ny, nz = nx - (sx - along * nx), ny - (sy - along * ny), nz - (sz - along * nz)
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        nx, ny, nz = nx / length, ny / length, nz / length
        facet = nx * out[place, 16] + ny * out[place, 17] + nz * out[place, 18]
        if facet > 0.0:
            out[place, 0], out[place, 1], out[place, 2] = nx, ny, nz
            out[place, 19] = min(max(facet, np.float32(0.03)), np.float32(1.0))
