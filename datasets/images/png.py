"""The header of a PNG: its chunks up to the end, with colour meaning and orientation, and whether its rows are all there.

Pixels are decoded by `formats`. The chunks are read by hand because neither OpenCV nor Pillow tells a missing end, a wrong
checksum or rows that never came from a sound file: both leave such rows black.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..sample import Drop
from . import colour_space, orientation
from .headers import MAX_PROFILE, MAX_SEGMENTS, Header

MAX_TEXT = 1 << 20
"""Bytes of one text chunk that are unpacked."""
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""(left, top, columns, rows) between pixels of each interlace pass."""


def read_png(data: bytes, checksums: bool = False) -> Header:
    """Read a PNG's chunks up to its end: sizes, depth, orientation, colour, frames, and whether the file is whole.

    Args:
        data: the whole file.
        checksums: also compare the checksum of every chunk that pixels depend on.

    Raises:
        Drop: truncated or corrupt_stream in the header, unsupported_depth for HDR transfer functions.
    """
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise Drop("truncated" if len(data) < 33 else "corrupt_stream", "expected the IHDR chunk first")
    facts, problem, end = _Facts(*struct.unpack_from(">IIBB", data, 16)), None, -1
    for kind, start, stop in _chunks(data):
        if stop + 4 > len(data):
            break
        body = memoryview(data)[start:stop]
        if checksums and kind[0] < 97 and zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(data[stop : stop + 4], "big"):
            problem = problem or ("corrupt_stream", f"the checksum of the {kind!r} chunk at byte {start} does not fit")
        if kind == b"IEND":
            end = stop + 4
            break
        if kind != b"IDAT":
            facts.take(kind, body)
    if end < 0:
        problem = ("truncated", "the file ends before its IEND chunk")
    elif end < len(data):
        facts.flags.add("trailing_bytes")
    return facts.header(problem)


@dataclass
class _Facts:
    """What the chunks said so far."""

    width: int
    height: int
    depth: int
    kind: int
    """Colour type of IHDR."""
    flags: set[str] = field(default_factory=set)
    frames: int = 1
    key: tuple[int, ...] = ()
    """Transparent colour of a picture without palette, one number a channel as stored; empty where there is none."""
    exif: int = 0
    """Orientation in the EXIF chunk; 0 where there is none."""
    raw_exif: int = 0
    xmp: int = 0
    icc: bytes = b""
    code_points: tuple[int, int] | None = None
    is_srgb: bool = False
    gamma: float = 0.0
    """As stored: the encoding's exponent; 0 where it is absent."""
    chromaticities: tuple[float, ...] = ()

    def take(self, kind: bytes, body: memoryview) -> None:
        """Note one chunk."""
        if kind == b"acTL" and len(body) >= 8:
            self.frames = max(1, int.from_bytes(body[:4], "big"))
        elif kind == b"eXIf":
            self.exif = self.exif or orientation.of_exif(bytes(body))
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            self._take_text(kind, body)
        elif kind == b"iCCP":
            self.icc = self.icc or _profile(bytes(body))
        elif kind == b"tRNS":
            self._take_transparency(body)
        elif kind == b"cICP" and len(body) == 4 and body[2] == 0:
            if not body[3]:
                raise Drop("unsupported_depth", "a PNG in video range (cICP) has no agreed conversion to sRGB")
            self.code_points = (body[0], body[1])
        elif kind == b"sRGB":
            self.is_srgb = True
        elif kind == b"gAMA" and len(body) == 4:
            self.gamma = int.from_bytes(body, "big") / 1e5
        elif kind == b"cHRM" and len(body) == 32:
            self.chromaticities = tuple(value / 1e5 for value in struct.unpack(">8I", body))

    def _take_transparency(self, body: memoryview) -> None:
        """Note the chunk that gives a palette its alpha, or grey or RGB one transparent colour (specification, 11.3.1.1)."""
        count = {0: 1, 2: 3}.get(self.kind, 0)
        if self.kind == 3 or (count and len(body) == 2 * count):
            self.flags.add("alpha")
            self.key = tuple(level & ((1 << self.depth) - 1) for level in struct.unpack_from(f">{count}H", body))

    def _take_text(self, kind: bytes, body: memoryview) -> None:
        keyword, _, rest = bytes(body[: MAX_TEXT + 100]).partition(b"\x00")
        if keyword == b"XML:com.adobe.xmp":
            self.xmp = self.xmp or orientation.of_xmp(_text(kind, rest))
        elif keyword in (b"Raw profile type exif", b"Raw profile type APP1", b"Raw profile type xmp"):
            block = orientation.unpack_raw_profile(_text(kind, rest))
            self.raw_exif = self.raw_exif or orientation.of_exif(block)
            self.xmp = self.xmp or orientation.of_xmp(block)

    def header(self, problem: tuple[str, str] | None) -> Header:
        """Make the header of what was noted."""
        grey = self.kind in (0, 4)
        names = (("alpha", self.kind in (4, 6)), ("palette", self.kind == 3), ("grey", grey))
        flags = frozenset(self.flags | {name for name, on in names if on})
        turned = self.exif or self.raw_exif or self.xmp or 1
        size = (self.width, self.height, 1 if grey else 3, turned, self.frames, self.depth, self._profile(grey))
        return Header("png", *size, flags=flags, problem=problem, key_colour=self.key)

    def _profile(self, grey: bool) -> bytes:
        """Return the profile that says what the numbers mean, in PNG's order of precedence (third edition, 4.3)."""
        if self.code_points is not None and (profile := colour_space.of_code_points(*self.code_points, grey)) is not None:
            return profile
        if self.icc:
            return self.icc
        if self.is_srgb or not (self.gamma or self.chromaticities):
            return b""
        return colour_space.of_gamma(self.gamma, self.chromaticities, grey)


