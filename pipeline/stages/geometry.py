"""One geometric change of a crop, and what exactly follows from it for pixels, points, mesh and camera.

Every change is a mirror image (or not) followed by a homography that keeps orientation: only such changes have an exact
label. Drawing changes at random and warping pictures is left to the augment stage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...datasets import warp
from ...datasets.arrays import Array, Floats
from ...datasets.camera import Camera, canonical_intrinsics
from ...datasets.classes import mirror_landmarks
from ..annotators.faces.face_shape import mesh_partners


@dataclass(frozen=True)
class Geometry:
    """A change of the picture about its centre, in this order: mirror, shear, aspect, roll, zoom, perspective, shift."""

    mirror: bool = False
    """Mirror left to right first."""
    roll: float = 0.0
    """Radians by which the content turns clockwise."""
    zoom: float = 1.0
    """Factor by which the content grows."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Sides of the picture by which the content moves right and down."""
    aspect: float = 1.0
    """Width of the content over its height, both changing by the square root."""
    shear: float = 0.0
    """Tangent of the angle by which uprights lean to the left."""
    perspective: tuple[float, float] = (0.0, 0.0)
    """Change of depth per side of the picture, to the right and down: what grows smaller there."""

    @property
    def keeps_intrinsics(self) -> bool:
        """Whether a canonical K stays canonical: mirror and roll alone."""
        plain = (self.zoom, self.shift, self.aspect, self.shear, self.perspective)
        return plain == (1.0, (0.0, 0.0), 1.0, 0.0, (0.0, 0.0))

    def homography(self) -> Floats:
        """Return the (3, 3) map of normalised coordinates that follows the mirroring; orientation is kept.

        Raises:
            ValueError: a zoom or aspect that is not positive, or a perspective that turns part of the picture inside out.
        """
        if self.zoom <= 0 or self.aspect <= 0:
            raise ValueError(f"expected a positive zoom and aspect, got {self.zoom} and {self.aspect}")
        c, s = self.zoom * math.cos(self.roll), self.zoom * math.sin(self.roll)
        stretch = np.diag([math.sqrt(self.aspect), 1.0 / math.sqrt(self.aspect)])
        matrix = np.eye(3)
        matrix[:2, :2] = np.array([[c, -s], [s, c]]) @ stretch @ np.array([[1.0, self.shear], [0.0, 1.0]])
        depth = np.eye(3)
        depth[2, :2] = self.perspective
        away, back = np.eye(3), np.eye(3)
        away[:2, 2], back[:2, 2] = -0.5, (0.5 + self.shift[0], 0.5 + self.shift[1])
        homography = back @ depth @ matrix @ away
        if (np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]]) @ homography[2]).min() < 0.1:
            raise ValueError(f"expected a perspective that leaves every corner in view, got {self.perspective}")
        return np.asarray(homography)

    def pixel_matrix(self, size: int) -> Floats:
        """Return the (3, 3) map from old to new continuous crop pixels, mirroring included."""
        mirror = np.diag([-1.0, 1.0, 1.0]) if self.mirror else np.eye(3)
        mirror[0, 2] = 1.0 if self.mirror else 0.0
        grow, shrink = np.diag([size, size, 1.0]), np.diag([1.0 / size, 1.0 / size, 1.0])
        return np.asarray(grow @ self.homography() @ mirror @ shrink)

    def camera(self, camera: Camera) -> Camera:
        """Return the exact camera of the changed picture: by roll alone where the canonical K stays, else from RQ factors."""
        camera = camera.mirrored() if self.mirror else camera
        if self.keeps_intrinsics and np.array_equal(camera.intrinsics, canonical_intrinsics()):
            return camera.rolled(self.roll) if self.roll else camera
        return camera.warped(self.homography())

    def landmarks(self, points: Array, size: int) -> Array:
        """Map (68, 2) iBUG landmarks in crop pixels; mirrored ones change places with their partners."""
        points = mirror_landmarks(points, size) if self.mirror else points
        grow, shrink = np.diag([size, size, 1.0]), np.diag([1.0 / size, 1.0 / size, 1.0])
        return warp.apply(grow @ self.homography() @ shrink, points).astype(np.float32)

    def mesh(self, mesh: Array, size: int) -> Array:
        """Map a (468 or 478, 3) face mesh in crop pixels; depth scales with the picture's size at the centre."""
        if self.mirror:
            mesh = mesh[mesh_partners(len(mesh))]
        flat = warp.apply(self.pixel_matrix(size), mesh[:, :2])
        return np.column_stack([flat, self.zoom * mesh[:, 2]]).astype(np.float32)
