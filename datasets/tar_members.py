"""The one reader of tar files: a walk over the headers that says where each member lies, and survives any bytes.

Written by hand, because `tarfile` fails on what comes from outside: it reads extended headers of any length into memory, lets
ValueError and OverflowError out of size fields, gives holes of sparse files as content, stops at the first damaged header
where the members behind it are whole, and takes twice as long. What members mean, and their content, is left to the
caller; `shards.tar` writes archives.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, NamedTuple

BLOCK = 512
"""Bytes of a header; contents fill whole blocks."""
MAX_EXTENDED = 1 << 20
"""Longest extended header or long name that is read; a longer one belongs to no file that a system could hold."""
_SEARCH = 1 << 20
_BEHIND_THE_END = 64 << 20
"""Bytes behind an end mark in which a further archive is looked for."""
_MAGIC = b"ustar"
_KINDS = {
    b"0": "file", b"\0": "file", b"7": "file", b"1": "hard link", b"2": "symbolic link", b"3": "character device",
    b"4": "block device", b"5": "folder", b"6": "named pipe",
}  # fmt: skip

_NO_END = ("truncated", "the archive ends without its end mark")

ReadAt = Callable[[int, int], bytes]
"""(offset, number of bytes) -> those bytes, fewer at the end."""


class Member(NamedTuple):
    """One member of an archive, or (without a name) a stretch in which no member could be found."""

    name: str
    """As stored; undecodable bytes are surrogate-escaped."""
    kind: str
    """file | folder | hard link | symbolic link | character device | block device | named pipe | unknown | damage."""
    start: int
    """Byte of its first header, extended ones included."""
    offset: int
    """Byte of its content."""
    size: int
    """Bytes of its content; 0 for what is no file."""
    problem: tuple[str, str] | None = None
    """(reason of `reasons.REASONS`, detail) why its content cannot be had."""

    @property
    def is_end(self) -> bool:
        """Whether this only tells that the end mark is missing."""
        return self.problem == _NO_END


def walk_file(file: IO[bytes]) -> Iterator[Member]:
    """Walk over an archive in a seekable file; see `walk`."""
    size = file.seek(0, os.SEEK_END)

    def read_at(offset: int, count: int) -> bytes:
        file.seek(offset)
        return file.read(count)

    return walk(read_at, size)


def walk_bytes(data: bytes | memoryview) -> Iterator[Member]:
    """Walk over an archive in memory; see `walk`."""
    return walk(lambda offset, count: bytes(data[offset : offset + count]), len(data))


def walk(read_at: ReadAt, size: int) -> Iterator[Member]:
    """Yield the members of an archive in their order, damaged ones and damaged stretches included.

    Behind damage the walk resumes at the next header with a right checksum. Archives put one behind the other are read on.

    Args:
        read_at: reads the archive.
        size: its bytes.

    Yields:
        Every member but extended headers, which are applied to the member that they stand before; a `damage` member where
        the archive ends without its end mark or a stretch holds no header.
    """
    at, ended = 0, False
    while at < size:
        block = read_at(at, BLOCK)
        if block[0] == 0 and not block.strip(b"\0"):
            ended = True
            found = _next_header(read_at, at + BLOCK, min(size, at + _BEHIND_THE_END))
            if found is None:
                return
            at = found
            continue
        if not _is_header(block):
            if ended:
                return
            found = _next_header(read_at, at + BLOCK, size)
            yield _damage(at, (size if found is None else found) - at)
            if found is None:
                return
            at = found
            continue
        ended = False
        member, end = _member(read_at, at, size, block)
        yield member
        if end is None:
            end = _next_header(read_at, member.offset, size)
            if end is None:
                return
        at = end
    if not ended:
        yield Member("", "damage", size, size, 0, _NO_END)


def _damage(at: int, count: int) -> Member:
    return Member("", "damage", at, at, 0, ("truncated", f"{count} bytes from byte {at} on hold no readable header"))


def _is_header(block: bytes) -> bool:
    """Tell whether a block is a header by its checksum (of unsigned or, as old writers had it, signed bytes)."""
    if len(block) != BLOCK:
        return False
    field = block[148:156]
    told = _number(field)
    if told is None or told < 0:
        return False
    # the low half of Adler-32 is 1 + the sum of all bytes, modulo 65521, and twenty times as fast as `sum`
    if ((zlib.adler32(block) & 0xFFFF) - 1 - sum(field) + 8 * 32 - told) % 65521 == 0:
        return True
    rest = block[:148] + block[156:]
    total = sum(rest) + 8 * 32
    return told in (total, total - 256 * sum(byte > 127 for byte in rest))


def _number(field: bytes) -> int | None:
    """Read a number as octal digits or, with the first bit set, base 256; None where it is neither."""
    if field[0] & 0x80:
        return int.from_bytes(field, "big", signed=True) + (1 << (8 * len(field) - 1) if field[0] < 0xFF else 0)
    digits = field.rstrip(b"\0 ")
    if not digits.isdigit():
        digits = field.split(b"\0", 1)[0].strip(b" ")
        if not digits:
            return 0
    try:
        return int(digits, 8) if digits.isdigit() else None
    except ValueError:  # an 8 or a 9
        return None


def _next_header(read_at: ReadAt, start: int, stop: int) -> int | None:
    """Return the first block from `start` on that is a header with the ustar mark, looking at whole blocks only."""
    at = -(-start // BLOCK) * BLOCK
    while at < stop:
        chunk = read_at(at, _SEARCH)
        place = chunk.find(_MAGIC)
        while place >= 0:
            begin = place - 257
            if begin >= 0 and begin % BLOCK == 0 and _is_header(chunk[begin : begin + BLOCK]):
                return at + begin
            place = chunk.find(_MAGIC, place + 1)
        at += _SEARCH
    return None


@dataclass(slots=True)
class _Extended:
    """What extended headers said of the member that follows."""

    name: str | None = None
    size: str | None = None
    sparse: bool = False
    problem: str = ""


def _member(read_at: ReadAt, at: int, size: int, block: bytes) -> tuple[Member, int | None]:
    """Read the member whose first header is at a byte, and return where the next begins; None where that is unknown."""
    told, start = _Extended(), at
    while True:
        if at > start and not _is_header(block := read_at(at, BLOCK)):
            detail = told.problem or "an extended header stands before no member"
            return Member(told.name or "", "damage", start, at, 0, ("truncated", detail)), None
        kind, count = block[156:157], _number(block[124:136])
        if kind not in b"LKxXg":
            break
        if count is None or count < 0 or at + BLOCK + count > size:
            problem = ("truncated", f"the archive ends inside an extended header of {count} bytes")
            return Member(told.name or "", "damage", start, at + BLOCK, 0, problem), None
        if count > MAX_EXTENDED:
            told.problem = f"an extended header of {count} bytes"
        else:
            _extend(told, kind, read_at(at + BLOCK, count))
        at += BLOCK + -(-count // BLOCK) * BLOCK
    return _with_content(read_at, block, count, told, start, at + BLOCK, size)


def _extend(told: _Extended, kind: bytes, data: bytes) -> None:
    """Note what an extended header says; global ones (g) and long targets of links (K) say nothing of name or place."""
    if kind == b"L":
        told.name = _text(data.split(b"\0", 1)[0])
    elif kind in b"xX":
        records = _records(data)
        if records is None:
            told.problem = "a damaged extended header"
            return
        if b"path" in records:
            told.name = _text(records[b"path"])
        if b"size" in records:
            told.size = _text(records[b"size"])
        if any(key.startswith(b"GNU.sparse.") for key in records):
            told.sparse = True
            told.name = _text(records[b"GNU.sparse.name"]) if b"GNU.sparse.name" in records else told.name


def _records(data: bytes) -> dict[bytes, bytes] | None:
    """Read the "length key=value" lines of an extended header; None where they do not fit each other."""
    records, at = dict[bytes, bytes](), 0
    while at < len(data) and data[at]:
        space = data.find(b" ", at, at + 20)
        digits = data[at : max(space, at)]
        if not digits.isdigit():
            return None
        end = at + int(digits)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or end > len(data) or data[end - 1 : end] != b"\n":
            return None
        records[key] = value
        at = end
    return records


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _with_content(
    read_at: ReadAt, block: bytes, stored: int | None, told: _Extended, start: int, offset: int, size: int
) -> tuple[Member, int | None]:
    """Put a member together from its own header and the extended ones, and find its content's end."""
    name, code = told.name if told.name is not None else _stored_name(block), block[156:157]
    kind = "folder" if code == b"\0" and name.endswith("/") else _KINDS.get(code, "unknown")
    count, problem = stored, told.problem
    if told.size is not None:
        if told.size.isascii() and told.size.isdigit() and len(told.size) < 20:
            count = int(told.size)
        else:
            problem = f"an extended header with the size {told.size[:40]!r}"
    if kind not in ("file", "unknown"):
        return Member(name, kind, start, offset, 0), offset
    if code == b"S":
        offset = _behind_sparse_map(read_at, block, offset)
    if told.sparse or code == b"S":
        kind, problem = "file", "a sparse file, of which only parts are stored; pack it again without --sparse"
    if count is None or count < 0:
        return Member(name, kind, start, offset, 0, ("io_error", f"a header with the size {count}")), None
    if offset + count > size:
        reason = "truncated" if told.size is None else "io_error"
        detail = f"{count} bytes announced, {max(0, size - offset)} are left in the archive"
        fits = stored is not None and 0 <= stored <= size - offset
        end = _whole_blocks(offset + stored) if told.size is not None and stored is not None and fits else None
        return Member(name, kind, start, offset, 0, (reason, detail)), end
    return Member(name, kind, start, offset, count, ("io_error", problem) if problem else None), _whole_blocks(offset + count)


def _whole_blocks(end: int) -> int:
    return -(-end // BLOCK) * BLOCK


def _behind_sparse_map(read_at: ReadAt, block: bytes, offset: int) -> int:
    """Return where the content of an old GNU sparse file begins: behind the blocks that continue its map."""
    more = block[482]
    while more:
        block = read_at(offset, BLOCK)
        offset += BLOCK
        more = block[504] if len(block) == BLOCK else 0
    return offset


def _stored_name(block: bytes) -> str:
    """Return the name of a header, with POSIX's prefix where the header has one."""
    name = block[:100].split(b"\0", 1)[0]
    prefix = block[345:500].split(b"\0", 1)[0] if block[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)
