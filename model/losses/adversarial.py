"""The adversarial game: the discriminator tells data from generated pictures, the generator wants its pictures taken for data.

Non-saturating losses (Goodfellow et al. 2014; Karras et al. 2020). Penalties and further negatives are left to `r1` and `vico`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn import functional

from .step import Player, Step
from .term import LossTerm, register_term


@register_term
@dataclass(frozen=True)
class GeneratorAdversarial(LossTerm):
    """The generator's part: softplus(-D(G(z, c), c))."""

    player: ClassVar[Player] = "generator"

    kind: Literal["generator_adversarial"] = "generator_adversarial"
    """Tells the terms apart in a file."""

    def __call__(self, step: Step) -> Tensor:
        """Return the mean over generated pictures, summed over the discriminator's scores of each."""
        return functional.softplus(-step.fake_score).sum(dim=1).mean()


@register_term
@dataclass(frozen=True)
class DiscriminatorAdversarial(LossTerm):
    """The discriminator's part: softplus(D(G(z, c), c)) + softplus(-D(x, c))."""

    player: ClassVar[Player] = "discriminator"

    kind: Literal["discriminator_adversarial"] = "discriminator_adversarial"
    """Tells the terms apart in a file."""

    def __call__(self, step: Step) -> Tensor:
        """Return the sum of both means, over generated pictures and over the data, summed over scores."""
        fake, real = functional.softplus(step.fake_score), functional.softplus(-step.real_score)
        return fake.sum(dim=1).mean() + real.sum(dim=1).mean()
