"""The TIFF directory, which EXIF blocks, TIFF files and camera raw files share: tags, orientation, and the header of a TIFF.

Only the first picture's directory is read; decoding its pixels is the business of `tiff_pixels` and `formats`. Read by hand
and not by tifffile because every JPEG's EXIF block comes through here: 2 microseconds where tifffile takes 97 (one block of
Pillow's, best of five), and what is damaged reads as absent where tifffile raises or logs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..sample import Drop

ORIENTATION, NEW_SUBFILE, WIDTH, HEIGHT, BITS, PHOTOMETRIC = 0x0112, 254, 256, 257, 258, 262
STRIP_OFFSETS, SAMPLES, STRIP_COUNTS, PLANAR, TILE_OFFSETS, TILE_COUNTS = 273, 277, 279, 284, 324, 325
TILE_WIDTH, TILE_LENGTH, XMP = 322, 323, 700
SUB_IFDS, EXTRA_SAMPLES, SAMPLE_FORMAT, DNG_VERSION, PROFILE = 330, 338, 339, 50706, 34675
MAX_VALUES = 1 << 20
"""Values of one tag that are read."""
MAX_PAGES = 10_000
"""Directories that are followed when pages are counted."""

_KINDS = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i"}


@dataclass(frozen=True)
class Entry:
    """One tag of a directory."""

    kind: int
    count: int
    position: int
    """Byte of the file at which its values start."""


class Directory:
    """The first directory of a TIFF structure; what is damaged reads as absent."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = "<" if data[:2] == b"II" else ">"
        self.entries: dict[int, Entry] = {}
        self.next_offset = 0
        self.whole = False
        """Whether the directory lies inside the file."""
        if data[:4] in (b"II*\x00", b"MM\x00*"):
            self._read()

    def _read(self) -> None:
        try:
            (start,) = struct.unpack_from(self.order + "I", self.data, 4)
            (count,) = struct.unpack_from(self.order + "H", self.data, start)
            for place in range(start + 2, start + 2 + 12 * count, 12):
                tag, kind, values, offset = struct.unpack_from(self.order + "HHII", self.data, place)
                inline = struct.calcsize(_KINDS.get(kind, "Q")) * values <= 4
                self.entries.setdefault(tag, Entry(kind, values, place + 8 if inline else offset))
            (self.next_offset,) = struct.unpack_from(self.order + "I", self.data, start + 2 + 12 * count)
            self.whole = True
        except struct.error:
            return

    def values(self, tag: int) -> tuple[int, ...]:
        """Return the integers of a tag; empty where it is absent, of another type, or outside the file."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _KINDS or entry.count > MAX_VALUES:
            return ()
        try:
            return struct.unpack_from(f"{self.order}{entry.count}{_KINDS[entry.kind]}", self.data, entry.position)
        except struct.error:
            return ()

    def raw(self, tag: int) -> bytes:
        """Return the bytes of a tag that holds bytes; empty where it is absent or outside the file."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in (1, 7):
            return b""
        return self.data[entry.position : entry.position + entry.count]

    def value(self, tag: int, default: int) -> int:
        """Return the first integer of a tag, or `default`."""
        return next(iter(self.values(tag)), default)

    def orientation(self) -> int:
        """Return the orientation 1 to 8; 0 where it is absent or nonsense."""
        value = self.value(ORIENTATION, 0)
        return value if 1 <= value <= 8 else 0

    def pages(self) -> int:
        """Count the pictures that follow one another, at most `MAX_PAGES`; a loop ends the count."""
        seen, offset = {0}, self.next_offset
        while offset not in seen and len(seen) < MAX_PAGES:
            seen.add(offset)
            try:
                (count,) = struct.unpack_from(self.order + "H", self.data, offset)
                (offset,) = struct.unpack_from(self.order + "I", self.data, offset + 2 + 12 * count)
            except struct.error:
                break
        return len(seen)


def is_raw(data: bytes) -> bool:
    """Tell whether a TIFF is a camera's raw file, whose first picture would be a thumbnail or a sensor's mosaic.

    Raw files say so by Canon's mark, a DNG version, a mosaic's photometric value, or a reduced first image with sub-images.
    """
    directory = Directory(data)
    mosaic = directory.value(PHOTOMETRIC, 0) in (32803, 34892)
    thumbnail = SUB_IFDS in directory.entries and bool(directory.value(NEW_SUBFILE, 0) & 1)
    return data[8:10] == b"CR" or DNG_VERSION in directory.entries or mosaic or thumbnail


def pixels_end(directory: Directory) -> int:
    """Return the byte after the last strip or tile, or -1 where the directory names none."""
    for offsets, counts in ((STRIP_OFFSETS, STRIP_COUNTS), (TILE_OFFSETS, TILE_COUNTS)):
        starts, lengths = directory.values(offsets), directory.values(counts)
        if starts and len(starts) == len(lengths):
            return max(start + length for start, length in zip(starts, lengths, strict=True))
    return -1


def without_orientation(data: bytes) -> bytes:
    """Return a TIFF file that says nothing of its orientation, in its tag and in its XMP: decoders disagree on who turns it."""
    directory = Directory(data)
    packet, entry = directory.entries.get(XMP), directory.entries.get(ORIENTATION)
    if packet is not None and b"tiff:Orientation" in directory.raw(XMP):
        start, stop = packet.position, packet.position + packet.count
        data = data[:start] + data[start:stop].replace(b"tiff:Orientation", b"tiff:orientation") + data[stop:]
    if entry is None or directory.orientation() <= 1 or entry.kind not in (3, 4):
        return data
    one = struct.pack(directory.order + _KINDS[entry.kind], 1)
    return data[: entry.position] + one + data[entry.position + len(one) :]


def check_depth(directory: Directory) -> int:
    """Return the bits per sample of a TIFF: 1, 2, 4, 8 or 16.

    Raises:
        Drop: unsupported_depth for floats, signed or wide integers, and channels of different depths.
    """
    bits = directory.value(BITS, 1)
    kind = directory.value(SAMPLE_FORMAT, 1)
    if kind not in (1, 4) or bits not in (1, 2, 4, 8, 16):
        name = {1: "unsigned integers", 2: "signed integers", 3: "floats"}.get(kind, f"numbers of sample format {kind}")
        raise Drop("unsupported_depth", f"{bits}-bit {name} have no agreed conversion to 8 bits")
    if len(set(directory.values(BITS))) > 1:
        raise Drop("unsupported_depth", f"channels of different depths, {directory.values(BITS)[:8]} bits")
    return bits
