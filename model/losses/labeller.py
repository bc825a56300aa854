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
        return min(self.width * 2**level, self.widest)


class Block(nn.Module):
    """Two 3 x 3 convolutions, each with group norm and leaky ReLU; the first may halve the resolution."""

    def __init__(self, num_in: int, num_out: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(num_in, num_out, 3, stride, padding=1)
        self.second = nn.Conv2d(num_out, num_out, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(4, num_out) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_in, H, W) to (B, num_out, H / stride, W / stride)."""
        for layer, norm in zip((self.first, self.second), self.norms, strict=True):
            x = functional.leaky_relu(norm(layer(x)), 0.2)
        return x


class Labeller(nn.Module):
    """Pictures (B, 3, S, S) to logits of classes (B, P, r, r), a U-Net that looks at twice the resolution it answers in."""

    def __init__(self, channels: int, settings: LabellerSettings) -> None:
        super().__init__()
        self.settings = settings
        widths = [settings.channels(level) for level in range(settings.levels + 1)]
        self.enter = Block(3, widths[0], stride=2)
        self.down = nn.ModuleList(Block(fine, coarse, stride=2) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(Block(fine + coarse, fine) for fine, coarse in pairwise(widths))
        self.to_classes = nn.Conv2d(widths[0], channels, 1)

    def forward(self, image: Tensor, resolution: int) -> Tensor:
        """Return logits of the classes.

        Args:
            image: (B, 3, S, S) in about [-1, 1].
            resolution: r, side of the answer; divisible by 2 to the number of levels.

        Raises:
            ValueError: the resolution cannot be halved so often.
        """
        if resolution % 2**self.settings.levels:
            raise ValueError(
                f"expected a resolution that {2**self.settings.levels} divides, got {resolution}; set the labeller's levels"
            )
        fine = [self.enter(resize(image.float(), 2 * resolution))]
        for block in self.down:
            fine.append(block(fine[-1]))
        x = fine.pop()
        for block in reversed(self.up):
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(torch.cat([fine.pop(), x], dim=1))
        return self.to_classes(x)
