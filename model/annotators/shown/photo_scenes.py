"""Pictures for the finder cut out of rendered photographs (`render-photographs`): whole people, crowds, a camera's faults.

`scenes` composes pictures of views of single heads; here bodies, occluders, light and noise are those of the photograph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ....datasets.arrays import Array, Pixels
from ....datasets.classes import NOT_HEAD
from ....datasets.shards.photographs import HeadLabel, Photograph
from ....datasets.streaming.photographs import PhotographStream
from ....manifests.config import ConfigError
from .scenes import CHIN_BELOW, Box, Scene, SceneSettings, targets

SMALLEST_WINDOW = 0.35
"""Side of the smallest window, in sides of the photograph."""
LEAST_SEEN = 0.35
"""Share of a head that must be seen for it to be one to find."""
IGNORED = 0.97
"""Heat in the middle of what is neither to be found nor to be left out: hidden, cut or tiny heads."""


@dataclass(frozen=True, eq=False)
class Shot:
    """What is kept of a photograph."""

    image: Pixels
    boxes: tuple[Box, ...]
    """Of all heads."""
    seen: tuple[float, ...]
    """Share of each that is seen."""


class Shots:
    """The photographs of finished sets, each decoded once."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Look up where the photographs of the split "train" lie.

        Raises:
            DataError: a set is unfinished or has none.
            ConfigError: a set holds other samples than photographs with heads.
        """
        self._stream = PhotographStream(folders, split="train", shuffle=False)
        self._kept: dict[int, Shot] = {}
        try:
            self.shot(0)
        except ValueError as error:
            where = ", ".join(map(str, folders))
            raise ConfigError(
                f"expected sets of render-photographs in {where}: {error}; give those of crops as --data"
            ) from error

    def __len__(self) -> int:
        return len(self._stream)

    def shot(self, index: int) -> Shot:
        """Return a photograph with the boxes of its heads."""
        if index not in self._kept:
            photo = self._stream.read(index)
            boxes = tuple(box_of(photo, number) for number in range(len(photo.heads)))
            self._kept[index] = Shot(photo.image, boxes, tuple(head.seen for head in photo.heads))
        return self._kept[index]


def box_of(photo: Photograph, number: int) -> Box:
    """Return the box of a head as the finder tells it: what is seen of it with hair down to the chin, and all of its skull."""
    head = photo.heads[number]
    shown = (photo.alphas[number] > 127) & ~np.isin(photo.parsing, NOT_HEAD) & _above_chin(head, len(photo.image))
    x, y, width, height = head.skull
    left, top, right, bottom = x, y, x + width, y + height
    rows, columns = np.nonzero(shown)
    if len(rows):
        left, right = min(left, columns.min()), max(right, columns.max() + 1)
        top, bottom = min(top, rows.min()), max(bottom, rows.max() + 1)
    return float(left), float(top), float(right - left), float(bottom - top)


def _above_chin(head: HeadLabel, size: int) -> Array:
    """Return which pixels of an (S, S) picture lie on the crown's side of the chin's level."""
    level = np.array([[-0.3, -CHIN_BELOW, 0.0], [0.3, -CHIN_BELOW, 0.0], [0.0, 0.0, 0.0]])
    left, right, middle = size * head.photo_camera.project(level)[0]
    axis = np.arange(size) + 0.5
    across = right - left
    side = across[0] * (axis[:, None] - left[1]) - across[1] * (axis[None, :] - left[0])
    own = across[0] * (middle[1] - left[1]) - across[1] * (middle[0] - left[0])
    return np.asarray(side * own > 0.0)


def photo_scene(random: np.random.Generator, shots: Shots, settings: SceneSettings) -> Scene:
    """Cut a square window out of a photograph, about one of its heads or anywhere, mirrored or not."""
    shot = shots.shot(int(random.integers(len(shots))))
    full, size = len(shot.image), settings.size
    side = full * math.exp(random.uniform(math.log(SMALLEST_WINDOW), 0.0))
    corner = random.uniform(0.0, full - side, 2)
    if shot.boxes and random.random() < 0.6:
        x, y, width, height = shot.boxes[int(random.integers(len(shot.boxes)))]
        middle = np.array([x + width / 2.0, y + height / 2.0])
        corner = np.clip(middle - side * random.uniform(0.2, 0.8, 2), 0.0, full - side)
    left, top = np.floor(corner).astype(int).tolist()
    span = max(8, round(side))
    window = shot.image[top : top + span, left : left + span]
    image = cv2.resize(window, (size, size), interpolation=cv2.INTER_AREA if span > size else cv2.INTER_LINEAR)
    scale, mirror = np.array([size / window.shape[1], size / window.shape[0]]), random.random() < 0.5
    found, ignored = list[Box](), list[Box]()
    for (x, y, width, height), seen in zip(shot.boxes, shot.seen, strict=True):
        x, y, width, height = (x - left) * scale[0], (y - top) * scale[1], width * scale[0], height * scale[1]
        box = (size - x - width if mirror else x, y, width, height)
        inside = _share_inside(box, size)
        if inside > LEAST_SEEN and seen > LEAST_SEEN and height >= settings.least_head:
            found.append(box)
        elif inside > 0.0:
            ignored.append(box)
    heat, boxes = targets(found, size)
    return Scene(np.ascontiguousarray(image[:, ::-1] if mirror else image), without(heat, ignored, size), boxes)


def _share_inside(box: Box, size: int) -> float:
    x, y, width, height = box
    across, down = min(x + width, size) - max(x, 0.0), min(y + height, size) - max(y, 0.0)
    return max(across, 0.0) * max(down, 0.0) / (width * height)


def without(heat: Array, ignored: Sequence[Box], size: int) -> Array:
    """Return a heat map in which no loss is asked for about the middles of some boxes: near 1 there, but nowhere 1."""
    side = len(heat)
    found = heat.copy()
    for x, y, width, height in ignored:
        corners = np.array([[x + 0.2 * width, y + 0.2 * height], [x + 0.8 * width, y + 0.8 * height]]) * side / size
        low, high = (np.clip(end, 0, side).astype(int) for end in (np.floor(corners[0]), np.ceil(corners[1])))
        area = found[low[1] : high[1], low[0] : high[0]]
        np.maximum(area, np.float32(IGNORED), out=area)
    return found
