"""Pictures of any size in every format and depth, for measuring what decoding takes."""

from __future__ import annotations

import importlib.util
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import picture_files as files
from PIL import Image

Image.MAX_IMAGE_PIXELS = None
_LINEAR = (b"gAMA", struct.pack(">I", 100_000))
_TURNED = (b"eXIf", files.exif(6).tobytes()[6:])


def _png(array: np.ndarray) -> bytes:
    order = array if array.ndim == 2 else array[..., [2, 1, 0, 3][: array.shape[2]]]
    return cv2.imencode(".png", order, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def _p3() -> bytes:
    return files.icc_profile(files.P3_TO_XYZ, "P3")


def _deep(array: np.ndarray) -> np.ndarray:
    return array.astype(np.uint16) * 257


def _inks(array: np.ndarray) -> Image.Image:
    return Image.fromarray(array).convert("CMYK")


def _rgba(array: np.ndarray) -> np.ndarray:
    return np.dstack([array, np.maximum(array[..., 0], 5)])


def _extra(array: np.ndarray) -> bytes:
    many = np.dstack([array, array, array[..., :2]])
    return files.tiff(many, photometric="rgb", extrasamples=["unspecified"] * 5)


def _webp_film(array: np.ndarray) -> bytes:
    return files.saved(array, "WEBP", method=0, save_all=True, append_images=[Image.fromarray(255 - array)])


def _bits(array: np.ndarray) -> Image.Image:
    return Image.fromarray(array).convert("1")


def interlaced(array: np.ndarray) -> bytes:
    """Write (H, W), (H, W, 3) or (H, W, 4) uint8 or uint16 as an Adam7 PNG, which neither Pillow nor OpenCV writes."""
    packer, packed = zlib.compressobj(1), b""
    for left, top, across, down in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        part = array[top::down, left::across]
        if part.size:
            rows = np.ascontiguousarray(part, dtype=array.dtype.newbyteorder(">")).reshape(len(part), -1).view(np.uint8)
            packed += packer.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())
    kind = {2: 0, 3: {3: 2, 4: 6}.get(array.shape[-1], 0)}[array.ndim]
    head = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 8 * array.itemsize, kind, 0, 0, 1)
    chunks = ((b"IHDR", head), (b"IDAT", packed + packer.flush()), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(files.png_chunk(*chunk) for chunk in chunks)


def _jpeg2000(array: np.ndarray) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpeg2k_encode(array, level=60, codecformat="jp2"))


def _avif(array: np.ndarray) -> bytes:
    """Write the ten upper bits of 16-bit pixels."""
    import imagecodecs

    return bytes(imagecodecs.avif_encode(array >> 6, level=80, speed=10, bitspersample=10, pixelformat="444"))


def _heif(array: np.ndarray) -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return files.saved(array, "HEIF", quality=60)


