"""Every picture format but plain JPEG: headers and pixels through Pillow, plain PNG and 16-bit colour through OpenCV.

It returns arrays as the file holds them (grey, RGB, CMYK, with or without alpha, 8 or 16 bits); bringing them to upright
sRGB is `decode`'s business. Pillow is only ever allowed to try the one format that the first bytes name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..arrays import Array, Pixels
from ..sample import Drop
from . import tiff
from .headers import UNREADABLE, Header, check_png_rows
from .jpeg import listener

PLUGINS: dict[str, tuple[str, ...]] = {
    "jpeg": ("JPEG",), "png": ("PNG",), "gif": ("GIF",), "webp": ("WEBP",), "bmp": ("BMP",), "tiff": ("TIFF",),
    "pnm": ("PPM",), "jpeg2000": ("JPEG2000",), "avif": ("AVIF",), "heif": ("HEIF",),
}  # fmt: skip
"""Format -> the Pillow plug-ins that may read it."""
_WEAK = ("bmp", "pnm")
"""Formats whose first bytes also begin other files: where the header then makes no sense, the file is no picture."""


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """Pixels as the file holds them."""

    colours: Array
    """(H, W) grey, (H, W, 3) RGB or (H, W, 4) CMYK with 0 for no ink; uint8 or uint16."""
    alpha: Pixels | None = None
    """(H, W) uint8."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's and the C libraries' remarks about damaged files off the console; the damage itself raises."""
    with warnings.catch_warnings(), listener().listen():
        warnings.simplefilter("ignore")
        yield


def has_decoder(name: str) -> bool:
    """Tell whether this installation can decode a format."""
    from PIL import features

    if name == "avif":
        return bool(features.check("avif"))
    if name == "heif":
        try:
            import pillow_heif
        except ImportError:
            return False
        pillow_heif.register_heif_opener()
        return True
    return name in PLUGINS


def open_image(data: bytes, name: str) -> Any:
    """Open a file with the one Pillow plug-in its bytes name; only the header is read. Sizes are the caller's to check."""
    from PIL import Image

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        return Image.open(io.BytesIO(data), formats=PLUGINS[name])
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def read_header(data: bytes, name: str) -> Header:
    """Read the header of a format that has no reader of its own here: GIF, WebP, BMP, PNM, JPEG 2000, AVIF, HEIF.

    Raises:
        Drop: unsupported_format without a decoder; truncated, corrupt_stream or not_an_image where the header is damaged.
    """
    if not has_decoder(name):
        raise Drop("unsupported_format", UNREADABLE.get(name, f"no decoder for {name}"))
    if name == "webp" and len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise Drop("truncated", f"{len(data)} bytes of {8 + int.from_bytes(data[4:8], 'little')}")
    try:
        with quiet():
            image = open_image(data, name)
            frames = int(getattr(image, "n_frames", 1))
            orientation = int(image.getexif().get(tiff.ORIENTATION, 1))
    except Exception as error:  # Pillow's readers raise anything on damaged bytes
        if name in _WEAK:
            raise Drop("not_an_image", f"it begins like {name}, but its header makes no sense: {error}") from error
        raise refusal(error, f"the header of the {name}") from error
    mode = image.mode
    flags = {"palette"} if mode in ("P", "PA") else set()
    flags |= {"grey"} if mode in ("1", "L", "LA", "La", "I", "I;16", "I;16B") else set()
    flags |= {"alpha"} if image.has_transparency_data else set()
    depth = 1 if mode == "1" else 16 if mode.startswith("I") else 8
    turned = orientation if 1 <= orientation <= 8 else 1
    icc = image.info.get("icc_profile") or b""
    size = (image.width, image.height, 1 if "grey" in flags else 3, turned, frames, depth, icc)
    return Header(name, *size, flags=frozenset(flags), problem=_short(data, name, image))


def _short(data: bytes, name: str, image: Any) -> tuple[str, str] | None:
    """Tell whether an uncompressed file is shorter than its own header says."""
    if name != "bmp" or not image.tile or image.tile[0][0] != "raw":
        return None
    promised = image.tile[0][2] + (image.tile[0][3][1] or 0) * image.height
    return ("truncated", f"{len(data)} bytes of {promised}") if len(data) < promised else None


