"""The one loader of every stage: a file's bytes become upright 8-bit sRGB pixels, or a refusal with a named reason.

Where the bytes come from is `sources`' business. Plain JPEGs take a short way through OpenCV; everything else goes through
`formats` and `colour`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from ..arrays import Array, Pixels
from ..sample import Drop, PhotoInfo
from . import artefacts, colour, colour_space, formats, headers, jpeg, png, tiff_pixels
from .headers import Header

VERSION = 3
"""Raise it when the same file would give other pixels; caches of stages depend on it."""


@dataclass(frozen=True)
class DecodePolicy:
    """Which files are read and how: part of the recipe."""

    max_pixels: int = 150_000_000
    """Larger pictures are refused by their header, before anything is allocated."""
    max_bytes: int = 512 << 20
    """Larger files are refused before they are read."""
    min_side: int = 64
    """Pixels of the shorter side below which no head can be found."""
    max_aspect: float = 8.0
    """Longer over shorter side above which a picture counts as a strip."""
    strict: bool = True
    """Refuse pictures about whose data the decoder complained; otherwise they are kept with the flag "corrupt_stream"."""
    salvage_truncated: float = 0.0
    """Keep a JPEG that ends early when at least this percentage of its rows is there; 0 refuses every one."""
    background: tuple[int, int, int] = (255, 255, 255)
    """sRGB colour under transparent pixels."""
    drop_grey: bool = False
    """Refuse pictures without colour."""

    def __post_init__(self) -> None:
        if self.max_pixels < 1 or self.max_bytes < 1 or self.min_side < 1 or self.max_aspect < 1:
            raise ValueError("expected max_pixels, max_bytes, min_side and max_aspect of 1 or more")
        if not 0 <= self.salvage_truncated <= 100:
            raise ValueError(f"expected salvage_truncated as a percentage 0 to 100, got {self.salvage_truncated}")
        if len(self.background) != 3 or any(not 0 <= level <= 255 for level in self.background):
            raise ValueError(f"expected three background levels 0 to 255, got {self.background}")


@dataclass(frozen=True, eq=False)
class Decoded:
    """A photograph in memory."""

    pixels: Pixels
    """(H, W, 3) uint8 sRGB, upright, transparency laid over the background."""
    alpha: Pixels | None
    """(H, W) uint8 where the file had transparency, else None."""
    info: PhotoInfo
    """As `probe` gives it, with the flags that only pixels show."""


def probe(data: bytes, policy: DecodePolicy) -> PhotoInfo:
    """Read what the header says of a file and refuse what the policy does not want, without decoding a pixel.

    Args:
        data: the whole file.
        policy: limits.

    Raises:
        Drop: empty_file, not_an_image, unsupported_format, unsupported_depth, too_many_bytes, too_many_pixels, too_small,
            aspect_ratio, truncated, corrupt_stream or greyscale.
    """
    return _info(_header(data, policy))


def decode(data: bytes, policy: DecodePolicy) -> Decoded:
    """Decode a file into upright sRGB pixels.

    Args:
        data: the whole file.
        policy: limits, and what to do with damage, transparency and grey pictures.

    Raises:
        Drop: as `probe`, and what only decoding shows: truncated, corrupt_stream, fully_transparent, out_of_memory.
    """
    header = _header(data, policy)
    flags: set[str] = set()
    if header.format == "jpeg" and header.channels < 4:
        pixels, alpha = _jpeg(data, header, policy, flags), None
        pixels = _to_srgb(pixels, header, flags) if header.icc else pixels
    else:
        pixels, alpha = _unusual(data, header, policy, flags)
    if "grey" not in header.flags and _looks_grey(pixels):
        flags.add("grey")
    if policy.drop_grey and "grey" in flags | header.flags:
        raise Drop("greyscale", "the picture has no colour")
    if header.orientation > 1:
        pixels = colour.upright(pixels, header.orientation)
        alpha = None if alpha is None else colour.upright(alpha, header.orientation)
    return Decoded(pixels, alpha, _info(header, flags))


def memory_needed(data: bytes, policy: DecodePolicy) -> int:
    """Return the bytes that a file takes at most until its pixels are there: itself, what its decoder holds, the way to sRGB.

    Measured for every format and depth (`test_memory.py`); what a decoder holds is rounded up.

    Raises:
        Drop: as `probe`.
    """
    header = _header(data, policy)
    return len(data) + round(header.width * header.height * _bytes_a_pixel(header))


_HELD = {"webp": 20.5, "avif": 24.0, "heif": 24.0}
"""Bytes a pixel while a format is decoded, for those whose decoders hold the picture several times."""


def _bytes_a_pixel(header: Header) -> float:
    """Return the bytes per pixel at the peak of decoding a file."""
    depth, alpha = max(1, header.bit_depth // 8), "alpha" in header.flags
    if header.format == "jpeg":
        # coefficients of two bytes while a progressive one is decoded; afterwards a second picture, where one is made
        made = 9.2 if header.channels == 4 else 6.7 if header.icc or header.orientation > 1 else 3.6
        return max(made, 3.0 * header.channels + 0.2) if header.buffered else made
    if header.format == "png" and header.num_frames == 1 and header.bit_depth >= 8 and "palette" not in header.flags:
        stored = float(depth * (header.channels + alpha))
        return max(2.0 * stored, stored + 4.0 + 4.0 * alpha + 3.0 * (header.orientation > 1)) + 0.5 * depth
    if header.format == "tiff" and header.num_bytes:
        stored = header.num_bytes / (header.width * header.height)
        return max(13.5, stored + min(stored, 4.0 * depth) + 6.5)
    if header.bit_depth == 1 and header.channels == 1 and not alpha:
        return 6.5
    if header.format == "jpeg2000":  # OpenJPEG holds four bytes a channel twice; the header does not tell 16 bits
        return 31.0 if alpha else 26.0 if header.channels > 1 else 12.0
    return _HELD.get(header.format, 16.5)


def _header(data: bytes, policy: DecodePolicy) -> Header:
    """Read the header, then apply the limits in the order in which they protect: bytes, sizes, damage, depth."""
    if len(data) > policy.max_bytes:
        raise Drop("too_many_bytes", f"{len(data)} bytes > max_bytes {policy.max_bytes}", float(len(data)))
    header = read_header(data)
    _check_size(header, policy)
    salvage = header.format == "jpeg" and policy.salvage_truncated > 0
    if header.problem and not (salvage and header.problem[0] == "truncated"):
        raise Drop(*header.problem)
    if header.bit_depth not in (1, 2, 4, 8, 16) or (header.format == "jpeg" and header.bit_depth != 8):
        raise Drop("unsupported_depth", f"{header.bit_depth}-bit {header.format} has no decoder here")
    if policy.drop_grey and "grey" in header.flags:
        raise Drop("greyscale", "the file has one channel")
    if header.icc:
        colour_space.refuse_hdr(header.icc)
    return header


def read_header(data: bytes, checksums: bool = False) -> Header:
    """Read a file's header, whatever its format, without any limit.

    Args:
        data: the whole file.
        checksums: also compare a PNG's checksums.

    Raises:
        Drop: empty_file, not_an_image, unsupported_format, unsupported_depth, truncated or corrupt_stream.
    """
    name = headers.sniff(data)
    if name in headers.NO_DEPTH:
        raise Drop("unsupported_depth", f"{headers.NO_DEPTH[name]}: tone-map it to PNG or JPEG first")
    if name == "png":
        return png.read_png(data, checksums)
    if name == "tiff":
        return tiff_pixels.read_tiff(data)
    return jpeg.read_jpeg(data) if name == "jpeg" else formats.read_header(data, name)


def _check_size(header: Header, policy: DecodePolicy) -> None:
    width, height = header.width, header.height
    if width < 1 or height < 1:
        raise Drop("corrupt_stream", f"the header says {width} x {height} pixels")
    if width * height > policy.max_pixels:
        text = f"{width} x {height} = {width * height / 1e6:.1f} MP > max_pixels {policy.max_pixels / 1e6:g} MP"
        raise Drop("too_many_pixels", text, float(width * height))
    if min(width, height) < policy.min_side:
        raise Drop("too_small", f"{width} x {height}: shorter side < {policy.min_side}", float(min(width, height)))
    aspect = max(width, height) / min(width, height)
    if aspect > policy.max_aspect:
        raise Drop("aspect_ratio", f"{width} x {height}: {aspect:.1f} > {policy.max_aspect:g}", aspect)


def _info(header: Header, more: set[str] | frozenset[str] = frozenset()) -> PhotoInfo:
    width, height = colour.upright_size(header.width, header.height, header.orientation)
    flags = set(header.flags | more)
    if header.bit_depth == 16:
        flags.add("sixteen_bit")
    return PhotoInfo(
        width=width, height=height, format=header.format, orientation=header.orientation, num_frames=header.num_frames,
        bit_depth=header.bit_depth, flags=tuple(sorted(flags)), jpeg_quality=header.jpeg_quality,
    )  # fmt: skip


def _jpeg(data: bytes, header: Header, policy: DecodePolicy, flags: set[str]) -> Pixels:
    """Decode a grey or colour JPEG, minding the decoder's complaints; a grey tail betrays a loss before the last saving."""
    cut = header.problem is not None
    pixels, complaint = jpeg.decode_jpeg(data + b"\xff\xd9" if cut else data)
    if pixels is None or pixels.shape[:2] != (header.height, header.width):
        raise Drop("truncated" if cut else "corrupt_stream", complaint or "the decoder gave up on the JPEG")
    tail = artefacts.grey_tail(pixels)
    if cut:
        _salvage(tail, policy, flags)
        return pixels
    if tail > 0.02 and not complaint:
        complaint = f"the lowest {100 * tail:.1f} % are the plain grey of missing data"
    _mind(complaint or artefacts.block_shift(pixels, header.block), policy, flags)
    return pixels


