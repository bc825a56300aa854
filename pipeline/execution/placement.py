"""Which files take a GPU, decided by recipe and listing alone, before any worker has them.

The device of a stage must not follow from the worker that a file happens to meet: the same network on a CPU and on a GPU gives
numbers that differ in the last places, and then other bytes. What a worker has is the engines' business.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ...datasets.sample import SourceImage
from ...datasets.sources.base import Source
from ..recipe import Recipe
from ..stage import Stage

_READ = ("camera", "mask", "parsing", "depth")
"""Sidecars that fill the field of their name."""
CROP_FIELDS = (
    "id", "parent", "derivation", "head_index", "head", "mesh", "landmarks", "crop", "image", "padding",
)  # fmt: skip
"""What is known of a picture that is itself the canonical crop."""


def is_skipped(stage: Stage, known: Collection[str]) -> bool:
    """Return whether a stage only estimates what the source gave exactly."""
    return bool(stage.gives) and set(known).issuperset(stage.gives)


def gives_label_away(image: SourceImage, recipe: Recipe) -> bool:
    """Return whether the camera beside a photograph is a label that a stage turns with the crop, and not a known field."""
    return not image.is_cropped and not recipe.free_k and any(stage.takes_labels for stage in recipe.stages)


def known_fields(image: SourceImage, recipe: Recipe) -> frozenset[str]:
    """Return the fields of the sample that a file starts as, which its source gives exactly.

    Args:
        image: as the source listed it; nothing is read.
        recipe: the build's.
    """
    known = {kind for kind in _READ if kind in image.sidecar}
    if gives_label_away(image, recipe):
        known.discard("camera")
    return frozenset(known.union(CROP_FIELDS) if image.is_cropped else known)


@dataclass(frozen=True)
class Placement:
    """Tells the files of a build that take a GPU from those that do not."""

    sources: tuple[Source, ...]
    recipe: Recipe
    """Resolved."""
    device: str
    """Where stages run that can choose."""
    _told: dict[tuple[int, frozenset[str]], bool] = field(default_factory=dict)
    """Answers by source and kinds of sidecars, on which alone they depend."""

    def takes_gpu(self, source: int, image: SourceImage) -> bool:
        """Return whether a file takes a GPU: its source renders on one, or a stage of its way runs on the device."""
        key = source, frozenset(image.sidecar)
        if key not in self._told:
            self._told[key] = self._decide(source, image)
        return self._told[key]

    def _decide(self, source: int, image: SourceImage) -> bool:
        if self.sources[source].uses_gpu:
            return True
        if not is_gpu(self.device):
            return False
        known = known_fields(image, self.recipe)
        return any(stage.uses_device and not is_skipped(stage, known) for stage in self.recipe.stages)

    @property
    def may_take_gpu(self) -> bool:
        """Whether any file may."""
        on_device = is_gpu(self.device) and any(stage.uses_device for stage in self.recipe.stages)
        return on_device or any(source.uses_gpu for source in self.sources)


def is_gpu(device: str) -> bool:
    """Return whether a device is a GPU."""
    return device.partition(":")[0] == "cuda"
