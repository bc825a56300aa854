"""The members of a zip file: its table of contents, and one member's bytes, whatever is wrong with the others.

Written by hand, because `zipfile` refuses a whole archive for one entry: a name that is marked as UTF-8 and is none, an empty
name, a broken extra field, a version from the future. Decompression is zlib's, bz2's and lzma's.
"""

from __future__ import annotations

import bz2
import lzma
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

_END, _END_64, _LOCATOR_64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
_ENTRY, _LOCAL = struct.Struct("<4s4B4HL2L5H2L"), struct.Struct("<4s2B4HL2L2H")
_LONGEST_COMMENT = (1 << 16) + _END.size
_FULL = 0xFFFFFFFF
_PIECE = 1 << 20
_METHODS = {
    1: "shrunk", 6: "imploded", 9: "Deflate64", 93: "Zstandard", 95: "XZ", 96: "JPEG variant", 97: "WavPack", 98: "PPMd",
    99: "AES-encrypted",
}  # fmt: skip


class ZipError(ValueError):
    """An archive or a member that cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table of contents."""

    name: bytes
    is_utf8: bool
    """Whether the name is marked as UTF-8; otherwise it is code page 437 by the format's rule."""
    flags: int
    method: int
    crc: int
    compressed: int
    """Bytes in the archive."""
    size: int
    """Bytes of the content."""
    offset: int
    """Byte of its local header in the file."""
    mode: int
    """Unix mode, 0 where the writer gave none."""
    problem: str = ""
    """Why it cannot be read, where the table itself says so."""

    @property
    def text(self) -> str:
        """The name; undecodable bytes are surrogate-escaped."""
        return self.name.decode("utf-8", "surrogateescape") if self.is_utf8 else self.name.decode("cp437")


def entries(file: IO[bytes]) -> Iterator[Entry]:
    """Yield the table of contents in its own order.

    Raises:
        ZipError: there is no table, or it breaks off; what stood before has been yielded.
    """
    count, start, shift, stop = _table(file)
    at = start
    for number in range(count):
        file.seek(at)
        head = file.read(_ENTRY.size)
        if len(head) < _ENTRY.size or head[:4] != b"PK\x01\x02" or at + _ENTRY.size > stop:
            raise ZipError(f"the table of contents breaks off after {number} of {count} entries")
        fields = _ENTRY.unpack(head)
        name, extra, comment = fields[12:15]
        texts = file.read(name + extra)
        at += _ENTRY.size + name + extra + comment
        yield _entry(fields, texts[:name], texts[name:], shift)


def _table(file: IO[bytes]) -> tuple[int, int, int, int]:
    """Return (entries, first byte of the table, bytes that stand before the archive, byte where the table ends)."""
    total = file.seek(0, os.SEEK_END)
    file.seek(max(0, total - _LONGEST_COMMENT))
    tail = file.read(_LONGEST_COMMENT)
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < _END.size:
        raise ZipError("no table of contents at its end: it is cut, or no zip file")
    _, disk, _, _, count, size, start, _ = _END.unpack(tail[place : place + _END.size])
    end = total - len(tail) + place
    if _FULL in (size, start) or count == 0xFFFF:
        file.seek(max(0, end - _LOCATOR_64.size))
        locator = file.read(_LOCATOR_64.size)
        if locator[:4] == b"PK\x06\x07":
            file.seek(min(_LOCATOR_64.unpack(locator)[2], total))
            record = file.read(_END_64.size)
            if len(record) < _END_64.size or record[:4] != b"PK\x06\x06":
                raise ZipError("the zip64 end of its table of contents is not where it says")
            (_, _, _, _, disk, _, _, count, size, start) = _END_64.unpack(record)
            end = _LOCATOR_64.unpack(locator)[2]
    if disk not in (0, 0xFFFF):
        raise ZipError("one part of an archive in several files; join them first")
    shift = end - size - start
    if shift < 0 or size > end:
        raise ZipError("the table of contents is not where it says")
    return count, start + shift, shift, end


def _entry(fields: tuple[Any, ...], name: bytes, extra: bytes, shift: int) -> Entry:
    _, _, system, _, _, flags, method, _, _, crc, compressed, size = fields[:12]
    offset, mode, problem = fields[18], fields[17] >> 16 if system == 3 else 0, ""
    if _FULL in (size, compressed, offset):
        wide = _zip64(extra)
        try:
            size = wide.pop(0) if size == _FULL else size
            compressed = wide.pop(0) if compressed == _FULL else compressed
            offset = wide.pop(0) if offset == _FULL else offset
        except IndexError:
            problem = "its entry lacks the sizes that it says stand in a zip64 field"
    return Entry(
        name.split(b"\0", 1)[0], bool(flags & 0x800), flags, method, crc, compressed, size, offset + shift, mode, problem
    )


