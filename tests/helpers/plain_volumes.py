"""Slow plain twins of volumes and march, from the published definitions: what tests compare with and benches measure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

Tensor = torch.Tensor


def read_plane(plane: Tensor, uv: Tensor) -> Tensor:
    """Bilinear read of (B, C, H, W) planes at (B, N, 2) places: (B, N, C)."""
    read = F.grid_sample(plane, uv[:, :, None], mode="bilinear", padding_mode="zeros", align_corners=False)
    return read[..., 0].transpose(1, 2)


def planar(planes: Tensor, points: Tensor, axes: Sequence[tuple[int, int]], box: float = 1.0) -> Tensor:
    """Mean of (B, K, C, S, S) axis-parallel planes at (B, N, 3) points."""
    q = points * (2 / box)
    return torch.stack([read_plane(planes[:, k], q[..., list(pair)]) for k, pair in enumerate(axes)]).mean(0)


def grids(volumes: Tensor, points: Tensor, box: float = 1.0) -> Tensor:
    """Mean of (B, 3, C, D, S, S) grids XY, XZ, YZ, read trilinearly with the third axis as depth."""
    q = points * (2 / box)
    reads = []
    for k, axes in enumerate(([0, 1, 2], [0, 2, 1], [1, 2, 0])):
        read = F.grid_sample(volumes[:, k], q[:, :, None, None, axes], padding_mode="zeros", align_corners=False)
        reads.append(read[..., 0, 0].transpose(1, 2))
    return torch.stack(reads).mean(0)


def _rotation(axis: str, degrees: float) -> Tensor:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rows = {"y": [[c, 0, s], [0, 1, 0], [-s, 0, c]], "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]]}[axis]
    return torch.tensor(rows, dtype=torch.float64)


ROTATIONS = (_rotation("y", 90), _rotation("y", -90) @ _rotation("z", -90))
"""World to the frames of sphere A and B."""


def sphere_coordinates(points: Tensor, sphere: int, radius: float = math.sqrt(3), box: float = 1.0) -> tuple[Tensor, ...]:
    """Colatitude, azimuth and radius of world points in one sphere, each mapped to [-1, 1]."""
    local = points * (2 / box) @ ROTATIONS[sphere].to(points).T
    theta = torch.atan2(local[..., :2].square().sum(-1).sqrt(), local[..., 2])
    phi = torch.atan2(local[..., 1], local[..., 0])
    return 2 * theta / math.pi - 1, phi / math.pi, 2 * local.square().sum(-1).sqrt() / radius - 1


def dual_sphere(planes: Tensor, points: Tensor, box: float = 1.0, radii: tuple[float, float] = (math.sqrt(3),) * 2) -> Tensor:
    """SphereHead as published: six reads (B, 2, 3, C, S, S), each weighted by its sphere, divided, then averaged."""
    total, weights = 0.0, 0.0
    for sphere in (0, 1):
        theta, phi, r = sphere_coordinates(points, sphere, radii[sphere], box)
        places = [torch.stack(pair, -1) for pair in ((theta, phi), (theta, r), (phi, r))]
        reads = torch.stack([read_plane(planes[:, sphere, k], uv) for k, uv in enumerate(places)], 1)
        weight = (1 + torch.cos(math.pi * theta)) / 2 * (1 + torch.cos(math.pi * phi)) / 2
        weight = weight[:, None, :, None]
        total, weights = total + reads * weight, weights + weight
    return (total / (weights + 1e-8)).mean(1)


def single_sphere(planes: Tensor, points: Tensor, sphere: int) -> Tensor:
    """One sphere alone: mean of three reads of (B, 3, C, S, S) planes, no weights."""
    theta, phi, r = sphere_coordinates(points, sphere)
    places = [torch.stack(pair, -1) for pair in ((theta, phi), (theta, r), (phi, r))]
    return torch.stack([read_plane(planes[:, k], uv) for k, uv in enumerate(places)]).mean(0)


def compose(depths: Tensor, density: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """EG3D's midpoint marcher on sorted samples: features (..., F), mean depth (..., 1), weights (..., S - 1)."""
    length = depths[..., 1:] - depths[..., :-1]
    middle = (features[..., 1:, :] + features[..., :-1, :]) / 2
    sigma = F.softplus((density[..., 1:] + density[..., :-1]) / 2 - 1)
    alpha = 1 - torch.exp(-sigma * length)
    through = torch.cumprod(torch.cat([torch.ones_like(alpha[..., :1]), 1 - alpha + 1e-10], -1), -1)[..., :-1]
    weights = alpha * through
    depth = (weights * (depths[..., 1:] + depths[..., :-1]) / 2).sum(-1, keepdim=True) / weights.sum(-1, keepdim=True)
    return (weights[..., None] * middle).sum(-2), depth, weights


def draw_one(coarse: list[float], weights: list[float], uniforms: list[float]) -> list[float]:
    """Importance sampling of one ray, number by number, in the order of `uniforms`."""
    padded = [-math.inf, *weights, -math.inf]
    highest = [max(a, b) for a, b in itertools.pairwise(padded)]
    smooth = [(a + b) / 2 + 0.01 for a, b in itertools.pairwise(highest)]
    middles = [(a + b) / 2 for a, b in itertools.pairwise(coarse)]
    inner = [value + 1e-5 for value in smooth[1:-1]]
    cumulative = [0.0]
    for value in inner:
        cumulative.append(cumulative[-1] + value / sum(inner))
    drawn = []
    for u in uniforms:
        bin_ = max(k for k, edge in enumerate(cumulative) if edge <= u)
        bin_ = min(bin_, len(inner) - 1)
        share = (u - cumulative[bin_]) / (cumulative[bin_ + 1] - cumulative[bin_])
        drawn.append(middles[bin_] + share * (middles[bin_ + 1] - middles[bin_]))
    return drawn


def render(
    field: Callable[[Tensor], tuple[Tensor, Tensor]],
    origins: Tensor,
    directions: Tensor,
    coarse: Tensor,
    uniforms: Tensor,
    crop: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Coarse pass, importance pass, concatenation, sorting of everything, composition, as published."""

    def ask(depths: Tensor) -> tuple[Tensor, Tensor]:
        points = origins[:, :, None] + depths[..., None] * directions[:, :, None]
        features, density = field(points.flatten(1, 2))
        features, density = features.view(*depths.shape, -1), density.view(depths.shape).clone()
        if crop is not None:
            density[(points[..., 0].abs() > crop) | (points[..., 2].abs() > crop)] = -1e3
        return features, density

    features, density = ask(coarse)
    weights = compose(coarse, density, features)[2]
    drawn = [
        [draw_one(z.tolist(), w.tolist(), u.tolist()) for z, w, u in zip(*rays, strict=True)]
        for rays in zip(coarse, weights, uniforms, strict=True)
    ]
    fine = torch.tensor(drawn, dtype=coarse.dtype)
    more_features, more_density = ask(fine)
    depths, order = torch.cat([coarse, fine], -1).sort(-1)
    density = torch.cat([density, more_density], -1).gather(-1, order)
    features = torch.cat([features, more_features], -2)
    features = features.gather(-2, order[..., None].expand_as(features))
    pixels, depth, weights = compose(depths, density, features)
    depth = torch.nan_to_num(depth, float("inf")).clamp(depths.min(), depths.max())
    return pixels, depth, weights.sum(-1, keepdim=True)
