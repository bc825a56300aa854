"""How many heads of pictures that it was not trained on a finder finds, by height, and what it takes for heads besides.

Scenes come from `shown.scenes`; whole photographs are measured by `tests/bench/truth_wild.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...datasets.arrays import Floats
from .networks import FINDER_STRIDE
from .tasks import FinderTask

LEAST_SCORE = 0.4
"""Score from which something counts as a head, as `detect.min_head_confidence` has it."""
SAME = 0.3
"""Intersection over union from which two boxes are the same head; of found ones, the surer box stays."""
HEIGHTS = (14, 24, 48, 96)
"""Least heights of the bands in pixels of a scene."""


def boxes_of(maps: Tensor, where: Tensor) -> Floats:
    """Return the (N, 4) left, top, right and bottom that a finder's maps tell at some cells.

    Args:
        maps: (4, s, s): the centre's offset from the cell's middle in cells, x and y, and logarithms of width and height.
        where: (N, 2) rows and columns.
    """
    row, column = where.T
    dx, dy, width, height = maps[:, row, column].double()
    middle = FINDER_STRIDE * torch.stack([column + 0.5 + dx, row + 0.5 + dy], dim=1)
    half = FINDER_STRIDE / 2.0 * torch.stack([width, height], dim=1).exp()
    return np.asarray(torch.cat([middle - half, middle + half], dim=1))


def found_boxes(maps: Tensor, least: float = LEAST_SCORE) -> Floats:
    """Return the (N, 4) boxes at the peaks of a finder's answer, (5, s, s), surest first and each head once."""
    heat = maps[0].sigmoid()
    highest = F.max_pool2d(heat[None], 3, 1, 1)[0]
    where = torch.nonzero((heat == highest) & (heat >= least))
    order = torch.argsort(-heat[where[:, 0], where[:, 1]], stable=True)
    kept: list[Floats] = []
    for box in boxes_of(maps[1:], where[order]):
        if not kept or overlaps(np.stack(kept), box).max() <= SAME:
            kept.append(box)
    return np.reshape(kept, (-1, 4))


def overlaps(boxes: Floats, box: Floats) -> Floats:
    """Return the (N,) intersections over union of (N, 4) boxes with one."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    common = np.prod(np.maximum(high - low, 0.0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + float(np.prod(box[2:] - box[:2]))
    return np.asarray(common / np.maximum(areas - common, 1e-9))


@torch.no_grad()
def evaluate_finder(network: nn.Module, task: FinderTask, count: int, batch: int = 16) -> dict[str, Any]:
    """Return numbers over `count` scenes of a task.

    Args:
        network: a `FinderNet`; it is put into evaluation mode.
        task: on held-out views.
        count: scenes.
        batch: scenes at once.

    Returns:
        By band of height in pixels "num" and "found"; over all "false_per_picture", boxes that are no head or a head's second,
        and "overlap", the median intersection over union of the found.
    """
    network.eval()
    heights, shares, false = list[float](), list[float](), 0
    for start in range(0, count, batch):
        pictures, truth = task.batch(list(range(start, min(start + batch, count))))
        for said, heat, told in zip(network(pictures), truth["heat"], truth["boxes"], strict=True):
            free = found_boxes(said)
            for box in boxes_of(told, torch.nonzero(heat == 1.0)):
                share = overlaps(free, box) if len(free) else np.zeros(1)
                heights.append(box[3] - box[1])
                shares.append(float(share.max()))
                if shares[-1] >= SAME:
                    free = np.delete(free, share.argmax(), axis=0)
            false += len(free)
    return {**_by_height(np.array(heights), np.array(shares)), "false_per_picture": round(false / max(count, 1), 4)}


def _by_height(heights: Floats, shares: Floats) -> dict[str, Any]:
    """Return what was found by band of height, and how well it lies."""
    bands: dict[str, Any] = {}
    for low, high in zip(HEIGHTS, (*HEIGHTS[1:], None), strict=True):
        here = (heights >= low) & (heights < (high or np.inf))
        if here.any():
            name = f"{low}-{high}" if high else f"{low} and more"
            bands[name] = {"num": int(here.sum()), "found": round(float((shares[here] >= SAME).mean()), 3)}
    found = shares[shares >= SAME]
    return {"height": bands, "overlap": round(float(np.median(found)), 3) if found.size else None}
