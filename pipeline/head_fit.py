"""Fit of the label's own camera to a face mesh: where the head frame lies in a picture and from where it is seen.

The unknowns are the camera's rotation, the scale and shift that lead from its picture to the given pixels, and the face's
shape (`face_shape`). Finding the mesh, and what is done with the placement, is left to the stages. The mesh's own depth is
weak and serves only as a start: the camera comes from perspective reprojection of the two image coordinates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..datasets.arrays import Array, Floats
from ..datasets.camera import (
    CANONICAL_SCALE,
    CANONICAL_TILT,
    FOCAL,
    RADIUS,
    Camera,
    canonical_intrinsics,
    canonical_to_world,
    rotation_x,
)
from ..datasets.canonical_face import canonical_vertices
from ..datasets.warp import similarity
from .face_shape import eye_distance, shape_modes, vertex_normals

NUM_VERTICES = 468
HEAD_CENTRE = (0.0, 0.012, -0.035)
"""Centre of the ellipsoid that stands for a whole head with its hair, in the head frame."""
HEAD_HALF_AXES = (0.19, 0.265, 0.225)
"""Half axes of that ellipsoid in world units: x, y, z."""


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a head frame lies in a picture."""

    rotation: Floats
    """(3, 3) from world to camera axes, the picture's roll included."""
    scale: float
    """Pixels of the picture a side of the canonical crop."""
    centre: Floats
    """(2,) continuous pixels of the picture where the head frame's origin falls."""
    residuals: Floats
    """(468,) distance of each mesh point from the fitted face, in eye distances; empty where no mesh was fitted."""
    sigma: Floats
    """(3,) deviation in radians of the rotation about the camera's x, y and z, from the fit's covariance."""

    @property
    def camera(self) -> Camera:
        """The canonical camera that would have taken the crop, before the crop's roll is removed."""
        cam2world = np.eye(4)
        cam2world[:3, :3] = self.rotation.T
        cam2world[:3, 3] = -self.rotation.T @ (0.0, 0.0, RADIUS)
        return Camera(cam2world, canonical_intrinsics())

    @property
    def head_size(self) -> float:
        """Height of a standard head at this scale, in pixels."""
        return 2.0 * HEAD_HALF_AXES[1] * FOCAL / RADIUS * self.scale

    def crop_matrix(self, size: int) -> Floats:
        """Return the (3, 3) similarity from the picture to the upright canonical crop of `size` pixels a side."""
        return similarity(size / self.scale, -self.camera.roll, self.centre, np.array([size / 2.0, size / 2.0]))

    def head_box(self) -> tuple[float, float, float, float]:
        """Return x, y, width, height of a standard head's outline (an ellipsoid, seen without perspective)."""
        scale = self.scale * FOCAL / RADIUS
        middle = self.centre + scale * (self.rotation @ HEAD_CENTRE)[:2]
        half = scale * np.sqrt((self.rotation[:2] ** 2) @ np.square(HEAD_HALF_AXES))
        return (*(middle - half).tolist(), *(2.0 * half).tolist())

    def project(self, points: Array) -> Floats:
        """Project (N, 3) points of the head frame into the picture: (N, 2) continuous pixels."""
        image, _ = self.camera.project(points)
        return np.asarray(self.centre + self.scale * (image - 0.5))


def placement_at(centre: Array, scale: float, yaw: float, roll: float = 0.0) -> Placement:
    """Place the head frame's origin at a point of the picture, seen level from azimuth `yaw`: for heads without a mesh."""
    rotation = Camera.look_at(yaw, 0.0, roll).world2cam
    return Placement(rotation, scale, np.asarray(centre, dtype=np.float64), np.zeros(0), np.full(3, math.nan))


def placement_of_box(box: tuple[float, float, float, float], yaw: float, roll: float = 0.0) -> Placement:
    """Place the head frame so that a standard head seen level at `yaw` radians fills a box.

    The height decides the scale, since hair, arms and turning change the width more.
    """
    x, y, width, height = box
    unit = placement_at(np.zeros(2), 1.0, yaw, roll)
    left, top, unit_width, unit_height = unit.head_box()
    scale = height / unit_height
    offset = scale * np.array([left + unit_width / 2.0, top + unit_height / 2.0])
    return placement_at(np.array([x + width / 2.0, y + height / 2.0]) - offset, scale, yaw, roll)


@dataclass(frozen=True)
class HeadFit:
    """Settings of the fit."""

    num_modes: int = 40
    """Modes of face shape and expression that are fitted beside the camera; 0 fits the canonical face itself."""
    noise: float = 0.015
    """Deviation of a mesh point in eye distances; points much farther off count less (soft L1 at twice this)."""
    max_steps: int = 12
    """Gauss-Newton steps at most."""
    tolerance: float = 1e-5
    """Stop when the camera turns by less than this, in radians."""

    def fit(self, mesh: Array) -> Placement:
        """Fit to a face mesh.

        Args:
            mesh: (468 or more, 3) MediaPipe mesh, x and y in continuous pixels, z in the same scale.

        Returns:
            The placement, with residuals to the fitted face.

        Raises:
            ValueError: the mesh is not finite or has no extent.
        """
        points = np.asarray(mesh, dtype=np.float64)[:NUM_VERTICES]
        eyes = eye_distance(points[:, :2])
        if not np.isfinite(points).all() or eyes < 1e-3:
            raise ValueError(f"expected a finite mesh with two eyes, got an eye distance of {eyes:.3g} px")
        state = _start(points, self.num_modes)
        system = _System(points[:, :2], eyes, self.num_modes, self.noise)
        for _ in range(self.max_steps):
            state, step = system.improve(state)
            if np.abs(step[:3]).max() < self.tolerance:
                break
        return system.placement(state)


