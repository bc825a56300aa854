"""Distances between two sets of features: Frechet's, its value for endlessly many samples, and the kernel distance.

Where features come from is left to `features`. All sums are float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...manifests.identity import rng
from .features import Floats


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and covariance of features: all that Frechet's distance needs, gathered in pieces."""

    count: int
    mean: Floats
    """(D,)"""
    scatter: Floats
    """(D, D) sum of outer products of deviations from the mean."""

    @classmethod
    def of(cls, features: Floats) -> Moments:
        """Return the moments of (N, D) features.

        Raises:
            ValueError: not two-dimensional, none, or not finite.
        """
        features = np.asarray(features, dtype=np.float64)
        if features.ndim != 2 or not len(features) or not np.isfinite(features).all():
            raise ValueError(f"expected finite features of shape (N, D), got {features.shape} {features.dtype}")
        mean = features.mean(axis=0)
        centred = features - mean
        return cls(len(features), mean, centred.T @ centred)

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both sets together (Chan, Golub and LeVeque 1979)."""
        count = self.count + other.count
        step = other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(step, step) * (self.count * other.count / count)
        return Moments(count, self.mean + step * (other.count / count), scatter)

    @property
    def covariance(self) -> Floats:
        """(D, D) unbiased covariance."""
        if self.count < 2:
            raise ValueError(f"expected two features or more for a covariance, got {self.count}")
        return self.scatter / (self.count - 1)


def frechet(first: Moments, second: Moments) -> float:
    """Return Frechet's distance, squared, of the normal distributions with two sets' moments (Heusel et al. 2017, eq. 6).

    The trace of (A B)^(1/2) is the sum of the roots of the eigenvalues of A^(1/2) B A^(1/2), which is symmetric: no complex
    parts appear and covariances without full rank do no harm. With few samples the value is too large; `frechet_infinity`
    says by how much.
    """
    if first.mean.shape != second.mean.shape:
        raise ValueError(f"expected features of one size, got {first.mean.shape} and {second.mean.shape}")
    a, b = first.covariance, second.covariance
    values, vectors = np.linalg.eigh(a)
    root = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    inner = root @ b @ root
    shared = np.sqrt(np.clip(np.linalg.eigvalsh((inner + inner.T) / 2), 0.0, None)).sum()
    step = first.mean - second.mean
    return float(step @ step + np.trace(a) + np.trace(b) - 2.0 * shared)


@dataclass(frozen=True)
class FidInfinity:
    """Frechet's distance as it is with the samples at hand, and as it would be with endlessly many."""

    measured: float
    """With all samples."""
    infinity: float
    """Extrapolated; may be slightly below zero for equal distributions."""


def frechet_infinity(features: Floats, reference: Floats, seed: int = 0, points: int = 12) -> FidInfinity:
    """Extrapolate Frechet's distance to endlessly many samples (Chong and Forsyth 2020).

    The bias is close to linear in 1 / N; a line through the distances of parts of both sets, cut at a share that falls from
    1 to 1/4, is read off at 0. Both sets are thinned, because neither is endless.

    Args:
        features: (N, D) features of what is judged.
        reference: (M, D) features of the data.
        seed: seed of the parts.
        points: number of parts.

    Raises:
        ValueError: fewer than 8 of either, so that a quarter has no covariance.
    """
    if min(len(features), len(reference)) < 8:
        raise ValueError(f"expected 8 features or more of each set, got {len(features)} and {len(reference)}")
    order = rng(seed, "frechet", "endless")
    shares = 1.0 / np.linspace(1.0, 4.0, points)
    values = []
    for share in shares:
        parts = [Moments.of(part[order.permutation(len(part))[: round(share * len(part))]]) for part in (features, reference)]
        values.append(frechet(*parts))
    cut = np.polyfit(1.0 / shares, values, 1)[1]
    return FidInfinity(values[0], float(cut))


def kernel_distance(first: Floats, second: Floats, block: int = 1024) -> float:
    """Return the unbiased squared maximum mean discrepancy with the kernel (x.y / D + 1)^3 (Binkowski et al. 2018, KID).

    Its expectation is right for any number of samples, so it may be below zero for equal distributions.

    Args:
        first: (N, D) features, N >= 2.
        second: (M, D) features, M >= 2.
        block: rows worked on at once.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f"expected two features or more of each set, got {len(first)} and {len(second)}")

    def total(a: Floats, b: Floats) -> float:
        rows = (a[start : start + block] for start in range(0, len(a), block))
        return sum(float(((part @ b.T / a.shape[1] + 1.0) ** 3).sum()) for part in rows)

    def own(a: Floats) -> float:
        diagonal = float((((a * a).sum(axis=1) / a.shape[1] + 1.0) ** 3).sum())
        return (total(a, a) - diagonal) / (len(a) * (len(a) - 1))

    return own(first) + own(second) - 2.0 * total(first, second) / (len(first) * len(second))
