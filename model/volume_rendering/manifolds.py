"""Manifolds: rays meet learned surfaces, which all heads share, and only there is the field asked (GRAM, Deng et al. 2022).

Each surface is a level set of `level_sets` and is met at most once a ray, where the ray first enters it; every meeting absorbs
as much as a fixed length does. Volumes, decoder and background are those of every other renderer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from ...manifests.config import ConfigError, check_ranges
from ..volumes.base import Volume
from .base import Randomness, Renderer, RenderError, RendererSettings, Rendering, Scene, density_numbers, register_renderer
from .level_sets import LevelSets, Start, StartShape
from .rays import Rays
from .samples import ask_inside, in_chunks, ray_bounds

OPAQUE = 1e10
"""Length that the plane behind the surfaces absorbs over."""
TINY = 1e-6
"""Least slope against the plane behind of a ray that meets it."""
PENALTY = "levels"
"""Name of the penalty on surfaces that leave the part of rays in which they are looked for, in spacings of levels.

It is how far the outermost surface lies before the rays' first points, on average, and how far the innermost one has shrunk
beyond the centre.
"""


@register_renderer
@dataclass(frozen=True)
class ManifoldSettings(RendererSettings):
    """How many surfaces there are, where they begin and how rays meet them."""

    penalties: ClassVar[Mapping[str, float]] = {PENALTY: 1.0}
    lr_factor: ClassVar[float] = 0.001
    gradient_clip: ClassVar[float | None] = 1.0

    kind: Literal["manifolds"] = "manifolds"
    """Tells the renderers' settings apart in a file."""
    surfaces: int = 48
    """Level sets; each takes one look-up of the volume where a ray meets it."""
    radii: tuple[float, float] = (0.5, 0.04)
    """Distances of the outermost and the innermost surface at the start from the centre or tail, in world units."""
    centre: tuple[float, float, float] = (0.0, 0.06, -0.08)
    """Centre of the surfaces at the start, in world units: where heads are widest, so that rays enter up to their outlines."""
    stretch: tuple[float, float, float] = (0.85, 1.0, 1.15)
    """Factors on the surfaces along x, y and z at the start; heads are longer than wide."""
    tail: float = 1.0
    """World units by which the centre is drawn out downwards, along neck and body; 0 for spheres or ellipsoids."""
    step: float | None = None
    """World units that each meeting absorbs over, whatever the angle; null for the distance of neighbouring surfaces."""
    hidden: int = 64
    """Width of the predictor's three hidden layers."""
    start: Start = "exact"
    """Exactly so, or as published: a network whose weights are drawn so that it is about the distance from the centre."""
    warp: float = 2.0
    """Factor from world units to those that the predictor sees."""
    grid: int | None = 64
    """Points per side of the grid that the predictor is read from; null asks it at each point of a ray."""
    samples: int = 64
    """Evenly spaced points of a ray between which surfaces are looked for."""
    near: float = 2.25
    """Distance of the first point from the camera, in world units."""
    far: float = 3.3
    """Distance of the last point from the camera, in world units."""
    sphere_radius: float | None = 0.75
    """Look only inside this sphere about the centre, not from `near` to `far`; any camera distance then works."""
    crop: float | None = 0.4
    """Meetings with |x| or |z| beyond this are none, as in the march; null keeps all."""
    least_change: float = 0.05
    """Where s changes less than this from one point to the next, the farther one is the meeting (as published)."""
    plane: float | None = None
    """z of an opaque plane behind the surfaces (GRAM's background), in world units; null for none."""
    chunk: int | None = None
    """Rays worked on at once, to bound memory; null for all."""
    recompute: bool = False
    """While training, keep only each chunk's rays and compute the chunk again in the backward pass."""

    def __post_init__(self) -> None:
        check_ranges(self, surfaces=(2, 4096), hidden=(1, 65_536), grid=(2, 1024), samples=(2, 4096), far=(0, 1e6))
        if not 0 < self.near < self.far:
            raise ConfigError(f"expected 0 < near < far, got near {self.near}, far {self.far}")
        if not self.radii[0] > self.radii[1] >= 0:
            raise ConfigError(f"expected radii from outside inwards, got {self.radii}")
        if min(self.warp, *self.stretch) <= 0 or min(self.least_change, self.tail) < 0:
            raise ConfigError(f"expected positive warp and stretch, least_change and tail of 0 or more, got {self}")
        if self.start == "published" and self.tail:
            raise ConfigError("the published start has no tail; set tail=0 or start=exact")
        for name in ("step", "sphere_radius", "crop", "chunk"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"expected a positive {name} or null, got {value}")
        if self.sphere_radius is not None and self.sphere_radius <= self.radii[0]:
            raise ConfigError(
                f"expected a sphere_radius beyond the outermost surface, got {self.sphere_radius}, {self.radii[0]}"
            )

    @property
    def spacing(self) -> float:
        """World units between neighbouring surfaces at the start."""
        return (self.radii[0] - self.radii[1]) / (self.surfaces - 1)

    def open(self, volume: Volume) -> Manifolds:
        """Make the renderer."""
        return Manifolds(self)


