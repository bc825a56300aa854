"""TIFF files: the header, and the pixels of those that neither Pillow nor OpenCV reads rightly, by tifffile.

These are 16-bit pictures, whose alpha may be multiplied in or whose planes may lie apart, and pictures with more channels than
colours and alpha. Plain 8-bit pictures are left to `formats`.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from ..arrays import Array, Pixels
from ..sample import Drop
from . import orientation, tiff
from .headers import MAX_PROFILE, Header

ASSOCIATED, UNASSOCIATED = 1, 2
"""What ExtraSamples says of an alpha channel: colours multiplied by it, or not (TIFF 6.0, p. 31)."""
MAX_CHANNELS = 64
_PLAIN = {0: 1, 1: 1, 2: 3, 5: 4}
"""Photometric interpretations that tifffile's numbers can be taken from as they are -> channels of colour."""
_ROWS = 1 << 18
"""Pixels that are converted at once."""


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
    if photometric in (8, 9, 10) or (photometric == 6 and depth == 16):
        raise Drop("unsupported_depth", f"TIFF colour space {photometric} with {depth} bits has no agreed conversion")
    if not 1 <= samples <= MAX_CHANNELS:
        raise Drop("unsupported_depth", f"{samples} channels, expected 1 to {MAX_CHANNELS}")
    channels = {0: 1, 1: 1, 5: 4}.get(photometric, 3)
    inks = 1 if photometric == 3 else channels
    names = {"grey": channels == 1, "palette": photometric == 3, "cmyk": channels == 4, "alpha": samples > inks}
    problem = ("truncated", f"the pixels end at byte {end} of {len(data)}") if end > len(data) else None
    flags = frozenset(name for name, on in names.items() if on)
    icc = directory.raw(tiff.PROFILE)[:MAX_PROFILE]
    turned = directory.orientation() or orientation.of_xmp(directory.raw(tiff.XMP)) or 1
    size = (width, height, channels, turned, directory.pages(), depth, icc)
    return Header("tiff", *size, flags=flags, problem=problem, num_bytes=width * height * samples * max(1, depth // 8))


def is_unusual(data: bytes, header: Header) -> bool:
    """Tell whether a TIFF is one that `read` reads: 16 bits, or channels that Pillow does not know."""
    directory = tiff.Directory(data)
    if directory.value(tiff.PHOTOMETRIC, 1) not in _PLAIN or header.bit_depth < 8:
        return header.bit_depth == 16
    most = header.channels + (header.channels < 4)
    return header.bit_depth == 16 or directory.value(tiff.SAMPLES, 1) > most


def read(data: bytes, header: Header) -> tuple[Array, Pixels | None]:
    """Decode the first picture.

    Returns:
        (H, W) grey, (H, W, 3) RGB or (H, W, 4) CMYK with 0 for no ink, uint8 or uint16, no alpha multiplied in; and (H, W)
        uint8 alpha, None where no channel is said to be one.

    Raises:
        Drop: truncated, corrupt_stream or unsupported_depth.
    """
    directory = tiff.Directory(data)
    photometric, samples = directory.value(tiff.PHOTOMETRIC, 1), directory.value(tiff.SAMPLES, 1)
    if photometric not in _PLAIN:
        raise Drop(
            "unsupported_depth", f"TIFF colour space {photometric} with {header.bit_depth} bits has no agreed conversion"
        )
    channels = _PLAIN[photometric]
    if samples < channels:
        raise Drop("corrupt_stream", f"expected {channels} channels of colour or more, got {samples}")
    _check_tiles(directory, header)
    kind, place = _alpha_channel(directory, channels, samples)
    needed = [*range(channels), *([place] if kind else [])]
    stored = _decode(data, header, samples, needed)
    colours, alpha = stored[..., :channels], stored[..., channels] if kind else None
    if photometric == 0:
        np.subtract(np.iinfo(stored.dtype).max, colours, out=colours)
    if alpha is not None and kind == ASSOCIATED:
        _divide(colours, alpha)
    if channels == 1:
        colours = colours[..., 0]
    if alpha is None:
        return np.ascontiguousarray(colours), None
    levels = alpha if alpha.dtype == np.uint8 else ((alpha.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.ascontiguousarray(colours), np.ascontiguousarray(levels)


def _alpha_channel(directory: tiff.Directory, channels: int, samples: int) -> tuple[int, int]:
    """Return what kind of alpha there is and which channel it is; (0, 0) where none is said to be one.

    A single channel that nothing is said about counts as alpha, as old writers meant it; one that is said to be of no special
    meaning - a saved selection - does not.
    """
    extra = directory.values(tiff.EXTRA_SAMPLES)
    for place, kind in enumerate(extra[: samples - channels], channels):
        if kind in (ASSOCIATED, UNASSOCIATED):
            return kind, place
    return (UNASSOCIATED, channels) if not extra and samples == channels + 1 else (0, 0)


def _check_tiles(directory: tiff.Directory, header: Header) -> None:
    """Refuse tiles that are much larger than the picture: each is allocated whole."""
    width, length = directory.value(tiff.TILE_WIDTH, 0), directory.value(tiff.TILE_LENGTH, 0)
    if width * length > 4 * header.width * header.height + (1 << 20):
        raise Drop("corrupt_stream", f"tiles of {width} x {length} pixels in a picture of {header.width} x {header.height}")


def _decode(data: bytes, header: Header, samples: int, needed: list[int]) -> Array:
    """Return (H, W, C) stored numbers of the channels that are needed, strip by strip."""
    # tifffile's pages and files refer to each other: without closing the stream the bytes would stay until a collection
    with io.BytesIO(data) as stream, _opened(stream) as file:
        page = file.pages[0]
        dtype = np.dtype(np.uint16 if header.bit_depth == 16 else np.uint8)
        if page.shaped[1:4] != (1, header.height, header.width) or page.dtype != dtype or page.samplesperpixel != samples:
            raise Drop("corrupt_stream", f"the header says {header.width} x {header.height}, the decoder {page.shape}")
        apart = page.planarconfig == 2 and samples > 1
        wanted = math.prod(page.chunked)
        if len(page.dataoffsets) < wanted:
            raise Drop("truncated", f"{len(page.dataoffsets)} strips of {wanted}")
        pixels = np.empty((header.height, header.width, len(needed)), dtype=dtype)
        for segment, (plane, _, row, column, _), shape in page.segments(maxworkers=1):
            if segment is None:
                raise Drop("corrupt_stream", f"the strip at row {row} is empty")
            rows, columns = min(shape[1], header.height - row), min(shape[2], header.width - column)
            part = segment[0, :rows, :columns]
            inside = pixels[row : row + rows, column : column + columns]
            if not apart:
                for to, channel in enumerate(needed):
                    inside[..., to] = part[..., channel]
            elif plane in needed:
                inside[..., needed.index(plane)] = part[..., 0]
        return pixels


def _opened(stream: io.BytesIO) -> Any:
    """Open a TIFF with tifffile; whatever it makes of a series or of pages behind the first is not asked for."""
    import logging

    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # damage raises; remarks about it are nobody's
    return tifffile.TiffFile(stream, is_ome=False, is_shaped=False)


def _divide(colours: Array, alpha: Array) -> None:
    """Take an alpha that was multiplied into (H, W, C) colours out of them, in place; where it is 0 they stay."""
    most = float(np.iinfo(colours.dtype).max)
    step = max(1, _ROWS // max(1, colours.shape[1]))
    for row in range(0, len(colours), step):
        part, share = colours[row : row + step], alpha[row : row + step].astype(np.float32)
        gain = np.where(share > 0, most / np.maximum(share, 1.0), 1.0)
        part[...] = np.minimum(np.rint(part * gain[..., None]), most).astype(colours.dtype)