def _salvage(tail: float, policy: DecodePolicy, flags: set[str]) -> None:
    """Keep a JPEG that ends early, or refuse it where too many rows are missing; `tail` is their share."""
    present = 100.0 * (1.0 - tail)
    if present < policy.salvage_truncated:
        raise Drop("truncated", f"{present:.1f} % of the rows are there < {policy.salvage_truncated:g} %", present)
    flags.add("salvaged")


def _mind(complaint: str, policy: DecodePolicy, flags: set[str]) -> None:
    if complaint and policy.strict:
        raise Drop("corrupt_stream", complaint)
    if complaint:
        flags.add("corrupt_stream")


def _unusual(data: bytes, header: Header, policy: DecodePolicy, flags: set[str]) -> tuple[Pixels, Pixels | None]:
    """Decode any other file: stored numbers, profile or formula to 8-bit sRGB, transparency over the background."""
    if header.format == "png":
        checked = png.read_png(data, checksums=True)
        if checked.problem:
            raise Drop(*checked.problem)
    if header.format == "jpeg":
        stored, complaint = formats.read_inks(data if header.problem is None else data + b"\xff\xd9", header)
        if header.problem is None:
            _mind(complaint, policy, flags)
        else:
            _salvage(artefacts.grey_tail(stored.colours), policy, flags)
    else:
        stored = formats.read_pixels(data, header)
    pixels, alpha = _to_srgb(stored.colours, header, flags), stored.alpha
    del stored
    if alpha is None or int(alpha.min()) == 255:
        return pixels, None
    most = int(alpha.max())
    if most == 0 and header.format == "bmp":  # the fourth byte of bitmaps is often left empty: viewers take it as opaque
        return pixels, None
    if most <= 2:
        raise Drop("fully_transparent", f"the largest alpha is {most} of 255", float(most))
    flags.add("alpha")
    return colour.composite(pixels, alpha, policy.background), alpha