KINDS: dict[str, Callable[[np.ndarray], bytes]] = {
    "jpeg": files.jpeg,
    "jpeg_grey": lambda a: files.jpeg(a[..., 0]),
    "jpeg_progressive": lambda a: files.jpeg(a, progressive=True, subsampling=0),
    "jpeg_profile_turned": lambda a: files.jpeg(a, icc_profile=_p3(), exif=files.exif(6)),
    "jpeg_cmyk": lambda a: files.saved(_inks(a), "JPEG"),
    "jpeg_cmyk_progressive_turned": lambda a: files.saved(_inks(a), "JPEG", progressive=True, exif=files.exif(6)),
    "png": _png,
    "png_grey": lambda a: _png(a[..., 0]),
    "png_rgba": lambda a: _png(_rgba(a)),
    "png_rgba_turned": lambda a: files.with_chunks(_png(_rgba(a)), _TURNED),
    "png_grey_alpha": lambda a: files.saved(_rgba(a)[..., [0, 3]], "PNG", compress_level=1),
    "png16": lambda a: _png(_deep(a)),
    "png16_grey": lambda a: _png(_deep(a[..., 0])),
    "png16_rgba": lambda a: _png(_deep(_rgba(a))),
    "png16_linear": lambda a: files.with_chunks(_png(_deep(a)), _LINEAR),
    "png16_rgba_linear_turned": lambda a: files.with_chunks(_png(_deep(_rgba(a))), _LINEAR, _TURNED),
    "png_palette": lambda a: files.saved(Image.fromarray(a).quantize(32), "PNG", compress_level=1),
    "png_palette_alpha": lambda a: files.saved(Image.fromarray(a).quantize(32), "PNG", compress_level=1, transparency=3),
    "png_key_colour": lambda a: files.saved(a, "PNG", transparency=(1, 2, 3), compress_level=1),
    "png_film": lambda a: files.saved(a, "PNG", save_all=True, append_images=[Image.fromarray(255 - a)], compress_level=1),
    "gif_alpha": lambda a: files.saved(Image.fromarray(a).quantize(32), "GIF", transparency=3),
    "bmp": lambda a: files.saved(a, "BMP"),
    "bmp_alpha": lambda a: files.bitmap(_rgba(a)),
    "ppm": lambda a: files.saved(a, "PPM"),
    "pgm16": lambda a: b"P5 %d %d 65535\n" % (a.shape[1], a.shape[0]) + _deep(a[..., 0]).astype(">u2").tobytes(),
    "tiff": lambda a: files.tiff(a, photometric="rgb"),
    "tiff_lzw": lambda a: files.saved(a, "TIFF", compression="tiff_lzw"),
    "tiff_associated": lambda a: files.tiff(_rgba(a), photometric="rgb", extrasamples=["assocalpha"]),
    "tiff_cmyk": lambda a: files.tiff(np.asarray(_inks(a)), photometric="separated"),
    "tiff_jpeg": lambda a: files.saved(a, "TIFF", compression="jpeg"),
    "tiff_eight_channels": _extra,
    "tiff16": lambda a: files.tiff(_deep(a), photometric="rgb"),
    "tiff16_associated": lambda a: files.tiff(_deep(_rgba(a)), photometric="rgb", extrasamples=["assocalpha"]),
    "tiff16_profile_turned": lambda a: files.tiff(
        _deep(_rgba(a)), photometric="rgb", extrasamples=["assocalpha"], compression="zlib", iccprofile=_p3(),
        extratags=[(274, 3, 1, 6, True)],
    ),
    "tiff16_planes": lambda a: files.tiff(np.moveaxis(_deep(a), 2, 0), photometric="rgb", planarconfig="separate"),
    "tiff16_eight_channels": lambda a: _extra(_deep(a)),
    "tiff16_cmyk": lambda a: files.tiff(_deep(np.asarray(_inks(a))), photometric="separated"),
    "webp": lambda a: files.saved(a, "WEBP", method=0),
    "webp_alpha": lambda a: files.saved(_rgba(a), "WEBP", lossless=True, method=0),
    "webp_film": _webp_film,
    "jpeg2000_alpha": lambda a: files.saved(_rgba(a), "JPEG2000"),
    "avif_alpha": lambda a: files.saved(_rgba(a), "AVIF", speed=10, subsampling="4:4:4"),
}  # fmt: skip
"""Name -> how a picture is encoded so."""
FURTHER: dict[str, Callable[[np.ndarray], bytes]] = {
    "png1_grey": lambda a: files.saved(_bits(a), "PNG"),
    "png1_palette": lambda a: files.saved(Image.fromarray(a).quantize(2), "PNG", bits=1),
    "tiff1_fax": lambda a: files.saved(_bits(a), "TIFF", compression="group4"),
    "pbm1": lambda a: files.saved(_bits(a), "PPM"),
    "interlaced8": interlaced,
    "interlaced8_grey": lambda a: interlaced(a[..., 0]),
    "interlaced8_rgba": lambda a: interlaced(_rgba(a)),
    "interlaced16": lambda a: interlaced(_deep(a)),
    "interlaced16_rgba": lambda a: interlaced(_deep(_rgba(a))),
    "jpeg2000_deep": lambda a: _jpeg2000(_deep(a)),
    "jpeg2000_deep_grey": lambda a: _jpeg2000(_deep(a[..., 0])),
    "jpeg2000_deep_rgba": lambda a: _jpeg2000(_deep(_rgba(a))),
    "avif_deep": lambda a: _avif(_deep(a)),
    "avif_deep_rgba": lambda a: _avif(_deep(_rgba(a))),
}  # fmt: skip
"""The same of what is rarer and takes long to write; `tests/bench/memory.py` measures them."""
if importlib.util.find_spec("pillow_heif"):  # a plug-in of a user's own: its encoders are under the GPL
    FURTHER |= {"heif": _heif, "heif_rgba": lambda a: _heif(_rgba(a))}


def made(name: str, height: int, width: int) -> bytes:
    """Encode blurred noise of a size."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    tile = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
    whole = np.tile(tile, (height // 256 + 1, width // 256 + 1, 1))[:height, :width]
    return (KINDS | FURTHER)[name](np.ascontiguousarray(whole))
