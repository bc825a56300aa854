"""The 25-number camera label and the head frame it lives in: the one place with camera maths.

Axes are OpenCV's (x right, y down, z forward); the world is y up with the face looking along +z and +x to the right of the
frontal picture (the subject's left). Image coordinates are continuous and normalised by the side of the square picture:
the centre of pixel i of W is at (i + 0.5) / W.

Head frame. Every head is placed so that a camera at radius 2.7 with focal length 4.2647 sees it as the published SphereHead
crop shows it. `CANONICAL_SCALE`, `CANONICAL_TILT` and `CANONICAL_OFFSET` say where MediaPipe's canonical face model
(centimetres) then lies: X_world = scale * Rx(tilt) * X_canonical + offset. They were calibrated on six labelled pictures
published with PanoHead and SphereHead: one similarity for all, soft-L1 over the reprojected 468 points, residual 5 to 10
pixels of 512 because face shapes differ. The origin lies between the temples, about a centimetre under the eye line.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .arrays import Array, Floats

RADIUS = 2.7
"""Distance of every canonical camera from the origin, in world units (Chan et al. 2022; An et al. 2023)."""
FOCAL = 4.2647
"""Canonical focal length in units of the image side: 2985.29 px over the 700 px crop of EG3D's FFHQ preparation."""
CANONICAL_SCALE = 0.0225
"""World units a centimetre of the canonical face model."""
CANONICAL_TILT = math.radians(-2.0)
"""Rotation of the canonical face model about x."""
CANONICAL_OFFSET = (0.0, -0.0335, 0.043)
"""Where the canonical face model's own origin lies in the head frame."""

PUBLISHED_TURN = math.radians(5.3)
"""Rotation about x from this toolkit's labels of real faces to published ones.

The frame was calibrated with the rigid canonical face, with which the six published labels agree to a median of 2.6 degrees
without bias; labels are fitted with 40 modes of shape about a mean of rendered people, which takes part of the slope of a real
face for pitch: 5.1 degrees on average on the same six. This constant brings their median rotation from 5.0 to 2.6 degrees."""
PUBLISHED_RISE = 0.0106
"""World units along y from this toolkit's origin to the published one: mean and median of the six are 0.011 and 0.010."""

LABEL_MIRROR_NEGATES = (1, 2, 3, 4, 8)
"""Entries of the flat label that change sign when the picture is mirrored."""


class CameraError(ValueError):
    """A camera outside the contract; the message says what is wrong and, where it can be told, how to mend it."""


def rotation_x(angle: float) -> Floats:
    """Return the (3, 3) right-handed rotation about x by `angle` radians."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def rotation_z(angle: float) -> Floats:
    """Return the (3, 3) right-handed rotation about z by `angle` radians."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def geodesic(first: Array, second: Array) -> float:
    """Return the angle in radians of the rotation between two (3, 3) rotations: in [0, pi], no sign folding."""
    relative = np.asarray(first, dtype=np.float64).T @ np.asarray(second, dtype=np.float64)
    sine = 0.5 * np.linalg.norm(
        [relative[2, 1] - relative[1, 2], relative[0, 2] - relative[2, 0], relative[1, 0] - relative[0, 1]]
    )
    return math.atan2(float(sine), 0.5 * (float(np.trace(relative)) - 1.0))


def mean_rotation(rotations: Sequence[Array] | Array, weights: Sequence[float] | Array | None = None) -> Floats:
    """Return the (3, 3) rotation nearest to the weighted sum of (3, 3) rotations; of two alike it is half way between them.

    Args:
        rotations: one or more.
        weights: of each, 0 or more; None for all alike.
    """
    shares = np.ones(len(rotations)) if weights is None else np.asarray(weights)
    left, _, right = np.linalg.svd(np.tensordot(shares, np.stack(list(rotations)), axes=1))
    return np.asarray(left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right)


def published_rotation(rotation: Array) -> Floats:
    """Return the (3, 3) world-to-camera rotation that published labels give a head of which this toolkit tells `rotation`."""
    return np.asarray(np.asarray(rotation) @ rotation_x(PUBLISHED_TURN))


def published_rise(rotation: Array) -> Floats:
    """Return the (2,) way in a crop, in its sides, from the head frame's origin to that of the published labels.

    Args:
        rotation: (3, 3) world to camera, in this toolkit's frame.
    """
    return np.asarray(FOCAL / RADIUS * (np.asarray(rotation) @ (0.0, PUBLISHED_RISE, 0.0))[:2])


def canonical_to_world(points: Array) -> Floats:
    """Place (N, 3) points of MediaPipe's canonical face model (cm) in the head frame (world units)."""
    return np.asarray(CANONICAL_SCALE * np.asarray(points, dtype=np.float64) @ rotation_x(CANONICAL_TILT).T + CANONICAL_OFFSET)


