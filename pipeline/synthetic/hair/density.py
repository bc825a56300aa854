"""How densely hair grows at places of a head, and how much of it clippers have left there."""

from __future__ import annotations

import numpy as np

from ....datasets.arrays import Floats
from .look import HairLook
from .scalp import CENTIMETRE, HAIRLINE, within
from .ties import direction

WHORL = (np.pi - 0.25, np.radians(52.0))
"""Azimuth and elevation of the place from which hair turns outwards."""

WAVES = ((0.13, 5.0, 7), (0.07, 13.0, 11), (0.05, 29.0, 13), (0.04, 61.0, 17))
"""Centimetres by which a hairline waves, how often around the head, and what a seed is divided by for the phase: one wave that
stands out would make teeth."""
DENSE_ENOUGH = 0.5
"""Density from which a scalp is hair in class maps."""


def ramp(value: Floats, low: Floats | float, high: Floats | float) -> Floats:
    """Return a smooth step from 0 at `low` to 1 at `high`."""
    share = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(share * share * (3.0 - 2.0 * share))


def density(look: HairLook, azimuth: Floats, elevation: Floats) -> Floats:
    """Return how densely hair grows at places of the mean head, 0 to 1.

    Args:
        look: hairline, bald crown and the like.
        azimuth: (N,) radians.
        elevation: (N,) radians.
    """
    inside = within(azimuth, elevation, hairline(look.receding))
    waves = sum(size * np.sin(pace * azimuth + look.seed % turn) for size, pace, turn in WAVES)
    found = ramp(inside + waves, -0.35, 1.1)
    if look.crown > 0.0:
        away = np.arccos(np.clip(direction(azimuth, elevation) @ direction(*WHORL), -1.0, 1.0)) * 0.2 / CENTIMETRE
        found = found * ramp(away, 5.5 * look.crown - 1.2, 5.5 * look.crown + 1.4)
    return np.asarray(found)


def hairline(receding: float) -> tuple[tuple[float, float], ...]:
    """Return the outline of hair whose forehead and temples have moved back, 0 to 1; at 1 only a wreath is left."""
    if receding <= 0.0:
        return HAIRLINE
    moved = []
    for side, up in HAIRLINE:
        temple = np.exp(-(((side - 42.0) / 16.0) ** 2))
        front = 1.0 - ramp(np.array(side), 52.0, 70.0)
        most = 90.0 if receding > 0.75 else 74.0
        gain = 38.0 * receding * temple + 16.0 * receding * front + 55.0 * max(receding - 0.6, 0.0) / 0.4 * front
        moved.append((side, float(min(up + gain, most))))
    if receding > 0.75:
        back = float(np.interp(receding, [0.75, 1.0], [60.0, 22.0]))
        moved = [(side, max(up, back) if side < 60 else up) for side, up in moved]
    return tuple(moved)


def faded(azimuth: Floats, elevation: Floats) -> Floats:
    """Return where hair that is cut shorter towards its lower edge is: 1 at the sides and behind, 0 in front and above."""
    side, up = np.degrees(np.abs(azimuth)), np.degrees(elevation)
    return np.asarray(ramp(side, 44.0, 56.0) * (1.0 - ramp(up, 24.0, 38.0)))


def left(look: HairLook, azimuth: Floats, elevation: Floats) -> Floats:
    """Return the share of hair that a skin fade or a shaven side leaves to be seen, 0 to 1.

    Such skin is of class hair all the same: it is a part of the cut, as who outlines hair in photographs sees it.

    Args:
        look: hairline, fade and strip.
        azimuth: (N,) radians.
        elevation: (N,) radians.
    """
    if look.bare <= 0.0:
        return np.ones(len(azimuth))
    short = np.zeros(len(azimuth))
    if look.fade > 0.0:
        inside = within(azimuth, elevation, hairline(look.receding))
        short = faded(azimuth, elevation) * (1.0 - ramp(inside, 0.3 * look.fade, look.fade))
    if look.strip > 0.0:
        away = np.abs(direction(azimuth, elevation)[..., 0]) * 0.2 / CENTIMETRE
        short = np.maximum(short, ramp(away, look.strip - 0.2, look.strip + 0.9))
    return np.asarray(1.0 - look.bare * short)
