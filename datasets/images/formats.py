"""Every picture format but plain JPEG: headers and pixels through Pillow, plain PNG through OpenCV, JPEG's inks by `jpeg`.

It returns arrays as the file holds them (grey, RGB, CMYK, with or without alpha, 8 or 16 bits); bringing them to upright
sRGB is `decode`'s business. Pillow is only ever allowed to try the one format that the first bytes name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..arrays import Array, Pixels
from ..sample import Drop, wording
from . import boxes, colour_space, jpeg, orientation, png, tiff, tiff_pixels
from .headers import MAX_PROFILE, UNREADABLE, Header, bitmap_profile
from .listening import listener

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
        logging.getLogger("PIL").setLevel(logging.CRITICAL)
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
            turned = _turned(image, name)
            colour = boxes.read_colour(data) if name in ("avif", "heif") else boxes.ColourBoxes()
    except Exception as error:  # Pillow's readers raise anything on damaged bytes
        if name in _WEAK:
            raise Drop("not_an_image", f"it begins like {name}, but its header makes no sense: {_told(error)}") from error
        raise refusal(error, f"the header of the {name}") from error
    mode = image.mode
    flags = {"palette"} if mode in ("P", "PA") else set()
    flags |= {"grey"} if mode in ("1", "L", "LA", "La", "I", "I;16", "I;16B") else set()
    flags |= {"alpha"} if image.has_transparency_data else set()
    depth = 1 if mode == "1" else 16 if mode.startswith("I") else 8
    icc = bytes(image.info.get("icc_profile") or colour.icc)[:MAX_PROFILE]
    if colour.code_points is not None:
        made = colour_space.of_code_points(*colour.code_points, "grey" in flags)
        icc = icc or made or b""
    if name == "bmp":
        icc = bitmap_profile(data)
    size = (image.width, image.height, 1 if "grey" in flags else 3, turned, frames, depth, icc)
    return Header(name, *size, flags=frozenset(flags), problem=_short(data, name, image))


def _turned(image: Any, name: str) -> int:
    """Return the orientation 1 to 8 of an opened picture; for AVIF and HEIF the decoder words the file's own turn as EXIF."""
    found = orientation.of_exif(_bytes(image, "exif"))
    if not found and name not in ("avif", "heif"):
        found = orientation.of_xmp(_bytes(image, "xmp"))
    return found or 1


def _bytes(image: Any, name: str) -> bytes:
    value = image.info.get(name)
    return bytes(value) if isinstance(value, bytes) else b""


def _short(data: bytes, name: str, image: Any) -> tuple[str, str] | None:
    """Tell whether an uncompressed file is shorter than its own header says."""
    if name != "bmp" or not image.tile or image.tile[0][0] != "raw":
        return None
    announced = image.tile[0][2] + (image.tile[0][3][1] or 0) * image.height
    return ("truncated", f"{len(data)} bytes of {announced}") if len(data) < announced else None


def read_pixels(data: bytes, header: Header) -> Stored:
    """Decode the first picture of a file as it is stored.

    Raises:
        Drop: truncated, corrupt_stream, unsupported_depth or out_of_memory.
    """
    unusual = header.format == "tiff" and tiff_pixels.is_unusual(data, header)
    try:
        with quiet():
            if unusual:
                return Stored(*tiff_pixels.read(data, header))
            if header.format == "png" and header.bit_depth >= 8 and "palette" not in header.flags:
                return _by_opencv(data, header)
            if header.format == "png":
                png.check_rows(data)
            image = open_image(tiff.without_orientation(data) if header.format == "tiff" else data, header.format)
            if image.size != (header.width, header.height):
                raise Drop("corrupt_stream", f"the header says {header.width} x {header.height}, the decoder {image.size}")
            return _stored(image, header)
    except Drop:
        raise
    except Exception as error:  # Pillow's, OpenCV's and tifffile's decoders raise anything on damaged bytes
        raise refusal(error, f"the {header.format}") from error


