"""Hair beneath what is worn: strands are pressed under it, come out from its edge, and are left out where it hides all."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....datasets.arrays import Floats
from ....datasets.compiled import compiled
from ..hair.scalp import CENTIMETRE
from ..hair.strands import Strands
from .shell import Frame

FLARE = 0.9
"""How fast hair comes out from under an edge: height a length."""
NOTHING = 9.0
"""Radius of an inside where nothing lies: farther than any hair."""


@dataclass(frozen=True, eq=False)
class Cover:
    """The inside of something worn, between two elevations of a frame."""

    frame: Frame
    low: Floats
    """(A,) elevation of the lower edge at even azimuths from 0, radians."""
    high: Floats
    """(A,) elevation of the upper edge; the pole where it is closed."""
    radii: Floats
    """(A, E) distance of the inside from the frame's middle, at even steps from the lower to the upper edge."""
    flare: float = FLARE


def open_cover(frame: Frame, azimuth: Floats, level: Floats, radii: Floats, flare: float) -> Cover:
    """Return the cover of something that is no ring, its azimuths rising evenly around 0.

    Args:
        frame: where it lies.
        azimuth: (A,) radians.
        level: (A, E) elevations, from the lower to the upper edge.
        radii: (A, E) distances of its inside.
        flare: how fast hair comes out from under its edges.
    """
    own = np.angle(np.exp(1j * np.linspace(0.0, 2.0 * np.pi, 180, endpoint=False)))
    low, high = (np.interp(own, azimuth, level[:, k]) for k in (0, -1))
    inside = np.stack([np.interp(own, azimuth, column) for column in radii.T], axis=1)
    return Cover(frame, low, high, np.where((np.abs(own) <= azimuth[-1])[:, None], inside, NOTHING), flare)


def press(strands: Strands, cover: Cover, seed: int) -> Strands:
    """Press strands under a cover.

    Args:
        strands: hair that grew without it.
        cover: what lies on it.
        seed: of the depth at which each strand comes to lie.
    """
    random = np.random.Generator(np.random.Philox(seed))
    depth = (CENTIMETRE * (0.12 + 0.35 * random.random(len(strands.points)))).astype(np.float32)
    points = strands.points.copy()
    shown = np.zeros(len(points), dtype=np.bool_)
    compiled(press_points)(
        points, depth, cover.frame.origin.astype(np.float32), np.ascontiguousarray(cover.frame.axes, dtype=np.float32),
        cover.low.astype(np.float32), cover.high.astype(np.float32), cover.radii.astype(np.float32), np.float32(cover.flare),
        shown,
    )  # fmt: skip
    counts = None if strands.counts is None else strands.counts[shown]
    return dataclasses.replace(
        strands, points=points[shown], radii=strands.radii[shown], colours=strands.colours[shown], counts=counts
    )


def press_points(
    points: Any, depth: Any, origin: Any, axes: Any, low: Any, high: Any, radii: Any, flare: float, shown: Any
) -> None:
    """Move (S, K, 3) points in place, and tell in `shown` (S,) which strands are not hidden whole; arguments as in `press`."""
    across, up = radii.shape
    pi, one = np.float32(np.pi), np.float32(1.0)
    for s in range(points.shape[0]):
        for k in range(points.shape[1]):
            x, y, z = points[s, k, 0] - origin[0], points[s, k, 1] - origin[1], points[s, k, 2] - origin[2]
            a = axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z
            b = axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z
            c = axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z
            flat = np.sqrt(a * a + c * c)
            far = np.sqrt(flat * flat + b * b)
            elevation = np.arctan2(b, flat)
            place = np.arctan2(a, c) / (np.float32(2.0) * pi)
            place = (place - np.floor(place)) * np.float32(across)
            i = int(place) % across
            j, t = (i + 1) % across, place - np.float32(int(place))
            lower, upper = low[i] * (one - t) + low[j] * t, high[i] * (one - t) + high[j] * t
            share = (elevation - lower) / max(upper - lower, np.float32(1e-4)) * np.float32(up - 1)
            level = min(max(share, np.float32(0.0)), np.float32(up - 1.001))
            m = int(level)
            v = level - np.float32(m)
            near = radii[i, m] * (one - v) + radii[i, m + 1] * v
            limit = near * (one - t) + (radii[j, m] * (one - v) + radii[j, m + 1] * v) * t - depth[s]
            away = max(lower - elevation, elevation - upper)
            if away > 0.0:
                limit += flare * away * limit
            if away > -0.02:
                shown[s] = True
            if far > limit:
                size = limit / max(far, np.float32(1e-6))
                for axis in range(3):
                    points[s, k, axis] = origin[axis] + size * (points[s, k, axis] - origin[axis])
