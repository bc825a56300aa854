"""What was added to a list of inputs and what is gone from it, told in one pass over the old list and the new.

Nothing is written here: the tables are `input_list`'s.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

Row = tuple[Any, ...]
"""An input: columns `source` to `sidecar`, then outcome, reason, detail, which are empty where it is a file."""
GAP = 1024
"""Between the numbers of neighbours in a list: inputs that are added later find their place without new numbers for others."""
_SOURCED = 8
_MARK = 3
_WINDOWS = (16, 256, 4096)
"""Inputs that are looked at ahead, one number after the other, until both lists are found to agree again."""
_MOST = 1000
"""Places at which a list may have changed; behind that it is taken anew."""
_Item = TypeVar("_Item")


class Known(NamedTuple):
    """An input of the last run."""

    number: int
    """Its place; numbers grow along the list."""
    is_open: bool
    """No content is known of it."""
    told: Row
    """Outcome, reason, detail."""
    place: Row
    """Columns `source` to `sidecar`."""


@dataclass
class Changes:
    """What makes the old list the new one."""

    gone: list[int] = field(default_factory=list)
    """Numbers to remove, before the new ones are inserted."""
    again: list[int] = field(default_factory=list)
    """Numbers of files that have an outcome and have to be read again: without a known content, or without a stamp."""
    new: list[tuple[int, Row]] = field(default_factory=list)
    last: int = 0
    """Last number that stays, where the rest is taken anew."""
    rest: Iterator[Row] | None = None
    """All inputs behind `last`, where the lists do not agree any more."""

    @property
    def any(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.gone or self.again or self.new) or self.rest is not None


class _Peeking(Generic[_Item]):
    """An iterator that can be looked into ahead."""

    def __init__(self, items: Iterable[_Item]) -> None:
        self._items, self._ahead = iter(items), deque[_Item]()

    def __iter__(self) -> Iterator[_Item]:
        return self

    def __next__(self) -> _Item:
        return self._ahead.popleft() if self._ahead else next(self._items)

    def peek(self, count: int) -> list[_Item]:
        """Return the next items without taking them; fewer where there are no more."""
        self._ahead.extend(itertools.islice(self._items, max(0, count - len(self._ahead))))
        return list(itertools.islice(self._ahead, count))

    def put_back(self, item: _Item) -> None:
        """Undo the last `next`."""
        self._ahead.appendleft(item)


class Alignment:
    """One pass over both lists."""

    def __init__(self, known: Iterable[Known], rows: Iterable[Row]) -> None:
        """Compare `known`, the inputs of the last run, with `rows`, the present ones."""
        self._known, self._rows = _Peeking(known), _Peeking(rows)
        self._changes = Changes()

    def changes(self) -> Changes:
        """Return what changed; `rest` still reads from `rows`, `known` is read no further."""
        changes, places = self._changes, 0
        for row in self._rows:
            old = next(self._known, None)
            if old is not None and self._stays(old, row):
                changes.last = old.number
                continue
            self._rows.put_back(row)
            if old is not None:
                self._known.put_back(old)
            places += 1
            if old is None or places > _MOST or not self._step_over():
                changes.rest = self._rows
                return changes
        changes.gone += [old.number for old in self._known]
        return changes

    def _stays(self, old: Known, row: Row) -> bool:
        if old.place != row[:_SOURCED]:
            return False
        if row[_SOURCED]:
            return old.is_open and old.told == row[_SOURCED:]
        if old.told[0] and (old.is_open or not row[_MARK]):
            self._changes.again.append(old.number)
        return True

    def _step_over(self) -> bool:
        """Note what differs up to where the lists agree again; returns False where they do not, or new numbers have no room."""
        for window in _WINDOWS:
            there, here = self._known.peek(window), self._rows.peek(window)
            found = _agreement([old.place for old in there], [row[:_SOURCED] for row in here])
            if found is None and len(there) < window and len(here) < window:
                found = len(there), len(here)
            if found is not None:
                return self._note(*found)
        return False

    def _note(self, num_gone: int, num_new: int) -> bool:
        behind, changes = self._known.peek(num_gone + 1), self._changes
        room = behind[num_gone].number - changes.last if len(behind) > num_gone else GAP * (num_new + 1)
        step = room // (num_new + 1)
        if not step:
            return False
        changes.gone += [next(self._known).number for _ in range(num_gone)]
        changes.new += [(changes.last + step * place, next(self._rows)) for place in range(1, num_new + 1)]
        changes.last += step * num_new
        return True


def _agreement(there: list[Row], here: list[Row]) -> tuple[int, int] | None:
    """Return the places of the first row of `here` that is in `there`; one of each is replaced where they begin alike."""
    if there[0] == here[0]:
        return 1, 1
    places: dict[Hashable, int] = {}
    for place, row in enumerate(there):
        places.setdefault(row, place)
    return next(((places[row], place) for place, row in enumerate(here) if row in places), None)


def enumerate_from(last: int, rows: Iterable[Row]) -> Iterator[tuple[int, Row]]:
    """Yield rows with numbers behind `last`."""
    return ((last + GAP * place, row) for place, row in enumerate(rows, 1))
