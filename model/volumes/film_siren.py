"""The radiance network of GRAM and pi-GAN as a volume: no planes, a SIREN that style vectors modulate point by point.

Its features are a raw density and colours already, so that the decoder has no layers. Making style vectors is left to
`nets.mapping`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...manifests.config import check_ranges
from .base import Volume, VolumeSettings, register_volume

FREQUENCY, OFFSET = 15.0, 30.0
"""A style's frequencies f become f FREQUENCY + OFFSET (Chan et al. 2021)."""


@register_volume
@dataclass(frozen=True)
class FilmSirenSettings(VolumeSettings):
    """Shape of the radiance network."""

    styled: ClassVar[bool] = True

    kind: Literal["film_siren"] = "film_siren"
    """Tells the volumes' settings apart in a file."""
    hidden: int = 256
    """Width of its layers."""
    layers: int = 8
    """Layers between the position and the one that also sees the direction."""
    box_size: float = 1.0
    """Side of the cube that is scaled to [-1, 1], in world units."""

    def __post_init__(self) -> None:
        check_ranges(self, hidden=(1, 65_536), layers=(2, 64), box_size=(1e-6, 1e6))

    @property
    def style_dim(self) -> int:
        """Numbers of a style vector: a frequency and a phase for each unit of each layer."""
        return (self.layers + 1) * 2 * self.hidden

    def open(self) -> FilmSiren:
        """Make the volume."""
        return FilmSiren(self)


class FilmLayer(nn.Module):
    """sin(frequency * (W x + b) + phase) with frequencies and phases of each head (Perez et al. 2018; Chan et al. 2021)."""

    def __init__(self, num_in: int, num_out: int, first: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(num_in, num_out)
        bound = 1 / num_in if first else siren_bound(num_in)
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Map (B, N, I) to (B, N, O).

        Args:
            x: points' features.
            style: (B, 2, O) frequencies and phases.
        """
        frequency, phase = style[:, 0, None], style[:, 1, None]
        return torch.sin((frequency * FREQUENCY + OFFSET) * self.linear(x) + phase)


def siren_bound(num_in: int) -> float:
    """Return the largest first weight of a layer that is not the first (Sitzmann et al. 2020, with a factor of 25)."""
    return math.sqrt(6 / num_in) / 25


class FilmSiren(Volume):
    """Style vectors and points to colours (before their sigmoid) and raw densities, summed over heads of layers 2 and later."""

    def __init__(self, settings: FilmSirenSettings) -> None:
        super().__init__()
        self.settings, hidden = settings, settings.hidden
        self.num_features, self.box_size = 4, settings.box_size
        self.plane_shape = (settings.style_dim, 1, 1)
        self.layers = nn.ModuleList(FilmLayer(hidden if i else 3, hidden, first=not i) for i in range(settings.layers))
        self.coloured = FilmLayer(hidden + 3, hidden)
        self.densities = nn.ModuleList(nn.Linear(hidden, 1) for _ in range(settings.layers - 1))
        self.colours = nn.ModuleList(nn.Linear(hidden, 3) for _ in range(settings.layers - 1))
        for head in (*self.densities, *self.colours):
            bound = siren_bound(hidden)
            nn.init.uniform_(head.weight, -bound, bound)

    def arrange(self, maps: Tensor) -> Tensor:
        """Lay style vectors (B, style_dim, 1, 1) out as (B, layers + 1, 2, hidden)."""
        out: Tensor = maps.flatten(1).unflatten(1, (self.settings.layers + 1, 2, self.settings.hidden))
        return out

    def sample(self, planes: Tensor, points: Tensor) -> Tensor:
        """Return a raw density and three colours at points, seen from straight outside; see `Volume.sample`."""
        return self.sample_along(planes, points, -functional.normalize(points.float(), dim=-1))

    def sample_along(self, planes: Tensor, points: Tensor, directions: Tensor | None) -> Tensor:
        """Return a raw density and three colours at points, seen along directions; see `Volume.sample_along`.

        The published density is softplus(raw); renderers take softplus(raw - 1), which the 1 added here makes the same.
        """
        if directions is None:
            return self.sample(planes, points)
        self._check_points(planes, points)
        x = points.to(planes.dtype) * (2 / self.box_size)
        density, colour = x.new_ones(1), x.new_zeros(3)
        for index, layer in enumerate(self.layers):
            x = layer(x, planes[:, index])
            if index:
                density = density + self.densities[index - 1](x)
            if 0 < index < len(self.layers) - 1:
                colour = colour + self.colours[index - 1](x)
        seen = self.coloured(torch.cat([x, directions.to(x.dtype)], dim=-1), planes[:, -1])
        return torch.cat([density, colour + self.colours[-1](seen)], dim=-1)