def read_inks(data: bytes, header: Header) -> tuple[Stored, str]:
    """Decode a CMYK or YCCK JPEG; also return the decoder's complaint about damaged data, empty if none.

    Raises:
        Drop: corrupt_stream.
    """
    inks, complaint = jpeg.decode_jpeg(data, cmyk=True)
    if inks is None or inks.shape[:2] != (header.height, header.width):
        raise Drop("corrupt_stream", complaint or "the decoder gave up on the JPEG")
    return Stored(np.subtract(255, inks, out=inks) if header.inverted_ink else inks), complaint


def _stored(image: Any, header: Header) -> Stored:
    """Turn a Pillow picture of any mode into arrays."""
    mode = image.mode
    if mode == "CMYK":
        return Stored(np.asarray(image))
    if mode in ("I;16", "I;16B", "I;16L", "I;16N", "I"):
        return Stored(np.asarray(image).astype(np.uint16))
    if mode in ("F", "LAB", "HSV"):
        raise Drop("unsupported_depth", f"pixels of type {mode} have no agreed conversion to 8-bit sRGB")
    grey = mode in ("1", "L", "LA", "La")
    if header.key_colour:  # of less than 8 bits: Pillow stretches the numbers to 8, but not the key
        stretched = np.asarray(image.convert("L"))
        return Stored(stretched, _around_key(stretched, (header.key_colour[0] * 255 // ((1 << header.bit_depth) - 1),)))
    if image.has_transparency_data or mode in ("RGBa", "La"):
        full = np.asarray(image if mode == "RGBA" else image.convert("RGBA"))
        return Stored(full[..., 0] if grey else full[..., :3], np.ascontiguousarray(full[..., 3]))
    wanted = "L" if grey else "RGB"
    return Stored(np.asarray(image if mode == wanted else image.convert(wanted)))


def _by_opencv(data: bytes, header: Header) -> Stored:
    """Decode a plain PNG with OpenCV: it keeps all bits of colour, and refuses too few bytes."""
    import cv2

    from .colour import to_eight_bits

    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.shape[:2] != (header.height, header.width):
        raise Drop("corrupt_stream", f"the {header.format} does not hold {header.width} x {header.height} pixels")
    if array.dtype != (np.uint16 if header.bit_depth == 16 else np.uint8):
        raise Drop("unsupported_depth", f"expected {header.bit_depth}-bit pixels, the decoder gave {array.dtype}")
    if array.ndim == 2:
        return Stored(array, _around_key(array, header.key_colour) if header.key_colour else None)
    alpha: Pixels | None = None
    if header.key_colour:  # whether OpenCV minds it depends on its version
        alpha = _around_key(array[..., 2::-1], header.key_colour)
    elif array.shape[2] == 4:
        alpha = to_eight_bits(array[..., 3]) if header.bit_depth == 16 else np.array(array[..., 3], dtype=np.uint8)
    # views, not copies: the picture may be large, and what comes next takes a few rows at a time
    return Stored(
        array[..., 0] if header.channels == 1 else array[..., 2::-1] if array.shape[2] == 4 else array[..., ::-1], alpha
    )


def _around_key(colours: Array, key: tuple[int, ...]) -> Pixels:
    """Return (H, W) uint8 alpha: 0 where (H, W) grey or (H, W, 3) colours are the transparent one, else 255."""
    from .colour import blocks

    alpha = np.empty(colours.shape[:2], dtype=np.uint8)
    for rows in blocks(colours):
        same = colours[rows] == np.array(key, dtype=np.uint16)
        alpha[rows] = np.where(same if colours.ndim == 2 else same.all(axis=2), np.uint8(0), np.uint8(255))
    return alpha


def refusal(error: Exception, what: str) -> Drop:
    """Word a decoder's exception as a refusal: truncated where it ran out of bytes, else corrupt_stream."""
    text = f"{what} could not be decoded: {_told(error)}"
    if isinstance(error, MemoryError) or "Insufficient memory" in str(error):
        return Drop("out_of_memory", text)
    words = ("truncated", "end of file", "not enough")
    short = isinstance(error, EOFError) or any(word in str(error).lower() for word in words)
    return Drop("truncated" if short else "corrupt_stream", text)


def _told(error: Exception) -> str:
    """Word a decoder's exception; Pillow names a file that it does not know by its object."""
    from PIL import UnidentifiedImageError

    return "its decoder does not know it" if isinstance(error, UnidentifiedImageError) else wording(error)


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
