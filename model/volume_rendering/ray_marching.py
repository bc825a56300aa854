"""Walk along rays: where to sample, which samples are empty, and how densities and features become pixels.

It leaves features and densities to the field it is given (volume and decoder) and backgrounds to the generator. The scheme is
the published one (Chan et al. 2022, sec. 4.3 and supplement; An et al. 2023) in another order of work: densities are sorted,
features never are, because composing midpoints of sorted features is one weighted sum over unsorted ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ...manifests.config import ConfigError, check_ranges
from ..volumes.base import Volume
from .base import Randomness, Renderer, RenderError, RendererSettings, Rendering, Scene, register_renderer
from .rays import Rays
from .samples import ask_inside, in_chunks, ray_bounds

Field = Callable[[Tensor], tuple[Tensor, Tensor]]
"""points (B, N, 3) -> features (B, N, F) and raw densities (B, N, 1), each point on its own."""

EMPTY = -1e3
"""Raw density of a sample outside the crop: the density is exactly 0 at midpoints beside it, unless a neighbour passes 700."""


@register_renderer
@dataclass(frozen=True)
class MarchSettings(RendererSettings):
    """How a ray is sampled."""

    kind: Literal["march"] = "march"
    """Tells the renderers' settings apart in a file."""
    coarse_samples: int = 48
    """Evenly spaced samples along a ray."""
    fine_samples: int = 48
    """Further samples, drawn where the coarse ones found matter; 0 for none."""
    near: float = 2.25
    """Distance of the first sample from the camera, in world units."""
    far: float = 3.3
    """Distance of the last coarse sample from the camera, in world units."""
    sphere_radius: float | None = None
    """Walk each ray only inside this sphere about the origin, not from `near` to `far`; any camera distance then works."""
    crop: float | None = 0.4
    """Samples with |x| or |z| beyond this are empty (PanoHead, SphereHead: half the box less 0.1); null keeps all (EG3D)."""
    skip_empty: bool = True
    """Do not ask the field about samples that the crop empties; changes no picture."""
    chunk: int | None = None
    """Rays worked on at once, to bound memory; null for all."""
    recompute: bool = False
    """While training, keep only each chunk's rays and compute the chunk again in the backward pass."""

    def __post_init__(self) -> None:
        if self.coarse_samples < 4 or self.fine_samples < 0:
            raise ConfigError(f"expected coarse >= 4 and fine >= 0 samples, got {self.coarse_samples} and {self.fine_samples}")
        check_ranges(self, coarse_samples=(4, 4096), fine_samples=(0, 4096), far=(0, 1e6))
        if not 0 < self.near < self.far:
            raise ConfigError(f"expected 0 < near < far, got near {self.near}, far {self.far}")
        for name in ("sphere_radius", "crop", "chunk"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"expected a positive {name} or null, got {value}")

    def open(self, volume: Volume) -> March:
        """Make the march."""
        return March(self)


class March(Renderer):
    """Marches rays through the whole volume; without parameters."""

    def __init__(self, settings: MarchSettings) -> None:
        super().__init__()
        self.settings, self.reach = settings, settings.crop

    def draw(self, origins: Tensor, random: torch.Generator, density_noise: float = 0.0) -> Randomness:
        """Draw jitter, quantiles and noise; see `Renderer.draw`."""
        return Randomness.draw(origins, self.settings, random, density_noise)

    def forward(self, scene: Scene, rays: Rays, randomness: Randomness | None = None) -> Rendering:
        """March the rays; see `Renderer.forward`."""
        return render(scene.field, rays.origins, rays.directions, self.settings, randomness)


