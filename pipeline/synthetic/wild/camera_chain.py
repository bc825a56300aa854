"""What a camera and the web make of light: blur, noise, white balance, tone, sharpening, resizing and JPEG.

Every step keeps the geometry: kernels are symmetric about their middle, and pictures are made smaller and larger again about
the same half-pixel grid, so that labels hold through all of them.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.images.colour_space import linear_to_srgb
from ....datasets.kernels import disk, line

SUBSAMPLINGS = (
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
)  # fmt: skip
"""How JPEG's colours are thinned out."""
_TABLE_SIZE = 4096
_TONE: Floats = linear_to_srgb(np.arange(_TABLE_SIZE) / (_TABLE_SIZE - 1.0))


def expose_and_store(light: Array, random: np.random.Generator, blur_side: int = 0) -> tuple[Pixels, bytes]:
    """Return what is stored of (S, S, 3) linear light, white at 1: the picture as sRGB, and its last JPEG.

    Args:
        light: what falls on the sensor.
        random: source of chance.
        blur_side: side in pixels of the picture whose blur it has, pixel by pixel; 0 for its own, so that a larger picture of
            the same place shows no more.
    """
    picture = np.ascontiguousarray(light, dtype=np.float32)
    picture = _blurred(picture, random, (blur_side or picture.shape[0]) / 256.0)
    picture = _balanced(picture, random)
    picture = _noisy(picture, random)
    shown = _developed(picture, random)
    shown = _resized(shown, random)
    shown = _sharpened(shown, random)
    return _stored(np.clip(np.rint(255.0 * shown), 0, 255).astype(np.uint8), random)


def _chance(random: np.random.Generator, share: float) -> bool:
    return bool(random.random() < share)


def _blurred(picture: Array, random: np.random.Generator, unit: float) -> Array:
    """Blur by defocus or by motion; the widths are in `unit` pixels."""
    if _chance(random, 0.30):
        radius = float(np.exp(random.uniform(math.log(0.5), math.log(2.6)))) * unit
        picture = cv2.filter2D(picture, -1, disk(radius), borderType=cv2.BORDER_REFLECT_101)
    if _chance(random, 0.12):
        length, angle = float(random.uniform(2.0, 9.0)) * unit, float(random.uniform(0.0, math.pi))
        picture = cv2.filter2D(picture, -1, line(length, angle), borderType=cv2.BORDER_REFLECT_101)
    return picture


def _balanced(picture: Array, random: np.random.Generator) -> Array:
    """Miss exposure and white balance by chance, and darken the corners."""
    exposure = float(np.exp2(random.normal(0.0, 0.35)))
    warm, tint = float(random.normal(0.0, 0.10)), float(random.normal(0.0, 0.03))
    gains = exposure * np.exp(np.array([warm, tint, -warm]))
    picture = picture * gains.astype(np.float32)
    if _chance(random, 0.30):
        axis = (np.arange(picture.shape[0], dtype=np.float32) + 0.5) / picture.shape[0] * 2.0 - 1.0
        away = axis[None, :] ** 2 + axis[:, None] ** 2
        picture *= (1.0 - np.float32(random.uniform(0.05, 0.35)) * away / 2.0)[..., None]
    return picture


def _noisy(picture: Array, random: np.random.Generator) -> Array:
    """Add shot and read noise as at ISO 50 to 12,800, also smeared as cameras' own cleaning leaves it."""
    iso = float(np.exp(random.uniform(math.log(50.0), math.log(12800.0))))
    shot, read = 2.2e-6 * iso, 1.1e-6 * iso + 4e-4
    noise = random.standard_normal(picture.shape, dtype=np.float32)
    if _chance(random, 0.5):
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), float(random.uniform(0.4, 1.0))), dtype=np.float32)
    grey = noise.mean(axis=2, keepdims=True) * np.float32(1.7)
    noise += (grey - noise) * np.float32(random.uniform(0.0, 1.0))
    return np.asarray(picture + noise * np.sqrt(np.maximum(picture, 0.0) * np.float32(shot) + np.float32(read**2)))


def _developed(picture: Array, random: np.random.Generator) -> Array:
    """Compress highlights, go to sRGB, and change contrast, saturation and colour; returns values from 0 to 1."""
    knee = float(random.uniform(0.55, 0.9))
    above = np.maximum(picture - np.float32(knee), 0.0)
    picture = np.minimum(picture, np.float32(knee)) + np.float32(1.0 - knee) * (1.0 - np.exp(-above / np.float32(1.0 - knee)))
    index = np.clip(picture * np.float32(_TABLE_SIZE - 1), 0, _TABLE_SIZE - 1).astype(np.int32)
    shown = _TONE.astype(np.float32)[index]
    bend = np.float32(random.normal(0.0, 0.35))
    shown = shown + bend * shown * (1.0 - shown) * (shown - np.float32(0.5)) * 2.0
    grey = (shown @ np.array([0.299, 0.587, 0.114], dtype=np.float32))[..., None]
    saturation = 0.0 if _chance(random, 0.08) else float(np.exp(random.normal(0.0, 0.18)))
    shown = grey + (shown - grey) * np.float32(saturation)
    if saturation == 0.0 and _chance(random, 0.4):
        shown = shown * np.array([1.07, 1.0, 0.86], dtype=np.float32)  # sepia
    return np.asarray(np.clip(shown, 0.0, 1.0))


def _resized(shown: Array, random: np.random.Generator) -> Array:
    """Make a picture smaller and as large as before by chance, as copies of copies are."""
    if not _chance(random, 0.35):
        return shown
    size = shown.shape[0]
    small = max(16, round(size * float(random.uniform(0.3, 0.95))))
    less = cv2.resize(shown, (small, small), interpolation=cv2.INTER_AREA)
    way = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)[int(random.integers(3))]
    return np.asarray(np.clip(cv2.resize(less, (size, size), interpolation=way), 0.0, 1.0))


def _sharpened(shown: Array, random: np.random.Generator) -> Array:
    """Sharpen by chance, with halos where it is strong."""
    if not _chance(random, 0.35):
        return shown
    soft = cv2.GaussianBlur(shown, (0, 0), float(random.uniform(0.6, 2.0)))
    return np.asarray(np.clip(shown + np.float32(random.uniform(0.2, 1.6)) * (shown - soft), 0.0, 1.0))


def _stored(picture: Pixels, random: np.random.Generator) -> tuple[Pixels, bytes]:
    """Save as JPEG once or twice, and return what the last file shows, and the file."""
    qualities = np.clip(np.rint(95.0 - 75.0 * random.beta(0.9, 2.0, 2)), 20, 95).astype(int)
    data = b""
    for quality in qualities[: 2 if _chance(random, 0.5) else 1]:
        factor = SUBSAMPLINGS[int(random.choice(3, p=[0.6, 0.2, 0.2]))]
        options = [cv2.IMWRITE_JPEG_QUALITY, int(quality), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
        data = bytes(cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), options)[1])
        read = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
        picture = np.ascontiguousarray(np.asarray(read, dtype=np.uint8)[..., ::-1])
    return picture, data
