"""Signed distances on a tetrahedral grid to a closed triangle mesh, with gradients to distances and to the grid's points.

Where distances come from is left to `shape`, how a mesh becomes a picture to `rasterise`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .tetrahedra import TetrahedralGrid, triangle_table


@dataclass(frozen=True, eq=False)
class Meshes:
    """The triangle meshes of a batch of heads, one after the other; counter-clockwise seen from outside."""

    vertices: Tensor
    """(N, 3) world points."""
    faces: Tensor
    """(M, 3) int64 indices into `vertices`."""
    vertex_head: Tensor
    """(N,) int64 head of each vertex, rising."""

    @classmethod
    def joined(cls, meshes: list[Meshes]) -> Meshes:
        """Lay meshes of one head each one after the other."""
        starts = [0]
        for mesh in meshes:
            starts.append(starts[-1] + len(mesh.vertices))
        return cls(
            torch.cat([mesh.vertices for mesh in meshes]),
            torch.cat([mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)]),
            torch.cat([torch.full_like(mesh.vertex_head, head) for head, mesh in enumerate(meshes)]),
        )

    @property
    def face_head(self) -> Tensor:
        """(M,) int64 head of each face."""
        return self.vertex_head[self.faces[:, 0]]

    def normals(self) -> Tensor:
        """Return (M, 3) outward normals as long as twice the face's area."""
        a, b, c = self.vertices[self.faces].unbind(1)
        normals: Tensor = torch.linalg.cross(b - a, c - a)
        return normals

    def vertex_normals(self) -> Tensor:
        """Return (N, 3) unit outward normals of vertices, faces weighted by their area; 0 where they cancel."""
        vectors = self.normals()
        total = torch.zeros_like(self.vertices).index_add(0, self.faces.flatten(), vectors.repeat_interleave(3, dim=0))
        return torch.nn.functional.normalize(total, dim=1)

    def areas(self, heads: int) -> Tensor:
        """Return the (heads,) surfaces in square world units."""
        each: Tensor = self.normals().norm(dim=1) / 2.0
        return each.new_zeros(heads).index_add(0, self.face_head, each)

    def volumes(self, heads: int) -> Tensor:
        """Return the (heads,) enclosed volumes in cubic world units by the divergence theorem."""
        each = (self.vertices[self.faces[:, 0]] * self.normals()).sum(dim=1) / 6.0
        return each.new_zeros(heads).index_add(0, self.face_head, each)


def crossing_edges(grid: TetrahedralGrid, inside: Tensor) -> Tensor:
    """Return the (N,) edges of the grid of which one end is inside: one vertex of the mesh each, in this order."""
    ends = inside[grid.edges]
    return (ends[:, 0] != ends[:, 1]).nonzero().squeeze(1)


def marching_tetrahedra(
    grid: TetrahedralGrid, distances: Tensor, points: Tensor | None = None, inside: Tensor | None = None
) -> Meshes:
    """Cut the zero level of one head's signed distances out of its grid (Shen et al. 2021, sec. 3.1.2).

    A vertex lies on every edge of which one end is inside, at (p_a s_b - p_b s_a) / (s_b - s_a). The mesh is closed where no
    vertex of the border is inside.

    Args:
        grid: the grid.
        distances: (V,) signed distances, positive inside.
        points: (V, 3) places of the grid's vertices; None for the grid's own.
        inside: (V,) bool signs, where they were decided before; None for those of `distances`.

    Returns:
        The mesh, differentiable in distances and points.
    """
    points = grid.vertices.to(distances.dtype) if points is None else points
    inside = distances > 0 if inside is None else inside
    cut = crossing_edges(grid, inside)
    first, second = grid.edges[cut].unbind(1)
    s_a, s_b = distances[first], distances[second]
    gap = torch.where(inside[first], (s_a - s_b).clamp_min(1e-9), (s_a - s_b).clamp_max(-1e-9))
    share = (s_a / gap).clamp(0.0, 1.0)[:, None]
    vertices = torch.lerp(points[first], points[second], share)
    return Meshes(vertices, _faces(grid, inside, cut), torch.zeros(len(cut), dtype=torch.int64, device=cut.device))


def _faces(grid: TetrahedralGrid, inside: Tensor, cut: Tensor) -> Tensor:
    """Return the (M, 3) triangles between the vertices of the cut edges."""
    table, counts = triangle_table(str(cut.device))
    place = torch.tensor([1, 2, 4, 8], dtype=torch.uint8, device=cut.device)
    code = (inside.to(torch.uint8)[grid.tetrahedra] * place).sum(dim=1)
    met = ((code > 0) & (code < 15)).nonzero().squeeze(1)
    code = code[met]
    number = torch.zeros(len(grid.edges), dtype=torch.int64, device=cut.device)
    number[cut] = torch.arange(len(cut), device=cut.device)
    corners = grid.tetrahedron_edges[met].gather(1, table[code].flatten(1)).view(-1, 2, 3)
    real = torch.arange(2, device=cut.device) < counts[code][:, None]
    return number[corners[real]]


def sign_entropy(grid: TetrahedralGrid, distances: Tensor, inside: Tensor, scale: float) -> Tensor:
    """Return the mean cross-entropy between the signs of both ends of edges that cross the surface (Gao et al. 2022, eq. 2).

    Each end's distance is held against the other end's sign, which draws both to one side: specks and inner walls go.

    Args:
        grid: the grid.
        distances: (V,) signed distances.
        inside: (V,) their signs.
        scale: distance at which a sign is taken to be as good as certain (a logit of 1), in the unit of `distances`.
    """
    first, second = grid.edges[crossing_edges(grid, inside)].unbind(1)
    if not len(first):
        return distances.sum() * 0.0
    logits = distances / scale
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    total: Tensor = entropy(logits[first], inside[second].to(logits.dtype))
    total = total + entropy(logits[second], inside[first].to(logits.dtype))
    return total
