"""Keeps a picture untouched as one head's crop: no pixel is resampled, and the label that came with it stands as it is.

For sets that somebody has aligned and labelled already; `frame` cuts and resizes instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ...datasets.sample import Crop, Drop, Sample
from ...manifests.identity import sample_id
from ..stage import OpenStage, Stage


@dataclass(frozen=True)
class Keep(Stage):
    """Each square picture is the crop of its only head, pixel for pixel."""

    name: ClassVar[str] = "keep"
    version: ClassVar[int] = 1
    gives: ClassVar[tuple[str, ...]] = ("id", "head_index", "crop", "image", "padding")
    remade: ClassVar[tuple[str, ...]] = ("image", "padding")

    side: int = 0
    """Side that every picture must have, in pixels; 0 takes each as it is."""
    policy: Literal["canonical", "free-k"] = "free-k"
    """Whether cameras may have other than the canonical intrinsics and an axis that misses the origin, as EG3D's do."""

    def __post_init__(self) -> None:
        if self.side < 0 or self.policy not in ("canonical", "free-k"):
            raise ValueError(f"expected side >= 0 and policy canonical or free-k, got {self.side} and {self.policy!r}")

    @property
    def crop_size(self) -> int:
        """Side in pixels of the crops; 0 where pictures decide."""
        return self.side

    @property
    def free_k(self) -> bool:
        """Whether labels may have other than the canonical intrinsics."""
        return self.policy == "free-k"

    def remake(self, sample: Sample) -> Sample:
        """Take the picture again."""
        size = sample.require("crop").size
        return sample.with_(image=sample.photo.pixels, padding=np.zeros((size, size), dtype=np.uint8))

    def open(self, device: str = "cpu") -> OpenStage:
        """Return the stage at work."""
        return _OpenKeep(self)


class _OpenKeep(OpenStage):
    def __init__(self, settings: Keep) -> None:
        self._settings = settings

    def one(self, sample: Sample, rng: np.random.Generator) -> Iterable[Sample]:
        info, side = sample.photo.info, self._settings.side
        if info.width != info.height or side not in (0, info.width):
            wanted = f"{side} x {side}" if side else "a square picture"
            raise Drop("sidecar_mismatch", f"expected {wanted}, got {info.width} x {info.height}")
        placed = sample.with_(
            id=sample_id(sample.photo.sha256, 0),
            crop=Crop(np.eye(3), info.width, 0.0, 1.0),
            scores={"upscale": 1.0, "pad_ratio": 0.0},
        )
        return [self._settings.remake(placed)]
