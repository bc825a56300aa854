"""Earrings at a person's own lobes, and necklaces that lie on neck and clothes."""

from __future__ import annotations

import numpy as np
import scipy

from ....datasets.arrays import Floats
from ..hair.scalp import CENTIMETRE, Surface
from ..hair.shaping import points_along, way_along
from .fabric import plain
from .garment import Garment, ball, beads, tube
from .look import Accessory
from .shell import leaning, outside, reach, taut
from .wraps import NECK

LOBE = (0.1845, -0.0885, -0.0700)
"""Middle of the left lobe's outer side on the mean head."""


def earrings(look: Accessory, surface: Surface) -> list[Garment]:
    """Make studs, hoops, drops or long chains; in one ear only where the option says so (1 left, 2 right)."""
    sides = {0: (1.0, -1.0), 1: (1.0,), 2: (-1.0,)}[look.option]
    found: list[Garment] = []
    for side in sides:
        nearest = int(np.argmin(((surface.rest - np.array(LOBE) * [side, 1.0, 1.0]) ** 2).sum(axis=1)))
        lobe = surface.points[nearest]
        outward = np.array([side, 0.0, 0.25]) / np.hypot(1.0, 0.25)
        found += _earring(look, lobe, outward, side)
    return found


def _earring(look: Accessory, lobe: Floats, outward: Floats, side: float) -> list[Garment]:
    metal, stone = plain(look.colour), plain(look.second)
    unit, size = CENTIMETRE, look.size * CENTIMETRE
    if look.kind == "studs":
        return [
            ball("stud", "earring", "metal" if look.seed % 2 else "frame", lobe + 0.3 * size * outward, 0.45 * size, stone, 8)
        ]
    if look.kind == "hoops":
        radius = 1.3 * size
        turn = np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)
        along = np.array([0.35 * side, 0.0, 1.0]) / np.hypot(1.0, 0.35)
        middle = lobe - np.array([0.0, 0.92 * radius, 0.0]) + 0.1 * unit * outward
        ring = middle + radius * (np.cos(turn)[:, None] * along + np.sin(turn)[:, None] * np.array([0.0, 1.0, 0.0]))
        return [tube("hoop", "earring", "metal", ring, (0.10 + 0.06 * (look.seed % 3)) * unit, metal, closed=True, round_=8)]
    hook = lobe + 0.15 * unit * outward
    down = np.array([0.0, -1.0, 0.0])
    long = look.length * unit
    found = [tube("hook", "earring", "metal", hook + np.linspace(0, 1, 6)[:, None] * long * down, 0.05 * unit, metal, round_=6)]
    if look.kind == "drops":
        drop = ball(
            "drop", "earring", "frame", hook + (long + 0.6 * size) * down, size * np.array([0.42, 0.75, 0.42]), stone, 10
        )
        return [*found, drop]
    for number in range(4):  # chains of beads
        found.append(ball("bead", "earring", "frame", hook + long * (0.4 + 0.25 * number) * down, 0.28 * size, stone, 8))
    return found


def strung(path: Floats, apart: float) -> Floats:
    """Return (M, 3) points at even distances of about `apart` along a closed (N, 3) path."""
    ring = np.vstack([path, path[:1]])
    way = way_along(ring)
    return points_along(ring, way, np.linspace(0.0, way[-1], max(3, round(way[-1] / apart)), endpoint=False))


def necklace(look: Accessory, surface: Surface) -> list[Garment]:
    """Make a chain, pearls, a choker or a chain with a pendant, lying on neck, collarbones and clothes."""
    frame = leaning(0.0, origin=NECK)
    azimuth = np.linspace(0.0, 2.0 * np.pi, 120, endpoint=False)
    front = 0.5 + 0.5 * np.cos(azimuth)
    choker = look.kind == "choker"
    low = np.where(front > 0.0, -8.0 - (10.0 if choker else 14.0 + 4.0 * look.length) * front**1.5, 0.0)
    level = np.radians(low + (6.0 if choker else 0.0))
    far = np.minimum(reach(surface.field, frame, azimuth, level, 0.4), 0.23)
    far = taut(scipy.ndimage.median_filter(far, 9, mode="wrap")[:, None], (4.0, 0.0))[
        :, 0
    ]  # over collars, not down into their gaps
    path = outside(frame.place(azimuth, level, far), surface.field, 0.12 * CENTIMETRE)
    thick = look.size * CENTIMETRE
    if look.kind == "pearls":
        radius = 0.38 * thick
        return [beads("pearls", "necklace", "frame", strung(path, 2.04 * radius), radius, plain(look.second), 8)]
    if choker:
        out = surface.field.normals(path).astype(np.float64)
        up = np.broadcast_to(out, path.shape)
        return [tube("choker", "necklace", "cloth", path, 0.8 * thick, plain(look.second), closed=True, flat=0.2, up=up)]
    wave = 1.0 + 0.35 * np.sin(np.arange(len(path)) * 2.1)
    chain = tube("chain", "necklace", "metal", path, 0.13 * thick * wave, plain(look.colour), closed=True, round_=6)
    if look.kind != "pendant":
        return [chain]
    at = path[0] + np.array([0.0, -0.8 * thick, 0.25 * thick])
    return [chain, ball("pendant", "necklace", "metal", at, thick * np.array([0.6, 0.8, 0.22]), plain(look.second), 12)]
