"""Beards, moustaches and stubble in strands, grown on the face. Where a face has which part is told on the mean head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.images.colour_space import srgb_to_linear
from .density import ramp
from .growing import Wishes, grow
from .head_hair import salted
from .look import BeardLook
from .scalp import CENTIMETRE, Roots, Surface, sow
from .shaping import curl, stray
from .strands import SHORT, Strands

DENSE_ENOUGH, LONG_ENOUGH = 0.3, 0.2
"""Density from which a beard and the skin between its hairs are hair in class maps, and centimetres below which less counts."""
SHADOW = 0.24
"""How much of the skin's colour takes that of a dense beard."""


@dataclass(frozen=True, eq=False)
class _Places:
    """(N,) lengths in centimetres and densities at places of the mean head."""

    length: Floats
    density: Floats


def _places(look: BeardLook, rest: Floats) -> _Places:
    """Return what grows where, from (N, 3) points of the mean head in the head frame."""
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    front = ramp(z, -0.055, -0.02)
    # cheeks: below a line from the sideburn to the corner of the mouth; not below the jaw's turn to the neck
    line = np.interp(x, [0.05, 0.085, 0.12, 0.15], [-0.15, -0.125, -0.075 + 0.03 * look.high, -0.03 + 0.04 * look.high])
    under = ramp(y, -0.275, -0.235)
    cheek = ramp(line - y, -0.010, 0.026) * front * under * ramp(x, 0.045, 0.065)
    chin = ramp(0.062 - x, -0.006, 0.018) * ramp(-0.150 - y, -0.003, 0.006) * under * ramp(z, 0.02, 0.06)
    lower = -0.35 * np.maximum(x - 0.045, 0.0)
    lip = ramp(0.078 - x, -0.004, 0.01) * ramp(y, -0.122 + lower, -0.114 + lower)
    lip = lip * ramp(-0.078 - y, -0.002, 0.008) * ramp(z, 0.09, 0.12)
    corner = ramp(0.085 - x, 0.0, 0.008) * ramp(x, 0.056, 0.066) * ramp(-0.108 - y, 0.0, 0.008)
    corner = corner * ramp(y, -0.21, -0.18) * ramp(z, 0.06, 0.1)
    side = ramp(x, 0.125, 0.137) * ramp(z, -0.055, -0.045) * ramp(0.012 - z, -0.004, 0.01)
    side = side * ramp(y, -0.09, -0.07) * ramp(0.05 - y, 0.0, 0.02)
    parts = [
        (cheek, look.cheeks), (chin, look.chin), (lip, look.moustache), (side, look.sideburns),
        (corner, min(look.moustache, look.chin)),
    ]  # fmt: skip
    shares = np.stack([share * (long > 0.0) for share, long in parts])
    total = shares.max(axis=0)
    long = (shares * np.array([[value] for _, value in parts])).sum(axis=0) / np.maximum(shares.sum(axis=0), 1e-6)
    long = long * (0.4 + 0.6 * total)  # shorter and thinner towards its edge
    return _Places(long, total * look.density)


def build_beard(look: BeardLook, surface: Surface, count: int = 9000) -> tuple[Strands, ...]:
    """Grow a beard.

    Args:
        look: what beard it is.
        surface: the head.
        count: strands of a full beard.
    """
    random = np.random.Generator(np.random.Philox(look.seed))
    places = _places(look, surface.rest)
    fine = fineness(look)
    roots = sow(surface, places.density, round(count / fine), random)
    if not len(roots):
        return ()
    assert roots.rest is not None
    long = _places(look, roots.rest).length
    long = np.clip(long * np.exp(random.normal(0.0, 0.15, len(long))), 0.08, None)
    points = _grown(roots, long, surface, random)
    if look.curl > 0.0:
        size = np.full(len(points), look.curl * CENTIMETRE) * np.minimum(1.0, long)
        points = curl(points, size, np.full(len(points), 1.2 * CENTIMETRE), random.uniform(0, 6.28, len(points)), 0.0)
    points = stray(points, 0.08 * CENTIMETRE * min(1.0, float(long.mean())), random)
    taper = np.linspace(1.0, 0.5, points.shape[1], dtype=np.float32)
    radii = (0.013 * fine * CENTIMETRE * np.exp(random.normal(0.0, 0.15, (len(points), 1))) * taper).astype(np.float32)
    counts = (long > SHORT) | (region(look, roots.rest) > 0.0)
    return (Strands("beard", "beard", points, radii, _colours(look, len(points), random), counts=counts),)


def region(look: BeardLook, rest: Floats) -> Floats:
    """Return (N,) values at (N, 3) places of the mean head that are positive where a beard is dense enough to be seen."""
    places = _places(look, rest)
    return np.asarray(places.density * np.clip(places.length / LONG_ENOUGH, 0.0, 1.0) - DENSE_ENOUGH)


def fineness(look: BeardLook) -> float:
    """Return the thickness of strands as a share of that in full beards: stubble is drawn in finer and more strands."""
    longest = max(look.cheeks, look.chin, look.moustache, look.sideburns)
    return float(np.interp(longest, [0.3, 1.5], [0.5, 1.0]))


def shadow(look: BeardLook, rest: Floats) -> Floats:
    """Return (N,) how much hair of the beard, too fine to draw, darkens the skin at (N, 3) places of the mean head, 0 to 1."""
    places = _places(look, rest)
    return np.asarray(SHADOW * places.density * np.clip(places.length / 0.2, 0.0, 1.0))


def _grown(roots: Roots, long: Floats, surface: Surface, random: np.random.Generator) -> Array:
    count = len(roots)
    side = np.sign(roots.points[:, 0])[:, None] * np.array([[1.0, 0.0, 0.0]])
    lip = ((roots.points[:, 1] > -0.14) & (np.abs(roots.points[:, 0]) < 0.075) & (roots.points[:, 2] > 0.1))[:, None]
    comb = np.where(lip, 1.3 * side + [0.0, -0.8, 0.0], [0.0, -1.0, 0.1]) + 0.15 * random.standard_normal((count, 3))
    one = np.ones(count, dtype=np.float32)
    wishes = Wishes(
        long * CENTIMETRE, comb, one * 0.35, one * 2.0 * CENTIMETRE, one * 14.0,
        CENTIMETRE * np.minimum(0.25 * long, 0.8) * random.random(count), one * 18.0, one * 0.0,
    )  # fmt: skip
    return grow(roots, wishes, surface.field, int(np.clip(5 + 2 * float(long.max()), 5, 16)))


def _colours(look: BeardLook, count: int, random: np.random.Generator) -> Array:
    pair = np.tile(srgb_to_linear(np.array([look.colour, look.colour])), (count, 1, 1))
    pair = salted(pair, 0.6 * look.grey, (0.66, 0.65, 0.64), random)
    return np.clip(pair * np.exp(random.normal(0.0, 0.25, (count, 1, 1))), 0.002, 0.9).astype(np.float32)
