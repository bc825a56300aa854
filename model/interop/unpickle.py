"""A reader of pickles that runs nothing: numbers, text, bytes and containers, and what given builders make of them.

It knows opcodes, limits and refusals; which names there are (tensors, modules) is left to `rebuild`. Python's own
unpickler is not used, because it calls and changes whatever a file names.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

Builder = Callable[[tuple[Any, ...]], Any]
"""Arguments that a file gives to a value."""


class CheckpointError(ValueError):
    """A checkpoint that is damaged, asks for what is not rebuilt, or breaks a limit; the message says which and where."""


@dataclass(frozen=True)
class Limits:
    """What a checkpoint may ask for; the published ones stay far below."""

    file_bytes: int = 8 << 30
    """Size of the file."""
    steps: int = 2_000_000
    """Opcodes of all pickles in it."""
    nesting: int = 256
    """Containers within containers."""
    stack: int = 200_000
    """Values that wait for their container."""
    text_bytes: int = 16 << 20
    """One text."""
    integer_bytes: int = 16
    """One whole number."""


class Budget:
    """The steps that all pickles of one file share."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.left = limits, limits.steps

    def spend(self, count: int) -> None:
        """Take steps.

        Raises:
            CheckpointError: there are no more.
        """
        self.left -= count
        if self.left < 0:
            raise CheckpointError(f"expected at most {self.limits.steps:,} steps to read the checkpoint, it asks for more")


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
            step = _STEPS.get(opcode)
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
            return str(self.take(count), "utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise self.damaged(f"expected UTF-8 text ({error.reason})") from None

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
        full = f"{module}.{name}"
        found = self.resolve(full)
        if found is None:
            raise self.refused(full, "asks for")
        self.stack.append(found)

    def refused(self, full: str, verb: str) -> CheckpointError:
        """Word the refusal of a name."""
        shown = full if len(full) <= 200 else full[:200] + "..."
        return CheckpointError(
            f"refused at byte {self.position:,}: the checkpoint {verb} {shown!r}, which is no tensor, number, text or "
            "container of the published networks; nothing of it was run"
        )

    def call(self) -> None:
        """Let a builder make a value of arguments; for REDUCE and NEWOBJ alike, which both make a new value here."""
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Name):
            raise self.refused(type(function).__name__, "calls a value of type")
        if type(arguments) is not tuple:
            raise self.damaged(f"expected a tuple of arguments for '{function.full}'")
        self.stack.append(function.builder(arguments))

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
            target[hashable(key)] = value


def hashable(value: Any) -> str | int | None:
    """Check a key of a mapping or a member of a set: hashing deeply nested or huge values could take for ever.

    Raises:
        CheckpointError: it is neither a text, nor a whole number below 2^60, nor None.
    """
    if isinstance(value, str) or value is None or (isinstance(value, int) and abs(value) < 1 << 60):
        return value
    raise CheckpointError(f"expected texts and whole numbers as keys and members of sets, got {type(value).__name__}")


def _push(make: Callable[[Reader], Any]) -> Callable[[Reader], None]:
    return lambda reader: reader.stack.append(make(reader))


def _integer(reader: Reader) -> int:
    count = reader.number("<B")
    if count > reader.limits.integer_bytes:
        raise reader.damaged(f"expected whole numbers of at most {reader.limits.integer_bytes} bytes, got {count}")
    return int.from_bytes(reader.take(count), "little", signed=True)


def _tuple_of(count: int) -> Callable[[Reader], None]:
    def step(reader: Reader) -> None:
        values = [reader.pop() for _ in range(count)]
        reader.stack.append(tuple(reversed(values)))

    return step


def _tuple(reader: Reader) -> None:
    values = reader.marked()
    reader.stack.append(tuple(values))


def _frozen_set(reader: Reader) -> None:
    values = reader.marked()
    reader.stack.append({hashable(value) for value in values})


def _mark(reader: Reader) -> None:
    reader.below.append(reader.stack)
    reader.stack = []


def _append(reader: Reader) -> None:
    value = reader.pop()
    reader.top(list, "append to").append(value)


def _appends(reader: Reader) -> None:
    values = reader.marked()
    reader.top(list, "append to").extend(values)


