"""A data set as a evaluation: how far a generator's pictures are from it, from all sides, from the front and from behind.

The same labels, latents and pictures are used at each measuring, so that two values differ by the generators alone. Features
and distances are those of the modules beside this one; who measures when is left to the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...datasets.arrays import Pixels
from ...datasets.shards.codec import Decoded
from ...datasets.shards.inspect import PLACE, read
from ...manifests.config import ConfigError
from ...manifests.frames import read_frame
from ...manifests.identity import unit_interval
from ..generator import Generator
from ..visualization.views import RenderSettings, head_styles, seeded_latents, to_pixels
from .features import Features, Floats, features_of
from .frechet import frechet_infinity, kernel_distance

SIDES = ("all", "front", "back")
"""Which views: all, |yaw| up to 90 degrees, and beyond (as SphereHead's and PanoHead's evaluation cuts them)."""
Conditions = Callable[[Generator, Sequence[int]], Tensor | None]
"""A generator and seeds to the heads' conditions; None for the frontal camera."""


@dataclass(frozen=True)
class EvaluationSettings:
    """How a generator is measured."""

    count: int = 1024
    """Generated pictures, and at most four times as many of the data."""
    first_seed: int = 1_000_000
    """Seed of the first head; others than those that are looked at."""
    psi: float = 1.0
    """Truncation; 1 measures what was learned."""
    split: str = ""
    """Only this split of the data, where given."""

    def __post_init__(self) -> None:
        if self.count < 64:
            raise ConfigError(f"expected a count of 64 or more, got {self.count}")


@dataclass(frozen=True)
class Distances:
    """Distances of one set of pictures from the data, for one of `SIDES`."""

    frechet: float
    infinity: float
    """Frechet's distance for endlessly many pictures."""
    kernel: float
    count: int
    """Pictures that were measured."""
    reference: int
    """Pictures of the data."""


@dataclass(frozen=True, eq=False)
class ViewFeatures:
    """Features of pictures with where they were seen from."""

    features: Floats
    """(N, D)"""
    labels: NDArray[np.float32]
    """(N, 25)"""

    def chosen(self, side: str) -> NDArray[np.bool_]:
        """Return which pictures belong to one of `SIDES`."""
        yaws = np.abs(np.arctan2(self.labels[:, 3], self.labels[:, 11]))
        return {"all": yaws >= 0, "front": yaws <= math.pi / 2, "back": yaws > math.pi / 2}[side]


def compare(seen: ViewFeatures, reference: ViewFeatures) -> dict[str, Distances]:
    """Return the distances for every one of `SIDES` that both show often enough."""
    found = {}
    for side in SIDES:
        first, second = seen.features[seen.chosen(side)], reference.features[reference.chosen(side)]
        if min(len(first), len(second)) >= 8:
            far = frechet_infinity(first, second)
            kernel = kernel_distance(first, second)
            found[side] = Distances(far.measured, far.infinity, kernel, len(first), len(second))
    return found


class Evaluation:
    """Data sets, read once, and what is drawn beside them."""

    def __init__(
        self, folders: Sequence[Path], features: Features, settings: EvaluationSettings = EvaluationSettings()
    ) -> None:
        """Read the data.

        Args:
            folders: finished data sets.
            features: what pictures are compared by.
            settings: how to measure.

        Raises:
            ManifestError: a folder holds no finished set.
            ConfigError: the data hold too few pictures with a label.
        """
        self.features, self.settings = features, settings
        labels: list[NDArray[np.float32]] = []
        self.ids: list[str] = []

        def pictures() -> Iterator[Pixels]:
            for folder in folders:
                for sample in _samples(folder, settings, len(folders)):
                    if sample.camera is not None:
                        self.ids.append(sample.id)
                        labels.append(sample.camera.label())
                        yield sample.image
            if not self.ids:
                where = ", ".join(map(str, folders))
                raise ConfigError(f"expected 64 pictures or more with a camera label in {where} to measure by, found none")

        found = features_of(pictures(), features)
        self.reference = ViewFeatures(found, np.stack(labels))
        if len(found) < 64:
            raise ConfigError(f"expected 64 pictures or more to measure by, got {len(found)}")
        chosen = np.linspace(0, len(found) - 1, settings.count).round().astype(int)
        self.labels = torch.from_numpy(self.reference.labels[chosen])

    def measure(
        self, generator: Generator, rendering: RenderSettings | None = None, conditions: Conditions | None = None
    ) -> dict[str, Distances]:
        """Return the distances of a generator's pictures from the data.

        Every head is made for the frontal camera, or by its own vector, and seen from a camera of the data: what is right only
        for the camera that it was made for does not help (FID-random, as SphereHead's authors call it).
        """
        rendering = rendering or RenderSettings()
        pictures = self.generated(generator, rendering, conditions)
        return compare(ViewFeatures(features_of(pictures, self.features), self.labels.numpy()), self.reference)

    @torch.no_grad()
    def generated(self, generator: Generator, rendering: RenderSettings, conditions: Conditions | None) -> Iterator[Pixels]:
        """Yield one picture for each label, the learned camera shift left out."""
        device = next(generator.parameters()).device
        for numbers in np.array_split(np.arange(len(self.labels)), -(-len(self.labels) // 8)):
            seeds = [self.settings.first_seed + int(number) for number in numbers]
            condition = None if conditions is None else conditions(generator, seeds)
            ws = head_styles(generator, seeded_latents(seeds, generator.settings.z_dim), condition, self.settings.psi)
            cameras = self.labels[torch.from_numpy(numbers)].to(device)
            seen = generator.synthesise(
                ws,
                cameras,
                neural_resolution=rendering.neural_resolution,
                image_resolution=rendering.image_resolution,
                fade=rendering.fade,
            )
            yield from to_pixels(seen.image)


def _samples(folder: Path, settings: EvaluationSettings, parts: int) -> Iterator[Decoded]:
    """Yield samples chosen by a hash of their ids: the same whatever the order of the shards."""
    frame = read_frame(folder, PLACE)
    frame = frame[(frame["status"] == "kept") & ((frame["split"] == settings.split) | (not settings.split))]
    ids = sorted(frame["id"].tolist(), key=lambda key: (unit_interval(f"yardstick/{key}"), key))
    yield from read(folder, ids[: 4 * settings.count // parts], frame)
