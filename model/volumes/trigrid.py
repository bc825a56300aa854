"""PanoHead's volume: three axis-parallel grids, each a plane with a few layers in depth (An et al. 2023, sec. 3.2).

It leaves the reading of planes to `lookup`: a trilinear read is two bilinear ones, in the layers before and behind the point.
With one layer it is not a tri-plane, because features fade away from that layer's depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...manifests.config import ConfigError, check_ranges
from .base import Volume, VolumeSettings, register_volume
from .lookup import PlaneTable

AXES = ((0, 1, 2), (0, 2, 1), (1, 2, 0))
"""World axes along each grid's width, height and depth: XY, XZ, YZ."""


@register_volume
@dataclass(frozen=True)
class TriGridSettings(VolumeSettings):
    """Settings of the tri-grid."""

    kind: Literal["trigrid"] = "trigrid"
    """Tells the volumes' settings apart in a file."""
    layers: int = 3
    """Layers in depth of each grid."""
    resolution: int = 256
    """Texels a side of each layer."""
    num_features: int = 32
    """Features of each grid."""
    box_size: float = 1.0
    """Side of the cube in world units."""

    def __post_init__(self) -> None:
        check_ranges(self, resolution=(1, 4096), num_features=(1, 65_536), layers=(1, 1_024))
        if min(self.resolution, self.num_features, self.layers) < 1 or self.box_size <= 0:
            raise ConfigError(f"expected positive layers, resolution, num_features and box_size, got {self}")

    def open(self) -> TriGrid:
        """Make the volume."""
        return TriGrid(self)


class TriGrid(Volume):
    """Three layered grids, averaged."""

    def __init__(self, settings: TriGridSettings):
        super().__init__()
        self.settings = settings
        self.num_features, self.box_size = settings.num_features, settings.box_size
        size = settings.resolution
        self.plane_shape = (3 * settings.num_features * settings.layers, size, size)
        self.table = PlaneTable([(3 * settings.layers, size, size)])

    def arrange(self, maps: Tensor) -> Tensor:
        """Lay the layers out as (B, rows, F); in the backbone's channels depth runs fastest, then features, then grids."""
        grids = maps.unflatten(1, (3, self.num_features, self.settings.layers))
        return self.table.pack([grids.transpose(2, 3).flatten(1, 2)])

    def sample(self, planes: Tensor, points: Tensor) -> Tensor:
        """Read two layers of each grid and average; see `Volume.sample`."""
        self._check_points(planes, points)
        q = (points.float() * (2 / self.box_size)).movedim(-1, 0)
        across, down, deep = (list(axes) for axes in zip(*AXES, strict=True))
        layer, weight = self._layers(q[deep])
        first = self.table.first.view(3, -1).gather(1, layer.view(2, 3, -1).transpose(0, 1).flatten(1)).view(3, 2, -1)
        first = first.transpose(0, 1).reshape(6, *q.shape[1:])
        u, v = torch.cat([q[across]] * 2), torch.cat([q[down]] * 2)
        return self.table.read(planes, u, v, weight / 3, first)

    def _layers(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Return the layers before and behind, (6, B, N), and their weights; nothing lies beyond the outer layers."""
        count = self.settings.layers
        place = (depth + 1) * (count / 2) - 0.5
        before = place.detach().floor()
        share = place - before
        layer = torch.cat([before, before + 1])
        weight = torch.cat([1 - share, share])
        weight = torch.where((layer >= 0) & (layer <= count - 1), weight, torch.zeros_like(weight))
        return layer.clamp(0, count - 1).long(), weight
