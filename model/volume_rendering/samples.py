"""What renderers that ask a field along rays share: bounds of rays, work in chunks, and asking only where something is.

Which points those are, and what becomes of the answers, is left to `ray_marching` and `manifolds`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


class Bounds(Protocol):
    """Settings that say where rays begin and end."""

    @property
    def near(self) -> float:
        """World units from the camera."""

    @property
    def far(self) -> float:
        """World units from the camera."""

    @property
    def sphere_radius(self) -> float | None:
        """Radius of a sphere that takes the place of both."""


def ray_bounds(origins: Tensor, directions: Tensor, settings: Bounds) -> tuple[Tensor, Tensor]:
    """Return where each ray's samples begin and end, (B, M, 1) distances each, without gradient.

    Origins are relative to the sphere's centre. A ray that misses the sphere gets an interval of no length at its nearest
    point, and so no weight.
    """
    if settings.sphere_radius is None:
        near = origins.new_full((*origins.shape[:2], 1), settings.near)
        return near, torch.full_like(near, settings.far)
    with torch.no_grad():
        middle = -(origins * directions).sum(-1, keepdim=True)
        miss = (origins + middle * directions).square().sum(-1, keepdim=True)
        half = (settings.sphere_radius**2 - miss).clamp_min(0).sqrt()
        return (middle - half).clamp_min(0), (middle + half).clamp_min(0)


def in_chunks(
    part: Callable[[slice], tuple[Tensor, ...]], count: int, chunk: int | None, recompute: bool
) -> tuple[Tensor, ...]:
    """Work on rays chunk by chunk and lay the results side by side.

    Args:
        part: makes tensors (B, ...) of some rays.
        count: number of rays.
        chunk: rays worked on at once; None for all.
        recompute: keep no intermediate result of a chunk, and compute it again in the backward pass.
    """
    step = chunk or count
    slices = [slice(start, start + step) for start in range(0, count, step)]
    parts = [
        checkpoint(part, some, use_reentrant=False, preserve_rng_state=False) if recompute else part(some) for some in slices
    ]
    return parts[0] if len(parts) == 1 else tuple(torch.cat(pieces, dim=1) for pieces in zip(*parts, strict=True))


def ask_inside(
    field: Callable[..., tuple[Tensor, Tensor]], points: Tensor, inside: Tensor, directions: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Ask a field about the points inside only; the others get the answer of some point, which their weight of 0 hides.

    Each head's points move to the front of a shorter list, as long as the longest head's; what fills it up is never read.

    Args:
        field: points, and directions where they are given, to features and raw densities.
        points: (B, N, 3) world points.
        inside: (B, N) whether a point is asked about.
        directions: (B, N, 3) along which the points are seen, or None.

    Returns:
        (B, N, F) features and (B, N, 1) raw densities.
    """
    batch, count = inside.shape
    kept = inside.flatten().nonzero().squeeze(1)
    held = inside.sum(1)
    width = max(1, int(held.max()))
    start = torch.arange(batch, device=kept.device) * width - (held.cumsum(0) - held)
    slot = torch.arange(len(kept), device=kept.device) + start[kept // count]

    def packed(values: Tensor) -> Tensor:
        rows = values.flatten(0, 1)
        return rows.new_zeros(batch * width, 3).index_copy(0, slot, rows.index_select(0, kept)).view(batch, width, 3)

    answers = field(packed(points)) if directions is None else field(packed(points), packed(directions))
    source = torch.zeros_like(inside, dtype=torch.long).flatten().index_copy(0, kept, slot)
    features, density = (answer.flatten(0, 1).index_select(0, source).view(batch, count, -1) for answer in answers)
    return features, density
