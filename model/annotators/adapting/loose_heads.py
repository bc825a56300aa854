"""Heads that were cut out of photographs with room around them, read from the shards that the pipeline wrote.

What is learned from them is told by `teacher`; there is no truth here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.camera import FOCAL, RADIUS, Camera, rotation_z
from ....datasets.classes import LANDMARK_MIRROR
from ....datasets.shards.codec import decode_image
from ....datasets.shards.tar import iterate
from ..networks import CROP
from ..shown.augmentation import CropGeometry
from ..shown.views import View, of_pixels

FLIP = np.diag([-1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Placed:
    """A head frame in a picture."""

    rotation: Floats
    """(3, 3) world to camera."""
    centre: Floats
    """(2,) continuous pixels."""
    scale: float
    """Pixels a side of the canonical crop."""

    def camera(self, side: int) -> Camera:
        """Return the camera of the whole picture, `side` pixels a side: the canonical one, moved and scaled."""
        cam2world = np.eye(4)
        cam2world[:3, :3] = self.rotation.T
        cam2world[:3, 3] = -RADIUS * self.rotation[2]
        focal = FOCAL * self.scale / side
        x, y = self.centre / side
        return Camera(cam2world, np.array([[focal, 0.0, x], [0.0, focal, y], [0.0, 0.0, 1.0]]))


@dataclass(frozen=True, eq=False)
class LooseHead:
    """One head without truth."""

    key: str
    image: Pixels
    """(S, S, 3)."""
    read: Placed
    """As the package's network read the photograph."""
    mesh: Placed | None
    """As MediaPipe's mesh has it, where a face was seen."""
    mesh_share: float
    """Weight of the mesh's rotation beside a reading, 0 to 1."""


def read_heads(paths: Sequence[Path]) -> list[LooseHead]:
    """Read shards of loose heads, sorted by key."""
    found = []
    for path in paths:
        with path.open("rb") as file:
            for key, members in iterate(file, path.name):
                told = json.loads(members["json"])
                mesh = told.get("mesh")
                placed = None if mesh is None else _placed(mesh)
                share = 0.0 if mesh is None else float(mesh["share"])
                found.append(LooseHead(key, decode_image(members["png"]), _placed(told["read"]), placed, share))
    return sorted(found, key=lambda head: head.key)


def _placed(told: dict[str, object]) -> Placed:
    return Placed(np.array(told["rotation"]), np.array(told["centre"]), float(str(told["scale"])))


def view_of(image: Pixels, placed: Placed) -> View:
    """Return a picture as a view, so that crops of it are laid as those of rendered ones are."""
    whole = np.full(image.shape[:2], 255, dtype=np.uint8)
    return View(image, whole, whole, placed.camera(image.shape[0]), None, None)


def crop_of(view: View, geometry: CropGeometry) -> Pixels:
    """Return the (128, 128, 3) crop of a view; what lies outside repeats the border."""
    return warped_plane(view.image, geometry.matrix(view, CROP), CROP, cv2.INTER_LINEAR)


def warped_plane(plane: Array, matrix: Array, size: int, how: int) -> Array:
    """Resample an (S, S) or (S, S, C) array by a (3, 3) map of continuous pixels into `size` pixels."""
    border = cv2.BORDER_REPLICATE
    return np.asarray(cv2.warpAffine(plane, of_pixels(matrix), (size, size), flags=how, borderMode=border))


def rotation_in_view(rotation: Array, geometry: CropGeometry) -> Floats:
    """Return the (3, 3) rotation in a view of what is read in its crop: turned back, mirrored back."""
    upright = rotation_z(-geometry.roll) @ np.asarray(rotation, dtype=np.float64)
    return np.asarray(FLIP @ upright @ FLIP if geometry.mirror else upright)


def points_partnered(points: Array, mirror: bool) -> Array:
    """Return (68, 2) points in the order of the subject's own sides."""
    return points[LANDMARK_MIRROR] if mirror else points
