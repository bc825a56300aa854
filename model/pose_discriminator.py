"""A discriminator that estimates the camera in place of being told it: pi-GAN's and GRAM's, and which one settings mean.

The usual one, with its condition, is `discriminator`; what is done with estimated angles is left to `losses.pose`.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from .discriminator import Discriminator, DiscriminatorSettings, make_projected
from .nets.layers import DTYPES
from .portrait import Portrait

SLOPE = 0.2
"""Slope of the leaky ReLU."""
ANGLES = 2
"""Yaw and pitch."""


def make_discriminator(settings: DiscriminatorSettings) -> Discriminator:
    """Make the discriminator that settings mean."""
    return PoseDiscriminator(settings) if settings.pose else Discriminator(settings)


class CoordConv(nn.Module):
    """A 3 x 3 convolution that is also told where each pixel lies, in [-1, 1] (Liu et al. 2018)."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_in + 2, num_out, 3, padding=1)
        nn.init.kaiming_normal_(self.conv.weight, a=SLOPE, nonlinearity="leaky_relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve (B, I, H, W) and take the leaky ReLU."""
        down, right = (torch.linspace(-1, 1, size, device=x.device, dtype=x.dtype) for size in x.shape[-2:])
        place = torch.stack(torch.meshgrid(down, right, indexing="ij")).expand(len(x), -1, -1, -1)
        return functional.leaky_relu(self.conv(torch.cat([x, place], dim=1)), SLOPE)


class CoordBlock(nn.Module):
    """A residual block of two such convolutions that halves the resolution (Chan et al. 2021)."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.first, self.second = CoordConv(num_in, num_out), CoordConv(num_out, num_out)
        self.skip = nn.Conv2d(num_in, num_out, 1) if num_in != num_out else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, I, H, W) to (B, O, H/2, W/2)."""
        y = functional.avg_pool2d(self.second(self.first(x)), 2)
        return (y + functional.avg_pool2d(self.skip(x), 2)) / math.sqrt(2)


class PoseDiscriminator(Discriminator):
    """Pictures to a score and an estimate of the camera's yaw and pitch; it sees neither a label nor a mask.

    Discriminators on frozen features beside it are told the label, as ever.
    """

    def __init__(self, settings: DiscriminatorSettings) -> None:
        nn.Module.__init__(self)  # not the parts of the usual one
        self.settings, self.dtype, self.silhouette, self.only_mask = settings, DTYPES[settings.precision], None, False
        widths, sizes = settings.widths, [settings.resolution >> i for i in range(int(math.log2(settings.resolution)))]
        self.from_picture = nn.Conv2d(3, widths.channels(settings.resolution), 1)  # type: ignore[assignment]
        self.blocks = nn.ModuleList(CoordBlock(widths.channels(size), widths.channels(size // 2)) for size in sizes[:-1])
        self.out = nn.Conv2d(widths.channels(2), 1 + ANGLES, 2)  # type: ignore[assignment]
        self.projected = make_projected(settings)
        if settings.channels_last:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def activations(self, portrait: Portrait, fade: float = 1.0) -> list[list[torch.Tensor]]:
        """Return what each block makes of pictures; see `Discriminator.activations`.

        Raises:
            ValueError: pictures of another resolution.
        """
        full = self.settings.resolution
        if tuple(portrait.image.shape[1:]) != (3, full, full):
            raise ValueError(f"expected pictures of shape (B, 3, {full}, {full}), got {tuple(portrait.image.shape)}")
        x = functional.leaky_relu(self.from_picture(portrait.image.to(self.dtype)), SLOPE)
        made = []
        for block in self.blocks:
            x = block(x)
            made.append(x)
        return [made or [x], *([] if self.projected is None else self.projected.activations(portrait.image))]

    def summary(self, activations: list[list[torch.Tensor]]) -> torch.Tensor:
        """Return (B, 3): a score and the estimated yaw and pitch in radians; features of frozen levels follow."""
        out: torch.Tensor = self.out(activations[0][-1]).flatten(1).float()
        return out if self.projected is None else torch.cat([out, self.projected.summary(activations[1:])], dim=1)

    def score(self, features: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Return the (B, 1) scores, for which labels are not looked at; those of frozen features follow."""
        if len(label) != len(features):
            raise ValueError(f"expected {len(features)} conditions, one a picture, got {len(label)}")
        if self.projected is None:
            return features[:, :1]
        return torch.cat([features[:, :1], self.projected.score(features[:, 1 + ANGLES :], label)], dim=1)