def _set_item(reader: Reader) -> None:
    value, key = reader.pop(), reader.pop()
    reader.set_items(reader.top(dict, "fill"), [key, value])


def _set_items(reader: Reader) -> None:
    items = reader.marked()
    reader.set_items(reader.top(dict, "fill"), items)


def _add_items(reader: Reader) -> None:
    values = reader.marked()
    reader.top(set, "add to").update([hashable(value) for value in values])


def _name_on_stack(reader: Reader) -> None:
    name, module = reader.pop(), reader.pop()
    reader.name(module, name)


def _protocol(reader: Reader) -> None:
    version = reader.number("<B")
    if not 2 <= version <= 5:
        raise reader.damaged(f"expected a pickle of protocol 2 to 5, got {version}")


_STEPS: dict[int, Callable[[Reader], None]] = {
    opcode[0]: step
    for opcode, step in (
        (pickle.PROTO, _protocol),
        (pickle.FRAME, lambda reader: reader.number("<Q")),
        (pickle.MARK, _mark),
        (pickle.POP, lambda reader: reader.pop()),
        (pickle.POP_MARK, lambda reader: reader.marked()),
        (pickle.NONE, _push(lambda reader: None)),
        (pickle.NEWTRUE, _push(lambda reader: True)),
        (pickle.NEWFALSE, _push(lambda reader: False)),
        (pickle.BININT, _push(lambda reader: reader.number("<i"))),
        (pickle.BININT1, _push(lambda reader: reader.number("<B"))),
        (pickle.BININT2, _push(lambda reader: reader.number("<H"))),
        (pickle.LONG1, _push(_integer)),
        (pickle.BINFLOAT, _push(lambda reader: reader.number(">d"))),
        (pickle.SHORT_BINUNICODE, _push(lambda reader: reader.text(reader.number("<B")))),
        (pickle.BINUNICODE, _push(lambda reader: reader.text(reader.number("<I")))),
        (pickle.BINUNICODE8, _push(lambda reader: reader.text(reader.number("<Q")))),
        (pickle.SHORT_BINBYTES, _push(lambda reader: reader.take(reader.number("<B")))),
        (pickle.BINBYTES, _push(lambda reader: reader.take(reader.number("<I")))),
        (pickle.BINBYTES8, _push(lambda reader: reader.take(reader.number("<Q")))),
        (pickle.BYTEARRAY8, _push(lambda reader: reader.take(reader.number("<Q")))),
        (pickle.EMPTY_LIST, _push(lambda reader: [])),
        (pickle.EMPTY_DICT, _push(lambda reader: {})),
        (pickle.EMPTY_SET, _push(lambda reader: set())),
        (pickle.EMPTY_TUPLE, _push(lambda reader: ())),
        (pickle.TUPLE, _tuple),
        (pickle.TUPLE1, _tuple_of(1)),
        (pickle.TUPLE2, _tuple_of(2)),
        (pickle.TUPLE3, _tuple_of(3)),
        (pickle.FROZENSET, _frozen_set),
        (pickle.APPEND, _append),
        (pickle.APPENDS, _appends),
        (pickle.SETITEM, _set_item),
        (pickle.SETITEMS, _set_items),
        (pickle.ADDITEMS, _add_items),
        (pickle.GLOBAL, lambda reader: reader.name(reader.line(), reader.line())),
        (pickle.STACK_GLOBAL, _name_on_stack),
        (pickle.REDUCE, Reader.call),
        (pickle.NEWOBJ, Reader.call),
        (pickle.BUILD, Reader.build),
        (pickle.BINPERSID, Reader.look_up),
        (pickle.MEMOIZE, lambda reader: reader.put(len(reader.memo))),
        (pickle.BINPUT, lambda reader: reader.put(reader.number("<B"))),
        (pickle.LONG_BINPUT, lambda reader: reader.put(reader.number("<I"))),
        (pickle.BINGET, lambda reader: reader.get(reader.number("<B"))),
        (pickle.LONG_BINGET, lambda reader: reader.get(reader.number("<I"))),
    )
}
"""What each opcode does; any other is refused, above all those that make objects by name or from outside."""