def _text(kind: bytes, rest: bytes) -> bytes:
    """Return the text of a chunk after its keyword, unpacked to at most `MAX_TEXT` bytes; empty where it is damaged."""
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed, rest = rest[:1] == b"\x01", rest[2:].partition(b"\x00")[2].partition(b"\x00")[2]
    elif packed:
        rest = rest[1:]
    return _unpacked(rest, MAX_TEXT) if packed else rest


def _profile(body: bytes) -> bytes:
    """Unpack an iCCP chunk, at most `MAX_PROFILE` bytes; empty where it is damaged."""
    return _unpacked(body.partition(b"\x00")[2][1:], MAX_PROFILE)


def _unpacked(packed: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, most)
    except zlib.error:
        return b""


def check_rows(data: bytes) -> None:
    """Refuse a PNG whose packed data unpacks to fewer bytes than its rows need; Pillow would leave the rest black.

    Raises:
        Drop: corrupt_stream.
    """
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    needed = 0
    for left, top, across, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = max(0, -((left - width) // across)), max(0, -((top - height) // down))
        needed += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    unpacker, found = zlib.decompressobj(), 0
    for kind, start, stop in _chunks(data):
        piece = data[start:stop] if kind == b"IDAT" else b""
        while piece and found < needed:
            found += len(unpacker.decompress(piece, 1 << 20))
            piece = unpacker.unconsumed_tail
    if found < needed:
        raise Drop("corrupt_stream", f"{found} bytes of pixels of {needed}")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, start, end) of each chunk's body; the last may reach beyond the file."""
    position = 8
    for _ in range(MAX_SEGMENTS):
        if position + 8 > len(data):
            return
        start = position + 8
        stop = start + int.from_bytes(data[position : position + 4], "big")
        yield data[position + 4 : start], start, stop
        position = stop + 4
    raise Drop("corrupt_stream", f"more than {MAX_SEGMENTS} chunks")
