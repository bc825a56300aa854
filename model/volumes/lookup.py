"""Bilinear reads from many planes at once: planes lie as rows of one table, and a point's corners are one weighted sum of rows.

It leaves coordinates and weights to the volumes. A point that reads K planes needs 4 K rows of C numbers; they are summed by
`embedding_bag` with bilinear weight times plane weight, so that no per-plane features ever exist. In the backward pass points
are sorted by cell and summed the same way. The plain twin (`grid_sample`, weights, mean) stands in the tests.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ..ops.autograd import applied
from .base import VolumeError


class PlaneTable(nn.Module):
    """K planes, of one or several sizes, as one table of rows with a border of zero texels around each plane.

    Coordinates are those of `grid_sample(padding_mode="zeros", align_corners=False)`: -1 and 1 are the outer edges of the outer
    texels, and beyond half a texel outside them there is nothing. The border makes that padding, without a mask.
    """

    extent: Tensor
    """(2, K, 1) half the width and height of each plane in texels."""
    stride: Tensor
    """(K, 1) rows from one line of a plane to the next."""
    first: Tensor
    """(K, 1) each plane's first row."""

    def __init__(self, groups: Sequence[tuple[int, int, int]]):
        """Lay out a table.

        Args:
            groups: (number of planes, height, width) of each run of equal planes, in their order.
        """
        super().__init__()
        sizes = [(height, width) for count, height, width in groups for _ in range(count)]
        firsts = [0]
        for height, width in sizes:
            firsts.append(firsts[-1] + (height + 2) * (width + 2))
        self.rows = firsts[-1]
        halves = torch.tensor([[width / 2 for _, width in sizes], [height / 2 for height, _ in sizes]])
        self.register_buffer("extent", halves[..., None], persistent=False)
        self.register_buffer("stride", torch.tensor([[width + 2.0] for _, width in sizes]), persistent=False)
        self.register_buffer("first", torch.tensor(firsts[:-1], dtype=torch.int32)[:, None], persistent=False)

    def pack(self, groups: Sequence[Tensor]) -> Tensor:
        """Lay planes into the table.

        Args:
            groups: (B, number of planes, C, height, width) each, as given to the constructor.

        Returns:
            (B, rows, C) float32 table.
        """
        parts = [functional.pad(group.float().permute(0, 1, 3, 4, 2), (0, 0, 1, 1, 1, 1)).flatten(1, 3) for group in groups]
        return (parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)).contiguous()

    def read(self, table: Tensor, u: Tensor, v: Tensor, weight: Tensor, first: Tensor | None = None) -> Tensor:
        """Sum bilinear reads: features of a point = sum over k of weight[k] * plane k at (u[k], v[k]).

        Args:
            table: (B, rows, C) what `pack` returned.
            u: (K, B, N) horizontal coordinates, -1 to 1 from left to right.
            v: (K, B, N) vertical coordinates, -1 to 1 from top to bottom.
            weight: (K, B, N) weight of each read.
            first: (K, B, N) int32 first rows where a read's plane differs from point to point and all planes have one size;
                None: read k is from plane k.

        Returns:
            (B, N, C) features, differentiable in table, u, v and weight.

        Raises:
            VolumeError: the table is not one that `pack` returned here.
        """
        if table.ndim != 3 or table.shape[1] != self.rows:
            raise VolumeError(f"expected planes as (B, {self.rows:,}, C), as this volume lays them, got {tuple(table.shape)}")
        if first is None:
            return applied(_Read, table, u, v, weight, self.extent, self.stride, self.first)
        return applied(_Read, table, u, v, weight, self.extent[:, :1], self.stride[:1], first)


class _Read(torch.autograd.Function):
    """The read and its gradients, both in chunks of points so that the lists of corners stay small."""

    @staticmethod
    def forward(
        ctx: Any, table: Tensor, u: Tensor, v: Tensor, weight: Tensor, half: Tensor, stride: Tensor, first: Tensor
    ) -> Tensor:
        ctx.save_for_backward(table, u, v, weight, half, stride, first)
        out = table.new_empty(*u.shape[1:], table.shape[-1])
        for head, part in _chunks(u):
            cell, x, y = _cells(u[:, head, part], v[:, head, part], half, stride, _pick(first, head, part))
            index = _corners(cell, stride)
            weights = _by_point(torch.stack(_corner_weights(weight[:, head, part], x, y)))
            out[head, part] = functional.embedding_bag(index, table[head], mode="sum", per_sample_weights=weights)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        table, u, v, weight, half, stride, first = ctx.saved_tensors
        grad = grad.contiguous()
        needs_table, needs_points = ctx.needs_input_grad[0], any(ctx.needs_input_grad[1:4])
        grad_table = torch.zeros_like(table) if needs_table else None
        grad_points = torch.empty(3, *u.shape, dtype=u.dtype, device=u.device) if needs_points else None
        for head, part in _chunks(u):
            where = (u[:, head, part], v[:, head, part], half, stride, _pick(first, head, part))
            cell, x, y = _cells(*where)
            if grad_table is not None:
                _scatter(grad_table[head], cell, _corner_weights(weight[:, head, part], x, y), grad[head, part], stride)
            if grad_points is not None:
                products = _corner_products(table[head], _corners(cell, stride), grad[head, part])
                grad_points[:, :, head, part] = _point_gradients(products, x, y, weight[:, head, part], *where[:3])
        u_grad, v_grad, weight_grad = (None, None, None) if grad_points is None else grad_points.unbind(0)
        return grad_table, u_grad, v_grad, weight_grad, None, None, None


