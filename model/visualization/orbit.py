"""A turn around heads: its frames, the video of them, and the film strip for where no video can be shown.

Rendering is left to `views`, encoding to `video`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ...datasets.arrays import Pixels
from ...datasets.report.tiles import fit
from ...manifests.config import ConfigError
from .pictures import sheet, yaw_name
from .views import View


@dataclass(frozen=True)
class OrbitSettings:
    """How a turn around heads is shown."""

    frames: int = 40
    """Pictures in a full turn."""
    fps: int = 12
    """Pictures a second."""
    columns: int = 4
    """Heads beside each other."""
    strip: int = 10
    """Pictures of the turn on the film strip."""

    def __post_init__(self) -> None:
        if min(self.frames, self.fps, self.columns, self.strip) < 1:
            raise ConfigError(f"expected an orbit of frames, fps, columns and strip of 1 or more, got {self}")


def tiles(views: Iterable[View], size: int) -> list[Pixels]:
    """Return the (size, size, 3) final pictures of views; nothing else of the views is kept."""
    return [fit(view.image, size) for view in views]


def orbit_frames(heads: Sequence[Sequence[Pixels]], columns: int) -> list[Pixels]:
    """Lay the heads of each moment of a turn beside and under each other.

    Args:
        heads: for each head its square tiles around the turn.
        columns: heads beside each other.

    Returns:
        As many frames as a head has tiles.
    """
    size, columns = len(heads[0][0]), min(columns, len(heads))
    lines = math.ceil(len(heads) / columns)
    frames = []
    for moment in zip(*heads, strict=True):
        frame = np.zeros((lines * size, columns * size, 3), dtype=np.uint8)
        for index, picture in enumerate(moment):
            y, x = index // columns * size, index % columns * size
            frame[y : y + size, x : x + size] = picture
        frames.append(frame)
    return frames


def film_strip(heads: Sequence[Sequence[Pixels]], names: Sequence[str], count: int) -> Pixels:
    """Lay out `count` evenly spaced pictures of every head's turn, one head a row."""
    frames = len(heads[0])
    chosen = sorted({round(index * frames / count) % frames for index in range(count)})
    return sheet([[turn[index] for index in chosen] for turn in heads], names, [yaw_name(index, frames) for index in chosen])
