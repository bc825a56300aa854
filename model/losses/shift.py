"""The camera-shift penalty: learned shifts of the cameras must cancel over a batch, so that heads stay where they are.

The shift itself is made by the generator (An et al. 2023, sec. 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from .step import Player, Step
from .term import LossTerm, register_term


@register_term
@dataclass(frozen=True)
class CameraShift(LossTerm):
    """Sum over coordinates of the squared mean shift of the micro-batch, as published; 0 where the generator learns none."""

    player: ClassVar[Player] = "generator"

    weight: float = 10.0
    """Factor on the term."""
    kind: Literal["camera_shift"] = "camera_shift"
    """Tells the terms apart in a file."""

    def __call__(self, step: Step) -> Tensor:
        """Return the penalty, in square world units."""
        if step.shift is None:
            return step.camera.new_zeros(())
        return step.shift.mean(dim=0).square().sum()
