"""HyPlaneHead's volume: planar and spherical planes cut from one map (facts: arXiv 2509.16748).

It leaves the reading of planes to `lookup` and the maps of the sphere to `angles`. A spherical plane depends on direction
alone; depth comes from the planar ones. The paper leaves gaps for the area-biased split and for 2+2: what was chosen is said
at the settings and in `_regions`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...manifests.config import ConfigError, check_ranges
from . import angles
from .base import Volume, VolumeSettings, register_volume
from .dual_sphere import sphere_a
from .lookup import PlaneTable

PLANAR = {"xy": (0, 1), "xz": (0, 2), "yz": (1, 2)}
"""World axes along each planar plane's width and height."""
Region = tuple[str, int, int, int, int]
"""Plane, top, left, height and width of a cut."""
Place = tuple[Tensor, Tensor]
"""Horizontal and vertical coordinate in a plane."""


@register_volume
@dataclass(frozen=True)
class HyPlaneSettings(VolumeSettings):
    """Settings of the hy-plane."""

    kind: Literal["hyplane"] = "hyplane"
    """Tells the volumes' settings apart in a file."""
    planes: Literal["3+1", "2+2"] = "3+1"
    """Three planar planes and a sphere centred on the crown, or two (XY, YZ) and spheres centred on face and nape."""
    split: Literal["even", "area"] = "even"
    """Cut the map into four quarters, or into 9/16 for the (front) sphere, two strips of 3/16 and a corner of 1/16."""
    warp: Literal["laea_square", "laea_disc", "theta_phi"] = "laea_square"
    """Sphere to plane: near-equal-area square (the method), equal-area disc, or angles as on SphereHead's sphere A."""
    resolution: int = 512
    """Texels a side of the one map that the backbone emits."""
    num_features: int = 32
    """Features of the map."""
    box_size: float = 1.0
    """Side of the cube in world units."""
    sphere_votes: int = 2
    """2+2: how often the fused sphere counts in the mean with the two planar planes; the paper does not say."""
    cap_degrees: float = 180.0
    """2+2: half angle that the nape's sphere covers; below 180 it is a cap over the face sphere's pole, as when it is small."""
    rolls_degrees: tuple[float, float] = (0.0, 0.0)
    """2+2: turn of the face's and the nape's disc in its plane; the paper does not say."""

    def __post_init__(self) -> None:
        check_ranges(self, resolution=(1, 4096), num_features=(1, 65_536), sphere_votes=(1, 1_024))
        if self.resolution < 8 or self.resolution % 4 or self.num_features < 1 or self.box_size <= 0:
            raise ConfigError(f"expected resolution >= 8 that 4 divides, positive num_features and box_size, got {self}")
        if self.planes == "2+2" and self.warp == "theta_phi":
            raise ConfigError("expected warp laea_square or laea_disc with planes 2+2: two spheres need a disc, got theta_phi")
        if not 30 <= self.cap_degrees <= 180 or self.sphere_votes < 1:
            raise ConfigError(f"expected 30 <= cap_degrees <= 180 and sphere_votes >= 1, got {self}")

    def open(self) -> HyPlane:
        """Make the volume."""
        return HyPlane(self)