def render(
    field: Field, origins: Tensor, directions: Tensor, settings: MarchSettings, randomness: Randomness | None = None
) -> Rendering:
    """March rays through a field.

    Args:
        field: points to features and raw densities.
        origins: (B, M, 3) world points.
        directions: (B, M, 3) unit vectors.
        settings: how a ray is sampled.
        randomness: numbers of a training march, or None for the deterministic one.

    Raises:
        RenderError: origins and directions differ in shape or are not (B, M, 3), or numbers are not for these rays.
    """
    if origins.ndim != 3 or origins.shape[-1] != 3 or origins.shape != directions.shape:
        raise RenderError(
            f"expected origins and directions of one shape (B, M, 3), got {tuple(origins.shape)} and {tuple(directions.shape)}"
        )
    randomness = randomness or Randomness()
    randomness.check(origins, settings)
    near, far = ray_bounds(origins, directions, settings)
    limits = _limits(near, far, settings, randomness)

    def part(rays: slice) -> tuple[Tensor, Tensor, Tensor]:
        numbers = randomness.rays(rays.start, rays.stop)
        return _march(field, origins[:, rays], directions[:, rays], near[:, rays], far[:, rays], settings, numbers)

    again = settings.recompute and torch.is_grad_enabled()
    features, depth, weight = in_chunks(part, origins.shape[1], settings.chunk, again)
    depth = torch.where(weight > 0, depth, limits[1]).clamp(limits[0], limits[1])
    return Rendering(features, depth, weight)


def _limits(near: Tensor, far: Tensor, settings: MarchSettings, numbers: Randomness) -> tuple[Tensor, Tensor]:
    """Return the nearest and farthest sample of the whole batch, which depths are clipped to."""
    coarse = _coarse_depths(near, far, settings, numbers)
    return coarse[..., 0].min(), coarse[..., -1].max()


def _march(
    field: Field,
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    settings: MarchSettings,
    numbers: Randomness,
) -> tuple[Tensor, Tensor, Tensor]:
    """March one chunk of rays: features (B, M, F), mean depth (B, M, 1) and weight (B, M, 1)."""
    count = settings.coarse_samples
    coarse = _coarse_depths(near, far, settings, numbers)
    noise = (None, None) if numbers.density is None else (numbers.density[..., :count], numbers.density[..., count:])
    features, density = _ask(field, origins, directions, coarse, settings, noise[0])
    if not settings.fine_samples:
        weights, shares = compose(coarse, density)
        return _sum(shares, features), _mean_depth(coarse, weights), weights.sum(-1, keepdim=True)
    with torch.no_grad():
        fine = fine_depths(coarse, compose(coarse, density)[0], settings.fine_samples, numbers.fine)
    fine_features, fine_density = _ask(field, origins, directions, fine, settings, noise[1])
    coarse_rank, fine_rank = merge_ranks(coarse, fine)
    depths = torch.empty_like(torch.cat([coarse, fine], -1))
    depths = depths.scatter(-1, coarse_rank, coarse).scatter(-1, fine_rank, fine)
    densities = torch.zeros_like(depths).scatter(-1, coarse_rank, density).scatter(-1, fine_rank, fine_density)
    weights, shares = compose(depths, densities)
    pixels = _sum(shares.gather(-1, coarse_rank), features) + _sum(shares.gather(-1, fine_rank), fine_features)
    return pixels, _mean_depth(depths, weights), weights.sum(-1, keepdim=True)


def _coarse_depths(near: Tensor, far: Tensor, settings: MarchSettings, numbers: Randomness) -> Tensor:
    """Return (B, M, coarse samples) even distances, each moved forward by its share of a step if there are numbers."""
    last = settings.coarse_samples - 1
    place = torch.arange(settings.coarse_samples, dtype=near.dtype, device=near.device)
    return near + (far - near) * ((place if numbers.coarse is None else place + numbers.coarse) / last)


