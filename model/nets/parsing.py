"""The parsing head: composed features to the probability of every class at every pixel, at neural resolution.

Classes are the 19 of `datasets.classes` in that order and one spare; supervision is left to discriminators and losses.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ...datasets.classes import CLASSES
from ...manifests.config import check_ranges
from ..ops.modulation import Modulation
from .layers import StyledConv, ToMap

SEMANTICS: tuple[str, ...] = (*CLASSES, "spare")
"""Names of the 20 channels; the use of the last one in the published weights is not known."""


@dataclass(frozen=True)
class ParsingSettings:
    """Shape of the parsing head and where its features go."""

    channels: int = len(SEMANTICS)
    """Number of classes, the spare one included."""
    hidden: int = 0
    """Width of a styled 3 x 3 layer before the class layer; 0 for none (as published)."""
    feedback: tuple[int, ...] = ()
    """Blocks of the upsampler that are fed with the head's features at their own scale; empty as published."""

    def __post_init__(self) -> None:
        check_ranges(self, channels=(0, 1_024), hidden=(0, 65_536), feedback=(0, 16))
        if self.channels < len(CLASSES):
            raise ValueError(f"expected at least {len(CLASSES)} parsing channels, got {self.channels}")

    @property
    def guide_channels(self) -> int:
        """Channels of what is fed back: the hidden layer if there is one, the probabilities otherwise."""
        return self.hidden or self.channels


class ParsingHead(nn.Module):
    """Composed features (B, F, r, r) to class probabilities and the features to feed back."""

    def __init__(
        self, num_in: int, w_dim: int, settings: ParsingSettings, resolution: int, modulation: Modulation = "auto"
    ) -> None:
        super().__init__()
        self.hidden = StyledConv(num_in, settings.hidden, w_dim, resolution, modulation=modulation) if settings.hidden else None
        self.to_classes = ToMap(settings.hidden or num_in, settings.channels, w_dim, modulation=modulation)

    def forward(self, features: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return probabilities (B, P, r, r), which sum to one, and the guide (B, G, r, r)."""
        x = features if self.hidden is None else self.hidden(features, w, "none")
        parsing = torch.softmax(self.to_classes(x, w).float(), dim=1)
        return parsing, parsing if self.hidden is None else x
