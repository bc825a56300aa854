"""How the mesh network's points drift off a face that is turned aside: where a fit must expect them.

FaceMesh learnt mostly from faces towards the camera. On a turned face it draws the far half wider than it is and lets the cheek
and temple that face the camera slide down and inwards; read as a pose, this is a yaw several degrees too small. The drift is a
property of the network and is the same for all people on average; what persons differ in is left to `face_shape`.
"""

from __future__ import annotations

import math
from functools import cache
from importlib import resources

import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.camera import Camera

LARGEST_YAW = 1.31
"""Azimuth in radians (75 degrees) beyond which nothing was measured: the drift stays what it is there."""


@cache
def coefficients() -> Floats:
    """Return (4, 468, 2) world units: the drift's coefficients of the first to fourth power of the yaw in radians; read-only.

    Measured by `tests/bench/mesh_drift.py` on previews of 40 rendered people (seed 7) from 13 sides each: a face of their own
    was fitted to all views of a person at once, under the known cameras, and what it left was averaged by yaw. On 15 faces in
    photographs, of which six are turned by 18 degrees or more, it leaves the median residual of faces in front as it is and
    lowers that of the six by 12 to 46 per cent; its opposite raises theirs by 33 to 88. A lower residual is not yet a truer
    camera: `tests/bench/truth.py` measures that.
    """
    with resources.files(__package__).joinpath("data/mesh_drift.npy").open("rb") as file:
        table = np.load(file, allow_pickle=False).astype(np.float64)
    table.setflags(write=False)
    return np.asarray(table)


def drift(yaw: float, roll: float = 0.0) -> Floats:
    """Return the (468, 2) mean drift in world units at the face's distance, image axes, of a head seen from an azimuth.

    Args:
        yaw: azimuth of the camera in radians.
        roll: clockwise turn of the picture's content in radians.
    """
    limited = max(-LARGEST_YAW, min(LARGEST_YAW, yaw))
    table = coefficients()
    upright = (limited ** np.arange(1, len(table) + 1) @ table.reshape(len(table), -1)).reshape(-1, 2)
    c, s = math.cos(roll), math.sin(roll)
    return np.asarray(upright @ np.array([[c, s], [-s, c]]))


def marked(camera: Camera, face: Array) -> Floats:
    """Return the (468, 2) normalised image coordinates at which the network is expected to mark a (468, 3) face."""
    image, depth = camera.project(face)
    return np.asarray(image + float(camera.intrinsics[0, 0]) * drift(camera.yaw, camera.roll) / depth[:, None])