def _ask(
    field: Field, origins: Tensor, directions: Tensor, depths: Tensor, settings: MarchSettings, noise: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the field's features (B, M, S, F) and raw densities (B, M, S) at samples, cropped and with noise."""
    shape = depths.shape
    points = (origins[:, :, None] + depths[..., None] * directions[:, :, None]).flatten(1, 2)
    if settings.crop is None:
        features, density = field(points)
        density = density.float().view(shape)
        return features.view(*shape, -1), density if noise is None else density + noise
    inside = (points.detach()[..., ::2].abs() <= settings.crop).all(-1)
    features, density = (ask_inside if settings.skip_empty else lambda f, p, _: f(p))(field, points, inside)
    density = density.float().view(shape)
    density = density if noise is None else density + noise
    return features.view(*shape, -1), torch.where(inside.view(shape), density, EMPTY)


def compose(depths: Tensor, density: Tensor) -> tuple[Tensor, Tensor]:
    """Turn raw densities into weights, as EG3D's midpoint marcher: mean at midpoints, softplus(. - 1), emission and absorption.

    Weight of interval i: alpha_i * prod_(j<i) (1 - alpha_j) with alpha = 1 - exp(-density * length).

    Args:
        depths: (..., S) sorted distances.
        density: (..., S) raw densities.

    Returns:
        (..., S - 1) weights of the intervals, and (..., S) shares of the samples: half of both neighbouring intervals' weights.
    """
    with torch.autocast(density.device.type, enabled=False):
        middle = functional.softplus((density[..., 1:] + density[..., :-1]) / 2 - 1)
        absorbed = middle * (depths[..., 1:] - depths[..., :-1])
        before = functional.pad(absorbed.cumsum(-1)[..., :-1], (1, 0))
        weights = -torch.expm1(-absorbed) * torch.exp(-before)
        shares = (functional.pad(weights, (0, 1)) + functional.pad(weights, (1, 0))) / 2
    return weights, shares


def fine_depths(coarse: Tensor, weights: Tensor, count: int, uniforms: Tensor | None = None) -> Tensor:
    """Draw sorted distances from the histogram of coarse weights, smoothed as in mip-NeRF (max and mean of neighbours, + 0.01).

    The histogram's bins lie between midpoints of the coarse samples; as published, the first and last interval and the last
    midpoint are not used.

    Args:
        coarse: (..., S) sorted distances.
        weights: (..., S - 1) weights of the coarse intervals.
        count: how many distances to draw.
        uniforms: (..., count) quantiles in [0, 1), or None for evenly spaced ones.

    Returns:
        (..., count) sorted distances.
    """
    wide = functional.pad(weights, (1, 1), value=float("-inf"))
    wide = torch.maximum(wide[..., 1:], wide[..., :-1])
    smooth = (wide[..., 1:] + wide[..., :-1]) / 2 + 0.01
    share = smooth[..., 1:-1] + 1e-5
    cumulative = functional.pad((share / share.sum(-1, keepdim=True)).cumsum(-1), (1, 0))
    if uniforms is None:
        place = (torch.arange(count, dtype=coarse.dtype, device=coarse.device) + 0.5) / count
        uniforms = place.expand(*coarse.shape[:-1], count)
    else:
        uniforms = uniforms.sort(-1).values
    last = cumulative.shape[-1] - 1
    above = torch.searchsorted(cumulative, uniforms.contiguous(), right=True)
    below, above = (above - 1).clamp_min(0), above.clamp_max(last)
    edges = (coarse[..., 1:] + coarse[..., :-1]) / 2
    low, start = cumulative.gather(-1, below), edges.gather(-1, below)
    width = cumulative.gather(-1, above) - low
    width = torch.where(width < 1e-5, torch.ones_like(width), width)
    drawn = start + (uniforms - low) / width * (edges.gather(-1, above) - start)
    return drawn.cummax(-1).values


def merge_ranks(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the places that two sorted lists (..., S) and (..., T) take in their sorted union; equal values: `first` leads."""
    one = torch.searchsorted(second.contiguous(), first.contiguous())
    two = torch.searchsorted(first.contiguous(), second.contiguous(), right=True)
    places = torch.arange(max(first.shape[-1], second.shape[-1]), device=first.device)
    return one + places[: first.shape[-1]], two + places[: second.shape[-1]]


def _sum(shares: Tensor, features: Tensor) -> Tensor:
    """Return the (B, M, F) sum over samples of shares (B, M, S) times features (B, M, S, F)."""
    with torch.autocast(features.device.type, enabled=False):
        return torch.matmul(shares[..., None, :].to(features.dtype), features)[..., 0, :].float()


def _mean_depth(depths: Tensor, weights: Tensor) -> Tensor:
    """Return the (B, M, 1) weighted mean of the intervals' midpoints; the caller mends rays of no weight."""
    middle = (depths[..., 1:] + depths[..., :-1]) / 2
    total = weights.sum(-1, keepdim=True)
    return (weights * middle).sum(-1, keepdim=True) / torch.where(total > 0, total, torch.ones_like(total))
