"""Lashes in strands: they leave the margins of lids forwards and bend away from the eye. In class maps they only cover."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.images.colour_space import srgb_to_linear
from .look import Colour, LashLook
from .scalp import CENTIMETRE
from .shaping import points_along, way_along
from .strands import Strands

POINTS = 7
"""Points of a lash."""
COUNTS = (120, 70)
"""Lashes of an upper and of a lower lid, about as many as in life."""
LENGTHS = (0.80, 0.42)
"""Centimetres in the middle of the lid."""
BALL = 1.05
"""Centimetres from the line between the corners of an eye back to the middle of its ball."""
YOUNG = 0.22
"""Share of lashes that have not grown to their length."""


def draw_lashes(male: float, colour: Colour, random: np.random.Generator) -> LashLook:
    """Draw lashes.

    Args:
        male: 0 woman, 1 man; some women's are painted here.
        colour: of the hair; lashes are darker.
        random: drawn numbers.
    """
    painted = bool(random.random() < 0.45 * (1.0 - male))
    share = 0.05 if painted else float(random.uniform(0.25, 0.6))
    red, green, blue = (float(np.clip(0.015 + share * value, 0.01, 0.5)) for value in colour)
    return LashLook(
        length=float(random.uniform(0.75, 1.15) + 0.15 * painted), density=float(random.uniform(0.55, 1.0)),
        curl=float(random.uniform(0.25, 0.8) + 0.2 * painted), clumping=float(random.uniform(0.2, 0.6) + 0.3 * painted),
        thick=1.25 if painted else 1.0, colour=(red, green, blue), seed=int(random.integers(1 << 31)),
    )  # fmt: skip


def build_lashes(look: LashLook, lids: Sequence[tuple[Floats, bool]]) -> Strands:
    """Grow the lashes of both eyes.

    Args:
        look: what lashes they are.
        lids: (N, 2, 3) points from the inner to the outer corner: behind the margin, and on it; and whether the lid is an
            upper one.
    """
    random = np.random.Generator(np.random.Philox(look.seed))
    found = [_of_lid(look, lid, upper, random) for lid, upper in lids]
    points = np.concatenate(found)
    taper = np.linspace(1.0, 0.3, POINTS, dtype=np.float32)
    size = 0.0065 * look.thick * CENTIMETRE * np.exp(random.normal(0.0, 0.12, (len(points), 1)))
    pair = np.tile(srgb_to_linear(np.array([look.colour, look.colour])), (len(points), 1, 1))
    shade = np.exp(random.normal(0.0, 0.15, (len(points), 1, 1)))
    return Strands("lashes", "lash", points, (size * taper).astype(np.float32), (pair * shade).astype(np.float32))


def _of_lid(look: LashLook, lid: Floats, upper: bool, random: np.random.Generator) -> Array:
    """Return (S, POINTS, 3) float32 lashes of one lid."""
    count = round(look.density * COUNTS[0 if upper else 1])
    place = np.sort((np.arange(count) + random.random(count)) / count)
    behind, margin = (_along(lid[:, k], place) for k in range(2))
    root = margin + (behind - margin) * random.uniform(0.0, 0.35, (count, 1))
    out = _unit(root - (0.5 * (lid[0, 1] + lid[-1, 1]) - [0.0, 0.0, BALL * CENTIMETRE]))  # from the middle of the ball
    up = np.array([0.0, 1.0 if upper else -1.0, 0.0])
    up = _unit(up - (out @ up)[:, None] * out)
    aside = np.cross(out, up) * (1.0 if upper else -1.0)
    aside = aside * np.sign((aside * (margin[-1] - margin[0])).sum(axis=1, keepdims=True))  # towards the outer corner
    fan = 0.9 * (place - 0.42)[:, None] + random.normal(0.0, 0.16, (count, 1))
    shape = 0.40 + 0.60 * np.sin(np.pi * np.clip(0.12 + 0.80 * place, 0.0, 1.0))  # longest outwards of the middle
    shape = shape * np.where(random.random(count) < YOUNG, random.uniform(0.45, 0.8, count), 1.0)
    long = (LENGTHS[0 if upper else 1] * look.length * CENTIMETRE * shape * np.exp(random.normal(0.0, 0.12, count)))[:, None]
    curl = (0.30 + 0.40 * look.curl) * np.exp(random.normal(0.0, 0.15, (count, 1, 1))) * (1.0 if upper else 0.7)
    share = np.linspace(0.0, 1.0, POINTS)[:, None]
    points = (
        root[:, None] + (long * out)[:, None] * (share - 0.4 * curl * share**2)
        + (long * up)[:, None] * ((-0.06 if upper else 0.12) * share + curl * share**2) + (long * fan * aside)[:, None] * share
    )  # fmt: skip
    middles = np.sort(random.permutation(count)[: max(count // 4, 1)])  # neighbours gather at their tips
    group = middles[np.abs(np.arange(count)[:, None] - middles).argmin(axis=1)]
    points += look.clumping * share**2 * (points[group] - points) * 0.7
    return np.asarray(points, dtype=np.float32)


def _along(line: Floats, place: Floats) -> Floats:
    """Return (S, 3) points at shares of the length of an (N, 3) line."""
    way = way_along(line)
    return points_along(line, way, place * way[-1])


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))
