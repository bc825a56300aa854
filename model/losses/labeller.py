"""A small network that labels pictures with parsing classes, trained on the data's own maps beside the game.

It stands in for the class map that a generated picture does not have; what its labels are used for is left to `parsing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...manifests.config import ConfigError
from ..nets.upsampler import resize


@dataclass(frozen=True)
class LabellerSettings:
    """Shape of the labeller."""

    width: int = 16
    """Channels at the parsing map's own resolution; they double with each level."""
    levels: int = 3
    """How often the resolution is halved from there: 3 lets a map of 32 pixels be seen whole at 4."""
    widest: int = 64
    """Most channels of a level."""

    def __post_init__(self) -> None:
        if self.width < 4 or self.width % 4 or self.widest % 4 or self.levels < 0:
            raise ConfigError(f"expected widths divisible by 4 and levels of 0 or more, got {self}")

    def channels(self, level: int) -> int:
        """Return the width of a level; 0 is the finest."""
        width: int = min(self.width * 2**level, self.widest)
        return width


def _layer(num_in: int, num_out: int, stride: int = 1) -> nn.Sequential:
    """Return a 3 x 3 convolution with group norm and leaky ReLU, which may halve the resolution."""
    return nn.Sequential(nn.Conv2d(num_in, num_out, 3, stride, padding=1), nn.GroupNorm(4, num_out), nn.LeakyReLU(0.2))


class Labeller(nn.Module):
    """Pictures (B, 3, S, S) to logits of classes (B, P, r, r), a U-Net that looks at twice the resolution it answers in."""

    def __init__(self, channels: int, settings: LabellerSettings) -> None:
        super().__init__()
        self.settings = settings
        widths = [settings.channels(level) for level in range(settings.levels + 1)]
        self.enter = nn.Sequential(_layer(3, widths[0], 2), _layer(widths[0], widths[0]))
        self.down = nn.ModuleList(nn.Sequential(_layer(fine, wide, 2), _layer(wide, wide)) for fine, wide in pairwise(widths))
        self.up = nn.ModuleList(_layer(fine + wide, fine) for fine, wide in pairwise(widths))
        self.to_classes = nn.Conv2d(widths[0], channels, 1)

    def forward(self, image: Tensor, resolution: int) -> Tensor:
        """Return logits of the classes.

        Args:
            image: (B, 3, S, S) in about [-1, 1].
            resolution: r, side of the answer; one that cannot be halved often enough is rounded up inside.
        """
        step = 2**self.settings.levels
        size = -(-resolution // step) * step
        fine = [self.enter(resize(image.float(), 2 * size))]
        for block in self.down:
            fine.append(block(fine[-1]))
        x = fine.pop()
        for layer in reversed(self.up):
            x = layer(torch.cat([fine.pop(), functional.interpolate(x, scale_factor=2.0)], dim=1))
        return resize(self.to_classes(x), resolution)
