"""Cameras in the conventions of other programs: OpenGL's axes, intrinsics in pixels, world-to-camera quaternions.

Labels here are OpenCV's: x right, y down, z forward, pixel centres at i + 0.5, intrinsics divided by the side. nerfstudio and
Blender look along -z with y up: the second and third column of the rotation change sign. COLMAP keeps OpenCV's axes and these
pixel centres, and turns the pose round. All three count pixels from the upper left corner.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...manifests.config import ConfigError
from ..arrays import Array, Floats
from ..camera import Camera

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
"""OpenCV's camera axes to OpenGL's, and back."""


@dataclass(frozen=True)
class Pinhole:
    """Intrinsics in pixels, without skew."""

    fx: float
    fy: float
    cx: float
    cy: float


def to_opengl(cam2world: Array) -> Floats:
    """Turn a (4, 4) camera-to-world matrix of OpenCV's axes into one of OpenGL's."""
    return np.asarray(cam2world, dtype=np.float64) @ OPENGL


def from_opengl(cam2world: Array) -> Floats:
    """Turn a (4, 4) camera-to-world matrix of OpenGL's axes into one of OpenCV's."""
    return np.asarray(cam2world, dtype=np.float64) @ OPENGL


def pinhole(camera: Camera, width: int, height: int) -> Pinhole:
    """Return a camera's intrinsics in pixels.

    Raises:
        ConfigError: the camera has skew, which neither format knows.
    """
    k = camera.intrinsics
    if abs(k[0, 1]) * width > 1e-3:
        raise ConfigError(f"a camera with skew ({k[0, 1]:.3g} of the side) cannot be written in this format")
    return Pinhole(float(k[0, 0] * width), float(k[1, 1] * height), float(k[0, 2] * width), float(k[1, 2] * height))


def normalised(lens: Pinhole, width: int, height: int) -> Floats:
    """Return the (3, 3) intrinsics of a label; the inverse of `pinhole`."""
    return np.array([[lens.fx / width, 0, lens.cx / width], [0, lens.fy / height, lens.cy / height], [0, 0, 1.0]])


def quaternion(camera: Camera) -> tuple[Floats, Floats]:
    """Return COLMAP's world-to-camera pose: quaternion (w, x, y, z) with w >= 0, and translation."""
    from scipy.spatial.transform import Rotation

    rotation = camera.cam2world[:3, :3].T
    x, y, z, w = Rotation.from_matrix(rotation).as_quat(canonical=True)
    return np.array([w, x, y, z]), -rotation @ camera.position
