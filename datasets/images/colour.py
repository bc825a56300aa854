"""Colour arithmetic that every decoded file goes through: profiles to sRGB, CMYK, 16 bits to 8, transparency, orientation.

It knows arrays only; which file needs which step is `decode`'s business. Profiles are applied by LittleCMS: through Pillow to
8 bits, through imagecodecs to 16. Whole pictures are worked on a few rows at a time, so that a step holds little beside its
result.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..arrays import Array, Pixels

NEAR_SRGB = 2
"""Largest change in levels of 255 for which a profile counts as sRGB and is not applied."""
MAX_TRANSFORMS = 64
"""Colour transforms kept in memory, one per profile and number of channels."""
_BLOCK = 1 << 18
"""Pixels that are worked on at once."""
_MODES = {1: ("GRAY", "L"), 3: ("RGB ", "RGB"), 4: ("CMYK", "CMYK")}


class Profiles:
    """Turns embedded colour profiles into transforms to sRGB, each built once; safe to share between threads."""

    def __init__(self) -> None:
        self._transforms: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._lock = threading.Lock()

    def transform(self, profile: bytes, channels: int) -> Any:
        """Return the Pillow transform to sRGB, or a word that says why there is none: "srgb" or "icc_ignored".

        Args:
            profile: the embedded ICC profile.
            channels: 1 grey, 3 RGB, 4 CMYK; a profile for another number of channels is ignored.
        """
        key = (hashlib.sha1(profile, usedforsecurity=False).hexdigest(), channels)
        with self._lock:
            if key not in self._transforms:
                self._transforms[key] = _build(profile, channels)
                while len(self._transforms) > MAX_TRANSFORMS:
                    self._transforms.popitem(last=False)
            self._transforms.move_to_end(key)
            return self._transforms[key]

    def to_srgb(self, pixels: Array, profile: bytes) -> tuple[Pixels | None, str]:
        """Convert (H, W) grey, (H, W, 3) RGB or (H, W, 4) CMYK pixels (0 no ink), uint8 or uint16, to (H, W, 3) uint8 sRGB.

        Returns:
            The converted pixels with the flag "icc_converted", or None with "" (already sRGB) or "icc_ignored".
        """
        from PIL import Image, ImageCms

        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        transform = self.transform(profile, channels)
        if isinstance(transform, str):
            return None, "" if transform == "srgb" else transform
        converted = np.empty((*pixels.shape[:2], 3), dtype=np.uint8)
        for rows in blocks(pixels):
            part = np.ascontiguousarray(pixels[rows])
            if part.dtype == np.uint16 and channels != 4:
                converted[rows] = _deep_to_srgb(part, profile)
                continue
            image = Image.fromarray(to_eight_bits(part) if part.dtype == np.uint16 else part, _MODES[channels][1])
            done = ImageCms.applyTransform(image, transform)
            converted[rows] = np.asarray(done if done is not None else image)
        return converted, "icc_converted"


def _deep_to_srgb(pixels: Array, profile: bytes) -> Pixels:
    """Convert 16-bit pixels without rounding them to 8 bits first, which would cut linear light into steps of 13 levels.

    LittleCMS works unoptimised here: its table for one channel has too few points for the dark end of a curve (9 levels off).
    """
    import imagecodecs

    converted = imagecodecs.cms_transform(
        pixels, profile, imagecodecs.cms_profile("srgb"), colorspace="gray" if pixels.ndim == 2 else "rgb",
        outcolorspace="rgb", outdtype="uint8", intent=1, flags=0x2000 | 0x0100,
    )  # fmt: skip
    return np.asarray(converted, dtype=np.uint8)


def blocks(pixels: Array) -> Iterator[slice]:
    """Yield slices of rows that cover a picture, about `_BLOCK` pixels each."""
    step = max(1, _BLOCK // max(1, pixels.shape[1]))
    for start in range(0, len(pixels), step):
        yield slice(start, start + step)


def _build(profile: bytes, channels: int) -> Any:
    """Build the transform of one profile: relative colorimetric with black point compensation, as browsers do."""
    from PIL import Image, ImageCms

    space, mode = _MODES[channels]
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if opened.profile.xcolor_space != space:
            return "icc_ignored"
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        if channels == 1:  # as in `_deep_to_srgb`
            flags |= ImageCms.Flags.NOOPTIMIZE
        transform = ImageCms.buildTransform(
            opened, ImageCms.createProfile("sRGB"), mode, "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC, flags,
        )  # fmt: skip
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return "icc_ignored"
    if channels == 4:
        return transform
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(27, 27, 3) if channels == 3 else levels[None]
    converted = ImageCms.applyTransform(Image.fromarray(np.ascontiguousarray(grid), mode), transform)
    change = np.abs(np.asarray(converted).astype(int) - (grid if channels == 3 else grid[..., None]))
    return "srgb" if int(change.max()) <= NEAR_SRGB else transform


def cmyk_to_rgb(ink: Pixels) -> Pixels:
    """Turn (H, W, 4) CMYK, 0 no ink and 255 full ink, into (H, W, 3) RGB without a profile.

    Each colour is what its ink and black let through: R = (255 - C)(255 - K) / 255, rounded; likewise G and B.
    """
    colours = np.empty((*ink.shape[:2], 3), dtype=np.uint8)
    for rows in blocks(ink):
        light = 255 - ink[rows].astype(np.uint32)
        colours[rows] = (light[..., :3] * light[..., 3:] + 127) // 255
    return colours


def to_eight_bits(pixels: Array) -> Pixels:
    """Scale 16-bit values to 8 bits: v / 257, rounded to nearest, so that 0 and 65535 become 0 and 255."""
    levels = np.empty(pixels.shape, dtype=np.uint8)
    for rows in blocks(pixels):
        levels[rows] = (pixels[rows].astype(np.uint32) + 128) // 257
    return levels


def composite(pixels: Pixels, alpha: Pixels, background: tuple[int, int, int]) -> Pixels:
    """Lay (H, W, 3) pixels over a plain background: (c * a + b * (255 - a)) / 255, rounded to nearest."""
    mixed = np.empty_like(pixels)
    under = np.asarray(background, dtype=np.uint32)
    for rows in blocks(pixels):
        weight = alpha[rows].astype(np.uint32)[..., None]
        mixed[rows] = (pixels[rows] * weight + under * (255 - weight) + 127) // 255
    return mixed


def upright(array: Array, orientation: int) -> Array:
    """Turn a (H, W) or (H, W, C) array as EXIF orientation 1 to 8 says; the result is contiguous.

    EXIF 2.32, sec. 4.6.4: orientation names where row 0 and column 0 of the stored picture lie in the upright one.
    """
    import cv2

    turns = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}
    if orientation in turns:
        return cv2.rotate(array, turns[orientation])
    if orientation in (5, 7):
        turned = cv2.transpose(array)
        return turned if orientation == 5 else cv2.rotate(turned, cv2.ROTATE_180)
    if orientation in (2, 4):
        return cv2.flip(array, 1 if orientation == 2 else 0)
    return np.ascontiguousarray(array)


def upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Return (width, height) after EXIF orientation."""
    return (height, width) if orientation >= 5 else (width, height)
