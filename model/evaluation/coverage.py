"""Precision and recall of generated pictures: how many lie among the data, and how much of the data they cover.

Kynkaanniemi et al. (2019): a set's region is the union of balls around its features that reach to their k-th neighbour. Where
features come from is left to `features`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...datasets.arrays import Array
from .features import Floats

NEIGHBOUR = 3
"""k, as published."""
MOST = 4096
"""Features of a set that are compared, at most; the first are taken."""


@dataclass(frozen=True)
class Coverage:
    """Shares of one set inside the other's region, [0, 1]."""

    precision: float
    """Of the generated pictures, inside the data's region."""
    recall: float
    """Of the data, inside the generated pictures' region."""


def precision_recall(generated: Floats, data: Floats, k: int = NEIGHBOUR) -> Coverage:
    """Return precision and recall of (N, D) generated features against (M, D) features of the data.

    Both sets are cut to one size, because regions grow with fewer features.

    Raises:
        ValueError: fewer than k + 1 of either.
    """
    count = min(len(generated), len(data), MOST)
    if count <= k:
        raise ValueError(f"expected more than {k} features of each set, got {len(generated)} and {len(data)}")
    first, second = spread_choice(generated, count), spread_choice(data, count)
    apart = squared_distances(first, second)
    inside = (apart <= radii(second, k)[None, :]).any(axis=1)
    covered = (apart <= radii(first, k)[:, None]).any(axis=0)
    return Coverage(float(inside.mean()), float(covered.mean()))


def spread_choice(features: Floats, count: int) -> Floats:
    """Return `count` rows at even distances of their order."""
    rows = np.linspace(0, len(features) - 1, count).round().astype(int)
    return np.asarray(features[rows], dtype=np.float64)


def radii(features: Floats, k: int) -> Array:
    """Return the (N,) squared distances of each feature to its k-th neighbour."""
    apart = squared_distances(features, features)
    np.fill_diagonal(apart, -1.0)
    return np.asarray(np.partition(apart, k, axis=1)[:, k])


def squared_distances(first: Floats, second: Floats) -> Array:
    """Return the (N, M) squared distances of (N, D) and (M, D) features."""
    square = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None, :] - 2.0 * first @ second.T
    return np.asarray(np.maximum(square, 0.0))
