"""Takes a picture as it is for one head's crop: for sets that somebody has aligned, and for measuring the path without models.

Finding heads in photographs is left to `detect` and `align`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...datasets import warp
from ...datasets.sample import Crop, Drop, Sample
from ...manifests.identity import sample_id
from ..stage import OpenStage, Stage


@dataclass(frozen=True)
class Frame(Stage):
    """The centre square of each picture becomes the crop of its only head."""

    name: ClassVar[str] = "frame"
    version: ClassVar[int] = 1
    gives: ClassVar[tuple[str, ...]] = ("id", "head_index", "crop", "image", "padding")
    remade: ClassVar[tuple[str, ...]] = ("image", "padding")

    size: int = 512
    """Side of the crop in pixels."""
    max_upscale: float = 1.5
    """Refuse pictures that would have to be enlarged by more than this."""

    def __post_init__(self) -> None:
        if self.size < 16 or self.max_upscale <= 0:
            raise ValueError(f"expected size >= 16 and max_upscale > 0, got {self.size} and {self.max_upscale}")

    @property
    def crop_size(self) -> int:
        """Side in pixels of the crops."""
        return self.size

    def remake(self, sample: Sample) -> Sample:
        """Cut the square out again."""
        crop = sample.require("crop")
        image = warp.warp(sample.photo.pixels, crop.matrix, crop.size)
        return sample.with_(image=image, padding=np.zeros((crop.size, crop.size), dtype=np.uint8))

    def open(self, device: str = "cpu") -> OpenStage:
        """Return the stage at work."""
        return _OpenFrame(self)


class _OpenFrame(OpenStage):
    def __init__(self, settings: Frame) -> None:
        self._settings = settings

    def one(self, sample: Sample, rng: np.random.Generator) -> Iterable[Sample]:
        info, size = sample.photo.info, self._settings.size
        scale = size / min(info.width, info.height)
        if scale > self._settings.max_upscale:
            raise Drop("upscaled_too_much", f"enlarged {scale:.2f} > {self._settings.max_upscale:g} times", scale)
        matrix = warp.similarity(scale, 0.0, np.array([info.width, info.height]) / 2, np.array([size, size]) / 2)
        placed = sample.with_(
            id=sample_id(sample.photo.sha256, 0),
            crop=Crop(matrix, size, 0.0, scale),
            scores={"upscale": scale, "pad_ratio": 0.0},
        )
        return [self._settings.remake(placed)]
