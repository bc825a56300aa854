"""Small discriminators on frozen features: they see with a network that knows photographs, and only judge.

After Sauer et al. (2021, arXiv 2111.01007). The features are `nets.frozen_features`; mask, classes and raw picture, which a
network of photographs knows nothing of, stay with the `discriminator` beside which these stand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..manifests.config import ConfigError, check_ranges
from .nets.frozen_features import STRIDES, Mixing, frozen_features, level_width
from .nets.layers import Dense
from .nets.mapping import Mapping, MappingSettings
from .ops.activation import GAIN, leaky_relu

LAST = 4
"""Side of the features that a score is read off."""
SMALLEST, LARGEST = 64, 256
"""Sides in pixels between which pictures stay as they are (Sauer et al. judge at 256)."""


@dataclass(frozen=True)
class FrozenSettings:
    """Which frozen features are judged, and how wide the judging networks are."""

    strides: tuple[int, ...] = (2, 4, 8, 16)
    """Strides of the features, rising; each has a discriminator and a score of its own."""
    channels: int = 64
    """Channels of each level after mixing."""
    width: int = 64
    """Channels of each level's discriminator."""
    mixing: Mixing = "scales"
    """none: the features as they are; channels: mixed by fixed random 1 x 1 convolutions; scales: also coarse levels added to
    finer ones, by fixed random 3 x 3 convolutions."""
    side: int | None = None
    """Side in pixels that pictures are resized to; null for their own, but 64 to 256."""
    seed: int = 0
    """Seed of the mixing's weights."""

    def __post_init__(self) -> None:
        check_ranges(self, channels=(1, 4096), width=(1, 4096), strides=(1, len(STRIDES)), seed=(0, 2**62))
        if list(self.strides) != sorted(set(self.strides) & set(STRIDES)):
            raise ConfigError(f"expected frozen.strides of {STRIDES}, rising, got {self.strides}")
        least = LAST * self.strides[-1]
        if self.side is not None and (self.side < least or self.side & (self.side - 1)):
            raise ConfigError(f"expected a power of two of {least} or more for frozen.side, got {self.side}")

    def side_of(self, resolution: int) -> int:
        """Return the side in pixels at which pictures of a resolution are judged."""
        if self.side is not None:
            return self.side
        return max(min(max(1 << resolution.bit_length() - 1, SMALLEST), LARGEST), LAST * self.strides[-1])


class SpectralConv(nn.Module):
    """A convolution and leaky ReLU whose weight is divided by its largest singular value (Miyato et al. 2018).

    The value is exact, from the weight alone. A running power iteration would depend on how often the layer was asked, and so
    on the number of micro-batches and processes.
    """

    def __init__(self, num_in: int, num_out: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.randn(num_out, num_in, size, size))
        self.bias = nn.Parameter(torch.zeros(num_out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) to (B, O, H / stride, W / stride)."""
        weight = self.weight * (GAIN / largest_singular_value(self.weight))
        return leaky_relu(functional.conv2d(x, weight, self.bias, self.stride, 1))


def largest_singular_value(weight: Tensor) -> Tensor:
    """Return the largest singular value of (O, I, k, k) as a matrix of O rows; its gradient is exact where it is simple."""
    rows = weight.flatten(1)
    with torch.no_grad():
        left = torch.linalg.eigh(rows @ rows.t()).eigenvectors[:, -1]
        right = functional.normalize(left @ rows, dim=0)
    value: Tensor = left @ (rows @ right)
    return value


class LevelDiscriminator(nn.Module):
    """Features of one level to a vector that a condition is compared with."""

    def __init__(self, num_in: int, side: int, width: int) -> None:
        super().__init__()
        halvings = round(math.log2(side / LAST))
        first = SpectralConv(num_in, width, 4, 2) if halvings else SpectralConv(num_in, width, 3)
        self.convs = nn.ModuleList([first, *(SpectralConv(width, width, 4, 2) for _ in range(halvings - 1))])
        self.dense = Dense(width * LAST**2, width, activation="leaky_relu")
        self.out = Dense(width, width)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return what each convolution makes of (B, C, side, side)."""
        made: list[Tensor] = []
        for conv in self.convs:
            x = conv(x)
            made.append(x)
        return made

    def summary(self, x: Tensor) -> Tensor:
        """Return the (B, width) vector of what the last convolution made."""
        out: Tensor = self.out(self.dense(x.flatten(1)))
        return out


class ProjectedDiscriminator(nn.Module):
    """One small discriminator for each level of frozen features; the label by projection (Miyato and Koyama 2018).

    The frozen network is no part of this module: it is neither trained, saved nor counted.
    """

    def __init__(self, settings: FrozenSettings, resolution: int, label_dim: int, condition_layers: int) -> None:
        super().__init__()
        self.settings, self.side = settings, settings.side_of(resolution)
        self.num_features = len(settings.strides) * settings.width
        widths = [level_width(stride) if settings.mixing == "none" else settings.channels for stride in settings.strides]
        self.levels = nn.ModuleList(
            LevelDiscriminator(num_in, self.side // stride, settings.width)
            for num_in, stride in zip(widths, settings.strides, strict=True)
        )
        self.condition = Mapping(0, label_dim, settings.width, MappingSettings(layers=condition_layers), keeps_mean=False)

    def activations(self, image: Tensor) -> list[list[Tensor]]:
        """Return what every convolution makes of pictures (B, 3, R, R), by level."""
        chosen = self.settings
        frozen = frozen_features(chosen.strides, chosen.channels, chosen.mixing, chosen.seed, image.device)
        return [level(x) for level, x in zip(self.levels, frozen(image, self.side), strict=True)]

    def summary(self, activations: list[list[Tensor]]) -> Tensor:
        """Return the (B, levels * width) features of what `activations` returned."""
        levels = [cast(LevelDiscriminator, level) for level in self.levels]
        return torch.cat([level.summary(made[-1]) for level, made in zip(levels, activations, strict=True)], dim=1)

    def score(self, features: Tensor, label: Tensor) -> Tensor:
        """Return (B, levels) scores.

        Args:
            features: (B, levels * width), what `summary` returned.
            label: (B, label_dim) condition of each row.
        """
        rows = features.view(len(features), len(self.levels), -1)
        out: Tensor = (rows * self.condition(None, label)[:, None]).sum(dim=2) / math.sqrt(self.settings.width)
        return out
