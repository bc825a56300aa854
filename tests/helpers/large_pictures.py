"""Pictures of any size in every format and depth, for measuring what decoding takes."""

from __future__ import annotations

import struct
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


def made(name: str, height: int, width: int) -> bytes:
    """Encode blurred noise of a size."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    tile = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
    whole = np.tile(tile, (height // 256 + 1, width // 256 + 1, 1))[:height, :width]
    return KINDS[name](np.ascontiguousarray(whole))
