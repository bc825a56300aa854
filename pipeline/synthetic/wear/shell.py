"""Surfaces around a head: frames that lean, how far the head reaches in each direction, and taut cloth on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from ....datasets.arrays import Floats
from ..hair.collision import DistanceField
from ..hair.scalp import CENTRE
from ..hair.ties import OUT


@dataclass(frozen=True, eq=False)
class Frame:
    """Angles around a point in a head: azimuth 0 in front, positive to the subject's left; elevation 90 degrees at its pole."""

    origin: Floats
    """(3,)."""
    axes: Floats
    """(3, 3) rows: towards the subject's left, the pole, and the front."""

    def unit(self, azimuth: Floats, elevation: Floats) -> Floats:
        """Return (..., 3) unit vectors in the head frame of angles in radians."""
        azimuth, elevation = np.broadcast_arrays(azimuth, elevation)
        flat = np.cos(elevation)
        local = np.stack([flat * np.sin(azimuth), np.sin(elevation), flat * np.cos(azimuth)], axis=-1)
        return np.asarray(local @ self.axes)

    def place(self, azimuth: Floats, elevation: Floats, radius: Floats) -> Floats:
        """Return (..., 3) points."""
        return np.asarray(self.origin + np.asarray(radius)[..., None] * self.unit(azimuth, elevation))


def leaning(lean: float, turn: float = 0.0, origin: tuple[float, float, float] = CENTRE) -> Frame:
    """Return a frame whose pole leans back, or forward from the back where it is turned.

    Args:
        lean: radians.
        turn: azimuth in the head frame of the frame's front, radians, turned about the pole.
        origin: its middle.
    """
    c, s = np.cos(lean), np.sin(lean)
    left, pole, front = np.array([1.0, 0.0, 0.0]), np.array([0.0, c, -s]), np.array([0.0, s, c])
    c, s = np.cos(turn), np.sin(turn)
    return Frame(np.array(origin), np.stack([c * left - s * front, pole, s * left + c * front]))


def reach(field: DistanceField, frame: Frame, azimuth: Floats, elevation: Floats, start: float = 0.42) -> Floats:
    """Return how far from the frame's middle the head's surface lies in each direction, seen from outside.

    Args:
        field: the head.
        frame: gives middle and axes.
        azimuth, elevation: radians, of one shape.
        start: distance from which rays come in.
    """
    unit = frame.unit(azimuth, elevation)
    flat = unit.reshape(-1, 3)
    far = np.full(len(flat), start)
    for _ in range(12):
        far = np.maximum(far - 0.9 * np.maximum(field.at(frame.origin + far[:, None] * flat), -OUT), 0.05)
    return np.asarray(far.reshape(unit.shape[:-1]))


def outside(points: Floats, field: DistanceField, lift: float) -> Floats:
    """Return (N, 3) points moved outwards where they lie less than `lift` world units outside of a head."""
    moved = points.astype(np.float64)
    for _ in range(4):
        lack = np.maximum(lift - field.at(moved), 0.0)
        moved = moved + lack[:, None] * field.normals(moved)
    return np.asarray(moved)


def taut(radii: Floats, spread: tuple[float, float], rounds: int = 4, closed: bool = True) -> Floats:
    """Return cloth that lies over (A, E) radii: never below them, smooth where they are hollow.

    Args:
        radii: of a grid whose first axis is a ring where `closed`.
        spread: standard deviation of the smoothing in cells along both axes.
        rounds: how often it is smoothed.
        closed: whether the first axis is a ring.
    """
    mode = ("wrap" if closed else "nearest", "nearest")
    found = radii
    for _ in range(rounds):
        found = np.maximum(radii, scipy.ndimage.gaussian_filter(found, spread, mode=mode))
    few = (0.35 * spread[0], 0.35 * spread[1])
    return np.asarray(np.maximum(scipy.ndimage.gaussian_filter(found, few, mode=mode), radii - 0.002))
