"""Feature matching: generated pictures shall excite the discriminator's features as the data do.

Salimans et al. (2016, sec. 3.1) compare means over a batch, Wang et al. (2018, "High-resolution image synthesis and semantic
manipulation with conditional GANs", eq. 2) a picture with the one that it should be. What a feature is, is the discriminator's
affair.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from .step import Player, Step, blurred
from .term import LossTerm, register_term


@register_term
@dataclass(frozen=True)
class FeatureMatching(LossTerm):
    """L1 between the discriminator's activations of generated pictures and of data, a mean over blocks and numbers.

    Where the update rebuilds views of known persons, each view is compared with its own picture, place by place; other rows of
    the micro-batch are left out. Elsewhere the mean activation of each channel, over pictures and places, is compared with that
    of the data: both are seen from the same cameras. These means are a micro-batch's, so their gradient depends on its size.
    """

    player: ClassVar[Player] = "generator"

    weight: float = 10.0
    """Factor on the term (Wang et al. 2018)."""
    kind: Literal["feature_matching"] = "feature_matching"
    """Tells the terms apart in a file."""

    def __call__(self, step: Step) -> Tensor:
        """Return the mean over pictures, or of batch means."""
        if step.rebuilds:
            return self._views(step)
        pairs = zip(flat(step.fake_activations), flat(step.real_activations), strict=True)
        return torch.stack([(channel_means(one) - channel_means(other).detach()).abs().mean() for one, other in pairs]).mean()

    def _views(self, step: Step) -> Tensor:
        """Return the sum over known rows, divided by all of them: the same whatever a micro-batch's other rows are."""
        views, fade = step.views, step.schedule.fade
        if not len(views.rows):
            return step.camera.new_zeros(())
        made = dataclasses.replace(views.made, image=blurred(views.made.image, step.schedule.blur))
        with torch.no_grad():
            wanted = step.discriminator.activations(step.real.chosen(views.rows), fade)
        return picture_errors(flat(step.discriminator.activations(made, fade)), flat(wanted)).sum() / step.batch


def flat(activations: list[list[Tensor]]) -> list[Tensor]:
    """Return what all blocks made, in one list."""
    return [made for parts in activations for made in parts]


def channel_means(activation: Tensor) -> Tensor:
    """Return the (C,) means of (B, C, H, W) over pictures and places."""
    return activation.float().mean(dim=(0, 2, 3))


def picture_errors(made: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Return (B,) L1 means of what blocks made of pictures, (B, C, H, W) each, and then of the blocks."""
    rows = [(one.float() - other.float()).abs().mean(dim=(1, 2, 3)) for one, other in zip(made, wanted, strict=True)]
    return torch.stack(rows).mean(dim=0)
