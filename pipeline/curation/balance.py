"""View bins of equal area on the sphere of directions, and sampling weights that even out how often they are seen.

Pure functions of angles: nothing here knows of pictures or files, and the order of rows never matters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...datasets.arrays import Array, Floats

_MOST_BINS = 1_000_000


@dataclass(frozen=True)
class BalanceSettings:
    """View bins and weights."""

    num_azimuths: int = 36
    """Bins round the head, from behind over the subject's right, front and left; an even number, so that mirroring maps
    bins onto bins."""
    num_elevations: int = 9
    """Bins from straight below to straight above, of equal height on the unit sphere and so of equal area."""
    cap: float = 10.0
    """Largest weight before weights are scaled to a mean of 1: rare views are not shown without end."""
    mirror: bool = True
    """Training mirrors pictures, so a bin and its mirror image share their pictures."""

    def __post_init__(self) -> None:
        if self.num_azimuths < 2 or self.num_azimuths % 2 or self.num_elevations < 1:
            raise ValueError(
                f"expected an even num_azimuths and at least one elevation, got {self.num_azimuths} x {self.num_elevations}"
            )
        if self.num_bins > _MOST_BINS:
            raise ValueError(
                f"expected at most {_MOST_BINS:,} view bins, got num_azimuths {self.num_azimuths} x num_elevations "
                f"{self.num_elevations}"
            )
        if self.cap < 1.0:
            raise ValueError(f"expected a cap of 1 or more, got {self.cap}")

    @property
    def num_bins(self) -> int:
        """Number of bins."""
        return self.num_azimuths * self.num_elevations


def view_bins(yaw: Array, pitch: Array, settings: BalanceSettings) -> Array:
    """Return the (N,) int32 bin of each direction: elevation * num_azimuths + azimuth, both counted from 0.

    Args:
        yaw: (N,) azimuth in radians, as `Camera.yaw`; any turn is taken modulo 2 pi.
        pitch: (N,) elevation in radians, -pi/2 to pi/2.
        settings: the grid.
    """
    turn = (np.asarray(yaw, dtype=np.float64) + math.pi) / (2 * math.pi)
    azimuth = np.floor((turn - np.floor(turn)) * settings.num_azimuths).astype(np.int32)
    height = 0.5 * (np.sin(np.asarray(pitch, dtype=np.float64)) + 1.0)
    elevation = np.floor(height * settings.num_elevations).astype(np.int32)
    azimuth = np.clip(azimuth, 0, settings.num_azimuths - 1)
    elevation = np.clip(elevation, 0, settings.num_elevations - 1)
    return np.asarray(elevation * settings.num_azimuths + azimuth, dtype=np.int32)


def bin_edges(settings: BalanceSettings) -> tuple[Floats, Floats]:
    """Return the (num_azimuths + 1,) edges in yaw and the (num_elevations + 1,) edges in pitch, in radians."""
    return (
        np.linspace(-math.pi, math.pi, settings.num_azimuths + 1),
        np.arcsin(np.linspace(-1.0, 1.0, settings.num_elevations + 1)),
    )


def mirror_bins(settings: BalanceSettings) -> Array:
    """Return for each bin the bin in which the mirrored picture falls."""
    elevation, azimuth = np.divmod(np.arange(settings.num_bins), settings.num_azimuths)
    return np.asarray(elevation * settings.num_azimuths + settings.num_azimuths - 1 - azimuth, dtype=np.int32)


@dataclass(frozen=True, eq=False)
class Balance:
    """Bins, weights and what they come to."""

    bins: Array
    """(N,) int32 view bin of each row."""
    weights: Floats
    """(N,) sampling weights, mean 1."""
    counts: Array
    """(num_bins,) rows in each bin; with `mirror`, half the rows of the bin and of its mirror image together."""
    effective: Floats
    """(num_bins,) what the weights make of `counts`; sums to the number of rows."""

    @property
    def imbalance(self) -> float:
        """Largest count over the smallest one above 0; 1 for an empty set."""
        return _ratio(np.asarray(self.counts, dtype=np.float64))

    @property
    def effective_imbalance(self) -> float:
        """The same for the effective counts."""
        return _ratio(self.effective)


def balance_views(yaw: Array, pitch: Array, settings: BalanceSettings | None = None) -> Balance:
    """Weigh rows so that every occupied bin is drawn alike, up to the cap.

    A row's weight is min(cap, target / count of its bin), target being the mean count of occupied bins, then all are scaled
    to a mean of 1.

    Args:
        yaw: (N,) azimuths in radians.
        pitch: (N,) elevations in radians.
        settings: grid, cap and mirroring.

    Raises:
        ValueError: an angle that is not finite.
    """
    settings = settings or BalanceSettings()
    yaw, pitch = np.asarray(yaw, dtype=np.float64), np.asarray(pitch, dtype=np.float64)
    if not (np.isfinite(yaw).all() and np.isfinite(pitch).all()):
        raise ValueError("expected finite angles; leave rows without a camera out")
    bins = view_bins(yaw, pitch, settings)
    counts = _shared(np.bincount(bins, minlength=settings.num_bins).astype(np.float64), settings)
    if not bins.size:
        return Balance(bins, np.zeros(0), counts, counts)
    target = float(counts.sum()) / int((counts > 0).sum())
    weights = np.minimum(settings.cap, target / counts[bins])
    weights *= bins.size / float(np.sort(weights).sum())  # sorted, so that the order of rows cannot change a rounding
    effective = _shared(_sum_by_bin(bins, weights, settings.num_bins), settings)
    return Balance(bins, weights, counts, effective)


def lacking_views(counts: Array, settings: BalanceSettings, order: Array, most: int, level: float = 0.0) -> Array:
    """Return the (num_bins,) views to add to each bin so that the emptiest are filled first, to one level, like water.

    Args:
        counts: (num_bins,) pictures that each bin holds; with `mirror` a bin also shows half of its mirror image's.
        settings: grid and mirroring.
        order: the distinct bins that may be filled, in the order in which the topmost, partly filled layer takes them.
        most: views to add at most.
        level: what each bin shall show, if `most` allows; 0 for the mean of those that show anything, rounded up.
    """
    shown = _shared(np.asarray(counts, dtype=np.float64), settings)[order]
    everywhere = _shared(np.asarray(counts, dtype=np.float64), settings)
    occupied = everywhere[everywhere > 0]
    wanted = math.ceil(level or (float(occupied.mean()) if occupied.size else 0.0))

    def added(height: int) -> Array:
        return np.maximum(np.ceil(height - shown), 0.0).astype(np.int64)

    low, high = 0, wanted  # the highest whole layer that `most` allows
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if added(middle).sum() <= most else (low, middle - 1)
    views = added(low)
    if low < wanted:
        views[np.flatnonzero(added(low + 1) > views)[: most - int(views.sum())]] += 1
    found = np.zeros(settings.num_bins, dtype=np.int64)
    found[order] = views
    return found


def _shared(counts: Floats, settings: BalanceSettings) -> Floats:
    """Return what each bin shows in training: with mirroring, the mean of the bin and its mirror image."""
    return 0.5 * (counts + counts[mirror_bins(settings)]) if settings.mirror else counts


def _sum_by_bin(bins: Array, weights: Floats, num_bins: int) -> Floats:
    """Return the sum of weights in each bin; all rows of a bin and its mirror image have one weight."""
    weight = np.zeros(num_bins)
    weight[bins] = weights
    return np.asarray(weight * np.bincount(bins, minlength=num_bins), dtype=np.float64)


def _ratio(values: Floats) -> float:
    occupied = values[values > 0]
    return float(occupied.max() / occupied.min()) if occupied.size else 1.0
