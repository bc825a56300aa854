"""Views as pictures: depth, mask and parsing in colours, and heads by views as one labelled sheet.

Rendering is left to `views`; text, tiles and PNG are those of `datasets.report.sheets`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from ...datasets.arrays import Array, Pixels
from ...datasets.camera import RADIUS
from ...datasets.classes import colourise
from ...datasets.report.tiles import FAINT, INK, PAPER, degrees, fit, stack, text_band, text_width
from .views import View

DEPTHS = (RADIUS - 0.35, RADIUS + 0.1)
"""Distances drawn brightest and darkest, in world units: from before the nose to behind the ears."""
GAP = 4
"""Pixels between tiles."""
MARGIN = 76
"""Pixels at the left of a sheet, for the heads' names; more where one is longer."""


def depth_colours(depth: Array, mask: Array) -> Pixels:
    """Return the (r, r, 3) picture of a depth map, near bright in cividis, by `mask` on black.

    Args:
        depth: (r, r) distances in world units.
        mask: (r, r) share of the head, [0, 1].
    """
    near, far = DEPTHS
    level = np.clip((far - np.nan_to_num(depth, nan=far)) / (far - near), 0.0, 1.0)
    coloured = cv2.applyColorMap(np.round(255 * level).astype(np.uint8), cv2.COLORMAP_CIVIDIS)[..., ::-1]
    picture: Pixels = np.round(coloured * np.nan_to_num(mask)[..., None]).astype(np.uint8)
    return picture


def mask_grey(mask: Array) -> Pixels:
    """Return the (r, r, 3) grey picture of a mask in [0, 1]."""
    return np.repeat(np.round(255 * np.nan_to_num(mask)).astype(np.uint8)[..., None], 3, axis=2)


def tile(view: View, size: int) -> Pixels:
    """Return a view's final picture as a (size, size, 3) tile."""
    return fit(view.image, size)


def card(view: View, size: int) -> Pixels:
    """Return a view's picture with depth, mask and, where known, parsing in small below it, (size + height, size, 3)."""
    parts = [depth_colours(view.depth, view.mask), mask_grey(view.mask)]
    if view.parsing is not None:
        parts.append(colourise(view.parsing))
    width = (size - 2 * (GAP // 2)) // 3
    strip = np.full((width, size, 3), PAPER, dtype=np.uint8)
    for index, part in enumerate(parts):
        x = index * (width + GAP // 2)
        strip[:, x : x + width] = cv2.resize(part, (width, width), interpolation=cv2.INTER_AREA if width < len(part) else (
            cv2.INTER_NEAREST))  # fmt: skip
    return np.concatenate([tile(view, size), np.full((GAP // 2, size, 3), PAPER, dtype=np.uint8), strip])


def sheet(rows: Sequence[Sequence[Pixels]], names: Sequence[str], columns: Sequence[str], title: str = "") -> Pixels:
    """Lay tiles out with a name before each row and one over each column.

    Args:
        rows: tiles of one size, the same number a row.
        names: names of the rows.
        columns: names of the columns.
        title: a line above, where given.
    """
    height, width = rows[0][0].shape[:2]
    margin = max(MARGIN, *(text_width(name) for name in names))
    head = [np.full((28, margin, 3), PAPER, dtype=np.uint8)]
    lines: list[Pixels] = []
    for name in columns:
        head += [text_band(name, width + GAP, FAINT)]
    for name, tiles in zip(names, rows, strict=True):
        band = text_band(name, margin, INK)
        label = np.full((height, margin, 3), PAPER, dtype=np.uint8)
        top = max(0, (height - len(band)) // 2)
        label[top : top + len(band)] = band[: height - top]
        space = np.full((height, GAP, 3), PAPER, dtype=np.uint8)
        line = np.concatenate([label, *(part for picture in tiles for part in (picture, space))], axis=1)
        lines += [line, np.full((GAP, line.shape[1], 3), PAPER, dtype=np.uint8)]
    whole = [np.concatenate(head, axis=1), *lines]
    return stack([text_band(title, whole[0].shape[1], INK), *whole] if title else whole)


def heads_sheet(heads: Sequence[Sequence[View]], names: Sequence[str], size: int, title: str = "") -> Pixels:
    """Lay heads out one a row, seen from evenly spaced cameras around them, each picture with its depth, mask and parsing.

    Args:
        heads: for each head its views, as many for all, in the order of `views.ring`.
        names: what stands before each row.
        size: width of the pictures in pixels.
        title: a line above, where given.
    """
    count = len(heads[0])
    return sheet([[card(view, size) for view in views] for views in heads], names, [yaw_name(index, count) for index in
                 range(count)], title)  # fmt: skip


def yaw_name(index: int, count: int) -> str:
    """Word the yaw of a camera of `views.ring`: 0°, 45°, ..., 180°, -135°, ..."""
    yaw = math.degrees(math.remainder(2 * math.pi * index / count, 2 * math.pi))
    return degrees(abs(yaw) if math.isclose(abs(yaw), 180.0) else yaw)
