"""Brows in strands, grown on the face along lines that are told on the mean head."""

from __future__ import annotations

import dataclasses

import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.images.colour_space import srgb_to_linear
from .colours import GREY
from .growing import Wishes, grow
from .head_hair import salted
from .look import BrowLook, Colour
from .scalp import CENTIMETRE, Roots, Surface, sow
from .shaping import stray
from .strands import Strands

LINE = ((0.024, 0.0535), (0.045, 0.0600), (0.072, 0.0665), (0.098, 0.0692), (0.115, 0.0650), (0.131, 0.0560))
"""x and y of the left brow's middle line on the mean head, whose eyes end at an x of 0.104."""
HALF = ((0.024, 0.0062), (0.036, 0.0085), (0.072, 0.0080), (0.098, 0.0062), (0.131, 0.0014))
"""x, and half the brow's height there, world units."""
PIGMENT: Colour = (0.26, 0.18, 0.12)
"""Colour that brows keep a part of where hair is grey: they grey late, and grey hairs on skin look blue beside it."""
SHADOW = 0.5
"""How much of the skin's colour takes that of a dense brow."""
SPARE = 8
"""Roots that are sown around the brows for each strand of `count`; those inside a brow are thinned once, by its density."""


def draw_brows(male: float, age: float, colour: Colour, random: np.random.Generator) -> BrowLook:
    """Draw brows.

    Args:
        male: 0 woman, 1 man; men's are thicker here.
        age: 0 young, 1 old.
        colour: of the hair.
        random: drawn numbers.
    """
    grey = float(np.clip((min(colour) - 0.3) / 0.3, 0.0, 1.0))
    mixed = np.array(colour) + 0.55 * grey * (np.array(PIGMENT) - colour)
    red, green, blue = np.clip(0.75 * mixed, 0.01, 0.8).tolist()
    return BrowLook(
        thick=float(random.uniform(0.45, 0.95) + 0.35 * male), arch=float(random.normal(0.1 - 0.3 * male, 0.5)),
        begin=float(random.uniform(-0.004, 0.010)), density=float(random.uniform(0.45, 1.0)),
        length=float(random.uniform(0.45, 0.75) + 0.2 * male * age), colour=(red, green, blue),
        grey=float(np.clip(1.5 * (age - 0.4) * random.random(), 0.0, 0.7)), seed=int(random.integers(1 << 31)),
    )  # fmt: skip


def inside(look: BrowLook, rest: Floats) -> Floats:
    """Return how far inside a brow places of the mean head lie: 1 on its line, 0 at its edge and negative outside.

    Args:
        look: the brow.
        rest: (N, 3) in the head frame.
    """
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    arch = look.arch * 0.006 * np.exp(-(((x - 0.105) / 0.03) ** 2))
    middle = np.interp(x, *np.array(LINE).T) + arch
    half = look.thick * np.interp(x, *np.array(HALF).T)
    share = 1.0 - np.abs(y - middle) / half
    ends = np.minimum(x - (LINE[0][0] + look.begin), LINE[-1][0] - x) / 0.006
    return np.where(z > 0.05, np.minimum(share, ends), -1.0)


def brow_shadow(look: BrowLook, rest: Floats) -> Floats:
    """Return (N,) how much hair of brows, too fine to draw, darkens the skin at (N, 3) places of the mean head, 0 to 1."""
    return np.asarray(SHADOW * look.density * np.clip(1.5 * inside(look, rest), 0.0, 1.0))


def build_brows(look: BrowLook, surface: Surface, count: int = 2400) -> tuple[Strands, ...]:
    """Grow both brows.

    Args:
        look: what brows they are.
        surface: the head.
        count: what the number of strands is in proportion to; roots sown are `SPARE` times as many.
    """
    random = np.random.Generator(np.random.Philox(look.seed))
    near = np.array([[0.0, 0.014, 0.0], [0.0, 0.0, 0.0], [0.0, -0.014, 0.0]])
    wide = np.max([inside(dataclasses.replace(look, thick=2.5), surface.rest + step) for step in near], axis=0)
    roots = sow(surface, (wide > -0.8).astype(np.float64), SPARE * count, random)
    if not len(roots):
        return ()
    assert roots.rest is not None
    chance = look.density * np.clip(0.25 + 1.6 * inside(look, roots.rest), 0.0, 1.0)
    some = roots.chosen(np.flatnonzero(random.random(len(roots)) < chance))
    points = _grown(look, some, surface, random)
    taper = np.linspace(1.0, 0.35, points.shape[1], dtype=np.float32)
    radii = (0.0095 * CENTIMETRE * np.exp(random.normal(0.0, 0.15, (len(points), 1))) * taper).astype(np.float32)
    pair = np.tile(srgb_to_linear(np.array([look.colour, look.colour])), (len(points), 1, 1))
    pair = salted(pair, 0.6 * look.grey, GREY, random)
    shade = np.exp(random.normal(0.0, 0.22, (len(points), 1, 1)))
    return (Strands("brows", "brow", points, radii, np.clip(pair * shade, 0.002, 0.9).astype(np.float32)),)


def _grown(look: BrowLook, roots: Roots, surface: Surface, random: np.random.Generator) -> Array:
    """Grow hairs that stand up at the nose and lie towards the temple."""
    count = len(roots)
    assert roots.rest is not None
    x, y = np.abs(roots.rest[:, 0]), roots.rest[:, 1]
    out = np.clip((x - 0.02) / 0.03, 0.0, 1.0)
    above = (y - np.interp(x, *np.array(LINE).T)) / 0.008
    aside = np.sign(roots.rest[:, 0]) * (0.25 + 0.95 * out)
    comb = np.column_stack([aside, 0.9 - 0.75 * out - 0.45 * np.clip(above, -1.0, 1.0), -0.3 * out])
    comb = comb + 0.11 * random.standard_normal((count, 3))
    one = np.ones(count, dtype=np.float32)
    long = look.length * CENTIMETRE * np.exp(random.normal(0.0, 0.2, count)) * (0.65 + 0.35 * out)
    wishes = Wishes(long, comb, one * 0.28, one * 3.0 * CENTIMETRE, one * 2.0, 0.06 * CENTIMETRE * one, one * 14.0, one * 0.0)
    return stray(grow(roots, wishes, surface.field, 6), 0.02 * CENTIMETRE, random)