def read_pixels(data: bytes, header: Header) -> Stored:
    """Decode the first picture of a file as it is stored.

    Raises:
        Drop: truncated, corrupt_stream, unsupported_depth or out_of_memory.
    """
    if header.format == "tiff":
        data = tiff.without_orientation(data)
    plain_png = header.format == "png" and header.bit_depth >= 8 and not header.flags & {"palette", "key_colour"}
    try:
        with quiet():
            if plain_png or (header.format == "tiff" and header.bit_depth == 16):
                return _by_opencv(data, header)
            if header.format == "png":
                check_png_rows(data)
            image = open_image(data, header.format)
            if image.size != (header.width, header.height):
                raise Drop("corrupt_stream", f"the header says {header.width} x {header.height}, the decoder {image.size}")
            return _stored(image, header)
    except Drop:
        raise
    except Exception as error:  # Pillow's and OpenCV's decoders raise anything on damaged bytes
        raise refusal(error, f"the {header.format}") from error


def _stored(image: Any, header: Header) -> Stored:
    """Turn a Pillow picture of any mode into arrays."""
    mode = image.mode
    if mode == "CMYK":
        ink = np.asarray(image)
        # Pillow takes every CMYK JPEG for Adobe's inverted kind
        return Stored(255 - ink if header.format == "jpeg" and not header.inverted_ink else ink)
    if mode in ("I;16", "I;16B", "I;16L", "I;16N", "I"):
        return Stored(np.asarray(image).astype(np.uint16))
    if mode in ("F", "LAB", "HSV"):
        raise Drop("unsupported_depth", f"pixels of type {mode} have no agreed conversion to 8-bit sRGB")
    grey = mode in ("1", "L", "LA", "La")
    if image.has_transparency_data or mode in ("RGBa", "La"):
        full = np.asarray(image.convert("RGBA"))
        colours = full[..., 0] if grey else full[..., :3]
        return Stored(np.ascontiguousarray(colours), np.ascontiguousarray(full[..., 3]))
    return Stored(np.asarray(image.convert("L" if grey else "RGB")))


def _by_opencv(data: bytes, header: Header) -> Stored:
    """Decode a plain PNG or a 16-bit TIFF with OpenCV: it keeps all bits of colour, and refuses too few bytes."""
    import cv2

    from .colour import to_eight_bits

    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.shape[:2] != (header.height, header.width):
        raise Drop("corrupt_stream", f"the {header.format} does not hold {header.width} x {header.height} pixels")
    if array.dtype != (np.uint16 if header.bit_depth == 16 else np.uint8):
        raise Drop("unsupported_depth", f"expected {header.bit_depth}-bit pixels, the decoder gave {array.dtype}")
    if array.ndim == 2:
        return Stored(65535 - array if "inverted" in header.flags else array)
    if array.shape[2] == 4:
        grey, alpha = header.channels == 1, array[..., 3]
        colours = array[..., 0] if grey else np.ascontiguousarray(array[..., 2::-1])
        return Stored(colours, to_eight_bits(alpha) if header.bit_depth == 16 else np.asarray(alpha, dtype=np.uint8))
    return Stored(np.ascontiguousarray(array[..., ::-1]))


def refusal(error: Exception, what: str) -> Drop:
    """Word a decoder's exception as a refusal: truncated where it ran out of bytes, else corrupt_stream."""
    text = f"{what} could not be decoded: {type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or "Insufficient memory" in str(error):
        return Drop("out_of_memory", text)
    words = ("truncated", "end of file", "not enough")
    short = isinstance(error, EOFError) or any(word in str(error).lower() for word in words)
    return Drop("truncated" if short else "corrupt_stream", text)


def read_indices(data: bytes, header: Header) -> Array:
    """Decode a mask or class map without any change of its numbers: palette indices stay indices, 1 bit becomes 0 and 255.

    Returns:
        (H, W) or, for colour files, (H, W, C); uint8 or uint16.

    Raises:
        Drop: as `read_pixels`.
    """
    if header.bit_depth == 16:
        return read_pixels(data, header).colours
    try:
        with quiet():
            image = open_image(data, header.format)
            image.load()
            return np.asarray(image.convert("L") if image.mode == "1" else image)
    except Exception as error:  # as in read_pixels
        raise refusal(error, f"the {header.format}") from error
