"""Heads seen from cameras: latents by seed, cameras around a head, and views of one head after another with its planes kept.

How views become pictures, sheets and videos is left to the modules beside this one. The same seed gives the same latent on
every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...datasets.arrays import Array, Pixels
from ...datasets.camera import Camera
from ...manifests.identity import rng
from ..generator import Generator
from ..volume_rendering.rays import LABEL_SIZE, check_labels

RAYS = 2**13
"""Rays marched at once: about 100 MB at 96 samples of 32 features."""


class ViewError(ValueError):
    """A generator that cannot be looked at as asked; the message says what was expected and what to do."""


@dataclass(frozen=True)
class RenderSettings:
    """How a generator renders; the defaults are its settings'."""

    neural_resolution: int | None = None
    """Rays per side; null for the generator's own."""
    image_resolution: int | None = None
    """Resolution of the final picture while the networks grow; null for the full one."""
    fade: float = 1.0
    """How far the newest blocks have been faded in."""


@dataclass(frozen=True, eq=False)
class View:
    """One head from one camera."""

    image: Pixels
    """(S, S, 3) uint8 sRGB, the final picture."""
    raw: Pixels
    """(r, r, 3) uint8 sRGB at neural resolution."""
    mask: Array
    """(r, r) float32 share of the head, [0, 1]."""
    depth: Array
    """(r, r) float32 distance from the camera in world units."""
    parsing: Pixels | None
    """(r, r) uint8 most probable class; None where the generator has no parsing head."""


def seeded_latents(seeds: Sequence[int], z_dim: int) -> Tensor:
    """Return (N, z_dim) float32 latents, row i drawn from seeds[i] alone."""
    rows = [rng(seed, "latent", "z").standard_normal(z_dim, dtype=np.float32) for seed in seeds]
    return torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0, z_dim)


def ring(count: int, pitch: float = 0.0) -> Tensor:
    """Return (count, 25) canonical cameras evenly around the head: yaw 0 first, then towards the subject's left.

    Args:
        count: number of cameras.
        pitch: their elevation in radians.
    """
    return look_from([2 * math.pi * index / count for index in range(count)], pitch)


def look_from(yaws: Sequence[float], pitch: float = 0.0) -> Tensor:
    """Return (N, 25) canonical cameras at yaws and one pitch, in radians."""
    return torch.from_numpy(np.stack([Camera.look_at(yaw, pitch).label() for yaw in yaws]))


def usual_condition(generator: Generator, count: int) -> Tensor | None:
    """Return (count, 25) frontal labels as the condition of heads that are looked at from everywhere; None where there is none.

    Raises:
        ViewError: the generator's condition is no camera, so that a vector must be given.
    """
    size = generator.settings.condition_dim
    if size == 0:
        return None
    if size != LABEL_SIZE:
        raise ViewError(f"expected a condition of {size} numbers per head: this generator is conditioned on no camera")
    return look_from([0.0]).expand(count, -1)


@torch.no_grad()
def head_styles(generator: Generator, latents: Tensor, condition: Tensor | None = None, psi: float = 1.0) -> Tensor:
    """Return (N, num_ws, w_dim) style vectors of heads.

    Args:
        generator: any generator; left in its mode.
        latents: (N, z_dim) latents, on any device.
        condition: (N, condition_dim) what the mapping network sees; None for the frontal camera.
        psi: truncation; 1 for none.
    """
    condition = usual_condition(generator, len(latents)) if condition is None else condition
    device = next(generator.parameters()).device
    return generator.styles(latents.to(device), None if condition is None else condition.to(device), psi=psi)


@torch.no_grad()
def each_view(
    generator: Generator, ws: Tensor, cameras: Tensor, rendering: RenderSettings = RenderSettings(), at_once: int | None = None
) -> Iterator[View]:
    """Render one head from every camera, a few at a time, with the planes made once.

    The cameras are used as they are: the learned shift belongs to single photographs and would make an orbit tremble.

    Args:
        generator: any generator; left in its mode.
        ws: (1, num_ws, w_dim) style vectors of the head.
        cameras: (F, 25) labels.
        rendering: how to render.
        at_once: views worked on together; None for what memory is likely to allow. Other numbers round otherwise.
    """
    if len(ws) != 1:
        raise ViewError(f"expected the style vectors of one head, got {len(ws)}")
    check_labels(cameras)
    planes = generator.planes(ws)
    rays = rendering.neural_resolution or generator.settings.neural_resolution
    for some in cameras.to(ws.device).split(at_once or max(1, RAYS // rays**2)):
        count = len(some)
        seen = generator.synthesise(
            ws.expand(count, -1, -1), some, planes=planes.expand(count, *planes.shape[1:]),
            neural_resolution=rays, image_resolution=rendering.image_resolution, fade=rendering.fade,
        )  # fmt: skip
        assert seen.mask is not None and seen.depth is not None
        images, raws = to_pixels(seen.image), to_pixels(seen.raw)
        masks, depths = (part.float().clamp(low, high)[:, 0].cpu().numpy() for part, low, high in (
            (seen.mask, 0.0, 1.0), (seen.depth, 0.0, 100.0)))  # fmt: skip
        parsing = [None] * count if seen.parsing is None else [*seen.parsing.argmax(dim=1).to(torch.uint8).cpu().numpy()]
        for row in range(count):
            yield View(images[row], raws[row], masks[row], depths[row], parsing[row])


def to_pixels(pictures: Tensor) -> Pixels:
    """Turn (B, 3, H, W) pictures in [-1, 1] into (B, H, W, 3) uint8; beyond the range is clipped, NaN becomes middle grey."""
    scaled = torch.nan_to_num(pictures.detach().float(), nan=0.0).add(1.0).mul(127.5).round_().clamp_(0, 255)
    return np.ascontiguousarray(scaled.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
