"""Outlines of rasterised meshes: how far an outline reaches into the pixels beside it, which gives coverage its gradient.

Follows Laine et al. 2020, sec. 3.4, with one difference: there the faces seen at two neighbouring pixels are searched for the
edge between them, which fails for faces smaller than a pixel; here every edge of the outline is followed over the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .marching import Meshes
from .rasterise import Fragments, Screen

STEP = 0.005
"""What lies behind an outline lies this share of the distance behind it, at least; else it is a fold in one surface."""


@dataclass(frozen=True, eq=False)
class Outlines:
    """How pixels beside outlines are mixed."""

    target: Tensor
    """(K,) int64 pixel that changes."""
    source: Tensor
    """(K,) int64 neighbour that it takes a share of."""
    amount: Tensor
    """(K,) share, 0 to 1/2, with gradient to the places of the outline."""

    def apply(self, pixels: Tensor) -> Tensor:
        """Mix (B R R, C) values of pixels, background included, along the outlines."""
        change = self.amount.to(pixels.dtype)[:, None] * (pixels[self.source] - pixels[self.target])
        return pixels.index_add(0, self.target, change)


@dataclass(frozen=True, eq=False)
class _Edges:
    """Edges between a face that is seen from before and one that is not, or none."""

    start: Tensor
    """(E, 2) pixels of one end."""
    end: Tensor
    """(E, 2) pixels of the other end."""
    depths: Tensor
    """(E, 2) depths of both, without gradient."""
    normal: Tensor
    """(E, 2) unit vectors out of the shape on the screen, without gradient."""
    head: Tensor
    """(E,) picture."""


def outlines(meshes: Meshes, screen: Screen, fragments: Fragments, camera: Tensor) -> Outlines:
    """Find where outlines cross between neighbouring pixels.

    Args:
        meshes: the heads.
        screen: them as seen.
        fragments: what covers pixels.
        camera: (B, 25) labels.

    Returns:
        One share for every outline that crosses the line between the centres of two neighbours, weighted by the squares of
        the outline's normal along that line, so that crossings along rows and columns count once together.
    """
    r = screen.resolution
    depth = screen.places.new_full((len(camera) * r * r,), torch.inf)
    depth[fragments.pixel] = fragments.depth.detach()
    edges = _outline_edges(meshes, screen, camera)
    parts = [_crossings(edges, depth, r, axis) for axis in (0, 1)]
    return Outlines(*(torch.cat(items) for items in zip(*parts, strict=True)))


def _outline_edges(meshes: Meshes, screen: Screen, camera: Tensor) -> _Edges:
    """Collect the edges that may be outlines: one of their two faces is turned away, or there is only one."""
    with torch.no_grad():
        a, b, c = screen.places[screen.faces].unbind(1)
        facing = (a * torch.linalg.cross(b, c)).sum(dim=1) < 0  # columns, rows and depth are right-handed
        pairs = screen.faces[:, [0, 1, 1, 2, 2, 0]].view(-1, 3, 2).sort(dim=-1).values
        keys = (pairs[..., 0] * len(meshes.vertices) + pairs[..., 1]).flatten()
        keys, order = keys.sort()
        owner = torch.div(order, 3, rounding_mode="floor")
        twin = torch.cat([keys[1:] == keys[:-1], keys.new_zeros(1, dtype=torch.bool)])
        second = torch.cat([twin.new_zeros(1), twin[:-1]])
        other = torch.where(twin, owner.roll(-1), owner)
        chosen = (~second & (~twin | (facing[owner] != facing[other]))).nonzero().squeeze(1)
        one = owner[chosen]
        ends = torch.stack([keys[chosen] // len(meshes.vertices), keys[chosen] % len(meshes.vertices)], dim=1)
        outward = meshes.vertex_normals().double()[ends].sum(dim=1)
        axes = camera.double()[:, :16].view(-1, 4, 4)[screen.face_head[one], :3, :2]
        normal = torch.einsum("eij,ei->ej", axes, outward)
        normal = torch.where(twin[chosen, None], normal, _away(screen.pixels, ends, screen.faces[one]))
        normal = torch.nn.functional.normalize(normal, dim=1)
    pixels = screen.pixels[ends]
    return _Edges(pixels[:, 0], pixels[:, 1], screen.places[ends, 2].detach(), normal, screen.face_head[one])


def _away(pixels: Tensor, ends: Tensor, faces: Tensor) -> Tensor:
    """Return (E, 2) vectors on the screen, square to edges (E, 2) and away from the third corner of their faces (E, 3)."""
    start, along = pixels[ends[:, 0]], pixels[ends[:, 1]] - pixels[ends[:, 0]]
    square = torch.stack([along[:, 1], -along[:, 0]], dim=1)
    inward = pixels[faces].sum(dim=1) - pixels[ends].sum(dim=1) - start
    return torch.where((inward * square).sum(dim=1, keepdim=True) > 0, -square, square)


def _crossings(edges: _Edges, depth: Tensor, resolution: int, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return target, source and amount for the crossings along rows (axis 0: pairs of columns) or along columns (axis 1)."""
    along, across, r = axis, 1 - axis, resolution
    which, line = _lines_crossed(edges.start[:, across].detach(), edges.end[:, across].detach(), r)
    start, end, normal = edges.start[which], edges.end[which], edges.normal[which]
    share = (line + 0.5 - start[:, across].detach()) / (end[:, across] - start[:, across]).detach()
    place = torch.lerp(start, end, share[:, None])
    z_start, z_end = edges.depths[which].unbind(1)
    z = 1.0 / torch.lerp(1.0 / z_start, 1.0 / z_end, share)
    with torch.no_grad():
        before = (place[:, along] - 0.5).floor().long()
        fraction = place[:, along] - 0.5 - before
        onward = normal[:, along] > 0
        inner, outer = torch.where(onward, before, before + 1), torch.where(onward, before + 1, before)
        reach = torch.where(onward, fraction, 1.0 - fraction)
        steps = (1, r) if axis == 0 else (r, 1)
        base = edges.head[which] * r * r + line * steps[1]
        on_screen = (before >= 0) & (before + 1 < r)
        a, b = (torch.where(on_screen, base + pixel * steps[0], 0) for pixel in (inner, outer))
        fits = on_screen & depth[a].isfinite() & (depth[b] > z * (1.0 + STEP))
        kept = _farthest(a * 2 + onward, reach, fits, len(depth))
        normal, reach, a, b = normal[kept], reach[kept], a[kept], b[kept]
        weight = normal[:, along]
    moved = ((place[kept] - place[kept].detach()) * normal).sum(dim=1) * weight.abs()
    amount = weight.square() * (reach - 0.5) + moved
    beyond = reach >= 0.5
    return torch.where(beyond, b, a), torch.where(beyond, a, b), torch.where(beyond, amount, -amount)


