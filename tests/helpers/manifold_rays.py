"""Rays, fields and level sets small enough to be followed by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from spherehead.datasets.camera import Camera
from spherehead.model.volume_rendering import ManifoldSettings
from spherehead.model.volume_rendering.base import Scene
from spherehead.model.volume_rendering.manifolds import Manifolds
from spherehead.model.volume_rendering.rays import Rays
from spherehead.model.volumes import TriPlaneSettings

SPHERES = ManifoldSettings(
    surfaces=5, radii=(0.4, 0.2), centre=(0.05, 0.0, -0.02), stretch=(1.0, 1.0, 1.0), tail=0.0, sphere_radius=0.5, hidden=16,
    grid=None, samples=40, crop=None,
)  # fmt: skip


VOLUME = TriPlaneSettings(resolution=8, num_features=2).open()


def opened(**changes: object) -> Manifolds:
    torch.manual_seed(0)
    renderer = dataclasses.replace(SPHERES, **changes).open(VOLUME)  # type: ignore[arg-type]
    return renderer.double()


def rays(resolution: int = 12, yaws: tuple[float, ...] = (0.3, 2.4)) -> Rays:
    labels = torch.stack([torch.from_numpy(Camera.look_at(yaw, 0.2).label()) for yaw in yaws]).double()
    return Rays.cast(labels, resolution)


def constant(density: float) -> Scene:
    """Raw density so that softplus(raw - 1) is a density, and a feature of 2."""
    raw = 1 + math.log(math.expm1(density))

    def field(points: torch.Tensor, directions: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full_like(points[..., :1], 2.0), torch.full_like(points[..., :1], raw)

    return Scene(torch.zeros(2, 1), lambda points: points, field)


def met(renderer: Manifolds, seen: Rays) -> tuple[torch.Tensor, torch.Tensor]:
    settings = renderer.settings
    middle = -((seen.origins - renderer.predictor.centre) * seen.directions).sum(-1, keepdim=True)
    found = renderer.meetings(seen.origins, seen.directions, middle - 0.5, middle + 0.5)
    assert found.distances.shape == (*seen.origins.shape[:2], settings.surfaces)
    return found.distances, found.valid


def sphere_hits(seen: Rays, centre: torch.Tensor, radii: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Nearer root of |origin + t direction - centre| = radius, and whether there is one."""
    away = seen.origins - centre
    along = (away * seen.directions).sum(-1, keepdim=True)
    inside = along.square() - away.square().sum(-1, keepdim=True) + radii.square()
    return -along - inside.clamp_min(0).sqrt(), inside > 0


def ball(centre: torch.Tensor) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    def field(points: torch.Tensor, directions: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        return (3 * points).sin(), 40 * (0.3 - (points - centre).norm(dim=-1, keepdim=True))

    return field
