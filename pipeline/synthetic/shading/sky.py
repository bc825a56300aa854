"""Tables of a sky for shading without rays: its light from few directions, and how it looks in rough and smooth mirrors.

The sky itself is drawn by `rendering.light`; `deferred` looks the tables up at each pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.compiled import compiled
from ..rendering.light import SKY, sky_directions
from .occlusion import directions

SIDE = 24
"""Side of the octahedral maps in which mirrors are looked up."""
SHARPNESS = (10.0, 24.0)
"""Sharpness of the lobes exp(s (cos - 1)) over which a mirror's map is averaged: cloth, skin; the last map, of eyes and glass,
is the sky itself."""
_SPREAD = 14.0
"""Sharpness of the lobes by which pixels of the sky are shared among the few directions."""


@dataclass(frozen=True, eq=False)
class SkyTables:
    """What shading needs to know of a sky."""

    arriving: Array
    """(K, 3) float32 radiance times solid angle from each direction of `occlusion.directions`; sums to the sky's own sum."""
    mirrors: Array
    """(3, SIDE, SIDE, 3) float32 octahedral maps of radiance, the roughest first."""


def sky_tables(sky: Array) -> SkyTables:
    """Make the tables of a (32, 64, 3) sky."""
    flat = np.ascontiguousarray(sky, dtype=np.float32).reshape(-1, 3)
    half = np.ascontiguousarray(flat.reshape(SKY[0] // 2, 2, SKY[1] // 2, 2, 3).mean(axis=(1, 3)).reshape(-1, 3))
    rough = [_weighed(_lobes(number), half) for number in range(len(SHARPNESS))]
    mirrors = np.stack([*rough, flat[_nearest_pixels()]]).reshape(-1, SIDE, SIDE, 3)
    return SkyTables(_weighed(_shares(), flat), np.ascontiguousarray(mirrors))


def octahedral_directions() -> Floats:
    """Return (SIDE * SIDE, 3) unit directions of the texels of an octahedral map (Meyer et al. 2010), y towards its middle."""
    axis = (np.arange(SIDE) + 0.5) / SIDE * 2.0 - 1.0
    u, v = np.meshgrid(axis, axis)
    up = 1.0 - np.abs(u) - np.abs(v)
    folded = np.maximum(-up, 0.0)
    x, z = u - np.copysign(folded, u), v - np.copysign(folded, v)
    found = np.stack([x, up, z], axis=-1).reshape(-1, 3)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


@cache
def _shares() -> Array:
    """Return (2048, K) float32: how much of the sky's pixels counts to each direction, times their solid angles."""
    sky, solid_angles = sky_directions()
    weights = np.exp(_SPREAD * (sky.reshape(-1, 3) @ directions().T - 1.0))
    weights *= (np.repeat(solid_angles, SKY[1]) / weights.sum(axis=1))[:, None]
    return np.ascontiguousarray(weights, dtype=np.float32)


@cache
def _lobes(number: int) -> Array:
    """Return (512, SIDE * SIDE) float32 weights, sum 1, of a sky of half the size in each texel of a mirror's map."""
    sky, solid_angles = sky_directions()
    middle = sky.reshape(SKY[0] // 2, 2, SKY[1] // 2, 2, 3).mean(axis=(1, 3)).reshape(-1, 3)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    size = np.repeat(solid_angles.reshape(-1, 2).sum(axis=1), SKY[1] // 2)
    weights = np.exp(SHARPNESS[number] * (middle @ octahedral_directions().T - 1.0)) * size[:, None]
    return np.ascontiguousarray(weights / weights.sum(axis=0), dtype=np.float32)


@cache
def _nearest_pixels() -> Array:
    """Return for each texel of an octahedral map the pixel of the sky that lies nearest."""
    sky, _ = sky_directions()
    return np.asarray((octahedral_directions() @ sky.reshape(-1, 3).T).argmax(axis=1))


def turned(sky: Array, rotation: Floats) -> Array:
    """Return a (32, 64, 3) sky as seen from a frame whose points are `rotation` times those of the old one, bilinear.

    Args:
        sky: (32, 64, 3) radiance.
        rotation: (3, 3) from the old frame to the new one.
    """
    towards = sky_directions()[0] @ rotation
    row = (0.5 - np.arcsin(np.clip(towards[..., 1], -1.0, 1.0)) / np.pi) * SKY[0] - 0.5
    column = np.arctan2(towards[..., 0], towards[..., 2]) / (2.0 * np.pi) * SKY[1] - 0.5
    top, left = np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)
    down, across = (row - top)[..., None], (column - left)[..., None]
    above, below = (np.clip(top + step, 0, SKY[0] - 1) for step in (0, 1))
    west, east = left % SKY[1], (left + 1) % SKY[1]
    upper = sky[above, west] * (1.0 - across) + sky[above, east] * across
    lower = sky[below, west] * (1.0 - across) + sky[below, east] * across
    return np.asarray(upper * (1.0 - down) + lower * down, dtype=np.float32)


def _weighed(weights: Array, values: Array) -> Array:
    """Return the transpose of weights (M, N) times values (M, 3), summed in one order whatever the number of threads."""
    out = np.zeros((3, weights.shape[1]), dtype=np.float32)
    compiled(weigh)(weights, values, out)
    return np.ascontiguousarray(out.T)


def weigh(weights: Any, values: Any, out: Any) -> None:
    """Add the product of `values` (M, 3), transposed, and `weights` (M, N) to `out` (3, N)."""
    for row in range(weights.shape[0]):
        for channel in range(3):
            value = values[row, channel]
            for column in range(weights.shape[1]):
                out[channel, column] += weights[row, column] * value
