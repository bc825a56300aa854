"""What each opcode of a pickle does to a `Reader`; those that are not here are refused.

Limits, refusals and the stack itself are left to `unpickle`.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .unpickle import Reader


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
    reader.stack.append(reader.members(values))


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
    reader.top(set, "add to").update(reader.members(values))


def _name_on_stack(reader: Reader) -> None:
    name, module = reader.pop(), reader.pop()
    reader.name(module, name)


def _protocol(reader: Reader) -> None:
    version = reader.number("<B")
    if not 2 <= version <= 5:
        raise reader.damaged(f"expected a pickle of protocol 2 to 5, got {version}")


STEPS: dict[int, Callable[[Reader], None]] = {
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
        (pickle.REDUCE, lambda reader: reader.call()),
        (pickle.NEWOBJ, lambda reader: reader.call()),
        (pickle.BUILD, lambda reader: reader.build()),
        (pickle.BINPERSID, lambda reader: reader.look_up()),
        (pickle.MEMOIZE, lambda reader: reader.put(len(reader.memo))),
        (pickle.BINPUT, lambda reader: reader.put(reader.number("<B"))),
        (pickle.LONG_BINPUT, lambda reader: reader.put(reader.number("<I"))),
        (pickle.BINGET, lambda reader: reader.get(reader.number("<B"))),
        (pickle.LONG_BINGET, lambda reader: reader.get(reader.number("<I"))),
    )
}
"""What each opcode does; any other is refused, above all those that make objects by name or from outside."""
