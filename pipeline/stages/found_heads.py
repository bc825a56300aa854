"""What detectors return as heads: their boxes and angles, which of them are one head, and the order that numbers them.

Looking for them is left to `detect`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...datasets.arrays import Array
from ...datasets.sample import Head, HeadPose
from ..annotators.faces.coarse_pose import head_of_face
from ..annotators.faces.head_fit import coarse_placement
from ..annotators.heads.boxes import middle, overlap
from ..backends import mediapipe_models as models


@dataclass(frozen=True, eq=False)
class SeenFace:
    """A face as it stands in a picture, with its mesh and the pose that confirms it where there are such."""

    face: models.Face
    meshes: Array | None = None
    """(2, 478, 3) float32: the picture's mesh and its mirror image's, mirrored back; None where no mesh fits."""
    pose: HeadPose | None = None

    def head(self, factor: int) -> Head:
        """Return the head of a face with a mesh, in pixels of a photograph that is `factor` times larger."""
        assert self.meshes is not None
        pair = self.meshes * np.float32(factor)
        mesh = mean_mesh(pair)
        placement, pose = coarse_placement(mesh), self.pose
        if pose is not None:
            pose = dataclasses.replace(pose, centre=factor * pose.centre, scale=factor * pose.scale)
        box, yaw, roll = placement.head_box(), placement.camera.yaw, placement.camera.roll
        return Head(box, self.face.score, "mesh", yaw, mesh=mesh, mesh_pair=pair, roll=roll, pose=pose)


def mean_mesh(pair: Array) -> Array:
    """Return the (478, 3) float32 mean of a picture's mesh and its mirror image's."""
    return np.asarray(0.5 * (pair[0] + pair[1]), dtype=np.float32)


def lone_head(face: models.Face) -> Head:
    """Return the head of a face on which no mesh fits."""
    coarse = head_of_face(face.points)
    return Head(coarse.box, face.score, "face", coarse.yaw, roll=coarse.roll)


def distinct(faces: Sequence[models.Face], max_overlap: float = 0.3) -> list[models.Face]:
    """Keep of faces that overlap (intersection over union) the one with the best score."""
    kept: list[models.Face] = []
    for face in sorted(faces, key=lambda face: (-face.score, face.box)):
        if all(overlap(face.box, other.box) <= max_overlap for other in kept):
            kept.append(face)
    return kept


def in_order(heads: Sequence[Head]) -> list[Head]:
    """Sort by area, largest first, then x, then y of boxes rounded to whole pixels: the order that numbers heads."""

    def place(head: Head) -> tuple[int, int, int]:
        x, y, width, height = (round(value) for value in head.box)
        return -width * height, x, y

    return sorted(heads, key=place)


def pick(heads: Sequence[Head], faces: str, width: int, height: int) -> list[int]:
    """Return the indices that the policy `faces` keeps of ordered heads in a width x height picture."""
    if faces == "all":
        return list(range(len(heads)))
    if faces == "center":
        away = [math.hypot(x - width / 2, y - height / 2) for x, y in (middle(head.box) for head in heads)]
        return [int(np.argmin(away))]
    return [0]


def without_twins(heads: Sequence[Head]) -> list[Head]:
    """Drop a mesh that lies on another one: two boxes may lead to the same face."""
    kept: list[Head] = []
    for head in sorted(heads, key=lambda head: (-head.confidence, head.box)):
        if all(overlap(head.box, other.box) <= 0.5 for other in kept):
            kept.append(head)
    return kept


def shifted(face: models.Face, x: int, y: int) -> models.Face:
    """Return a face moved by whole pixels."""
    left, top, width, height = face.box
    return models.Face((left + x, top + y, width, height), face.score, face.points + np.array([x, y], dtype=np.float32))


def mesh_box(head: Head) -> tuple[float, float, float, float]:
    """Return x, y, width, height of a head's mesh."""
    x0, y0, x1, y1 = mesh_corners(head)
    return x0, y0, x1 - x0, y1 - y0


def mesh_corners(head: Head) -> tuple[float, float, float, float]:
    """Return x0, y0, x1, y1 of the mesh: brow to chin, as face-alignment's own detector draws it."""
    assert head.mesh is not None
    low, high = head.mesh[:, :2].min(axis=0), head.mesh[:, :2].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def to_source(face: models.Face, factor: int) -> models.Face:
    """Return a face of a picture reduced by `factor` in pixels of the photograph."""
    x, y, width, height = (factor * value for value in face.box)
    return models.Face((x, y, width, height), face.score, factor * face.points)
