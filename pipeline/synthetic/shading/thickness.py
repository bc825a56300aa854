"""How much light comes through strands to the surfaces beneath them: maps of how much hair lies before a place.

A texel keeps where hair begins and its optical thickness, the area of all strands seen in it over its own; light fades over
`SOFT` behind the beginning. Solid things hide light in `occlusion`; light that reaches strands is `strands`' business.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.compiled import compiled
from ..hair.strands import KINDS, StrandSet
from .occlusion import MAP_SIDE, NUM_DIRECTIONS, REACH, placed_in

SOFT = 0.03
"""World units behind the first strand over which the strands of a texel come to hide all that they hide."""
FEW_FOR_SKY, FEW_FOR_LAMP = 16, 3
"""Of how many strands one is drawn into a map of the sky, and of a lamp; it stands for the others."""
MOST = 12.0
"""Greatest optical thickness of a texel."""


def through_strands(strands: StrandSet, points: Floats) -> Array:
    """Return (V, K) float32: the share of light from each direction that strands let through to (V, 3) points."""
    some = shading_points(strands, FEW_FOR_SKY)
    chosen, strand_of = strands.points[some], strands.strand_of[some]
    half_width = strands.radii[some] * np.float32(FEW_FOR_SKY * MAP_SIDE / (2.0 * REACH))
    through = np.ones((NUM_DIRECTIONS, len(points)), dtype=np.float32)
    for number in range(NUM_DIRECTIONS):
        veil = strand_map(placed_in(chosen, number), half_width, strand_of, MAP_SIDE)
        compiled(fade)(placed_in(points, number), veil, np.float32(SOFT), through[number])
    return through.T


def shading_points(strands: StrandSet, few: int) -> Array:
    """Return which points (N,) belong to one of `few` strands that shade; brows and lashes shade nothing but themselves."""
    shades = np.isin(strands.kinds, [KINDS.index("hair"), KINDS.index("beard")])
    shades &= np.arange(len(strands)) % few == 0
    return np.asarray(shades[strands.strand_of])


def strand_map(placed: Array, half_width: Array, strand_of: Array, side: int) -> Array:
    """Return (side, side, 2) float32 where hair begins, infinity where there is none, and its optical thickness.

    Args:
        placed: (N, 3) float32 column and row in texels, and depth, of strands' points.
        half_width: (N,) float32 in texels.
        strand_of: (N,) strand of each point.
        side: texels along each axis.
    """
    veil = np.zeros((side, side, 2), dtype=np.float32)
    veil[..., 0] = np.inf
    compiled(lay_strands)(placed, half_width, strand_of, veil)
    return veil


def lay_strands(placed: Any, half_width: Any, strand_of: Any, veil: Any) -> None:
    """Lay the segments of strands into `veil` (S, S, 2): a step at most a texel long adds its area where its middle lies."""
    side = veil.shape[0]
    half, two = np.float32(0.5), np.float32(2.0)
    for n in range(placed.shape[0] - 1):
        if strand_of[n] != strand_of[n + 1]:
            continue
        dx, dy, dz = placed[n + 1, 0] - placed[n, 0], placed[n + 1, 1] - placed[n, 1], placed[n + 1, 2] - placed[n, 2]
        steps = int(max(abs(dx), abs(dy))) + 1
        inverse = np.float32(1.0) / np.float32(steps)
        area = two * half_width[n] * np.sqrt(dx * dx + dy * dy) * inverse
        for step in range(steps):
            share = (np.float32(step) + half) * inverse
            x, y, z = placed[n, 0] + share * dx, placed[n, 1] + share * dy, placed[n, 2] + share * dz
            if x < 0.0 or y < 0.0 or x >= side or y >= side:
                continue
            column, row = int(x), int(y)
            veil[row, column, 0] = min(veil[row, column, 0], z)
            veil[row, column, 1] = min(veil[row, column, 1] + area, np.float32(MOST))


def fade(placed: Any, veil: Any, soft: float, out: Any) -> None:
    """Multiply `out` (V,) by the share of light that reaches places (V, 3) through a map of strands, bilinear in thickness."""
    side, half, one, zero = veil.shape[0], np.float32(0.5), np.float32(1.0), np.float32(0.0)
    for vertex in range(placed.shape[0]):
        x, y, depth = placed[vertex, 0] - half, placed[vertex, 1] - half, placed[vertex, 2]
        column, row = int(np.floor(x)), int(np.floor(y))
        if column < 0 or row < 0 or column + 1 >= side or row + 1 >= side:
            continue
        across, down = x - np.float32(column), y - np.float32(row)
        thick = zero
        for i in range(2):
            for j in range(2):
                weight = (down if i else one - down) * (across if j else one - across)
                behind = min(max((depth - veil[row + i, column + j, 0]) / soft, zero), one)
                thick += weight * behind * veil[row + i, column + j, 1]
        if thick > zero:
            out[vertex] *= np.exp(-thick)
