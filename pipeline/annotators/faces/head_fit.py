"""Fit of the label's own camera to a face mesh: where the head frame lies in a picture and from where it is seen.

The unknowns are the camera's rotation, the scale and shift that lead from its picture to the given pixels, and the face's
shape (`face_shape`). Finding the mesh, and what is done with the placement, is left to the stages. The mesh's own depth is
weak and serves only as a start: the camera comes from perspective reprojection of the two image coordinates, to where the
network is expected to mark the points of a turned face (`mesh_drift`).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.camera import (
    CANONICAL_SCALE,
    CANONICAL_TILT,
    FOCAL,
    RADIUS,
    Camera,
    canonical_intrinsics,
    canonical_to_world,
    rotation_x,
)
from ....datasets.canonical_face import canonical_vertices, mirror_partners
from ....datasets.warp import similarity
from .face_shape import NUM_VERTICES, eye_distance, mean_face, shape_modes, vertex_normals
from .mesh_drift import drift, marked

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
    weights: Floats
    """(K,) weights of the face's shape modes; empty where the canonical face itself was placed."""
    residuals: Floats
    """(468,) distance of each mesh point from the fitted face's expected mark, in eye distances; empty without a mesh."""
    sigma: Floats
    """(3,) deviation in radians of the rotation about the camera's x, y and z, from the fit's covariance."""

    @property
    def camera(self) -> Camera:
        """The canonical camera that would have taken the crop, before the crop's roll is removed."""
        return camera_of(self.rotation)

    @property
    def face(self) -> Floats:
        """(468, 3) vertices of the fitted face in the head frame."""
        return _shaped(self.weights)

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

    def marks(self) -> Floats:
        """Return the (468, 2) continuous pixels at which the mesh network is expected to mark the fitted face."""
        return np.asarray(self.centre + self.scale * (marked(self.camera, self.face) - 0.5))


def coarse_placement(mesh: Array) -> Placement:
    """Place the canonical face on a (468 or more, 3) mesh without perspective: within 10 degrees, in no time."""
    state = _start(np.asarray(mesh, dtype=np.float64)[:NUM_VERTICES], 0)
    return Placement(state.rotation, state.scale, state.centre, state.weights, np.zeros(0), np.full(3, math.nan))


def camera_of(rotation: Array) -> Camera:
    """Return the canonical camera with a (3, 3) world-to-camera rotation: it looks at the origin from radius 2.7."""
    cam2world = np.eye(4)
    cam2world[:3, :3] = np.asarray(rotation).T
    cam2world[:3, 3] = -cam2world[:3, :3] @ (0.0, 0.0, RADIUS)
    return Camera(cam2world, canonical_intrinsics())


