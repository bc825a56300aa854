"""Ellipses to pixels: which Gaussians each pixel sees (without gradient), and what they add up to (with gradient).

Plain PyTorch on any device, for a batch of pictures at once. The rule is that of Kerbl et al. (2023), so that `gsplat` gives
the same pictures: Gaussians are sorted by depth, those fainter than `FAINTEST` at a pixel are left out there, and a pixel takes
no more once hardly any light is left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..boxes import boxes_of, in_parts, num_pixels, pixels_in
from .gaussians import NEAREST, Ellipses

FAINTEST = 1.0 / 255.0
"""Opacity at a pixel below which a Gaussian is not seen there."""
LARGEST = 0.999
"""Largest opacity at a pixel."""
OPAQUE = 1e-4
"""A pixel takes no Gaussian behind which less than this share of its light would be left."""


@dataclass(frozen=True, eq=False)
class Sightings:
    """Pairs of a pixel and a Gaussian that it sees: pixel by pixel, from the nearest to the farthest."""

    pixel: Tensor
    """(P,) int64 pixels of all pictures laid one after the other, not falling."""
    gaussian: Tensor
    """(P,) int64 Gaussians."""
    first: Tensor
    """(P,) int64 place of the pixel's first pair."""


def opacities(ellipses: Ellipses, opacity: Tensor, gaussian: Tensor, column: Tensor, row: Tensor) -> Tensor:
    """Return the (P,) opacities of Gaussians at pixels' centres."""
    numbers = torch.cat([ellipses.centre - 0.5, ellipses.conic, opacity[:, None]], dim=1)
    u, v, a, b, c, peak = numbers.index_select(0, gaussian).unbind(1)
    x, y = column - u, row - v
    exponent = -0.5 * (a * x * x + c * y * y) - b * x * y
    return (peak * torch.exp(exponent)).clamp_max(LARGEST)


@torch.no_grad()
def sightings(ellipses: Ellipses, opacity: Tensor, head: Tensor, resolution: int) -> Sightings:
    """Find what every pixel sees. Equally deep Gaussians keep their order.

    Args:
        ellipses: of N Gaussians.
        opacity: (N,) at their centres.
        head: (N,) int64 picture of each.
        resolution: pixels a side.
    """
    r = resolution
    found = [_reached(ellipses, opacity, some, box, r) for some, box in _boxes(ellipses, opacity, r)]
    if not found:
        none = torch.zeros(0, dtype=torch.int64, device=head.device)
        return Sightings(none, none, none)
    gaussian, place, alpha = (torch.cat(parts) for parts in zip(*found, strict=True))
    pixel, order = (head[gaussian] * (r * r) + place).sort(stable=True)
    gaussian = gaussian[order]
    first = _first(pixel)
    alpha = alpha[order]
    behind = _light(alpha, first) + torch.log1p(-alpha.double())
    kept = behind > math.log(OPAQUE)
    pixel, gaussian = pixel[kept], gaussian[kept]
    return Sightings(pixel, gaussian, _first(pixel))


def _boxes(ellipses: Ellipses, opacity: Tensor, r: int) -> list[tuple[Tensor, Tensor]]:
    """Return (K,) Gaussians from near to far and the (K, 4) boxes in which they may be seen, in parts of bounded work."""
    reach = (2.0 * torch.log(opacity / FAINTEST).clamp_min(0)).sqrt()[:, None] * ellipses.deviation
    boxes = boxes_of(ellipses.centre - reach, ellipses.centre + reach, r)
    seen = ((num_pixels(boxes) > 0) & (ellipses.depth > NEAREST) & (opacity >= FAINTEST)).nonzero().squeeze(1)
    seen = seen[ellipses.depth[seen].argsort(stable=True)]
    return in_parts(seen, boxes[seen])


def _reached(ellipses: Ellipses, opacity: Tensor, some: Tensor, boxes: Tensor, r: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return Gaussian, pixel within its picture and opacity of every pair that is not too faint, Gaussian by Gaussian."""
    which, column, row = pixels_in(boxes)
    alpha = opacities(ellipses, opacity, some[which], column, row)
    seen = alpha >= FAINTEST
    return some[which][seen], (row * r + column)[seen], alpha[seen]


def _first(pixel: Tensor) -> Tensor:
    """Return the (P,) place of the first pair of each pair's pixel; pixels do not fall."""
    counts = torch.unique_consecutive(pixel, return_counts=True)[1]
    return torch.repeat_interleave(counts.cumsum(0) - counts, counts)


def _light(alpha: Tensor, first: Tensor) -> Tensor:
    """Return the (P,) logarithms of how much light each pair is reached by, in float64."""
    passed = torch.log1p(-alpha.double())
    before = passed.cumsum(0) - passed
    return before - before[first]


def weights(ellipses: Ellipses, opacity: Tensor, seen: Sightings, resolution: int) -> Tensor:
    """Return the (P,) share that each pair has in its pixel; differentiable in ellipses and opacities."""
    place = seen.pixel % (resolution * resolution)
    column, row = place % resolution, torch.div(place, resolution, rounding_mode="floor")
    alpha = opacities(ellipses, opacity, seen.gaussian, column, row)
    return alpha * torch.exp(_light(alpha, seen.first)).to(alpha.dtype)


def composed(values: Tensor, share: Tensor, seen: Sightings, num_pixels: int) -> Tensor:
    """Add up (N, C) values of Gaussians by their shares: (num_pixels, C)."""
    out: Tensor = values.new_zeros(num_pixels, values.shape[1])
    return out.index_add(0, seen.pixel, values[seen.gaussian] * share[:, None])