def _chunks(u: Tensor) -> list[tuple[int, slice]]:
    """Return (head, points) of each chunk; on a CPU the lists of one chunk stay near its caches."""
    step = 1 << (17 if u.device.type == "cpu" else 22)
    return [(head, slice(start, start + step)) for head in range(u.shape[1]) for start in range(0, u.shape[2], step)]


def _pick(first: Tensor, head: int, part: slice) -> Tensor:
    return first if first.ndim == 2 else first[:, head, part]


def _cells(u: Tensor, v: Tensor, half: Tensor, stride: Tensor, first: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (K, N) int32 row of the upper left corner, and (K, N) fractions to the right and down.

    In texels of the plane with its border, -1 lies at 0.5; places beyond the border are drawn onto it, where all is zero.
    """
    x = torch.clamp((u + 1) * half[0] + 0.5, min=torch.zeros_like(half[0]), max=2 * half[0] + 1)
    y = torch.clamp((v + 1) * half[1] + 0.5, min=torch.zeros_like(half[1]), max=2 * half[1] + 1)
    left, top = torch.minimum(x.floor(), 2 * half[0]), torch.minimum(y.floor(), 2 * half[1])
    cell = (top * stride + left).to(torch.int32) + first
    return cell, x - left, y - top


def _corner_weights(weight: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return bilinear times plane weight at the corners: upper left, upper right, lower left, lower right, (K, N) each."""
    lower = weight * y
    upper = weight - lower
    upper_right, lower_right = upper * x, lower * x
    return upper - upper_right, upper_right, lower - lower_right, lower_right


def _corners(cell: Tensor, stride: Tensor) -> Tensor:
    """Return (N, 4 K) int32 rows of the corners, corner by corner."""
    step = stride.to(torch.int32)
    return _by_point(torch.stack([cell, cell + 1, cell + step, cell + (step + 1)]))


def _by_point(corners: Tensor) -> Tensor:
    """Turn (4, K, N) into (N, 4 K); a transpose of two axes is three times as fast as letting the bag copy strides."""
    return corners.flatten(0, 1).t().contiguous()


def _scatter(total: Tensor, cell: Tensor, weights: Sequence[Tensor], grad: Tensor, stride: Tensor) -> None:
    """Add weight * grad to the four corners of each point's cell: points sorted by cell, one bag a cell and corner.

    Sums run in one fixed order, so the result does not depend on the number of threads.
    """
    planes, count = cell.shape
    key, order = cell.flatten().sort()
    point = order.remainder(count).to(torch.int32)
    cells, held = torch.unique_consecutive(key, return_counts=True)
    starts = (held.cumsum(0) - held).to(torch.int32)
    cells = cells.long()
    lines = stride.long().expand(planes, count).flatten()[order[starts.long()]]
    for weight, shift in zip(weights, (0, 1, lines, lines + 1), strict=True):
        sums = functional.embedding_bag(point, grad, starts, mode="sum", per_sample_weights=weight.flatten()[order])
        total.index_put_((cells + shift,), sums, accumulate=True)


def _corner_products(table: Tensor, index: Tensor, grad: Tensor) -> Tensor:
    """Return (4, K, N) inner products of each point's gradient with the rows at its corners."""
    products = (_sampled_products if table.device.type == "cpu" else _bag_products)(table, index, grad)
    out: Tensor = products.view(index.shape).t().contiguous().unflatten(0, (4, -1))
    return out


def _sampled_products(table: Tensor, index: Tensor, grad: Tensor) -> Tensor:
    """Inner products as those entries of grad @ table.T that the corners pick: three times as fast on a CPU as the next."""
    count, width = index.shape
    starts = torch.arange(0, count * width + 1, width, dtype=torch.int32, device=index.device)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        picked = torch.sparse_csr_tensor(
            starts, index.flatten(), table.new_zeros(index.numel()), size=(count, len(table)), check_invariants=False
        )
    out: Tensor = torch.sparse.sampled_addmm(picked, grad, table.T, beta=0.0).values()
    return out


def _bag_products(table: Tensor, index: Tensor, grad: Tensor) -> Tensor:
    """Inner products as the gradient of a bag's weights."""
    with torch.enable_grad():
        weights = torch.ones(index.shape, dtype=table.dtype, device=table.device, requires_grad=True)
        sums = functional.embedding_bag(index, table, mode="sum", per_sample_weights=weights)
    return torch.autograd.grad(sums, weights, grad)[0]


def _point_gradients(products: Tensor, x: Tensor, y: Tensor, weight: Tensor, u: Tensor, v: Tensor, half: Tensor) -> Tensor:
    """Return (3, K, N) gradients in u, v and weight from the corners' products; 0 where a place was drawn onto the border."""
    upper_left, upper_right, lower_left, lower_right = products
    upper, lower = upper_right - upper_left, lower_right - lower_left
    along_x, along_y = upper + y * (lower - upper), lower_left - upper_left + x * (lower - upper)
    inside_x, inside_y = ((1 + 0.5 / size > place.abs()) for place, size in ((u, half[0]), (v, half[1])))
    value = upper_left + x * upper + y * along_y
    return torch.stack([along_x * weight * half[0] * inside_x, along_y * weight * half[1] * inside_y, value])