def _lines_crossed(start: Tensor, end: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """Return (K,) edges and the (K,) lines through pixel centres that each of them crosses; an end on a line counts once."""
    first = (torch.minimum(start, end) - 0.5).ceil().clamp(0, resolution)
    stop = (torch.maximum(start, end) - 0.5).ceil().clamp(0, resolution)
    counts = (stop - first).long().clamp_min(0)
    which = torch.repeat_interleave(torch.arange(len(start), device=start.device), counts)
    place = torch.arange(len(which), device=start.device) - (counts.cumsum(0) - counts)[which]
    return which, first.long()[which] + place


def _farthest(key: Tensor, reach: Tensor, fits: Tensor, num_pixels: int) -> Tensor:
    """Return the crossings that reach farthest out of their inner pixel, one for each key: what lies within them is hidden."""
    fitting = fits.nonzero().squeeze(1)
    key, reach = key[fitting], reach[fitting]
    best = reach.new_full((2 * num_pixels,), -1.0).scatter_reduce(0, key, reach, "amax")
    first = fitting[reach == best[key]]
    chosen = torch.full_like(best, len(fits), dtype=torch.int64)
    chosen = chosen.scatter_reduce(0, key[reach == best[key]], first, "amin")
    return chosen[chosen < len(fits)]
