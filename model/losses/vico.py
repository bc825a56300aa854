"""ViCo, view-image consistency: pictures with another picture's camera are negatives for the discriminator (Li et al. 2024).

The published code lacks this loss, so source, weight, share and rule of the shuffle are settings here. The discriminator's
features do not depend on the camera: a negative costs one product of features and condition, not another pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..generator import TRANSLATION
from .step import Player, Step
from .term import LossTerm, register_term


@register_term
@dataclass(frozen=True)
class ViCo(LossTerm):
    """softplus(D(x, c')) for pictures x and cameras c' of other pictures of the batch that look from elsewhere.

    A row without a picture that looks from far enough is left out. The rows that are used are summed and divided by the number
    of rows asked for, so that what its neighbours look like does not change a row's weight.
    """

    player: ClassVar[Player] = "discriminator"

    kind: Literal["vico"] = "vico"
    """Tells the terms apart in a file."""
    source: Literal["real", "generated", "both"] = "real"
    """Which pictures are shown with wrong cameras; for both, the mean of the two is taken."""
    share: float = 1.0
    """Share of the batch that is shown with wrong cameras, in (0, 1]; a random choice of rows, at least one."""
    min_angle_degrees: float = 20.0
    """Cameras nearer than this, as directions seen from the head's centre, are not wrong enough; roll does not count."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise ValueError(f"expected a share in (0, 1], got {self.share}")
        if not 0 <= self.min_angle_degrees < 180:
            raise ValueError(f"expected min_angle_degrees in [0, 180), got {self.min_angle_degrees}")

    def __call__(self, step: Step) -> Tensor:
        """Return the mean over the share of the micro-batch."""
        parts = []
        if self.source != "generated":
            parts.append(self._negatives(step, step.real_features, step.real_seen.camera, step.real_vectors))
        if self.source != "real":
            parts.append(self._negatives(step, step.fake_features, step.fake_seen.camera, step.vectors))
        return torch.stack(parts).mean()

    def _negatives(self, step: Step, features: Tensor, camera: Tensor, vectors: Tensor | None) -> Tensor:
        """Return the term for one source; the vector of the person stays with its picture."""
        other, found = far_partners(camera, self.min_angle_degrees, step.random)
        count = max(1, round(self.share * len(camera)))
        order = torch.rand(len(camera), generator=step.random, device=step.random.device).argsort().to(camera.device)
        used = found & (order < count)
        score = step.discriminator.score(features, step.label(camera[other], vectors))
        return torch.where(used, functional.softplus(score).sum(dim=1), 0.0).sum() / count


def viewing_angles(camera: Tensor) -> Tensor:
    """Return the (B, B) angles in radians between the directions in which (B, 25) cameras stand, in [0, pi].

    The exact geodesic on the sphere, atan2(|a x b|, a . b), in double precision: 0 is 0 and near angles keep their digits.
    """
    place = functional.normalize(camera.detach()[:, list(TRANSLATION)].double(), dim=1)
    first, second = place[:, None].expand(-1, len(place), -1), place[None].expand(len(place), -1, -1)
    return torch.atan2(torch.linalg.cross(first, second).norm(dim=2), (first * second).sum(2))


def far_partners(camera: Tensor, min_angle_degrees: float, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw for every camera another one of the batch that looks from farther than an angle, each with equal probability.

    Args:
        camera: (B, 25) labels.
        min_angle_degrees: pairs at this angle or nearer are never drawn.
        random: source of the draw.

    Returns:
        (B,) indices of partners, and (B,) whether there was one; where there was none, the index means nothing.
    """
    far = viewing_angles(camera) > math.radians(min_angle_degrees)
    draw = torch.rand(far.shape, generator=random, device=random.device).to(far.device)
    return torch.where(far, draw, -1.0).argmax(dim=1), far.any(dim=1)