@dataclass(frozen=True, eq=False)
class _State:
    rotation: Floats
    scale: float
    centre: Floats
    weights: Floats
    """(K,) weights of the shape modes."""


class _System:
    """The least-squares problem of one mesh: residuals in eye distances, and one Gauss-Newton step."""

    def __init__(self, target: Floats, eyes: float, num_modes: int, noise: float) -> None:
        self.target, self.eyes, self.noise = target, eyes, noise
        self.face = canonical_to_world(canonical_vertices())
        self.modes = shape_modes(num_modes) @ (CANONICAL_SCALE * rotation_x(CANONICAL_TILT).T)
        self.num_modes = num_modes

    def look(self, state: _State) -> tuple[Floats, Floats, Floats]:
        """Return (N, 3) turned points, their (N, 2) image coordinates about the centre, and (N, 2) residuals."""
        turned = (self.face + np.tensordot(state.weights, self.modes, 1)) @ state.rotation.T
        image = FOCAL * turned[:, :2] / (turned[:, 2:] + RADIUS)
        return turned, image, (state.scale * image + state.centre - self.target) / self.eyes

    def jacobian(self, state: _State, turned: Floats, image: Floats) -> Floats:
        """Return (N, 2, 6 + K) derivatives by rotation (about the camera's axes), log scale, centre (eye distances), modes."""
        x, y, z = turned.T
        zero = np.zeros_like(x)
        motion = np.empty((3, len(turned), 3 + self.num_modes))
        motion[:, :, :3] = np.stack([[zero, z, -y], [-z, zero, x], [y, -x, zero]]).transpose(0, 2, 1)
        motion[:, :, 3:] = np.tensordot(state.rotation, self.modes, axes=(1, 2)).transpose(0, 2, 1)
        depth = (turned[:, 2] + RADIUS)[:, None]
        gain = state.scale / self.eyes
        jacobian = np.zeros((len(turned), 2, 6 + self.num_modes))
        for k in range(2):
            by_motion = gain * (FOCAL * motion[k] - image[:, k : k + 1] * motion[2]) / depth
            jacobian[:, k, :3], jacobian[:, k, 6:] = by_motion[:, :3], by_motion[:, 3:]
            jacobian[:, k, 3] = gain * image[:, k]
            jacobian[:, k, 4 + k] = 1.0
        return jacobian

    def normal_equations(self, state: _State) -> tuple[Floats, Floats]:
        """Return the (6 + K, 6 + K) information matrix and the gradient, the modes' standard normal prior included."""
        turned, image, residual = self.look(state)
        distance = np.linalg.norm(residual, axis=1)
        trust = _visibility(state.rotation) / (self.noise**2 * np.sqrt(1.0 + (distance / (2.0 * self.noise)) ** 2))
        jacobian = self.jacobian(state, turned, image)
        flat = jacobian.reshape(-1, jacobian.shape[2])
        weighted = flat * np.repeat(trust, 2)[:, None]
        information = weighted.T @ flat
        gradient = weighted.T @ residual.reshape(-1)
        prior = np.arange(6, 6 + self.num_modes)
        information[prior, prior] += 1.0
        gradient[6:] += state.weights
        return information, gradient

    def improve(self, state: _State) -> tuple[_State, Floats]:
        """Take one Gauss-Newton step."""
        information, gradient = self.normal_equations(state)
        step = -np.linalg.solve(information, gradient)
        largest = np.abs(step[:3]).max()
        step = step * min(1.0, 0.5 / max(largest, 1e-12))
        return (
            _State(
                rotation_vector(step[:3]) @ state.rotation,
                state.scale * math.exp(step[3]),
                state.centre + step[4:6] * self.eyes,
                state.weights + step[6:],
            ),
            step,
        )

    def placement(self, state: _State) -> Placement:
        information, _ = self.normal_equations(state)
        sigma = np.sqrt(np.diag(np.linalg.inv(information))[:3])
        distance = np.linalg.norm(self.look(state)[2], axis=1)
        return Placement(state.rotation, state.scale, state.centre, distance, sigma)


def rotation_vector(vector: Array) -> Floats:
    """Return the (3, 3) rotation about `vector` by its length in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = np.asarray(vector, dtype=np.float64)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    sine = math.sin(angle) / angle if angle > 1e-8 else 1.0
    cosine = (1.0 - math.cos(angle)) / angle**2 if angle > 1e-8 else 0.5
    return np.asarray(np.eye(3) + sine * cross + cosine * cross @ cross)


def _start(points: Floats, num_modes: int) -> _State:
    """Align the canonical face with (468, 3) mesh points by an orthographic similarity (Umeyama 1991)."""
    face = canonical_to_world(canonical_vertices())
    face_mean, mean = face.mean(axis=0), points.mean(axis=0)
    left, values, right = np.linalg.svd((points - mean).T @ (face - face_mean))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = left @ (signs[:, None] * right)
    size = float(values @ signs) / float(((face - face_mean) ** 2).sum())
    centre = (mean - size * rotation @ face_mean)[:2]
    return _State(rotation, size * RADIUS / FOCAL, centre, np.zeros(num_modes))


def _visibility(rotation: Floats) -> Floats:
    """Return the (468,) weight of each vertex: 1 where it faces the camera, 0.1 where the face hides it."""
    facing = -(vertex_normals() @ rotation[2])
    return np.asarray(np.clip((facing + 0.1) / 0.4, 0.1, 1.0))