def _regions(planes: str, split: str, size: int) -> tuple[Region, ...]:
    """Return the cuts of a map of `size` texels a side.

    Even quarters come in the published order. With area bias the strips are the right one (tall) and the bottom one (wide), so
    that XY and YZ are both fine along y; the corner takes what is left: XZ, or the nape's sphere.
    """
    if split == "even":
        half = size // 2
        names = ("xy", "xz", "yz", "sphere") if planes == "3+1" else ("xy", "yz", "face", "nape")
        return tuple((name, half * (i // 2), half * (i % 2), half, half) for i, name in enumerate(names))
    big, corner = ("sphere", "xz") if planes == "3+1" else ("face", "nape")
    long, short = size * 3 // 4, size // 4
    strips: tuple[Region, ...] = (("xy", 0, long, long, short), ("yz", long, 0, short, long))
    return ((big, 0, 0, long, long), *strips, (corner, long, long, short, short))


class HyPlane(Volume):
    """Planar planes and one or two spherical ones, averaged."""

    def __init__(self, settings: HyPlaneSettings):
        super().__init__()
        self.settings = settings
        self.num_features, self.box_size = settings.num_features, settings.box_size
        self.plane_shape = (settings.num_features, settings.resolution, settings.resolution)
        self.regions = _regions(settings.planes, settings.split, settings.resolution)
        self.table = PlaneTable([(1, height, width) for _, _, _, height, width in self.regions])

    def arrange(self, maps: Tensor) -> Tensor:
        """Cut the map into planes and lay them out as (B, rows, F); features of different planes never mix in a read."""
        cuts = [maps[:, None, :, top : top + height, left : left + width] for _, top, left, height, width in self.regions]
        return self.table.pack(cuts)

    def sample(self, planes: Tensor, points: Tensor) -> Tensor:
        """Read planar and spherical planes and average; see `Volume.sample`."""
        self._check_points(planes, points)
        x, y, z = (points.float() * (2 / self.box_size)).unbind(-1)
        reads = self._three_and_one(x, y, z) if self.settings.planes == "3+1" else self._two_and_two(x, y, z)
        places, weights = zip(*(reads[name] for name, *_ in self.regions), strict=True)
        u, v = zip(*places, strict=True)
        return self.table.read(planes, torch.stack(u), torch.stack(v), torch.stack(weights))

    def _three_and_one(self, x: Tensor, y: Tensor, z: Tensor) -> dict[str, tuple[Place, Tensor]]:
        """Return each plane's place and weight: the mean of four."""
        weight = torch.full_like(x, 1 / 4)
        reads = {name: (_planar(name, x, y, z), weight) for name in PLANAR}
        reads["sphere"] = (WARPS[self.settings.warp](x, y, z), weight)
        return reads

    def _two_and_two(self, x: Tensor, y: Tensor, z: Tensor) -> dict[str, tuple[Place, Tensor]]:
        """Return each plane's place and weight: planar ones count once, the fused spheres `sphere_votes` times."""
        votes, (roll_face, roll_nape) = self.settings.sphere_votes, self.settings.rolls_degrees
        planar = torch.full_like(x, 1 / (2 + votes))
        reach = math.sin(math.radians(self.settings.cap_degrees) / 2)
        face = angles.disc(*_rolled(x, -y, roll_face), z)
        nape = angles.disc(*_rolled(-x, -y, roll_nape), -z)
        weight_face, weight_nape = rim_weight(face, 1.0), rim_weight(nape, reach)
        share = votes / (2 + votes) / (weight_face + weight_nape)
        nape = (nape[0] / reach, nape[1] / reach)
        warp = angles.square if self.settings.warp == "laea_square" else lambda u, v: (u, v)
        return {
            "xy": (_planar("xy", x, y, z), planar),
            "yz": (_planar("yz", x, y, z), planar),
            "face": (warp(*face), weight_face * share),
            "nape": (_within_disc(warp, nape), weight_nape * share),
        }


def rim_weight(place: Place, reach: float) -> Tensor:
    """Return (reach - R)^2 for the distance R from a disc's centre, 0 beyond `reach`.

    For two full discs of opposite centres R_a^2 + R_b^2 = 1, so their sum is at least 2 (1 - 1/sqrt 2)^2 = 0.17.
    """
    return (reach - angles.length(*place)).clamp_min(0).square()


def _within_disc(warp: Callable[[Tensor, Tensor], Place], place: Place) -> Place:
    """Warp a place after drawing it into the unit disc, where the square's map ends."""
    scale = 1 / angles.length(*place).clamp_min(1)
    return warp(place[0] * scale, place[1] * scale)


def _planar(name: str, x: Tensor, y: Tensor, z: Tensor) -> Place:
    across, down = PLANAR[name]
    return (x, y, z)[across], (x, y, z)[down]


def _rolled(right: Tensor, down: Tensor, roll_degrees: float) -> Place:
    cosine, sine = math.cos(math.radians(roll_degrees)), math.sin(math.radians(roll_degrees))
    return cosine * right - sine * down, sine * right + cosine * down


def crown_disc(x: Tensor, y: Tensor, z: Tensor) -> Place:
    """Return the place on the disc centred on the crown (+y): the face up, the subject's left right, the neck the rim."""
    return angles.disc(x, -z, y)


def crown_square(x: Tensor, y: Tensor, z: Tensor) -> Place:
    """Return the place on the square centred on the crown; the neck is the square's border."""
    return angles.square(*crown_disc(x, y, z))


def ear_angles(x: Tensor, y: Tensor, z: Tensor) -> Place:
    """Return colatitude and azimuth on SphereHead's sphere A, in [-1, 1]."""
    return sphere_a(x, y, z, 1.0)[:2]


WARPS: dict[str, Callable[[Tensor, Tensor, Tensor], Place]] = {
    "laea_square": crown_square,
    "laea_disc": crown_disc,
    "theta_phi": ear_angles,
}
"""Directions to places on the spherical plane, by the settings' word."""
