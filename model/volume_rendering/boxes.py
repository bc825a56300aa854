"""Pairs of a thing and a pixel in its bounding box, in parts of bounded work: how triangles and Gaussians find their pixels.

Plain PyTorch on any device. Which of these pixels a thing really covers is left to `surfaces.rasterise` and `splats.compose`.
"""

from __future__ import annotations

import torch
from torch import Tensor

PAIRS = 1 << 22
"""Pairs that are worked on at once."""


def boxes_of(low: Tensor, high: Tensor, resolution: int) -> Tensor:
    """Return the (N, 4) boxes of the pixels whose centres lie from `low` to `high`: first column and row, columns, rows.

    Args:
        low, high: (N, 2) columns and rows in pixels; pixel j's centre is at j + 0.5.
        resolution: pixels a side; boxes end at the picture's border, and may be empty.
    """
    first = (low - 0.5).ceil().clamp(0, resolution).long()
    last = (high - 0.5).floor().clamp(-1, resolution - 1).long()
    return torch.cat([first, (last - first + 1).clamp_min(0)], dim=1)


def num_pixels(boxes: Tensor) -> Tensor:
    """Return the (N,) pixels in boxes."""
    return boxes[:, 2] * boxes[:, 3]


def in_parts(things: Tensor, boxes: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Split (K,) things and their (K, 4) boxes, none of them empty, so that a part has about `PAIRS` pixels at most."""
    if not len(things):
        return []
    part = num_pixels(boxes).cumsum(0) // PAIRS
    sizes = torch.unique_consecutive(part, return_counts=True)[1].tolist()
    return list(zip(things.split(sizes), boxes.split(sizes), strict=True))


def pixels_in(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (P,) box, column and row of every pixel in (K, 4) boxes, box by box and row by row."""
    counts = num_pixels(boxes)
    which = torch.repeat_interleave(torch.arange(len(boxes), device=boxes.device), counts)
    place = torch.arange(len(which), device=boxes.device) - (counts.cumsum(0) - counts)[which]
    left, top, width, _ = boxes[which].unbind(1)
    return which, left + place % width, top + torch.div(place, width, rounding_mode="floor")
