"""The encoded samples that a stream holds in memory: one window of each lane, its pieces read once and in one go each.

Which rows a window has is decided in `stream_order`; decoding is left to `batch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arrays import Array
from .shard_bytes import Source
from .stream_index import Rows
from .stream_order import Order, Place


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


class WindowReader:
    """Reads windows, and keeps the latest of each lane and the latest epoch's order."""

    def __init__(self, sources: Sequence[Source], rows: Rows, order: Order) -> None:
        self._sources, self._rows, self._order = tuple(sources), rows, order
        self._epoch: tuple[int, Array] = (-1, np.zeros(0, dtype=np.int64))
        self._held: dict[int, Window] = {}

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
        if held is None or (held.epoch, held.number) != (place.epoch, place.window):
            if self._epoch[0] != place.epoch:
                self._epoch = (place.epoch, self._order.epoch(place.epoch))
            rows, mirrored = self._order.shuffled(place, self._epoch[1])
            pieces = self._read(np.unique(rows), {} if held is None else held.pieces)
            held = self._held[place.lane] = Window(place.epoch, place.window, rows, mirrored, pieces)
        return held

    def sample(self, window: Window, row: int) -> memoryview:
        """Return the bytes of one sample of a window."""
        piece = window.pieces[self._piece_of(row)]
        start = int(self._rows.offset[row]) - piece.start
        return memoryview(piece.data)[start : start + int(self._rows.num_bytes[row])]

    def _piece_of(self, row: int) -> int:
        return int(np.searchsorted(self._order.starts, row, side="right")) - 1

    def _read(self, needed: Array, before: dict[int, Piece]) -> dict[int, Piece]:
        """Read what is needed of each piece; what the window before it holds already is taken over."""
        rows = self._rows
        piece_of = np.searchsorted(self._order.starts, needed, side="right") - 1
        pieces: dict[int, Piece] = {}
        for piece in np.unique(piece_of).tolist():
            inside = needed[piece_of == piece]
            start = int(rows.offset[inside[0]])
            end = int(rows.offset[inside[-1]] + rows.num_bytes[inside[-1]])
            old = before.get(piece)
            if old is not None and old.holds(start, end):
                pieces[piece] = old
            else:
                number, name = rows.shards[int(rows.shard[inside[0]])]
                pieces[piece] = Piece(start, self._sources[number].read(name, start, end))
        return pieces
