"""SphereHead's volume: two spherical tri-planes, each sound where the other has its poles and seam (Li et al. 2024).

It leaves the reading of planes to `lookup` and directions to `angles`. Sphere A has its poles at the ears and its seam behind
the head; sphere B has its poles at crown and neck and its seam in front of the face. Each has three planes: over (colatitude,
azimuth), (colatitude, radius) and (azimuth, radius).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ...manifests.config import ConfigError, check_ranges
from .angles import SOFT, TINY, azimuth, colatitude, length, softened
from .base import Volume, VolumeSettings, register_volume
from .lookup import PlaneTable

PLANES = 3
"""Planes of one sphere."""


@register_volume
@dataclass(frozen=True)
class DualSphereSettings(VolumeSettings):
    """Settings of the spherical volume."""

    kind: Literal["dual_sphere"] = "dual_sphere"
    """Tells the volumes' settings apart in a file."""
    spheres: Literal["both", "a", "b"] = "both"
    """Both, or one alone without weights: the ablation that shows poles and a seam."""
    resolution: int = 256
    """Texels a side of each plane."""
    num_features: int = 32
    """Features of each plane."""
    in_channels: int = 512
    """Channels that the backbone emits for the heads."""
    head_channels: int | None = 256
    """Channels between the two linear layers of each sphere's head; null: no heads, the backbone emits the planes."""
    box_size: float = 1.0
    """Side of the cube in world units."""
    radii: tuple[float, float] = (math.sqrt(3), math.sqrt(3))
    """Radius of sphere A and B, where their radial axes end, in units of half the box; sqrt 3 goes round the cube's corners."""

    def __post_init__(self) -> None:
        check_ranges(self, resolution=(1, 4096), num_features=(1, 65_536), in_channels=(1, 65_536))
        sizes = {"resolution": self.resolution, "num_features": self.num_features, "in_channels": self.in_channels}
        for name, value in sizes.items():
            if value < 1:
                raise ConfigError(f"expected a positive {name}, got {value}")
        if self.head_channels is not None and self.head_channels < 1:
            raise ConfigError(f"expected positive head_channels or null, got {self.head_channels}")
        if min(self.radii) <= 0 or self.box_size <= 0:
            raise ConfigError(f"expected positive radii and box_size, got {self.radii} and {self.box_size}")

    @property
    def num_spheres(self) -> int:
        """How many spheres there are."""
        return 2 if self.spheres == "both" else 1

    def open(self) -> DualSphere:
        """Make the volume."""
        return DualSphere(self)


class PointwiseWeight(nn.Module):
    """A 1 x 1 convolution's weight of unit variance, divided by sqrt(inputs) in use (Karras et al. 2018, sec. 4.1)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))

    def matrix(self) -> Tensor:
        """Return the (out, in) matrix in use."""
        return self.weight[:, :, 0, 0] / math.sqrt(self.weight.shape[1])


class PlaneHead(nn.Sequential):
    """Two linear layers between backbone and planes; trained as two, worked out as the one matrix that they are."""

    def __init__(self, in_channels: int, hidden: int, out_channels: int):
        super().__init__(PointwiseWeight(in_channels, hidden), PointwiseWeight(hidden, out_channels))

    def matrix(self) -> Tensor:
        """Return the (out, in) product of both layers: 3.2 times fewer multiplications at 512, 256 and 96 channels."""
        first, second = (cast(PointwiseWeight, layer).matrix() for layer in self)
        return second @ first


class DualSphere(Volume):
    """Two spherical tri-planes fused by direction, or one alone."""

    def __init__(self, settings: DualSphereSettings):
        super().__init__()
        self.settings = settings
        self.num_features, self.box_size = settings.num_features, settings.box_size
        count, size, per_sphere = settings.num_spheres, settings.resolution, PLANES * settings.num_features
        self.heads = nn.ModuleList()
        channels = count * per_sphere
        if settings.head_channels is not None:
            channels = settings.in_channels
            self.heads.extend(PlaneHead(channels, settings.head_channels, per_sphere) for _ in range(count))
        self.plane_shape = (channels, size, size)
        self.table = PlaneTable([(count * PLANES, size, size)])

    def mixing(self) -> Tensor | None:
        """Return the heads as one matrix, sphere A's planes first; see `Volume.mixing`."""
        heads = [cast(PlaneHead, head) for head in self.heads]
        if not heads:
            return None
        with torch.autocast(next(self.parameters()).device.type, enabled=False):
            return torch.cat([head.matrix() for head in heads])

    def arrange(self, maps: Tensor) -> Tensor:
        """Lay the planes out as (B, rows, F)."""
        return self.table.pack([maps.unflatten(1, (-1, self.num_features))])

    def sample(self, planes: Tensor, points: Tensor) -> Tensor:
        """Read both spheres at world points and fuse them; see `Volume.sample`."""
        self._check_points(planes, points)
        x, y, z = (points.float() * (2 / self.box_size)).unbind(-1)
        u, v, weights = [], [], []
        for (theta, phi, r), weight in self._reads(x, y, z):
            u += [theta, theta, phi]
            v += [phi, r, r]
            weights += [weight / PLANES] * PLANES
        return self.table.read(planes, torch.stack(u), torch.stack(v), torch.stack(weights))

    def _reads(self, x: Tensor, y: Tensor, z: Tensor) -> list[tuple[tuple[Tensor, Tensor, Tensor], Tensor]]:
        """Return each sphere's plane coordinates and its weight."""
        radius_a, radius_b = self.settings.radii
        reads = {"a": lambda: sphere_a(x, y, z, radius_a), "b": lambda: sphere_b(x, y, z, radius_b)}
        if self.settings.spheres != "both":
            return [(reads[self.settings.spheres](), torch.ones_like(x))]
        weight_a, weight_b = fusion_weights(x, y, z)
        return [(reads["a"](), weight_a), (reads["b"](), weight_b)]


def sphere_a(x: Tensor, y: Tensor, z: Tensor, radius: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return (colatitude, azimuth, radius) in sphere A, each in [-1, 1]: axes (z, y, -x); poles at both ears, seam behind."""
    return _polar(z, y, -x, radius)


def sphere_b(x: Tensor, y: Tensor, z: Tensor, radius: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return (colatitude, azimuth, radius) in sphere B, each in [-1, 1]: axes (-z, -x, y); poles up and down, seam in front."""
    return _polar(-z, -x, y, radius)


def _polar(first: Tensor, second: Tensor, axis: Tensor, radius: float) -> tuple[Tensor, Tensor, Tensor]:
    theta = colatitude(length(first, second), axis) * (2 / math.pi) - 1
    phi = azimuth(second, first) * (1 / math.pi)
    return theta, phi, length(first, second, axis) * (2 / radius) - 1


def fusion_weights(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shares of sphere A and B at points of any scale; they sum to 1 except within 1e-6 of the origin.

    Published: sin^2(colatitude) cos^2(azimuth / 2) for each, divided by their sum. For the direction (x, y, z) that is
    rho (rho + z) / 2 with rho = sqrt(y^2 + z^2) for A, and rho (rho - z) / 2 with rho = sqrt(x^2 + z^2) for B; the square of
    the radius cancels in the division.
    """
    rho_a, rho_b = length(y, z), length(x, z)
    weight_a, weight_b = rho_a * (rho_a + z), rho_b * (rho_b - z)
    total = weight_a + weight_b
    if not total.requires_grad:
        return weight_a / (total + TINY), weight_b / (total + TINY)
    share_a, share_b = (softened(part / (total + TINY), part / (total + SOFT**2)) for part in (weight_a, weight_b))
    return share_a, share_b