@dataclass(frozen=True)
class Meetings:
    """Where rays first enter surfaces, surface by surface from the outermost inwards, the plane behind last."""

    distances: Tensor
    """(B, M, K) world units from the camera; a ray that does not enter a surface has some number there."""
    valid: Tensor
    """(B, M, K) whether there is a meeting."""
    first: Tensor
    """(B, M) s at the first point of each ray."""


class Manifolds(Renderer):
    """Composes a field at the meetings of rays with level sets."""

    levels: Tensor

    def __init__(self, settings: ManifoldSettings) -> None:
        super().__init__()
        self.settings, self.reach = settings, settings.crop
        self.count = settings.surfaces + int(settings.plane is not None)
        extent = settings.sphere_radius or settings.radii[0] * 1.05
        shape = StartShape(settings.centre, settings.stretch, settings.tail, settings.warp)
        self.predictor = LevelSets(shape, settings.hidden, settings.start, settings.grid, extent)
        radii = torch.linspace(*settings.radii, settings.surfaces, dtype=torch.float64)
        self.register_buffer("levels", self.predictor.radius_levels(radii).float(), persistent=False)

    def draw(self, origins: Tensor, random: torch.Generator, density_noise: float = 0.0) -> Randomness:
        """Draw noise on densities; points of rays are not jittered."""
        return Randomness(density=density_numbers(origins, self.count, random, density_noise))

    def forward(self, scene: Scene, rays: Rays, randomness: Randomness | None = None) -> Rendering:
        """Compose the field where rays meet surfaces; see `Renderer.forward`."""
        settings, origins, directions = self.settings, rays.origins, rays.directions
        noise = None if randomness is None else randomness.density
        if noise is not None and noise.shape != (*origins.shape[:2], self.count):
            raise RenderError(f"expected density numbers of shape {(*origins.shape[:2], self.count)}, got {tuple(noise.shape)}")
        near, far = ray_bounds(origins - self.predictor.centre, directions, settings)
        with torch.autocast(origins.device.type, enabled=False):
            grid = None if settings.grid is None else self.predictor.values()  # once, however many chunks there are

        def part(some: slice) -> tuple[Tensor, ...]:
            noises = None if noise is None else noise[:, some]
            met = self.meetings(origins[:, some], directions[:, some], near[:, some], far[:, some], grid)
            return (*self._composed(scene, origins[:, some], directions[:, some], met, noises), met.first)

        again = settings.recompute and torch.is_grad_enabled()
        features, depth, weight, first = in_chunks(part, origins.shape[1], settings.chunk, again)
        depth = torch.where(weight > 0, depth, far.max()).clamp(near.min(), far.max())
        begun = functional.relu(self.levels[0] - first) * (far > near)[..., 0]
        centre = self.predictor.exact(self.predictor.centre)
        unreached = functional.relu(centre - self.levels[-1])
        return Rendering(features, depth, weight, {PENALTY: (begun.mean(1) + unreached) / self.level_spacing()})

    def level_spacing(self) -> Tensor:
        """Return how far neighbouring levels are apart."""
        return (self.levels[0] - self.levels[-1]) / (self.settings.surfaces - 1)

    def meetings(self, origins: Tensor, directions: Tensor, near: Tensor, far: Tensor, grid: Tensor | None = None) -> Meetings:
        """Find where rays first enter each surface, linearly between points of the ray.

        Points are constants: a gradient reaches the predictor through s at the two points about a meeting.

        Args:
            origins, directions: (B, M, 3) of the rays.
            near, far: (B, M, 1) between which surfaces are looked for.
            grid: the predictor's `values`, made before; None to make them where they are needed.
        """
        settings, last = self.settings, self.settings.samples - 1
        place = torch.arange(last + 1, dtype=near.dtype, device=near.device) / last
        depths = near + (far - near) * place
        with torch.autocast(origins.device.type, enabled=False):
            s = self.predictor(origins[:, :, None] + depths[..., None] * directions[:, :, None], grid)
            with torch.no_grad():
                index, valid = entered(s, self.levels)
            before, after = s.gather(-1, index), s.gather(-1, index + 1)
            start, stop = depths.gather(-1, index), depths.gather(-1, index + 1)
            change = before - after
            small = change.abs() <= settings.least_change
            share = torch.where(small, 1.0, (before - self.levels) / torch.where(small, 1.0, change))
            distances = start + share * (stop - start)
        if settings.plane is not None:
            slope = directions[..., 2:]
            behind = (settings.plane - origins[..., 2:]) / torch.where(slope.abs() < TINY, TINY, slope)
            distances = torch.cat([distances, behind], dim=-1)
            valid = torch.cat([valid, (behind > 0) & (slope.abs() >= TINY)], dim=-1)
        return Meetings(distances, valid, s[..., 0])

    def _composed(
        self, scene: Scene, origins: Tensor, directions: Tensor, met: Meetings, noise: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compose one chunk of rays: features (B, M, F), mean depth (B, M, 1) and weight (B, M, 1)."""
        points = origins[:, :, None] + met.distances[..., None] * directions[:, :, None]
        valid, crop = met.valid, self.settings.crop
        if crop is not None:
            valid = valid & (points.detach()[..., ::2].abs() <= crop).all(-1)
        along = directions[:, :, None].expand_as(points).flatten(1, 2)
        features, raw = ask_inside(scene.field, points.flatten(1, 2), valid.flatten(1), along)
        raw = _widened(raw).view(valid.shape)
        raw = raw if noise is None else raw + noise
        weights = absorbed_weights(met.distances, functional.softplus(raw - 1) * self._lengths(raw) * valid, valid)
        total = weights.sum(-1, keepdim=True)
        depth = (weights * met.distances).sum(-1, keepdim=True) / torch.where(total > 0, total, 1.0)
        pixels = torch.matmul(weights[..., None, :].to(features.dtype), features.view(*valid.shape, -1))[..., 0, :]
        return _widened(pixels), depth, total

    def _lengths(self, like: Tensor) -> Tensor:
        """Return the (K,) world units that each surface absorbs over."""
        lengths = like.new_full((self.count,), self.settings.step or self.settings.spacing)
        if self.settings.plane is not None:
            lengths[-1] = OPAQUE
        return lengths

    def solid(self, scene: Scene, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return the volume that absorbs as much as the surfaces do on a way across them; see `Renderer.solid`.

        A way of one spacing meets one surface: a world unit absorbs step |grad s| / (spacing of levels) of the field's density.
        Outside the outermost surface there is nothing; inside the innermost one is the field as it is.
        """
        features, raw = scene.field(points)
        shift = self.settings.spacing / 2
        moves = torch.eye(3, device=points.device, dtype=points.dtype) * shift
        with torch.no_grad():
            slopes = [self.predictor(points + move) - self.predictor(points - move) for move in moves]
            slope = torch.stack(slopes, dim=-1).norm(dim=-1) / (2 * shift)
            spacing = self.level_spacing()
            outside = self.predictor(points) > self.levels[0] + spacing / 2
        factor = (slope / spacing * (self.settings.step or self.settings.spacing))[..., None]
        density = functional.softplus(_widened(raw) - 1) * torch.where(outside[..., None], 0.0, factor)
        return features, 1 + density + torch.log(-torch.expm1(-density.clamp_min(1e-30)))


def _widened(values: Tensor) -> Tensor:
    """Return values in single precision at least."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def entered(s: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Find the first interval in which each ray enters each level: s[i] >= level >= s[i + 1].

    A ray that begins outside a level enters it where the running minimum of s reaches it. Only rays that begin inside one are
    looked through interval by interval.

    Args:
        s: (B, M, S) scalars along rays.
        levels: (K,) falling.

    Returns:
        (B, M, K) first point of the interval, and whether there is one.
    """
    lowest = s.cummin(-1).values
    first = torch.searchsorted(-lowest, -levels.expand(*s.shape[:-1], -1).contiguous())
    valid = (first > 0) & (first < s.shape[-1])
    index = (first - 1).clamp(0, s.shape[-1] - 2)
    odd = s[..., 0] <= levels[0]
    if bool(odd.any()):
        some = s[odd][:, :, None]
        crosses = (some[:, :-1] >= levels) & (some[:, 1:] <= levels)
        index[odd], valid[odd] = crosses.int().argmax(1), crosses.any(1)
    return index, valid


def absorbed_weights(distances: Tensor, absorbed: Tensor, valid: Tensor) -> Tensor:
    """Return (B, M, K) weights alpha_k prod_(nearer j) (1 - alpha_j), alpha = 1 - exp(-absorbed), in the given order.

    Args:
        distances: (B, M, K) of the meetings, in any order.
        absorbed: (B, M, K) density times length; 0 where there is no meeting.
        valid: (B, M, K) whether there is a meeting.
    """
    with torch.no_grad():
        order = torch.where(valid, distances, torch.inf).argsort(dim=-1, stable=True)
    sorted_ = absorbed.gather(-1, order)
    before = functional.pad(sorted_.cumsum(-1)[..., :-1], (1, 0))
    weights = -torch.expm1(-sorted_) * torch.exp(-before)
    return torch.zeros_like(weights).scatter(-1, order, weights)
