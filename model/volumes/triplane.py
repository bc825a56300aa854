"""EG3D's volume: three axis-parallel planes whose features are averaged (Chan et al. 2022, sec. 4.1).

It leaves the reading of planes to `lookup`. The published code reads XY, XZ and ZX, so one plane twice and YZ never; released
EG3D weights need that, everything since uses XY, XZ and YZ, and `axes` says which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...manifests.config import ConfigError, check_ranges
from .base import Volume, VolumeSettings, register_volume
from .lookup import PlaneTable

AXES = {"xy_xz_yz": ((0, 1), (0, 2), (1, 2)), "xy_xz_zx": ((0, 1), (0, 2), (2, 0))}
"""World axes along each plane's width and height."""


@register_volume
@dataclass(frozen=True)
class TriPlaneSettings(VolumeSettings):
    """Settings of the tri-plane."""

    kind: Literal["triplane"] = "triplane"
    """Tells the volumes' settings apart in a file."""
    axes: Literal["xy_xz_yz", "xy_xz_zx"] = "xy_xz_yz"
    """Which planes there are: the corrected three, or the published ones with XZ twice."""
    resolution: int = 256
    """Texels a side of each plane."""
    num_features: int = 32
    """Features of each plane."""
    box_size: float = 1.0
    """Side of the cube in world units."""

    def __post_init__(self) -> None:
        check_ranges(self, resolution=(1, 4096), num_features=(1, 65_536))
        if min(self.resolution, self.num_features) < 1 or self.box_size <= 0:
            raise ConfigError(f"expected positive resolution, num_features and box_size, got {self}")

    def open(self) -> TriPlane:
        """Make the volume."""
        return TriPlane(self)


class TriPlane(Volume):
    """Three planes, averaged."""

    def __init__(self, settings: TriPlaneSettings):
        super().__init__()
        self.settings = settings
        self.num_features, self.box_size = settings.num_features, settings.box_size
        self.plane_shape = (3 * settings.num_features, settings.resolution, settings.resolution)
        self.table = PlaneTable([(3, settings.resolution, settings.resolution)])

    def arrange(self, maps: Tensor) -> Tensor:
        """Lay the planes out as (B, rows, F)."""
        return self.table.pack([maps.unflatten(1, (3, self.num_features))])

    def sample(self, planes: Tensor, points: Tensor) -> Tensor:
        """Read the three planes and average; see `Volume.sample`."""
        self._check_points(planes, points)
        q = (points.float() * (2 / self.box_size)).movedim(-1, 0)
        across, down = zip(*AXES[self.settings.axes], strict=True)
        return self.table.read(planes, q[list(across)], q[list(down)], torch.full_like(q, 1 / 3))
