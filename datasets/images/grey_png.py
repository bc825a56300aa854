"""Masks and class maps out of PNG, straight into the memory that wants them.

Only what `codec.encode_grey` writes is read here, 8-bit grey without interlacing (PNG specification, third edition, W3C 2025);
`open_grey` tells other pictures apart, which are left to OpenCV. Faster than OpenCV's decoder (`tests/bench/stream.py`), and
stricter: every checksum is proved. The only module that imports zlib_ng, which inflates three times as fast as zlib.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Pixels
from ..compiled import compiled

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK = struct.Struct(">I4s")
_PLAIN = b"\x08\x00\x00\x00\x00"
"""Depth 8, grey, deflate, adaptive filters, no interlacing: the last five bytes of IHDR."""


@dataclass(frozen=True, eq=False)
class GreyPng:
    """A grey picture before its pixels are decoded."""

    size: tuple[int, int]
    """(height, width)."""
    stream: bytes | memoryview
    """Its zlib stream."""

    def decode(self, place: Pixels) -> None:
        """Write the pixels into (H, W) uint8 `place`.

        Raises:
            ValueError: the stream is damaged.
        """
        compiled(unfilter)(self.rows(), place)

    def rows(self) -> Pixels:
        """Return the (H, W + 1) uint8 filtered rows, each after the number of its filter.

        Raises:
            ValueError: the stream is damaged.
        """
        from zlib_ng import zlib_ng

        height, width = self.size
        wanted = height * (width + 1)  # each row begins with the number of its filter
        inflater = zlib_ng.decompressobj()
        try:
            raw = inflater.decompress(self.stream, wanted + 1)
        except zlib_ng.error as error:  # type: ignore[misc]  # its stub calls the class an instance
            raise ValueError(f"pixels that do not decompress ({error})") from error
        if len(raw) != wanted or not inflater.eof:
            raise ValueError(f"expected pixels of {wanted} bytes, got {len(raw)}")
        rows: Pixels = np.frombuffer(raw, dtype=np.uint8).reshape(height, width + 1)
        if rows[:, 0].max(initial=0) > 4:
            raise ValueError("a row with a filter that PNG does not know")
        return rows


def open_grey(data: bytes | memoryview) -> GreyPng | None:
    """Find the pixels of an 8-bit grey PNG; None for anything else.

    Raises:
        ValueError: it begins like one and is damaged.
    """
    if data[:8] != _SIGNATURE or data[12:16] != b"IHDR" or data[24:29] != _PLAIN:
        return None
    parts, at, size = [], 8, len(data)
    while at + 12 <= size:
        length, kind = _CHUNK.unpack_from(data, at)
        end = at + 8 + length
        if end + 4 > size or zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ValueError(f"a damaged {kind.decode('latin-1')} chunk at byte {at}")
        if kind == b"IDAT":
            parts.append(data[at + 8 : end])
        elif kind == b"IEND":
            break
        elif kind in (b"PLTE", b"tRNS"):
            return None
        at = end + 4
    else:
        raise ValueError(f"a PNG that ends after {size} bytes, without its last chunk")
    width, height = struct.unpack_from(">II", data, 16)
    return GreyPng((height, width), parts[0] if len(parts) == 1 else b"".join(parts))


def unfilter(raw: Any, place: Any) -> Any:
    """Undo PNG's row filters (specification, section 9.2).

    Args:
        raw: (H, W + 1) uint8 rows, each after the number of its filter.
        place: (H, W) uint8 that is written.

    Returns:
        Whether all filters are known.
    """
    height, width = place.shape
    row, above = np.zeros(width, dtype=np.uint8), np.zeros(width, dtype=np.uint8)
    for y in range(height):
        kind, line, out = raw[y, 0], raw[y, 1:], place[y]
        left, corner = np.int64(0), np.int64(0)
        if kind == 0:
            row[:] = line
        elif kind == 1:
            for x in range(width):
                left = (line[x] + left) & 255
                row[x] = left
        elif kind == 2:
            for x in range(width):
                row[x] = (np.int64(line[x]) + above[x]) & 255
        elif kind == 3:
            for x in range(width):
                left = (line[x] + (left + np.int64(above[x])) // 2) & 255
                row[x] = left
        elif kind == 4:
            for x in range(width):
                upper = np.int64(above[x])
                to_left, to_upper, to_corner = abs(upper - corner), abs(left - corner), abs(left + upper - 2 * corner)
                if to_left > to_upper or to_left > to_corner:
                    left = upper if to_upper <= to_corner else corner
                left, corner = (line[x] + left) & 255, upper
                row[x] = left
        else:
            return False
        for x in range(width):
            out[x] = row[x]
        row, above = above, row
    return True