def canonical_intrinsics() -> Floats:
    """Return the (3, 3) normalised intrinsics of the contract: fx = fy = 4.2647, cx = cy = 0.5, no skew."""
    return np.array([[FOCAL, 0.0, 0.5], [0.0, FOCAL, 0.5], [0.0, 0.0, 1.0]])


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera in the head frame."""

    cam2world: Floats
    """(4, 4) camera to world, OpenCV axes."""
    intrinsics: Floats
    """(3, 3) upper triangular, normalised by the image side, last entry 1."""

    @classmethod
    def look_at(cls, yaw: float, pitch: float, roll: float = 0.0, radius: float = RADIUS) -> Camera:
        """Return the canonical camera on the sphere around the origin, looking at it.

        Args:
            yaw: azimuth of the camera in radians: 0 in front of the face, positive towards +x (the subject's left).
            pitch: elevation of the camera in radians, positive above.
            roll: angle in radians by which the picture's content is turned clockwise.
            radius: distance from the origin in world units.
        """
        direction = np.array([math.sin(yaw) * math.cos(pitch), math.sin(pitch), math.cos(yaw) * math.cos(pitch)])
        right = np.array([math.cos(yaw), 0.0, -math.sin(yaw)])
        cam2world = np.eye(4)
        cam2world[:3, :3] = np.stack([right, np.cross(-direction, right), -direction], axis=1) @ rotation_z(-roll)
        cam2world[:3, 3] = radius * direction
        return cls(cam2world, canonical_intrinsics())

    @classmethod
    def from_label(cls, label: Array) -> Camera:
        """Read the 25 numbers of a label; the rotation may be off orthonormal by float32 rounding.

        Raises:
            CameraError: not 25 finite numbers.
        """
        flat = np.asarray(label, dtype=np.float64).reshape(-1)
        if flat.size != 25:
            raise CameraError(f"expected 25 numbers (cam2world 16, intrinsics 9), got {flat.size}")
        if not np.isfinite(flat).all():
            raise CameraError(f"expected finite numbers, got {flat[~np.isfinite(flat)][0]} in the label")
        return cls(flat[:16].reshape(4, 4).copy(), flat[16:].reshape(3, 3).copy())

    def to_list(self) -> list[float]:
        """Return the 25 numbers of the label in full precision; `from_label` reads them back."""
        return [*self.cam2world.reshape(16).tolist(), *self.intrinsics.reshape(9).tolist()]

    def label(self) -> Array:
        """Return the (25,) float32 label: row-major cam2world, then row-major normalised intrinsics."""
        flat = np.concatenate([self.cam2world.reshape(16), self.intrinsics.reshape(9)])
        return flat.astype(np.float32) + np.float32(0)  # no negative zeros: equal labels have equal bits

    @property
    def position(self) -> Floats:
        """(3,) centre of the camera in world units."""
        return np.asarray(self.cam2world[:3, 3])

    @property
    def world2cam(self) -> Floats:
        """(3, 3) rotation from world to camera axes."""
        return np.asarray(self.cam2world[:3, :3].T)

    @property
    def radius(self) -> float:
        """Distance of the camera from the origin."""
        return float(np.linalg.norm(self.position))

    @property
    def yaw(self) -> float:
        """Azimuth of the camera in radians, in (-pi, pi]; 0 in front of the face."""
        return math.atan2(float(self.position[0]), float(self.position[2]))

    @property
    def pitch(self) -> float:
        """Elevation of the camera in radians, in [-pi/2, pi/2]."""
        return math.asin(max(-1.0, min(1.0, float(self.position[1]) / self.radius)))

    @property
    def roll(self) -> float:
        """Angle in radians by which the picture's content is turned clockwise, in (-pi, pi]."""
        upright = Camera.look_at(self.yaw, self.pitch).cam2world[:3, :3]
        relative = upright.T @ self.cam2world[:3, :3]
        return math.atan2(-float(relative[1, 0]), float(relative[0, 0]))

    def project(self, points: Array) -> tuple[Floats, Floats]:
        """Project world points.

        Args:
            points: (..., 3) world points.

        Returns:
            (..., 2) normalised image coordinates and (...,) depths along the optical axis in world units.
        """
        local = (np.asarray(points, dtype=np.float64) - self.position) @ self.cam2world[:3, :3]
        image = local @ self.intrinsics.T
        return image[..., :2] / image[..., 2:], local[..., 2]

    def mirrored(self) -> Camera:
        """Return the camera that sees the mirrored head in the mirrored picture; exact for any intrinsics."""
        flip = np.diag([-1.0, 1.0, 1.0, 1.0])
        intrinsics = self.intrinsics.copy()
        intrinsics[0, 1] = -intrinsics[0, 1]
        intrinsics[0, 2] = 1.0 - intrinsics[0, 2]
        return Camera(flip @ self.cam2world @ flip, intrinsics)

    def warped(self, homography: Array) -> Camera:
        """Return the camera of the picture after a homography: exact, from the RQ factors of H K (facts: H K = K' R').

        Args:
            homography: (3, 3), maps old normalised image coordinates to new ones, keeping orientation.

        Raises:
            CameraError: the homography turns the picture over (use `mirrored`) or is singular.
        """
        matrix = np.asarray(homography, dtype=np.float64) @ self.intrinsics
        determinant = np.linalg.det(matrix)
        if not np.isfinite(determinant) or determinant <= 1e-12:
            raise CameraError(f"expected a homography that keeps orientation, got determinant {determinant:.3g}")
        from scipy.linalg import rq

        intrinsics, rotation = rq(matrix / np.cbrt(determinant))
        signs = np.sign(np.diag(intrinsics))
        intrinsics, rotation = intrinsics * signs, signs[:, None] * rotation
        cam2world = self.cam2world.copy()
        cam2world[:3, :3] = self.cam2world[:3, :3] @ rotation.T
        return Camera(cam2world, intrinsics / intrinsics[2, 2])

    def rolled(self, angle: float) -> Camera:
        """Return the camera after turning the picture's content clockwise by `angle` radians about the principal point."""
        cam2world = self.cam2world.copy()
        cam2world[:3, :3] = cam2world[:3, :3] @ rotation_z(-angle)
        return dataclasses.replace(self, cam2world=cam2world)

    def cropped(self, x0: float, y0: float, side: float) -> Camera:
        """Return the camera of the square cut-out with corner (x0, y0) and `side`, all in units of the old side."""
        return self.warped(np.array([[1.0 / side, 0.0, -x0 / side], [0.0, 1.0 / side, -y0 / side], [0.0, 0.0, 1.0]]))

    def check(self, free_k: bool = False) -> None:
        """Refuse a camera outside the contract.

        Args:
            free_k: allow intrinsics other than the canonical ones and an axis that misses the origin.

        Raises:
            CameraError: with the measured value and, where it is recognised, the convention that was probably used.
        """
        problem = self._problem(free_k)
        if problem:
            hint = _guess_convention(self)
            raise CameraError(problem + (f"; {hint}" if hint else ""))

    def _problem(self, free_k: bool) -> str:
        matrix, rotation = self.cam2world, self.cam2world[:3, :3]
        if not (np.isfinite(matrix).all() and np.isfinite(self.intrinsics).all()):
            return "expected finite numbers, got NaN or infinity"
        if np.abs(matrix[3] - [0, 0, 0, 1]).max() > 1e-6:
            return f"expected the last row 0 0 0 1, got {matrix[3].tolist()}"
        if np.abs(rotation.T @ rotation - np.eye(3)).max() > 1e-5:
            return f"expected an orthonormal rotation, got an error of {np.abs(rotation.T @ rotation - np.eye(3)).max():.2g}"
        if np.linalg.det(rotation) < 0:
            return "expected a rotation with determinant +1, got -1"
        if abs(self.radius - RADIUS) > 1e-4:
            return f"expected radius {RADIUS}, got {self.radius:.5g}"
        if not free_k and np.abs(self.intrinsics - canonical_intrinsics()).max() > 1e-4:
            return f"expected canonical intrinsics (f {FOCAL}, centre 0.5), got {self.intrinsics.reshape(-1).tolist()}"
        miss = float(np.linalg.norm(np.cross(self.position, rotation[:, 2])))
        facing = float(-self.position @ rotation[:, 2])
        if not free_k and (miss > 1e-4 or facing <= 0):
            return f"expected the optical axis to pass through the origin, it misses by {miss:.3g} (facing {facing:.3g})"
        if abs(self.intrinsics[2, 2] - 1) > 1e-6 or np.abs(self.intrinsics[[1, 2, 2], [0, 0, 1]]).max() > 1e-6:
            return "expected upper-triangular intrinsics with last entry 1"
        if self.intrinsics[0, 0] <= 0 or self.intrinsics[1, 1] <= 0:
            return "expected positive focal lengths"
        return ""


def _guess_convention(camera: Camera) -> str:
    """Name the usual mistake that a bad camera looks like, or return an empty text."""
    matrix, k = camera.cam2world, camera.intrinsics
    if not (np.isfinite(matrix).all() and np.isfinite(k).all()):
        return ""
    if np.abs(matrix - np.eye(4)).max() < 1e-6:
        return "it is the identity: the label was probably never filled in"
    if k[0, 0] > 50:
        return f"K looks like pixels: divide its first two rows by the image side (fx = {k[0, 0]:.5g})"
    if np.allclose(matrix[:3, 3], 0, atol=1e-6) and np.linalg.norm(matrix[3, :3]) > 0.1:
        return "the matrix is transposed (translation in the last row): write it row-major"
    if np.allclose(matrix[:2, 3], 0, atol=1e-3) and abs(matrix[2, 3] - RADIUS) < 1e-2 and abs(matrix[2, 2] + 1) > 1e-3:
        return "it looks like world2cam (translation 0 0 2.7): invert it"
    if camera.radius > 1e-6 and float(camera.position @ matrix[:3, 2]) / camera.radius > 0.99:
        return "it looks like OpenGL axes (y up, z backward): negate the second and third column of the rotation"
    if camera.radius > 1e-6 and float(-camera.position @ matrix[:3, 2]) / camera.radius > 0.999:
        return f"only the distance is off: scale the translation by {RADIUS / camera.radius:.5g}"
    return ""
