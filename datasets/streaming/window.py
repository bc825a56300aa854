"""The encoded samples that a stream holds in memory: one window of each lane, its pieces read once and in one go each.

Which rows a window has is decided in `order`; decoding is left to `batch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array
from ..shards.storage import Source
from .index import Rows
from .order import Order, Place

_THREADS = 8
"""Remote reads under way at once in one process."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Bytes of neighbouring samples of one shard."""

    start: int
    """Byte of the shard at which they begin."""
    data: bytes

    def holds(self, start: int, end: int) -> bool:
        """Return whether bytes start to end - 1 of the shard are among them."""
        return self.start <= start and end <= self.start + len(self.data)


@dataclass(frozen=True, eq=False)
class Window:
    """One window of a lane in the order in which it is shown."""

    epoch: int
    number: int
    rows: Array
    """(n,) rows of the samples."""
    mirrored: Array
    """(n,) bool."""
    pieces: dict[int, Piece]
    """Piece number -> its bytes."""


@dataclass(frozen=True, eq=False)
class _Plan:
    """A window before its bytes are there."""

    epoch: int
    number: int
    rows: Array
    mirrored: Array
    wanted: dict[int, _Range]
    """Piece number -> what to read of it."""


@dataclass(frozen=True)
class _Range:
    shard: int
    start: int
    end: int


class WindowReader:
    """Reads windows, and keeps the latest of each lane and the order of the latest epochs.

    Remote sets are read by several threads, and a lane's next window while the present one is in use.
    """

    def __init__(self, sources: Sequence[Source], rows: Rows, order: Order) -> None:
        """Prepare to read.

        Args:
            sources: the sets.
            rows: their samples.
            order: which samples are shown when.
        """
        self._sources, self._rows, self._order = tuple(sources), rows, order
        self._epochs: dict[int, Array] = {}
        self._held: dict[int, Window] = {}
        self._ahead: dict[int, tuple[_Plan, dict[int, Future[Piece]]]] = {}
        self._pool: Executor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"sources": self._sources, "rows": self._rows, "order": self._order}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def window(self, place: Place) -> Window:
        """Return the window in which a micro-batch lies.

        Raises:
            DataError: its bytes cannot be read.
        """
        held = self._held.get(place.lane)
        if held is not None and (held.epoch, held.number) == (place.epoch, place.window):
            return held
        plan, coming = self._ahead.pop(place.lane, (None, {}))
        if plan is None or (plan.epoch, plan.number) != (place.epoch, place.window):
            plan = self._plan(place)
            coming = self._fetch(plan, {} if held is None else held.pieces)
        pieces = {number: future.result() for number, future in coming.items()}
        held = self._held[place.lane] = Window(plan.epoch, plan.number, plan.rows, plan.mirrored, pieces)
        if any(source.remote for source in self._sources):
            following = self._plan(self._order.following(place))
            self._ahead[place.lane] = (following, self._fetch(following, pieces))
        return held

    def sample(self, window: Window, row: int) -> memoryview:
        """Return the bytes of one sample of a window."""
        piece = window.pieces[int(np.searchsorted(self._order.starts, row, side="right")) - 1]
        start = int(self._rows.offset[row]) - piece.start
        return memoryview(piece.data)[start : start + int(self._rows.num_bytes[row])]

    def _plan(self, place: Place) -> _Plan:
        """Return what a window needs; without reading anything."""
        if place.epoch not in self._epochs:
            if len(self._epochs) > 1:  # the next epoch begins in some lanes while others finish theirs
                del self._epochs[max(self._epochs, key=lambda epoch: abs(epoch - place.epoch))]
            self._epochs[place.epoch] = self._order.epoch(place.epoch)
        rows, mirrored = self._order.shuffled(place, self._epochs[place.epoch])
        index, needed = self._rows, np.unique(rows)
        piece_of = np.searchsorted(self._order.starts, needed, side="right") - 1
        pieces, firsts, counts = np.unique(piece_of, return_index=True, return_counts=True)
        lows, highs = needed[firsts], needed[firsts + counts - 1]
        ranges = zip(index.shard[lows], index.offset[lows], index.offset[highs] + index.num_bytes[highs], strict=True)
        wanted = {int(piece): _Range(*map(int, found)) for piece, found in zip(pieces, ranges, strict=True)}
        return _Plan(place.epoch, place.window, rows, mirrored, wanted)

    def _fetch(self, plan: _Plan, before: dict[int, Piece]) -> dict[int, Future[Piece]]:
        """Start to read a window's pieces; what the window before it holds already is taken over."""
        coming: dict[int, Future[Piece]] = {}
        for number, wanted in plan.wanted.items():
            old = before.get(number)
            if old is None or not old.holds(wanted.start, wanted.end):
                if self._source_of(wanted).remote:
                    coming[number] = self._threads().submit(self._piece, wanted)
                    continue
                old = self._piece(wanted)
            coming[number] = Future()
            coming[number].set_result(old)
        return coming

    def _source_of(self, wanted: _Range) -> Source:
        return self._sources[self._rows.shards[wanted.shard][0]]

    def _piece(self, wanted: _Range) -> Piece:
        name = self._rows.shards[wanted.shard][1]
        return Piece(wanted.start, self._source_of(wanted).read(name, wanted.start, wanted.end))

    def _threads(self) -> Executor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS)
        return self._pool
