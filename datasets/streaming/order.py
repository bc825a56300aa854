"""Which samples a micro-batch holds: pure arithmetic of its number, so that no worker, rank or restart can change it.

Reading and decoding are left to `loader`; nothing here knows of files.

An epoch shuffles the pieces (runs of neighbours in a shard), draws from the row of all their samples at equal steps of weight
(systematic resampling: Madow 1949), and cuts the result into equal parts, one a lane. Micro-batch q belongs to lane q % lanes.
A lane walks through its part in windows; within a window the order is shuffled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from ...manifests.identity import rng
from ..arrays import Array

_UNIT = 1 << 20
"""Whole number that stands for a weight of 1: sums of whole numbers are exact."""
MAX_WEIGHT = 1 << 12
"""Largest weight that stays exact; the manifest's are at most 10 before they are scaled."""

Mirror = Literal["off", "random", "both"]


@dataclass(frozen=True)
class Place:
    """Where a micro-batch stands in the run."""

    epoch: int
    lane: int
    window: int
    """Number of the window in its lane and epoch."""
    first: int
    """Position of its first sample in the window."""


@dataclass(frozen=True, eq=False)
class Order:
    """The order of a stream: everything that decides it, and what follows for each micro-batch."""

    starts: Array
    """(P + 1,) int64 first row of each piece, and the number of rows; rows of a piece are neighbours in one shard."""
    weights: Array
    """(N,) float64 sampling weights of the rows, 0 for rows that are never shown; only ratios matter."""
    batch: int
    """Samples a micro-batch."""
    lanes: int
    """Parts of an epoch that are read side by side."""
    window: int
    """Samples that are mixed at once, about."""
    seed: int
    mirror: Mirror
    """`random` tosses a coin for each sample and epoch; `both` shows every sample plain and mirrored in each epoch."""

    def __post_init__(self) -> None:
        if self.batch < 1 or self.lanes < 1 or self.window < 1:
            raise ValueError(f"expected batch, lanes and window of 1 or more, got {self.batch}, {self.lanes}, {self.window}")
        if not (np.isfinite(self.weights).all() and (self.weights >= 0).all() and (self.weights <= MAX_WEIGHT).all()):
            raise ValueError(f"expected weights between 0 and {MAX_WEIGHT}")
        if not self.num_shown:
            raise ValueError("expected at least one row with a weight above 0")

    @cached_property
    def num_shown(self) -> int:
        """Rows with a weight above 0."""
        return int((self.weights > 0).sum())

    @cached_property
    def whole_weights(self) -> Array:
        """(N,) int64 weights in units of 2^-20, at least one unit where above 0."""
        whole = np.rint(np.asarray(self.weights, dtype=np.float64) * _UNIT).astype(np.int64)
        return np.where(self.weights > 0, np.maximum(whole, 1), 0)

    @property
    def lane_batches(self) -> int:
        """Micro-batches of one lane in an epoch: the same for all lanes and epochs."""
        samples = self.num_shown * (2 if self.mirror == "both" else 1)
        return -(-samples // (self.lanes * self.batch))

    @property
    def epoch_batches(self) -> int:
        """Micro-batches in an epoch."""
        return self.lanes * self.lane_batches

    @property
    def epoch_samples(self) -> int:
        """Samples in an epoch: the rows that are shown (twice for `both`), rounded up to fill every lane's last batch."""
        return self.epoch_batches * self.batch

    @property
    def lane_windows(self) -> int:
        """Windows of a lane in an epoch; each holds a micro-batch or more."""
        return min(self.lane_batches, max(1, round(self.lane_batches * self.batch / self.window)))

    def place(self, number: int) -> Place:
        """Return where micro-batch `number` stands.

        Raises:
            IndexError: a negative number.
        """
        if number < 0:
            raise IndexError(f"micro-batches are numbered from 0, got {number}")
        turn, lane = divmod(number, self.lanes)
        epoch, step = divmod(turn, self.lane_batches)
        window = ((step + 1) * self.lane_windows - 1) // self.lane_batches
        return Place(epoch, lane, window, (step - self._bounds(window)[0]) * self.batch)

    def following(self, place: Place) -> Place:
        """Return the first place of the window that its lane shows after the one of `place`."""
        if place.window + 1 < self.lane_windows:
            return Place(place.epoch, place.lane, place.window + 1, 0)
        return Place(place.epoch + 1, place.lane, 0, 0)

    def _bounds(self, window: int) -> tuple[int, int]:
        """Return the first and last + 1 batch of a window in its lane: windows differ by one batch at most."""
        return window * self.lane_batches // self.lane_windows, (window + 1) * self.lane_batches // self.lane_windows

    def epoch(self, epoch: int) -> Array:
        """Return the (epoch_samples,) units of an epoch before windows are shuffled, lane after lane.

        A unit is a row, or for `both` 2 row + (1 where mirrored). A unit of weight w is there
        floor or ceil of w epoch_samples / (sum of weights) times.
        """
        random = rng(self.seed, f"epoch {epoch}", "stream order")
        pieces = random.permutation(len(self.starts) - 1)
        sizes = np.diff(self.starts)[pieces]
        firsts = np.repeat(self.starts[:-1][pieces] - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
        rows: Array = firsts + np.arange(len(firsts))
        weights: Array = self.whole_weights[rows]
        if self.mirror == "both":
            rows, weights = (2 * rows[:, None] + [0, 1]).reshape(-1), np.repeat(weights, 2)
        total = int(weights.sum())
        return np.asarray(rows[systematic(weights, self.epoch_samples, int(random.integers(total)))])

    def shuffled(self, place: Place, epoch: Array) -> tuple[Array, Array]:
        """Return the (n,) rows of a window in the order in which they are shown, and (n,) whether each is mirrored.

        Copies of one row are spread evenly over the window: the c-th of n has the key (c + u) / n, u drawn once a row.

        Args:
            place: names epoch, lane and window.
            epoch: what `epoch` returned for it.
        """
        first, last = ((place.lane * self.lane_batches + bound) * self.batch for bound in self._bounds(place.window))
        units = epoch[first:last]
        random = rng(self.seed, f"epoch {place.epoch}, lane {place.lane}, window {place.window}", "stream order")
        begins: Array = np.concatenate([[True], units[1:] != units[:-1]])  # copies of a unit lie side by side
        group = np.cumsum(begins) - 1
        counts = np.bincount(group)
        copy = np.arange(len(units)) - np.flatnonzero(begins)[group]
        order = np.argsort((copy + random.random(len(counts))[group]) / counts[group], kind="stable")
        if self.mirror == "both":
            return units[order] // 2, units[order] % 2 == 1
        coins = random.integers(2, size=len(counts))[group]
        mirrored = (copy + coins) % 2 == 1 if self.mirror == "random" else np.zeros(len(units), dtype=bool)
        return units[order], mirrored[order]


def systematic(weights: Array, count: int, offset: int) -> Array:
    """Draw `count` indices at equal steps of the running sum of weights: index i comes floor or ceil of
    weights[i] count / sum(weights) times.

    Args:
        weights: (N,) int64, 0 or more; their sum times one and `count` squared must stay below 2^63.
        count: how many to draw.
        offset: 0 to sum(weights) - 1: how far the first point lies into its step, in units of 1 / count.

    Returns:
        (count,) int64 indices that never fall.
    """
    ends = np.cumsum(weights)
    total = int(ends[-1])
    whole, rest = divmod(total, count)
    steps = np.arange(count, dtype=np.int64)
    points = steps * whole + (steps * rest + offset) // count  # floor((k total + offset) / count), without overflow
    return np.asarray(np.searchsorted(ends, points, side="right"))


def cut_pieces(shard_of_row: Array, piece: int) -> Array:
    """Cut rows into pieces of at most `piece` neighbours of one shard, as even as whole numbers allow.

    Args:
        shard_of_row: (N,) number of each row's shard, equal ones side by side.
        piece: most rows in a piece.

    Returns:
        (P + 1,) int64 first rows, and N at the end.
    """
    edges = np.flatnonzero(np.diff(shard_of_row)) + 1
    starts = [0]
    for first, last in zip([0, *edges.tolist()], [*edges.tolist(), len(shard_of_row)], strict=True):
        parts = -(-(last - first) // piece)
        starts += [first + (k + 1) * (last - first) // parts for k in range(parts)]
    return np.array(starts, dtype=np.int64)
