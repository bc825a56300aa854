"""What a picture file's bytes say before decoding: its true format, and the headers of PNG and TIFF.

JPEG's markers are read by `jpeg`, the other formats by `formats`; limits on sizes are `decode`'s business.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from ..sample import Drop
from . import tiff

MAX_SEGMENTS = 200_000
"""Segments of a JPEG or chunks of a PNG that are walked before the file counts as damaged; real files have far fewer."""
MAX_PROFILE = 4 << 20
"""Bytes of a colour profile that are kept."""

UNREADABLE: dict[str, str] = {
    "heif": "HEIC/HEIF needs a plug-in: pip install pillow-heif",
    "avif": "AVIF needs Pillow 11.3 or newer: pip install -U pillow",
    "raw": "a camera's raw file: develop it to TIFF or PNG first",
    "psd": "a Photoshop document: export it as PNG or TIFF first",
    "jxl": "JPEG XL has no decoder here: convert it to PNG or JPEG first",
    "ico": "an icon file, not a photograph: export it as PNG first",
    "dds": "a texture file: convert it to PNG first",
    "xcf": "a GIMP document: export it as PNG first",
    "bigtiff": "BigTIFF: save it as a classic TIFF",
}
"""Known formats without a decoder -> what to do."""
NO_DEPTH: dict[str, str] = {
    "exr": "OpenEXR holds linear light in floats",
    "hdr": "Radiance HDR holds linear light in floats",
    "pfm": "PFM holds linear light in floats",
}
"""Formats whose numbers have no agreed way into 8-bit sRGB."""

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (8, b"WEBP", "webp"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "jpeg2000"),
    (0, b"\xff\x4f\xff\x51", "jpeg2000"),
    (0, b"8BPS", "psd"),
    (0, b"\xff\x0a", "jxl"),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "jxl"),
    (0, b"v/1\x01", "exr"),
    (0, b"#?RADIANCE", "hdr"),
    (0, b"#?RGBE", "hdr"),
    (0, b"FUJIFILMCCD-RAW", "raw"),
    (0, b"IIRO", "raw"),
    (0, b"IIRS", "raw"),
    (0, b"MMOR", "raw"),
    (0, b"IIU\x00", "raw"),
    (0, b"FOVb", "raw"),
    (0, b"\x00MRM", "raw"),
    (6, b"HEAPCCDR", "raw"),
    (0, b"\x00\x00\x01\x00", "ico"),
    (0, b"DDS ", "dds"),
    (0, b"gimp xcf", "xcf"),
    (0, b"II+\x00", "bigtiff"),
    (0, b"MM\x00+", "bigtiff"),
)
_BRANDS: dict[bytes, str] = {
    b"avif": "avif", b"avis": "avif", b"crx ": "raw",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2"), "heif"),
}  # fmt: skip
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Adam7 interlacing: first column, first row, step across, step down (PNG specification, sec. 8.2)."""
_PNM = re.compile(rb"P([1-6])[ \t\r\n]+(?:#[^\n]*\n\s*)*\d+\s")
_TEXT = re.compile(rb"(?:\xef\xbb\xbf)?\s*[<{\[%A-Za-z]")


@dataclass(frozen=True)
class Header:
    """A picture file before decoding. Sizes are as stored: EXIF orientation is not applied yet."""

    format: str
    width: int
    height: int
    channels: int = 3
    """Colour channels without alpha: 1 grey, 3 colour, 4 CMYK."""
    orientation: int = 1
    num_frames: int = 1
    bit_depth: int = 8
    icc: bytes = b""
    """Embedded colour profile."""
    jpeg_quality: float = 0.0
    """Estimated from the quantisation tables, 1 to 100; 0 when not a JPEG."""
    inverted_ink: bool = False
    """CMYK as Adobe stores it in JPEG: 255 is no ink."""
    block: tuple[int, int] = (8, 8)
    """(width, height) in pixels of one coded unit of a JPEG."""
    flags: frozenset[str] = frozenset()
    problem: tuple[str, str] | None = None
    """(reason, detail) where the file's structure is damaged although its header could be read."""


def sniff(data: bytes) -> str:
    """Name the format that the first bytes belong to; the file's name is never asked.

    Raises:
        Drop: empty_file, or not_an_image with what it looks like instead.
    """
    if not data:
        raise Drop("empty_file", "0 bytes")
    for offset, magic, name in _MAGIC:
        if data.startswith(magic, offset) and (name != "webp" or data.startswith(b"RIFF")):
            return name
    if data[4:8] == b"ftyp":
        return _brand(data)
    if data[:4] in (b"II*\x00", b"MM\x00*"):
        return "raw" if tiff.is_raw(data) else "tiff"
    if data[:2] == b"BM" and len(data) >= 26 and struct.unpack_from("<I", data, 14)[0] in (12, 16, 40, 52, 56, 64, 108, 124):
        return "bmp"
    if data[:3] in (b"PF\n", b"Pf\n"):
        return "pfm"
    if _PNM.match(data[:1024]):
        return "pnm"
    looks = "text" if _TEXT.match(data[:64]) and b"\x00" not in data[:64] else "unknown bytes"
    raise Drop("not_an_image", f"{looks}, starting {data[:12]!r}")


