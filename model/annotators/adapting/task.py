"""Half of a batch are photographs with a teacher's labels, half are rendered crops in their look with exact ones.

The loop around it is `training`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....datasets.arrays import Pixels
from ....datasets.classes import CLASSES, INDEX, swap_sides
from ....datasets.warp import apply
from ....manifests.identity import rng
from ..losses import geodesic
from ..networks import CROP, HeadOutput
from ..shown.augmentation import Crop, CropSettings, draw_geometry, worn
from ..tasks import CLASS_WEIGHTS, HeadTask, normalised
from .look import Look
from .loose_heads import LooseHead, crop_of, points_partnered, view_of, warped_plane
from .teacher import GRID, Label

LOOSE = CropSettings(roll_degrees=10.0, free_roll=0.0, least_scale=0.72, most_scale=1.15, shift=0.05)
"""How crops of photographs vary: a cut head has room for no more."""
UNTOLD = 255
"""Class of pixels that tell nothing."""


@dataclass
class InLook(HeadTask):
    """Rendered crops, a share of them in the look of photographs."""

    look: Look | None = None
    share: float = 0.5

    def crop(self, number: int) -> Crop:
        """Make a training crop by number."""
        made = super().crop(number)
        random = rng(self.seed, str(number), "look")
        if self.look is None or random.random() >= self.share:
            return made
        return replace(made, image=self.look(random, made.image))


@dataclass
class AdaptTask:
    """Learn from photographs and rendered crops in turn."""

    rendered: InLook
    heads: Sequence[LooseHead]
    labels: Sequence[Label]
    """Of the heads."""
    taught: float = 1.0
    """Factor on all terms for photographs."""
    weights: dict[str, float] = field(
        default_factory=lambda: {"rotation": 1.0, "place": 0.7, "points": 2.0, "classes": 0.25, "alpha": 0.25}
    )
    """Of the terms for photographs; those for rendered crops are the head task's."""
    name: str = "head"

    @property
    def seed(self) -> int:
        """Seed of everything drawn."""
        return self.rendered.seed

    def network(self) -> nn.Module:
        """Return the network that is to be fitted."""
        return self.rendered.network()

    def photograph(self, number: int) -> Crop:
        """Make a crop of a photograph with its teacher's label, by number."""
        random = rng(self.rendered.seed, str(number), "photograph")
        index = int(random.integers(len(self.heads)))
        label = self.labels[index]
        view, geometry = view_of(self.heads[index].image, label.placed), draw_geometry(random, LOOSE)
        side, matrix = view.image.shape[0], geometry.matrix(view, CROP)
        picture = crop_of(view, geometry)
        if random.random() < 0.5:
            picture = worn(random, picture)
        told = np.where(label.sure > 0, label.classes, np.uint8(UNTOLD))
        half = np.diag([0.5, 0.5, 1.0]) @ matrix @ np.diag([side / GRID, side / GRID, 1.0])
        classes = warped_plane(told, half, CROP // 2, cv2.INTER_NEAREST)
        alpha = warped_plane(label.alpha, half, CROP // 2, cv2.INTER_LINEAR).astype(np.float32) / np.float32(255)
        flat = apply(geometry.matrix(view, CROP), points_partnered(label.points, geometry.mirror))
        points = 2.0 / CROP * flat - 1.0
        place = np.array([2.0 * geometry.shift[0], 2.0 * geometry.shift[1], np.log(geometry.scale)])
        swapped = swap_sides(classes) if geometry.mirror else classes
        beard = np.full(classes.shape, -1, dtype=np.int8)
        return Crop(picture, geometry.rotation(view), place, points, True, swapped, alpha, beard)

    def batch(self, numbers: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Task`: rendered crops first, as many photographs after them."""
        own = numbers[: len(numbers) // 2]
        pictures, truth = self.rendered.batch(own)
        crops = [self.photograph(number) for number in numbers[len(own) :]]
        told = {
            "rotation": torch.from_numpy(np.stack([crop.rotation for crop in crops])).float(),
            "place": torch.from_numpy(np.stack([crop.place for crop in crops])).float(),
            "points": torch.from_numpy(np.stack([crop.points for crop in crops])).float(),
            "classes": torch.from_numpy(np.stack([crop.classes for crop in crops])).long(),
            "alpha": torch.from_numpy(np.stack([crop.alpha for crop in crops])).float(),
        }
        both = torch.cat([pictures, normalised(np.stack([crop.image for crop in crops]))])
        return both, {**truth, **{f"taught_{name}": value for name, value in told.items()}}

    def losses(self, network: Callable[..., Any], pictures: Tensor, truth: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `Task`; how sure the network says to be is learned from rendered truth alone."""
        said: HeadOutput = network(pictures)
        count = len(truth["rotation"])
        known, taught = _rows(said, slice(0, count)), _rows(said, slice(count, None))
        exact = {name: value for name, value in truth.items() if not name.startswith("taught_")}
        terms = self.rendered.losses(lambda _: known, pictures[:count], exact)
        return {**terms, **{f"taught_{name}": value for name, value in self._taught(taught, truth).items()}}

    def _taught(self, said: HeadOutput, truth: dict[str, Tensor]) -> dict[str, Tensor]:
        weights = torch.ones(len(CLASSES))
        weights[[INDEX[name] for name in CLASS_WEIGHTS]] = torch.tensor(list(CLASS_WEIGHTS.values()))
        classes = truth["taught_classes"]
        sure = classes != UNTOLD
        entropy = F.cross_entropy(said.classes, classes.where(sure, 0), weights, reduction="none")
        terms = {
            "rotation": geodesic(said.rotation, truth["taught_rotation"]).mean(),
            "place": (said.place - truth["taught_place"]).abs().sum(1).mean(),
            "points": (said.points - truth["taught_points"]).square().sum(-1).add(1e-10).sqrt().mean(),
            "classes": (entropy * sure).sum() / sure.sum().clamp(min=1),
            "alpha": F.binary_cross_entropy_with_logits(said.alpha, truth["taught_alpha"]),
        }
        return {name: self.taught * self.weights[name] * term for name, term in terms.items()}

    def sheet(self, network: nn.Module, numbers: list[int]) -> Pixels:
        """See `Task`: rendered crops in the photographs' look."""
        return self.rendered.sheet(network, numbers)


def _rows(said: HeadOutput, rows: slice) -> HeadOutput:
    return HeadOutput(*(getattr(said, part.name)[rows] for part in fields(said)))