def placement_at(centre: Array, scale: float, yaw: float, roll: float = 0.0) -> Placement:
    """Place the head frame's origin at a point of the picture, seen level from azimuth `yaw`: for heads without a mesh."""
    rotation = Camera.look_at(yaw, 0.0, roll).world2cam
    return Placement(rotation, scale, np.asarray(centre, dtype=np.float64), np.zeros(0), np.zeros(0), np.full(3, math.nan))


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
    num_vertices: int = 180
    """Vertices that the fit looks at, spread over the face; residuals are reported for all 468."""
    noise: float = 0.015
    """Standard deviation of a mesh point in eye distances; points much farther off count less (soft L1 at twice this)."""
    place_deviation: float = 0.03
    """How far scale (relative) and centre (eye distances) of a canonical crop may be off, one deviation."""
    max_steps: int = 12
    """Gauss-Newton steps at most."""
    tolerance: float = 3e-4
    """Stop when the camera turns by less than this, in radians."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            ValueError: with the field, what was expected and what came.
        """
        if not 0 <= self.num_modes <= NUM_VERTICES:
            raise ValueError(f"num_modes: expected 0 to {NUM_VERTICES}, got {self.num_modes}")
        if not 6 <= self.num_vertices <= NUM_VERTICES:
            raise ValueError(f"num_vertices: expected 6 to {NUM_VERTICES}, got {self.num_vertices}")
        if not (self.noise > 0.0 and self.place_deviation > 0.0):
            raise ValueError(f"noise and place_deviation: expected more than 0, got {self.noise} and {self.place_deviation}")
        if self.max_steps < 1:
            raise ValueError(f"max_steps: expected 1 or more, got {self.max_steps}")

    def fit(self, mesh: Array, start: Placement | None = None, size: int = 0) -> Placement:
        """Fit to a face mesh.

        Args:
            mesh: (468 or more, 3) MediaPipe mesh, x and y in continuous pixels, z in the same scale.
            start: a placement near the answer with as many modes; without it the mesh's own depth gives one.
            size: where the picture is a canonical crop, its side: then scale and centre are held near what they must be
                there, for the label has no other freedom than its rotation.

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
        if start is not None:
            state = _State(start.rotation, start.scale, start.centre, start.weights)
        system = _System(points[:, :2], eyes, self, size)
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

    def __init__(self, points: Floats, eyes: float, fit: HeadFit, size: int) -> None:
        self.points, self.eyes, self.noise, self.num_modes = points, eyes, fit.noise, fit.num_modes
        self.some = _spread_vertices(fit.num_vertices)
        self.target, self.normals = points[self.some], vertex_normals()[self.some]
        self.face, self.modes = _world_model(fit.num_modes, fit.num_vertices)
        self.size = size
        self.hold = 1.0 / fit.place_deviation**2 if size else 0.0

    def look(self, state: _State) -> tuple[Floats, Floats, Floats]:
        """Return the vertices turned (3, N), their expected (2, N) marks about the centre, and (2, N) residuals."""
        turned = state.rotation @ (self.face + (self.modes @ state.weights).reshape(3, -1))
        right, down, forward = state.rotation  # azimuth and roll of `camera_of`, without the camera
        yaw, roll = math.atan2(-forward[0], -forward[2]), math.atan2(right[1], -down[1])
        image = FOCAL * (turned[:2] + drift(yaw, roll)[self.some].T) / (turned[2] + RADIUS)
        return turned, image, (state.scale * image + (state.centre - self.target).T) / self.eyes

    def jacobian(self, state: _State, turned: Floats, image: Floats) -> Floats:
        """Return (2, N, 6 + K) derivatives by rotation (about the camera's axes), log scale, centre (eye distances), modes.

        How the drift changes with the yaw is left out: a tenth of the rest, which costs a step and moves no answer.
        """
        x, y, z = turned
        count = len(x)
        motion = np.zeros((3, count, 3 + self.num_modes))
        motion[0, :, 1], motion[0, :, 2] = z, -y
        motion[1, :, 0], motion[1, :, 2] = -z, x
        motion[2, :, 0], motion[2, :, 1] = y, -x
        motion[:, :, 3:] = (state.rotation @ self.modes.reshape(3, -1)).reshape(3, count, self.num_modes)
        gain = (state.scale / self.eyes / (z + RADIUS))[:, None]
        moved = (FOCAL * gain) * motion[:2] - (gain * image[:, :, None]) * motion[2]
        jacobian = np.zeros((2, count, 6 + self.num_modes))
        jacobian[:, :, :3], jacobian[:, :, 6:] = moved[:, :, :3], moved[:, :, 3:]
        jacobian[:, :, 3] = state.scale / self.eyes * image
        jacobian[0, :, 4] = jacobian[1, :, 5] = 1.0
        return jacobian

    def normal_equations(self, state: _State) -> tuple[Floats, Floats]:
        """Return the (6 + K, 6 + K) information matrix and the gradient, the modes' standard normal prior included."""
        turned, image, residual = self.look(state)
        robust = np.sqrt(1.0 + (residual**2).sum(axis=0) / (2.0 * self.noise) ** 2)
        facing = -(self.normals @ state.rotation[2])
        trust = np.clip((facing + 0.1) / 0.4, 0.1, 1.0) / (self.noise**2 * robust)  # little where the face hides a vertex
        flat = self.jacobian(state, turned, image).reshape(-1, 6 + self.num_modes)
        weighted = flat * np.tile(trust, 2)[:, None]
        information = weighted.T @ flat
        gradient = residual.reshape(-1) @ weighted
        prior = np.arange(6, 6 + self.num_modes)
        information[prior, prior] += 1.0
        gradient[6:] += state.weights
        information[[3, 4, 5], [3, 4, 5]] += self.hold
        if self.size:
            away = (state.centre - self.size / 2.0) / self.eyes
            gradient[3:6] += self.hold * np.array([math.log(state.scale / self.size), *away])
        return information, gradient

    def improve(self, state: _State) -> tuple[_State, Floats]:
        """Take one Gauss-Newton step of at most half a radian."""
        information, gradient = self.normal_equations(state)
        step = -np.linalg.solve(information, gradient)
        step *= min(1.0, 0.5 / max(float(np.abs(step[:3]).max()), 1e-12))
        moved = _State(
            rotation_vector(step[:3]) @ state.rotation,
            state.scale * math.exp(step[3]),
            state.centre + step[4:6] * self.eyes,
            state.weights + step[6:],
        )
        return moved, np.asarray(step)

    def placement(self, state: _State) -> Placement:
        """Return the solution with the residuals of all vertices and the standard deviation of its rotation."""
        information, _ = self.normal_equations(state)
        sigma = np.sqrt(np.diag(np.linalg.inv(information))[:3])
        placement = Placement(state.rotation, state.scale, state.centre, state.weights, np.zeros(0), sigma)
        distance = np.linalg.norm(placement.marks() - self.points, axis=1) / self.eyes
        return dataclasses.replace(placement, residuals=distance)


@cache
def _world_model(num_modes: int, num_vertices: int) -> tuple[Floats, Floats]:
    """Return some vertices of the mean face (3, N) and its modes (3 * N, K) in the head frame; read-only.

    Without modes the face is the canonical one.
    """
    some = _spread_vertices(num_vertices)
    face = canonical_to_world(mean_face() if num_modes else canonical_vertices())[some].T.copy()
    modes = (shape_modes(num_modes) @ (CANONICAL_SCALE * rotation_x(CANONICAL_TILT).T))[:, some]
    modes = modes.transpose(2, 1, 0).reshape(3 * len(some), num_modes).copy()
    face.setflags(write=False)
    modes.setflags(write=False)
    return face, modes


def _shaped(weights: Floats) -> Floats:
    """Return the (468, 3) face in the head frame with (K,) weights of its modes."""
    face, modes = _world_model(len(weights), NUM_VERTICES)
    return (face + (modes @ weights).reshape(3, -1)).T


@cache
def _spread_vertices(count: int) -> Array:
    """Return indices of vertices spread evenly over the face, each with its mirror partner; read-only.

    The modes are smooth and the mesh's errors hardly differ between neighbours, so the rest would add time and little else.
    """
    vertices, partners = canonical_vertices(), mirror_partners()
    chosen = [int(np.argmax(vertices[:, 2]))]
    away = np.linalg.norm(vertices - vertices[chosen[0]], axis=1)
    while len(chosen) < min(count, NUM_VERTICES):
        farthest = int(np.argmax(away))
        for index in sorted({farthest, int(partners[farthest])}):
            chosen.append(index)
            away = np.minimum(away, np.linalg.norm(vertices - vertices[index], axis=1))
    spread = np.sort(np.array(chosen))
    spread.setflags(write=False)
    return spread


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
