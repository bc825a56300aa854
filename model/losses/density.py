"""Density regularisation: nearby points shall have similar densities, which keeps the volume free of floating specks.

The generator's volume and decoder answer for any point; this draws the points (Chan et al. 2022, supplement).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from .step import Player, Step
from .term import LossTerm, register_term


@register_term
@dataclass(frozen=True)
class DensitySmoothness(LossTerm):
    """Mean |density at random points - density at the same points moved a little|, of raw densities."""

    player: ClassVar[Player] = "generator"

    weight: float = 0.25
    """Factor on the term."""
    every: int = 4
    """Interval in updates of its player; its gradient then counts as often (lazy regularisation)."""
    kind: Literal["density"] = "density"
    """Tells the terms apart in a file."""
    points: int = 1000
    """Points drawn for each head."""
    distance: float = 0.004
    """Standard deviation of the move along each axis, in world units."""
    extent: float = 1.0
    """Points lie in the cube from -extent to extent: published 1, though the volume only reaches to 0.5."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.points < 1 or self.distance <= 0 or self.extent <= 0:
            raise ValueError(f"expected positive points, distance and extent, got {self}")

    def __call__(self, step: Step) -> Tensor:
        """Return the mean over heads and points."""
        points = (step.uniform(step.batch, self.points, 3) * 2.0 - 1.0) * self.extent
        move = torch.randn(points.shape, generator=step.random, device=step.random.device).to(points.device) * self.distance
        _, density = step.generator.field(step.planes, torch.cat([points, points + move], dim=1))
        first, second = density.float().chunk(2, dim=1)
        return (first - second).abs().mean()
