"""Arithmetic of x, y, width, height boxes that finders and stages share.

What a box holds is the caller's business.
"""

from __future__ import annotations

from collections.abc import Sequence


def overlap(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the intersection over union of two x, y, width, height boxes."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    common = max(width, 0.0) * max(height, 0.0)
    return common / max(first[2] * first[3] + second[2] * second[3] - common, 1e-9)


def middle(box: Sequence[float]) -> tuple[float, float]:
    """Return the middle of a box."""
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def inside(point: tuple[float, float], box: Sequence[float]) -> bool:
    """Say whether a point lies in a box, its border included."""
    return box[0] <= point[0] <= box[0] + box[2] and box[1] <= point[1] <= box[1] + box[3]


def area(box: Sequence[float]) -> float:
    """Return the area of an x, y, width, height box."""
    return box[2] * box[3]
