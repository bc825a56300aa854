"""The body-centred cubic grid of tetrahedra on which signed distances lie, and the table of marching tetrahedra.

Both are computed from their definitions, once. What becomes of the distances is left to `marching`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

LOCAL_EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
"""Corners of the six edges of a tetrahedron."""


@dataclass(frozen=True, eq=False)
class TetrahedralGrid:
    """Tetrahedra that fill the cube from -1/2 to 1/2, cell by cell: corners and centres of the cells are the vertices."""

    cells: int
    """Cells along each axis."""
    vertices: Tensor
    """(V, 3) float32 points."""
    tetrahedra: Tensor
    """(T, 4) int64 vertices, each tetrahedron of positive volume."""
    edges: Tensor
    """(E, 2) int64 vertices."""
    tetrahedron_edges: Tensor
    """(T, 6) int64 edges, in the order of `LOCAL_EDGES`."""
    border: Tensor
    """(V,) bool: the vertex lies on the surface of the cube."""


def _cubes_around(axis: int, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the faces of cells across an axis: (N,) cell before and behind, -1 for none, and (N, 4) corners in a ring."""
    along, first, second = torch.meshgrid(torch.arange(cells + 1), torch.arange(cells), torch.arange(cells), indexing="ij")

    def number(place: tuple[Tensor, Tensor, Tensor], count: int) -> Tensor:
        x, y, z = (place[(which - axis) % 3] for which in range(3))
        return ((x * count + y) * count + z).flatten()

    corners = [(0, 0), (1, 0), (1, 1), (0, 1)]
    ring = torch.stack([number((along, first + i, second + j), cells + 1) for i, j in corners], dim=1)
    before = torch.where((along > 0).flatten(), number((along - 1, first, second), cells), -1)
    behind = torch.where((along < cells).flatten(), number((along, first, second), cells), -1)
    return before, behind, ring


def _all_tetrahedra(cells: int) -> Tensor:
    """Return (12 cells^3, 4): four about each inner face, between both centres and an edge; two on each outer one."""
    offset, found = (cells + 1) ** 3, []
    for axis in range(3):
        before, behind, ring = _cubes_around(axis, cells)
        inner = (before >= 0) & (behind >= 0)
        for corner in range(4):
            edge = ring[inner][:, [corner, (corner + 1) % 4]]
            found.append(torch.cat([(before + offset)[inner, None], (behind + offset)[inner, None], edge], dim=1))
        centre = torch.maximum(before, behind)[~inner, None] + offset
        found += [torch.cat([centre, ring[~inner][:, half]], dim=1) for half in ([0, 1, 2], [0, 2, 3])]
    return torch.cat(found)


def signed_volumes(points: Tensor) -> Tensor:
    """Return the (...) signed volumes of tetrahedra (..., 4, 3)."""
    a, b, c = (points[..., 1:, :] - points[..., :1, :]).unbind(-2)
    volumes: Tensor = (a * torch.linalg.cross(b, c)).sum(dim=-1) / 6.0
    return volumes


@functools.lru_cache(maxsize=8)
def body_centred_grid(cells: int, device: str = "cpu") -> TetrahedralGrid:
    """Return the grid of `cells` cells along each axis: (cells + 1)^3 + cells^3 vertices and 12 cells^3 tetrahedra.

    Args:
        cells: cells along each axis.
        device: where its tensors lie.

    Raises:
        ValueError: there is no cell.
    """
    if cells < 1:
        raise ValueError(f"expected a grid of at least 1 cell, got {cells}")
    if device != "cpu":
        grid = body_centred_grid(cells)
        return TetrahedralGrid(cells, *(getattr(grid, name).to(device) for name in _TENSORS))
    ends = torch.arange(cells + 1, dtype=torch.float64) / cells - 0.5
    middles = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells - 0.5
    vertices = torch.cat([torch.cartesian_prod(ends, ends, ends), torch.cartesian_prod(middles, middles, middles)])
    tetrahedra = _all_tetrahedra(cells)
    turned = signed_volumes(vertices[tetrahedra]) < 0
    tetrahedra = torch.where(turned[:, None], tetrahedra[:, [0, 1, 3, 2]], tetrahedra)
    pairs = tetrahedra[:, torch.tensor(LOCAL_EDGES)].sort(dim=-1).values
    keys, places = torch.unique(pairs[..., 0] * len(vertices) + pairs[..., 1], return_inverse=True)
    edges = torch.stack([keys // len(vertices), keys % len(vertices)], dim=1)
    border = vertices.abs().amax(dim=1) > 0.5 - 0.25 / cells
    return TetrahedralGrid(cells, vertices.float(), tetrahedra, edges, places, border)


_TENSORS = ("vertices", "tetrahedra", "edges", "tetrahedron_edges", "border")


@functools.lru_cache(maxsize=8)
def triangle_table(device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Return what is cut of a tetrahedron by the signs of its corners (Doi and Koide 1991).

    Returns:
        (16, 2, 3) local edges of up to two triangles whose normals point from inside to outside, and (16,) how many there
        are; bit k of the row is set where corner k is inside.
    """
    table, counts = torch.zeros(16, 2, 3, dtype=torch.int64), torch.zeros(16, dtype=torch.int64)
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    for code in range(1, 15):
        inside = [corner for corner in range(4) if code >> corner & 1]
        outside = [corner for corner in range(4) if not code >> corner & 1]
        if len(inside) == 2:
            (a, b), (c, d) = inside, outside
            ring = [(a, c), (a, d), (b, d), (b, c)]
        else:
            ring = [(a, b) for a in inside for b in outside]
        local = [LOCAL_EDGES.index((min(pair), max(pair))) for pair in ring]
        middles = torch.stack([corners[list(pair)].mean(dim=0) for pair in ring])
        normal = torch.linalg.cross(middles[1] - middles[0], middles[2] - middles[0])
        if normal @ (corners[outside].mean(dim=0) - corners[inside].mean(dim=0)) < 0:
            local.reverse()
        counts[code] = len(local) - 2
        for index in range(len(local) - 2):
            table[code, index] = torch.tensor([local[0], local[index + 1], local[index + 2]])
    return table.to(device), counts.to(device)
