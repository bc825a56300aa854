"""Which way up a picture is meant to be seen: the orientation in EXIF blocks, XMP packets and ImageMagick's raw profiles.

The EXIF block that a format provides for comes first, then a raw profile, then XMP; each format's reader asks in that order.
Turning the pixels is `colour`'s business.
"""

from __future__ import annotations

import re

from . import tiff

MAX_PACKET = 4 << 20
"""Bytes of an XMP packet that are searched."""
_XMP = re.compile(r"\btiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\s*[\"'<]")
_ENCODINGS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_RAW = re.compile(rb"\s*([!-~]+)\s+(\d+)\s+([0-9A-Fa-f\s]*)")


def of_exif(block: bytes) -> int:
    """Return the orientation 1 to 8 in an EXIF block, with or without its "Exif" mark; 0 where it has none."""
    mark = block.find(b"Exif\x00\x00", 0, 16)
    return tiff.Directory(block[mark + 6 :] if mark >= 0 else block).orientation()


def of_xmp(packet: bytes) -> int:
    """Return the orientation 1 to 8 in an XMP packet, as an attribute or an element; 0 where it has none."""
    packet = packet[:MAX_PACKET]
    encoding = next((name for mark, name in _ENCODINGS if packet.startswith(mark)), "")
    if not encoding and b"\x00" in packet[:16]:
        encoding = "utf-16-be" if packet[:1] == b"\x00" else "utf-16-le"
    found = _XMP.search(packet.decode(encoding or "utf-8", "replace"))
    return int(found.group(1)) if found else 0


def unpack_raw_profile(text: bytes) -> bytes:
    """Return the bytes in ImageMagick's "Raw profile type": a name, a length, and that many bytes in hexadecimal.

    What does not look so gives nothing.
    """
    found = _RAW.match(text)
    if found is None:
        return b""
    digits = b"".join(found.group(3).split())
    return bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii"))[: int(found.group(2)[:9])]
