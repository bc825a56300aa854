"""R1: a penalty on the discriminator's slope at the data, part by part of what it sees (Mescheder et al. 2018, eq. 9).

Meant to be lazy (Karras et al. 2020, sec. 3.1): due every 16 updates, it costs a second backward pass only then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from .step import Player, Step
from .term import LossTerm, register_term

PARTS = ("image", "raw", "mask", "parsing")
"""Parts of a portrait that have a gamma of their own."""
HEURISTIC = 0.0002
"""Gamma of one picture of one pixel, where it follows resolution and batch."""


@register_term
@dataclass(frozen=True)
class R1(LossTerm):
    """Sum over parts of gamma / 2 * |dD(x, c) / d part|^2, at the data as the discriminator sees it, with its own cameras.

    A part with gamma 0, or that the portrait or the discriminator lacks, is not differentiated by. Scores of frozen features
    are left out: gammas are made for networks that learn from pixels, and of the slope through a frozen network most is not
    theirs to change. Their weights are bounded by spectral norms; Sauer et al. (2021) train them without a penalty.
    """

    player: ClassVar[Player] = "discriminator"
    wants_real_gradient: ClassVar[bool] = True

    every: int = 16
    """Interval in updates of its player; its gradient then counts as often (lazy regularisation)."""
    kind: Literal["r1"] = "r1"
    """Tells the terms apart in a file."""
    rule: Literal["fixed", "heuristic"] = "fixed"
    """fixed: gammas as they are; heuristic: times 0.0002 R^2 / B, R the picture's present side and B the update's pictures
    (the automatic setting of Karras et al. 2020, "Training generative adversarial networks with limited data")."""
    image: float = 1.0
    """Gamma of the final picture."""
    raw: float = 1.0
    """Gamma of the raw picture."""
    mask: float = 1.0
    """Gamma of the mask."""
    parsing: float = 0.0
    """Gamma of the parsing map."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in PARTS:
            if getattr(self, name) < 0:
                raise ValueError(f"expected gamma of {name} to be 0 or more, got {getattr(self, name)}")

    def __call__(self, step: Step) -> Tensor:
        """Return the mean penalty over the data."""
        seen = step.real_seen
        parts = {name: getattr(seen, name) for name in PARTS if getattr(self, name) > 0 and getattr(seen, name) is not None}
        fixed = [name for name, part in parts.items() if not part.requires_grad]
        if fixed:
            raise ValueError(f"expected data that {fixed[0]} can be differentiated by: make the step with wants_real_gradient")
        score = step.real_score[:, : step.discriminator.num_learned]
        if not parts:
            return score.sum() * 0.0
        slopes = torch.autograd.grad(score.sum(), list(parts.values()), create_graph=True, retain_graph=True, allow_unused=True)
        factor = 0.5 * (1.0 if self.rule == "fixed" else HEURISTIC * seen.image.shape[-1] ** 2 / step.total)
        penalties = [
            slope.square().sum(dim=(1, 2, 3)).mean() * (getattr(self, name) * factor)
            for name, slope in zip(parts, slopes, strict=True)
            if slope is not None
        ]
        return torch.stack(penalties).sum() if penalties else score.sum() * 0.0