def _brand(data: bytes) -> str:
    """Tell a picture from a film among ISO base media files by the brands they claim."""
    size = min(int.from_bytes(data[:4], "big"), 256)
    for position in (8, *range(16, size - 3, 4)):
        if data[position : position + 4] in _BRANDS:
            return _BRANDS[data[position : position + 4]]
    raise Drop("not_an_image", f"a film or other media file, brand {data[8:12]!r}")


def read_png(data: bytes, checksums: bool = False) -> Header:
    """Read a PNG's chunks up to its end: sizes, depth, orientation, profile, frames, and whether the file is whole.

    Args:
        data: the whole file.
        checksums: also compare the checksum of every chunk that pixels depend on.

    Raises:
        Drop: truncated or corrupt_stream in the header, unsupported_depth for HDR transfer functions.
    """
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise Drop("truncated" if len(data) < 33 else "corrupt_stream", "expected the IHDR chunk first")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    flags, frames, orientation, icc, problem, end = set(), 1, 1, b"", None, -1
    for kind, start, stop in _png_chunks(data):
        if stop + 4 > len(data):
            break
        body = memoryview(data)[start:stop]
        if checksums and kind[0] < 97 and zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(data[stop : stop + 4], "big"):
            problem = problem or ("corrupt_stream", f"the checksum of the {kind!r} chunk at byte {start} does not fit")
        if kind == b"IEND":
            end = stop + 4
            break
        if kind == b"acTL" and len(body) >= 8:
            frames = max(1, int.from_bytes(body[:4], "big"))
        elif kind == b"eXIf":
            orientation = tiff.Directory(bytes(body)).orientation()
        elif kind == b"iCCP":
            icc = _png_profile(bytes(body))
        elif kind == b"tRNS":
            flags |= {"alpha"} if colour == 3 else {"alpha", "key_colour"}
        elif kind == b"cICP" and len(body) == 4 and body[1] in (16, 18):
            raise Drop("unsupported_depth", "an HDR transfer function (PQ or HLG) has no agreed conversion to sRGB")
    flags |= {name for name, on in (("alpha", colour in (4, 6)), ("palette", colour == 3), ("grey", colour in (0, 4))) if on}
    if end < 0:
        problem = ("truncated", "the file ends before its IEND chunk")
    elif end < len(data):
        flags.add("trailing_bytes")
    channels = 1 if colour in (0, 4) else 3
    return Header("png", width, height, channels, orientation, frames, depth, icc, flags=frozenset(flags), problem=problem)


def check_png_rows(data: bytes) -> None:
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
    for kind, start, stop in _png_chunks(data):
        piece = data[start:stop] if kind == b"IDAT" else b""
        while piece and found < needed:
            found += len(unpacker.decompress(piece, 1 << 20))
            piece = unpacker.unconsumed_tail
    if found < needed:
        raise Drop("corrupt_stream", f"{found} bytes of pixels of {needed}")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
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


def _png_profile(body: bytes) -> bytes:
    """Unpack an iCCP chunk, at most `MAX_PROFILE` bytes; empty where it is damaged."""
    packed = body.partition(b"\x00")[2][1:]
    try:
        return zlib.decompressobj().decompress(packed, MAX_PROFILE)
    except zlib.error:
        return b""


def read_tiff(data: bytes) -> Header:
    """Read a TIFF's first directory: sizes, depth, orientation, pages, and whether its strips lie inside the file.

    Raises:
        Drop: truncated or unsupported_depth.
    """
    directory = tiff.Directory(data)
    width, height = directory.value(tiff.WIDTH, 0), directory.value(tiff.HEIGHT, 0)
    if not directory.whole or not width or not height:
        raise Drop("truncated", f"the file ends after {len(data)} bytes, before its directory does")
    depth, end = tiff.check_depth(directory), tiff.pixels_end(directory)
    photometric, samples = directory.value(tiff.PHOTOMETRIC, 1), directory.value(tiff.SAMPLES, 1)
    if photometric in (8, 9, 10) or (photometric in (5, 6) and depth == 16):
        raise Drop("unsupported_depth", f"TIFF colour space {photometric} with {depth} bits has no agreed conversion")
    channels = {0: 1, 1: 1, 5: 4}.get(photometric, 3)
    inks = 1 if photometric == 3 else channels
    names = {"grey": channels == 1, "palette": photometric == 3, "cmyk": channels == 4, "alpha": samples > inks}
    names["inverted"] = photometric == 0 and depth == 16
    problem = ("truncated", f"the pixels end at byte {end} of {len(data)}") if end > len(data) else None
    flags = frozenset(name for name, on in names.items() if on)
    icc = directory.raw(tiff.PROFILE)[:MAX_PROFILE]
    size = (width, height, channels, directory.orientation(), directory.pages(), depth, icc)
    return Header("tiff", *size, flags=flags, problem=problem)
