"""A reader of pickles that runs nothing: numbers, text, bytes and containers, and what given builders make of them.

It knows opcodes, limits and refusals; which names there are (tensors, modules) is left to `rebuild`. Python's own
unpickler is not used, because it calls and changes whatever a file names.
"""

from __future__ import annotations

import pickle
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from .limits import Budget, CheckpointError, shown
from .opcodes import STEPS

Builder = Callable[[tuple[Any, ...], Budget], Any]
"""Arguments that a file gives to a value, and what it may still cost."""


@dataclass(frozen=True)
class Name:
    """A function or class that a pickle names: a text here, never the thing."""

    full: str
    builder: Builder
    """What makes a value here when the pickle calls it."""


@runtime_checkable
class Buildable(Protocol):
    """A value that takes a state after it was made."""

    def build(self, state: Any) -> None:
        """Take the state."""


class Reader:
    """One pickle in memory to its value.

    Args of the constructor:
        data: bytes that hold the pickle.
        start: where it begins.
        resolve: a full name to its `Name` or to the value that it is; None refuses it.
        budget: steps left.
        persistent: what a persistent id stands for; None where there may be none.
    """

    def __init__(
        self,
        data: memoryview,
        start: int,
        resolve: Callable[[str], Any],
        budget: Budget,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self.data, self.position, self.resolve = data, start, resolve
        self.budget, self.limits, self.persistent = budget, budget.limits, persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Return the value; `position` is then behind the pickle.

        Raises:
            CheckpointError: damaged, refused or beyond a limit.
        """
        while True:
            self.budget.spend(1)
            opcode = self.take(1)[0]
            if opcode == pickle.STOP[0]:
                if self.below or len(self.stack) != 1:
                    raise self.damaged(f"expected one value at the end, got {len(self.stack)}")
                return self.stack.pop()
            step = STEPS.get(opcode)
            if step is None:
                raise self.damaged(f"opcode 0x{opcode:02x} is not used by pickles of protocol 2 to 5 without outside buffers")
            step(self)
            if len(self.stack) > self.limits.stack or len(self.below) > self.limits.nesting:
                raise self.damaged(f"expected at most {self.limits.stack:,} values in {self.limits.nesting} open containers")

    def damaged(self, what: str) -> CheckpointError:
        """Word an error at the present place."""
        return CheckpointError(f"cannot read the checkpoint at byte {self.position:,}: {what}")

    def take(self, count: int) -> memoryview:
        """Return the next bytes, not copied."""
        end = self.position + count
        if end > len(self.data):
            raise self.damaged(
                f"it is truncated: {count:,} more bytes were expected, {len(self.data) - self.position:,} are there"
            )
        found = self.data[self.position : end]
        self.position = end
        return found

    def number(self, layout: str) -> Any:
        """Return one packed number."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def text(self, count: int) -> str:
        """Return the next bytes as text."""
        if count > self.limits.text_bytes:
            raise self.damaged(f"expected texts of at most {self.limits.text_bytes:,} bytes, got {count:,}")
        try:
            found = str(self.take(count), "utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise self.damaged(f"expected UTF-8 text ({error.reason})") from None
        self.budget.take(sys.getsizeof(found))
        return found

    def line(self) -> str:
        """Return text up to the end of the line: half of an old-style name."""
        part = bytes(self.data[self.position : self.position + 512])
        end = part.find(b"\n")
        if end < 0:
            raise self.damaged("expected a name of at most 511 bytes")
        found = self.text(end)
        self.position += 1
        return found

    def pop(self) -> Any:
        """Take the uppermost value."""
        if not self.stack:
            raise self.damaged("it takes a value from an empty stack")
        return self.stack.pop()

    def top(self, kind: type, what: str) -> Any:
        """Return the uppermost value, which must be a container of a kind."""
        if not self.stack or type(self.stack[-1]) is not kind:
            raise self.damaged(f"expected a {kind.__name__} to {what}")
        return self.stack[-1]

    def marked(self) -> list[Any]:
        """Take all values above the last mark."""
        if not self.below:
            raise self.damaged("it takes values from above a mark that is not there")
        found, self.stack = self.stack, self.below.pop()
        return found

    def put(self, index: int) -> None:
        """Remember the uppermost value."""
        if not self.stack:
            raise self.damaged("it remembers a value of an empty stack")
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        """Push a remembered value."""
        if index not in self.memo:
            raise self.damaged(f"it recalls value {index}, which was never remembered")
        self.stack.append(self.memo[index])

    def name(self, module: Any, name: Any) -> None:
        """Push a name, if it is a known one."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise self.damaged("expected a name of two texts")
        full = f"{module[:300]}.{name[:300]}"  # known ones are far shorter
        found = self.resolve(full)
        if found is None:
            raise self.refused(full, "asks for")
        self.stack.append(found)

    def refused(self, full: str, verb: str) -> CheckpointError:
        """Word the refusal of a name."""
        return CheckpointError(
            f"refused at byte {self.position:,}: the checkpoint {verb} {shown(full, 200)}, which is no tensor, number, text or "
            "container of the published networks; nothing of it was run"
        )

    def call(self) -> None:
        """Let a builder make a value of arguments; for REDUCE and NEWOBJ alike, which both make a new value here."""
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Name):
            raise self.refused(type(function).__name__, "calls a value of type")
        if type(arguments) is not tuple:
            raise self.damaged(f"expected a tuple of arguments for '{function.full}'")
        self.stack.append(function.builder(arguments, self.budget))

    def build(self) -> None:
        """Give a state to the uppermost value."""
        state = self.pop()
        value = self.stack[-1] if self.stack else None
        if isinstance(value, Buildable):
            value.build(state)
        elif type(value) is not dict or type(state) is not dict:  # attributes of a dict subclass carry nothing
            raise self.refused(value.full if isinstance(value, Name) else type(value).__name__, "sets the state of")

    def look_up(self) -> None:
        """Replace a persistent id by what it stands for."""
        key = self.pop()
        if self.persistent is None:
            raise self.damaged("it refers to data outside the pickle, which only a torch file has")
        self.stack.append(self.persistent(key))

    def set_items(self, target: dict[Any, Any], items: list[Any]) -> None:
        """Fill a mapping with keys and values in turn."""
        if len(items) % 2:
            raise self.damaged("expected a value for every key")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[hashable(key, self.budget)] = value

    def members(self, values: list[Any]) -> set[Any]:
        """Make a set."""
        return {hashable(value, self.budget) for value in values}


def hashable(value: Any, budget: Budget) -> str | int | None:
    """Check a key of a mapping or a member of a set: hashing deeply nested or huge values could take for ever.

    A text is paid for, because it is hashed, and compared with one of the same hash.

    Raises:
        CheckpointError: it is neither a text, nor a whole number below 2^60, nor None.
    """
    if isinstance(value, str):
        budget.take(len(value))
        return value
    if value is None or (isinstance(value, int) and abs(value) < 1 << 60):
        return value
    raise CheckpointError(f"expected texts and whole numbers as keys and members of sets, got {type(value).__name__}")
