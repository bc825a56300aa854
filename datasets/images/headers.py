"""What a picture file's first bytes say: its true format, and for bitmaps what their header says of colour.

The headers themselves are read by `png`, `tiff`, `jpeg` and `formats`; limits on sizes are `decode`'s business.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from ..sample import Drop
from . import colour_space, tiff

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
    """What the numbers mean: the embedded colour profile, or one made of what the file says instead; empty for sRGB."""
    jpeg_quality: float = 0.0
    """Estimated from the quantisation tables, 1 to 100; 0 when not a JPEG."""
    inverted_ink: bool = False
    """CMYK as Adobe stores it in JPEG: 255 is no ink."""
    block: tuple[int, int] = (8, 8)
    """(width, height) in pixels of one coded unit of a JPEG."""
    buffered: bool = False
    """Whether its decoder must hold the whole picture once more: a progressive JPEG."""
    key_colour: tuple[int, ...] = ()
    """The one colour of a PNG that is transparent, in its stored numbers; empty where none is."""
    num_bytes: int = 0
    """Of the pixels as stored before compression, where other channels stand beside those that are read; else 0."""
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


def bitmap_profile(data: bytes) -> bytes:
    """Return the profile of a Windows bitmap: embedded in a version 5 header, or its calibrated endpoints and gamma.

    Endpoints that were left at zero, as most writers do, mean sRGB.
    """
    size, words = int.from_bytes(data[14:18], "little"), data[70:74]
    if size < 108 or len(data) < 14 + size:
        return b""
    if size >= 124 and words == b"DEBM":
        offset, length = struct.unpack_from("<II", data, 126)
        return data[14 + offset : 14 + offset + min(length, MAX_PROFILE)]
    if words != bytes(4):
        return b""
    ends = [value / 2**30 for value in struct.unpack_from("<9I", data, 74)]
    gammas = [value / 65536 for value in struct.unpack_from("<3I", data, 110)]
    sums = [sum(ends[3 * k : 3 * k + 3]) for k in range(3)]
    if min(sums) < 1e-3 or min(gammas) < 1e-3:
        return b""
    primaries = [ends[3 * k + axis] / sums[k] for k in range(3) for axis in range(2)]
    total = sum(sums)
    white = [sum(ends[axis::3]) / total for axis in range(2)]
    return colour_space.of_gamma(3.0 / sum(gammas), (*white, *primaries))
