"""Eyeballs: turned to where a person looks, and smooth like a cornea where the assets' irises are bowls.

Their pictures are `people.paint`'s, where their irises lie `people.face_points`' business.
"""

from __future__ import annotations

import numpy as np

from ....datasets.arrays import Floats

CORNEA = 0.756
"""Sine of a cornea's slope at the rim of the iris: its radius of 5.9 mm over the cornea's radius of curvature of 7.8 mm."""
LIMBUS = 1.3
"""Radii of the iris from its middle at which the cornea has passed into the eyeball."""


def turn(points: Floats, yaw: float, pitch: float) -> Floats:
    """Turn an eyeball about its middle, front towards the person's left by `yaw` and up by `pitch` radians."""
    middle = (points.min(axis=0) + points.max(axis=0)) / 2.0
    c, s = np.cos(yaw), np.sin(yaw)
    sideways = np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    c, s = np.cos(pitch), np.sin(pitch)
    upwards = np.array([[1.0, 0.0, 0.0], [0.0, c, s], [0.0, -s, c]])
    return np.asarray((points - middle) @ (sideways @ upwards).T + middle)


def cornea_normals(points: Floats, normals: Floats, iris: Floats) -> Floats:
    """Return an eyeball's unit normals with those of a cornea over its iris, so that lamps are small highlights in it.

    The assets' irises are bowls: a bowl mirrors the whole sky, which lies over iris and pupil like milk.

    Args:
        points: (V, 3) the eyeball.
        normals: (V, 3) its own unit normals.
        iris: (5, 3) middle and rim of the iris as `face_points.iris_points` finds them; without them nothing changes.
    """
    if len(iris) != 5:
        return normals
    middle, right, up, left, down = iris
    axis = np.cross(right - left, up - down)
    axis /= max(float(np.linalg.norm(axis)), 1e-12)
    spokes = iris[1:] - middle
    rim = float(np.linalg.norm(spokes - (spokes @ axis)[:, None] * axis, axis=1).mean())
    aside = points - middle
    aside = aside - (aside @ axis)[:, None] * axis
    away = np.linalg.norm(aside, axis=1) / rim
    front = (points - points.mean(axis=0)) @ axis > 0.0
    slope = CORNEA * np.minimum(away, 1.0)
    outward = aside / np.maximum(np.linalg.norm(aside, axis=1, keepdims=True), 1e-12)
    dome = axis * np.sqrt(1.0 - slope**2)[:, None] + outward * slope[:, None]
    share = np.clip((LIMBUS - away) / (LIMBUS - 1.0), 0.0, 1.0) * front
    mixed = normals + (share * share * (3.0 - 2.0 * share))[:, None] * (dome - normals)
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True))
