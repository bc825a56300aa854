"""What a head network says of a head without truth, as the mean of many looks at it; how far they differ tells how sure it is.

Where MediaPipe's mesh saw a face, its rotation has its share. Learning from these labels is `task`'s affair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import nn

from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.camera import geodesic, mean_rotation
from ....datasets.classes import CLASSES, MIRROR_PAIRS
from ....datasets.warp import apply
from ..networks import CROP, HeadOutput
from ..shown.augmentation import CropGeometry
from ..tasks import normalised
from .loose_heads import LooseHead, Placed, crop_of, points_partnered, rotation_in_view, view_of, warped_plane

LOOKS = tuple(
    CropGeometry(mirror, math.radians(roll), scale, (0.0, 0.0))
    for roll, scale in ((0.0, 0.9), (8.0, 0.8), (-8.0, 1.0), (0.0, 0.72))
    for mirror in (False, True)
)
"""Crops of a head that the teacher looks at."""
SURE = 0.6
"""Mean chance of a class from which a pixel is learned: the others tell nothing (they are where entropy is high)."""
CONTRADICTION = math.radians(30.0)
"""Angle between looks and mesh from which the two do not see the same, and the head's pose is not learned."""
GRID = 144
"""Side of label maps."""
_SWAP = np.arange(len(CLASSES) + 1)
for _left, _right in MIRROR_PAIRS:
    _SWAP[_left], _SWAP[_right] = _right, _left


@dataclass(frozen=True, eq=False)
class Label:
    """What is learned of a head."""

    placed: Placed
    points: Floats
    """(68, 2) pixels of the loose picture."""
    classes: Array
    """(GRID, GRID) uint8 most likely classes."""
    sure: Array
    """(GRID, GRID) uint8: 1 where a class is learned."""
    alpha: Pixels
    """(GRID, GRID) uint8 coverage, 0 to 255."""
    spread: float
    """Root mean square in radians of the looks' rotations about their mean; infinite where the mesh sees another side."""


@torch.no_grad()
def label_of(network: nn.Module, head: LooseHead) -> Label:
    """Return the label that a head network in evaluation mode gives a head."""
    view = view_of(head.image, head.read)
    side = head.image.shape[0]
    said: HeadOutput = network(normalised(np.stack([crop_of(view, look) for look in LOOKS])))
    maps = torch.cat([said.classes.softmax(dim=1), said.alpha.sigmoid()[:, None]], dim=1).numpy()
    rotations, centres, scales, points = [], [], [], []
    total: Array = np.zeros((GRID, GRID, maps.shape[1]), dtype=np.float32)
    for index, look in enumerate(LOOKS):
        back = np.linalg.inv(look.matrix(view, CROP))
        place, marks = said.place[index].numpy().astype(np.float64), said.points[index].numpy().astype(np.float64)
        rotations.append(rotation_in_view(said.rotation[index].numpy(), look))
        centres.append(apply(back, CROP / 2.0 * (place[None, :2] + 1.0))[0])
        scales.append(place[2] + math.log(CROP * math.sqrt(abs(np.linalg.det(back[:2, :2])))))
        points.append(points_partnered(apply(back, CROP / 2.0 * (marks + 1.0)), look.mirror))
        planes = maps[index][_SWAP] if look.mirror else maps[index]
        total += _back(planes, look.matrix(view, CROP), side)
    mean = mean_rotation(rotations)
    spread = math.sqrt(float(np.mean([geodesic(mean, rotation) ** 2 for rotation in rotations])))
    mean, spread = with_mesh(mean, spread, head)
    total /= len(LOOKS)
    chances = total[..., :-1]
    return Label(
        Placed(mean, np.mean(centres, axis=0), math.exp(float(np.mean(scales)))), np.mean(points, axis=0),
        chances.argmax(axis=-1).astype(np.uint8), (chances.max(axis=-1) >= SURE).astype(np.uint8),
        np.asarray(np.round(255.0 * np.clip(total[..., -1], 0.0, 1.0)), dtype=np.uint8), spread,
    )  # fmt: skip


def _back(planes: Array, matrix: Array, side: int) -> Array:
    """Return (GRID, GRID, C) of a crop's (C, 64, 64) maps; `matrix` leads from the loose picture to the crop."""
    size = planes.shape[1]
    to_maps = np.diag([size / CROP, size / CROP, 1.0]) @ matrix @ np.diag([side / GRID, side / GRID, 1.0])
    stacked = np.ascontiguousarray(planes.transpose(1, 2, 0))
    parts = [
        warped_plane(stacked[..., first : first + 4], np.linalg.inv(to_maps), GRID, cv2.INTER_LINEAR).reshape(GRID, GRID, -1)
        for first in range(0, stacked.shape[2], 4)
    ]  # OpenCV warps four channels at most
    return np.concatenate(parts, axis=2)


def with_mesh(rotation: Floats, spread: float, head: LooseHead) -> tuple[Floats, float]:
    """Return a mean rotation and its spread with the mesh's share, where there is a mesh; see `Label.spread`."""
    if head.mesh is None:
        return rotation, spread
    if geodesic(rotation, head.mesh.rotation) > CONTRADICTION:
        return rotation, math.inf
    return mean_rotation([rotation, head.mesh.rotation], [1.0 - head.mesh_share, head.mesh_share]), spread


def agreed(labels: Sequence[Label], share: float) -> list[int]:
    """Return the indices of the `share` of labels on which looks agree best, in their order; none that a mesh contradicts."""
    order = np.argsort([label.spread for label in labels], kind="stable")[: max(1, round(share * len(labels)))]
    return [int(index) for index in sorted(order) if math.isfinite(labels[index].spread)]