@functools.cache
def _profiles() -> colour.Profiles:
    """Return this process's cache of colour transforms."""
    return colour.Profiles()


def _to_srgb(stored: Array, header: Header, flags: set[str]) -> Pixels:
    """Turn grey, RGB or CMYK of 8 or 16 bits into (H, W, 3) sRGB: through the profile where it fits, else by plain formulas."""
    # a grey JPEG comes from its decoder as three equal channels
    one = stored.ndim == 3 and stored.shape[2] == 3 and header.channels == 1
    if header.icc:
        converted, flag = _profiles().to_srgb(stored[..., 0] if one else stored, header.icc)
        flags.update({flag} - {""})
        if converted is not None:
            return converted
    if stored.dtype == np.uint16:
        stored = colour.to_eight_bits(stored)
    if stored.ndim == 2:
        return np.ascontiguousarray(np.broadcast_to(stored[..., None], (*stored.shape, 3)))
    return colour.cmyk_to_rgb(stored) if stored.shape[2] == 4 else np.ascontiguousarray(stored)


def _looks_grey(pixels: Pixels) -> bool:
    """Tell whether a picture saved in colour has none: no sampled pixel's channels differ by more than 2 levels."""
    for step in (64, 16):  # the coarse look settles nearly every picture
        some = pixels[::step, ::step].astype(np.int16)
        if int((some.max(axis=2) - some.min(axis=2)).max()) > 2:
            return False
    return True
