"""The boxes of AVIF and HEIF files (ISO/IEC 14496-12, 23008-12): what the main picture's numbers mean as colours.

Read by hand because Pillow's decoder gives the pixels but not the colour box; the pixels, their matrix and range are its
business. What is damaged reads as absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MAX_BOXES = 10_000
"""Boxes that are looked at in one file."""


@dataclass(frozen=True)
class ColourBoxes:
    """What the colour boxes of the main picture say."""

    icc: bytes = b""
    code_points: tuple[int, int] | None = None
    """(ColourPrimaries, TransferCharacteristics) of ITU-T H.273."""


def read_colour(data: bytes) -> ColourBoxes:
    """Return the colour of the main picture; of all pictures where the file does not say which properties are its own."""
    meta = next((span for kind, *span in _boxes(data, 0, len(data)) if kind == b"meta"), None)
    if meta is None:
        return ColourBoxes()
    inside = {kind: (start, stop) for kind, start, stop in _boxes(data, meta[0] + 4, meta[1])}
    start, stop = inside.get(b"iprp", (0, 0))
    properties, associations = [], b""
    for kind, first, last in _boxes(data, start, stop):
        if kind == b"ipco":
            properties = list(_boxes(data, first, last))
        elif kind == b"ipma":
            associations = data[first:last]
    own = _associated(associations, _main_item(data, *inside.get(b"pitm", (0, 0))))
    icc, points = b"", None
    for index, (kind, first, last) in enumerate(properties, 1):
        if kind != b"colr" or (own and index not in own):
            continue
        body = data[first:last]
        if body[:4] in (b"prof", b"rICC"):
            icc = icc or body[4:]
        elif body[:4] == b"nclx" and len(body) >= 10:
            points = points or (int.from_bytes(body[4:6], "big"), int.from_bytes(body[6:8], "big"))
    return ColourBoxes(icc, points)


def _boxes(data: bytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, start, end) of each box's body."""
    for _ in range(MAX_BOXES):
        if position + 8 > end:
            return
        size, kind, start = (
            int.from_bytes(data[position : position + 4], "big"),
            data[position + 4 : position + 8],
            position + 8,
        )
        if size == 1:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        stop = end if size == 0 else position + size
        if stop > end or stop < start:
            return
        yield kind, start, stop
        position = stop


def _main_item(data: bytes, start: int, stop: int) -> int:
    """Return the number of the main picture; 0 where there is none."""
    width = 4 if data[start : start + 1] > b"\x00" else 2
    return int.from_bytes(data[start + 4 : start + 4 + width], "big") if stop - start >= 4 + width else 0


def _associated(body: bytes, item: int) -> set[int]:
    """Return the numbers of the properties that belong to an item, from the body of an ipma box."""
    if len(body) < 8:
        return set()
    version, wide = body[0], body[3] & 1
    position, found = 8, set[int]()
    for _ in range(min(int.from_bytes(body[4:8], "big"), MAX_BOXES)):
        width = 2 if version < 1 else 4
        number, count = int.from_bytes(body[position : position + width], "big"), body[position + width : position + width + 1]
        if not count:
            break
        position += width + 1
        step = 2 if wide else 1
        entries = body[position : position + step * count[0]]
        if number == item:
            mask = 0x7FFF if wide else 0x7F
            found |= {int.from_bytes(entries[at : at + step], "big") & mask for at in range(0, len(entries), step)}
        position += step * count[0]
    return found
