"""The members of torch's zip files as views into memory: not packed, each in a place of its own, proved by its checksum.

Python's `zipfile` is not used: it copies the file, reads entries that overlap as often as they are named, and takes seconds
for some megabytes of crafted extra fields. What members mean is left to `torch_files`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from .limits import Budget, CheckpointError, shown

MAX_MEMBERS = 20_000
"""Members of a torch zip; published networks have some hundreds of tensors."""
_END, _END64, _LOCATOR, _ENTRY, _LOCAL = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02", b"PK\x03\x04"
_TAIL = 22 + 65_535
"""Bytes at the end of a file among which its end record lies, a comment behind it."""
_NAME = 1_000
"""Bytes of a member's name."""
_DAMAGED = "cannot read the checkpoint as a torch file, it is truncated or damaged"
_STEPS = 10
"""Steps that a member costs."""


@dataclass(frozen=True)
class _Entry:
    """One line of the directory."""

    name: str
    start: int
    """Where its local header lies."""
    size: int
    checksum: int


def zip_members(data: memoryview, budget: Budget) -> dict[str, memoryview]:
    """Return the members of a zip by name.

    Args:
        data: the whole zip.
        budget: what reading it may cost.

    Raises:
        CheckpointError: it is damaged, or members are packed, locked, twice there or inside each other.
    """
    position, end, count = _directory(data)
    entries = sorted(_entries(data[:end], position, count, budget), key=lambda entry: entry.start)
    ends = [*(entry.start for entry in entries[1:]), position]
    found: dict[str, memoryview] = {}
    for entry, end in zip(entries, ends, strict=True):
        head = bytes(data[entry.start : entry.start + 30])
        if len(head) < 30 or head[:4] != _LOCAL or entry.name in found:
            raise CheckpointError(f"expected members of a zip that are there and not twice, got {shown(entry.name)}")
        start = entry.start + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        if start + entry.size > end:
            raise CheckpointError(f"the checkpoint is damaged: member {shown(entry.name)} reaches into what follows it")
        member = data[start : start + entry.size]
        budget.take(entry.size)
        if zlib.crc32(member) != entry.checksum:
            raise CheckpointError(f"the checkpoint is damaged: member {shown(entry.name)} does not fit its checksum")
        found[entry.name] = member
    return found


def _directory(data: memoryview) -> tuple[int, int, int]:
    """Return where the directory begins and ends, and how many entries it has."""
    base = max(0, len(data) - _TAIL)
    tail = bytes(data[base:])
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        raise CheckpointError(f"{_DAMAGED}: a zip without its end record")
    count, size, start = struct.unpack_from("<HII", tail, at + 10)
    locator = tail[max(at - 20, 0) : at]
    if locator[:4] == _LOCATOR:
        place = struct.unpack_from("<Q", locator, 8)[0]
        record = bytes(data[place : place + 56]) if place < len(data) else b""
        if record[:4] != _END64 or len(record) < 56:
            raise CheckpointError(f"{_DAMAGED}: a zip without its 64-bit end record")
        count, size, start = struct.unpack_from("<QQQ", record, 32)
    if start + size > len(data):
        raise CheckpointError(f"{_DAMAGED}: its directory is not in it")
    return start, start + size, count


def _entries(data: memoryview, position: int, count: int, budget: Budget) -> Iterator[_Entry]:
    """Yield the lines of the directory, which goes from a position to the end of `data`."""
    if count > MAX_MEMBERS:
        raise CheckpointError(f"expected a torch file of at most {MAX_MEMBERS:,} members, got {count:,}")
    for _ in range(count):
        budget.spend(_STEPS)
        head = bytes(data[position : position + 46])
        if len(head) < 46 or head[:4] != _ENTRY:
            raise CheckpointError(f"{_DAMAGED}: its directory ends early")
        flags, method = struct.unpack_from("<HH", head, 8)
        checksum, packed, size = struct.unpack_from("<III", head, 16)
        name_size, extra_size, comment_size = struct.unpack_from("<HHH", head, 28)
        start = struct.unpack_from("<I", head, 42)[0]
        name = bytes(data[position + 46 : position + 46 + min(name_size, _NAME)]).decode("utf-8", "backslashreplace")
        extra = bytes(data[position + 46 + name_size : position + 46 + name_size + extra_size])
        if name_size > _NAME or method != 0 or flags & 1:
            raise CheckpointError(f"expected members that are not packed and not locked, with short names, got {shown(name)}")
        size, packed, start = _long_numbers(extra, size, packed, start)
        if size != packed:
            raise CheckpointError(f"expected members that are not packed, got {shown(name)} of {packed:,} and {size:,} bytes")
        yield _Entry(name, start, size, checksum)
        position += 46 + name_size + extra_size + comment_size


def _long_numbers(extra: bytes, *numbers: int) -> tuple[int, ...]:
    """Return numbers of an entry, those that do not fit 32 bits from its extra field (APPNOTE 4.5.3)."""
    if 0xFFFFFFFF not in numbers:
        return numbers
    position = 0
    while position + 4 <= len(extra):
        tag, size = struct.unpack_from("<HH", extra, position)
        if tag == 1:
            wide = iter(struct.unpack_from(f"<{size // 8}Q", extra, position + 4) if position + 4 + size <= len(extra) else ())
            return tuple(next(wide, number) if number == 0xFFFFFFFF else number for number in numbers)
        position += 4 + size
    return numbers
