"""Strands of hair as values: curves in the head frame with radius, colour and class, and many of them laid end to end.

How strands grow is the other modules' business, how they are drawn `rendering.ribbons`' and Mitsuba's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....datasets.arrays import Array, Pixels
from ....datasets.classes import INDEX

KINDS = ("hair", "beard", "brow", "lash")
"""What strands may be; in class maps beards are hair, lashes are in no class."""


SHORT = 1.0
"""Centimetres below which strands are in class maps only where they grow so densely that their skin is hair there: single ones
would make speckle, not a region."""


@dataclass(frozen=True, eq=False)
class Strands:
    """Strands of one kind, with equally many points each."""

    name: str
    """Name within the figure, such as "hair" or "left braid"."""
    kind: str
    """One of `KINDS`."""
    points: Array
    """(S, K, 3) float32 in the head frame, from root to tip."""
    radii: Array
    """(S, K) float32 in world units."""
    colours: Array
    """(S, 2, 3) float32 linear colour at root and tip."""
    turn: tuple[float, float] = (0.0, 1.0)
    """Shares of the way from root to tip between which one colour turns to the other."""
    counts: Array | None = None
    """(S,) bool: which strands are in class maps, the others only cover what is behind them; all where None."""
    along: Array | None = None
    """(S, K) float32 share of the way from root to tip at which each point lies; evenly spread where None."""
    wet: float = 0.0
    """0 to 1: how wet they are, which shines."""

    def __post_init__(self) -> None:
        count, length = self.points.shape[:2]
        if self.kind not in KINDS:
            raise ValueError(f"strands {self.name}: expected a kind of {', '.join(KINDS)}, got {self.kind!r}")
        shapes = (self.points.shape, self.radii.shape, self.colours.shape)
        if length < 2 or shapes != ((count, length, 3), (count, length), (count, 2, 3)):
            raise ValueError(f"strands {self.name}: expected (S, K, 3), (S, K) and (S, 2, 3) with K of 2 or more, got {shapes}")

    def labels(self) -> Pixels:
        """Return the (S,) class of each strand; 0 for lashes and others that only cover what is behind them."""
        if self.kind == "brow":
            left = self.points[:, 0, 0] > 0.0
            return np.where(left, INDEX["left_brow"], INDEX["right_brow"]).astype(np.uint8)
        own = np.full(len(self.points), 0 if self.kind == "lash" else INDEX["hair"], dtype=np.uint8)
        return own if self.counts is None else np.where(self.counts, own, 0).astype(np.uint8)

    def point_colours(self) -> Array:
        """Return (S, K, 3) float32 linear colours."""
        start, end = self.turn
        along = np.linspace(0.0, 1.0, self.points.shape[1], dtype=np.float32) if self.along is None else self.along
        share = np.clip((along - start) / max(end - start, 1e-6), 0.0, 1.0).astype(np.float32)[..., None]
        return np.asarray(self.colours[:, :1] * (1.0 - share) + self.colours[:, 1:] * share, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class StrandSet:
    """All strands of a figure end to end. Points n and n + 1 form a segment where `strand_of` is the same."""

    points: Array
    """(N, 3) float32 in the head frame."""
    radii: Array
    """(N,) float32."""
    colours: Array
    """(N, 3) float32 linear."""
    tangents: Array
    """(N, 3) float32 unit vectors towards the tip."""
    strand_of: Array
    """(N,) int32 index of the strand that a point belongs to."""
    labels: Pixels
    """(S,) class of each strand; 0 where it only covers."""
    kinds: Pixels
    """(S,) index of each strand's kind in `KINDS`."""
    wet: float = 0.0
    """0 to 1: how wet the wettest are; all are drawn so."""

    def __len__(self) -> int:
        return len(self.labels)


def lay_end_to_end(groups: Sequence[Strands]) -> StrandSet:
    """Lay groups of strands end to end; the order is theirs."""
    groups = [group for group in groups if len(group.points)]
    if not groups:
        none = np.zeros((0, 3), dtype=np.float32)
        few = np.zeros(0, dtype=np.uint8)
        return StrandSet(none, none[:, 0], none, none, np.zeros(0, dtype=np.int32), few, few)
    counts = np.concatenate([np.full(len(group.points), group.points.shape[1]) for group in groups])
    kinds = [np.full(len(group.points), KINDS.index(group.kind), dtype=np.uint8) for group in groups]
    return StrandSet(
        np.concatenate([group.points.reshape(-1, 3) for group in groups]).astype(np.float32),
        np.concatenate([group.radii.reshape(-1) for group in groups]).astype(np.float32),
        np.concatenate([group.point_colours().reshape(-1, 3) for group in groups]),
        np.concatenate([tangents(group.points).reshape(-1, 3) for group in groups]),
        np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        np.concatenate([group.labels() for group in groups]),
        np.concatenate(kinds),
        max(group.wet for group in groups),
    )


def tangents(points: Array) -> Array:
    """Return the (S, K, 3) float32 unit tangents of (S, K, 3) curves, central differences inside."""
    along = np.empty_like(points, dtype=np.float32)
    along[:, 1:-1] = points[:, 2:] - points[:, :-2]
    along[:, 0], along[:, -1] = points[:, 1] - points[:, 0], points[:, -1] - points[:, -2]
    length = np.sqrt((along**2).sum(axis=2, keepdims=True))
    return np.asarray(along / np.maximum(length, np.float32(1e-12)))