def _zip64(extra: bytes) -> list[int]:
    """Return the 8-byte numbers of an entry's zip64 field, none where it has none."""
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<HH", extra, at)
        field = extra[at + 4 : at + 4 + length]
        if tag == 1:
            return [number for (number,) in struct.iter_unpack("<Q", field[: len(field) // 8 * 8])]
        at += 4 + length
    return []


def overlapping(found: list[Entry]) -> set[int]:
    """Return the places in a list of the entries whose bytes another entry claims too, but for the first that does.

    Such archives unpack to far more than they are.
    """
    order = sorted(range(len(found)), key=lambda index: (found[index].offset, index))
    wrong: set[int] = set()
    last_offset, reached = -1, 0
    for index in order:
        entry = found[index]
        if entry.offset == last_offset or entry.offset < reached:
            wrong.add(index)
            continue
        last_offset = entry.offset
        reached = entry.offset + _LOCAL.size + len(entry.name) + entry.compressed
    return wrong


def content(file: IO[bytes], entry: Entry, limit: int = -1) -> bytes:
    """Return a member's bytes, its checksum compared.

    Args:
        file: the archive.
        entry: of its table of contents.
        limit: read this number of bytes at most, without a checksum; all where negative.

    Raises:
        ZipError: it is damaged, encrypted or packed by a method that is not supported.
        EOFError: the archive ends inside it.
    """
    if entry.problem:
        raise ZipError(entry.problem)
    if entry.flags & 1:
        raise ZipError("the member is encrypted: unpack the zip with its password first")
    file.seek(entry.offset)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size:
        raise EOFError("no header where the table of contents says")
    fields = _LOCAL.unpack(head)
    if fields[0] != b"PK\x03\x04":
        raise ZipError("no header where the table of contents says")
    name = file.read(fields[10])
    if name.split(b"\0", 1)[0] != entry.name:
        raise ZipError(f"its own header has another name: {name[:80]!r}")
    file.seek(fields[11], os.SEEK_CUR)
    wanted = entry.size if limit < 0 else min(limit, entry.size)
    try:
        data = _unpack(file, entry, wanted + 1 if limit < 0 else wanted)
    except (OSError, zlib.error, lzma.LZMAError, ValueError) as error:
        if isinstance(error, ZipError) or (isinstance(error, OSError) and error.errno):
            raise
        raise ZipError(f"damaged: {error}") from error
    if limit < 0 and len(data) != entry.size:
        raise ZipError(f"{entry.size} bytes announced, {len(data) if len(data) < entry.size else 'more'} came")
    if limit < 0 and zlib.crc32(data) != entry.crc:
        raise ZipError("its checksum is wrong")
    return data


def _unpack(file: IO[bytes], entry: Entry, most: int) -> bytes:
    """Read and decompress up to `most` bytes."""
    if entry.method == 0:
        data = file.read(min(entry.compressed, most))
        if len(data) < min(entry.compressed, most):
            raise EOFError("the archive ends inside it")
        return data
    left, pieces, made = entry.compressed, list[bytes](), 0
    decompressor: Any = None
    while made < most:
        piece = file.read(min(_PIECE, left))
        left -= len(piece)
        if decompressor is None:
            decompressor, piece = _decompressor(entry, piece)
        if not piece:
            if left:
                raise EOFError("the archive ends inside it")
            break
        while made < most:
            pieces.append(decompressor.decompress(piece, most - made))
            made += len(pieces[-1])
            if decompressor.eof:
                return b"".join(pieces)
            piece = getattr(decompressor, "unconsumed_tail", b"")
            if not piece and getattr(decompressor, "needs_input", True):
                break
    return b"".join(pieces)


def _decompressor(entry: Entry, start: bytes) -> tuple[Any, bytes]:
    """Return what decompresses a member, and its first bytes without a header of the method's own."""
    if entry.method == 8:
        return zlib.decompressobj(-15), start
    if entry.method == 12:
        return bz2.BZ2Decompressor(), start
    if entry.method == 14:
        if len(start) < 9 or start[2:4] != b"\x05\x00":
            raise ZipError("damaged: no LZMA properties at its start")
        code, dictionary = start[4], int.from_bytes(start[5:9], "little")
        # a dictionary larger than the content is never used, and would be allocated
        dictionary = min(dictionary, max(entry.size, 1 << 12))
        settings = {"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": code % 9, "lp": code // 9 % 5, "pb": code // 45}
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[settings]), start[9:]
    raise ZipError(f"packed by method {entry.method} ({_METHODS.get(entry.method, 'unknown')}); unpack the zip first")
