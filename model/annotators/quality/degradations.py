"""Takes pictures of rendered heads as a camera does and spoils them by known strengths: what the quality network learns from.

Lenses blur before the sensor's noise, software works after it, and files are compressed last. Every strength is known from what
was done, never measured. What the network makes of them is left to `network`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.kernels import disk, line

STRENGTHS = ("blur_px", "enlargement", "noise", "smoothing", "halo")
"""Names of what is told, in the network's order."""
UNSPOILT = 0.35
"""Share of pictures that nothing is done to but what every camera does."""
TWICE = 0.25
"""Share of the spoilt ones to which two things are done."""
KINDS = ("blur", "enlarge", "noise", "smooth", "sharpen", "compress")
_SHARES = (0.30, 0.14, 0.14, 0.14, 0.14, 0.14)
"""How often each kind is drawn: there are three ways to blur."""
_LEVEL = 0.3
"""Share of the motions that are level or upright, as pans and steps are: they leave the other direction as sharp as it was."""
_TEXTURE = 1.5
"""Gaussian in pixels beyond which detail is no fine texture."""
_ENLARGED_BLUR = 0.35
"""Blur of an enlargement in pixels for each time: the box that shrank it and the kernel that enlarged it."""
_WAYS = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


@dataclass(frozen=True, eq=False)
class Spoilt:
    """A picture and what was done to it."""

    picture: Pixels
    """(H, W) luma."""
    strengths: Floats
    """(5,) by `STRENGTHS`: blur as the standard deviation in pixels of a Gaussian along the worst direction, the camera's own
    softness in it; pixels per pixel that there was; noise of luma in grey levels; share of fine texture that a
    filter took; overshoot of a step as a share of its height."""
    known: Floats
    """(5,) 1 where a strength is told, 0 where what else was done hides it."""


def spoil(clean: Pixels, random: np.random.Generator) -> Spoilt:
    """Take a picture of an (H, W) clean luma and spoil it by chance."""
    kinds: set[str] = set()
    if random.random() >= UNSPOILT:
        kinds = set(random.choice(KINDS, 2 if random.random() < TWICE else 1, replace=False, p=_SHARES).tolist())
    picture = _lit_otherwise(clean, random)
    softness = float(random.uniform(0.35, 0.8))
    blur = softness
    if "blur" in kinds:
        picture, sigma = _out_of_focus(picture, random)
        blur = math.hypot(softness, sigma)
    picture = cv2.GaussianBlur(picture, (0, 0), softness)
    noise = float(random.uniform(0.3, 2.5))
    picture = picture + noise * _sensor_noise(picture.shape, random)
    shown = _bytes(picture)
    least = int(random.integers(80, 97))
    if random.random() < 0.5:
        shown = jpeg(shown, least)
    smoothing, overshoot, enlargement = 0.0, 0.0, 1.0
    if "enlarge" in kinds:
        enlargement = float(np.exp(random.uniform(math.log(1.4), math.log(5.0))))
        shown = _enlarged(shown, enlargement, random)
        blur = math.hypot(blur, _ENLARGED_BLUR * enlargement)
        noise /= enlargement
    elif random.random() < 0.4:
        scale = float(random.uniform(0.5, 1.0))
        shown = _downsized(shown, scale, random)
        blur, noise = math.hypot(scale * blur, 0.3), scale * noise
    if "smooth" in kinds:
        shown, smoothing = smoothed(shown, random)
        noise *= 1.0 - smoothing
    if "sharpen" in kinds or random.random() < 0.25:
        amount = float(random.uniform(0.8, 3.5) if "sharpen" in kinds else random.uniform(0.1, 0.5))
        sigma = float(random.uniform(0.8, 2.5))
        soft = cv2.GaussianBlur(shown, (0, 0), sigma)
        overshoot = overshoot_of(amount, sigma, blur)
        shown = np.asarray(cv2.addWeighted(shown, 1.0 + amount, soft, -amount, 0.0), dtype=np.uint8)
    if "noise" in kinds:
        added = float(np.exp(random.uniform(math.log(3.5), math.log(18.0))))
        shown = _bytes(shown + added * random.standard_normal(shown.shape, dtype=np.float32))
        noise = math.hypot(noise, added)
    last = int(random.integers(8, 50)) if "compress" in kinds else int(random.integers(70, 98))
    shown = jpeg(shown, last)
    if random.random() < 0.2:
        shown = jpeg(shown, int(random.integers(85, 96)))
    strengths = np.array([blur, enlargement, noise, smoothing, overshoot])
    return Spoilt(shown, strengths, _known(kinds, strengths, "compress" in kinds and last < 30))


def _known(kinds: set[str], strengths: Floats, coarse: bool) -> Floats:
    """Return which strengths can still be told: coarse files hide texture and edges, filters hide noise."""
    known = np.ones(len(STRENGTHS))
    known[0] = 0.0 if "sharpen" in kinds or coarse else 1.0
    known[1] = 0.0 if coarse else 1.0
    known[2] = 0.0 if "sharpen" in kinds or "smooth" in kinds or "compress" in kinds or "enlarge" in kinds else 1.0
    known[3] = 0.0 if strengths[0] > 1.1 or coarse or "noise" in kinds else 1.0
    known[4] = 0.0 if coarse or "enlarge" in kinds else 1.0
    return known


def jpeg(picture: Pixels, quality: int) -> Pixels:
    """Return an (H, W) luma as a JPEG of a quality shows it."""
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def overshoot_of(amount: float, sigma: float, blur: float) -> float:
    """Return how far an unsharp mask takes a blurred step beyond its height.

    A step under a Gaussian of `blur` is the normal distribution's integral of x / blur; the mask adds `amount` times its
    difference from that of a Gaussian of hypot(blur, sigma). The largest sum beyond 1 is found on a line of points.
    """
    x = np.linspace(0.0, 8.0, 81)
    widths = math.sqrt(2.0) * np.array([blur, math.hypot(blur, sigma)])
    narrow, wide = (np.array([0.5 + 0.5 * math.erf(value / width) for value in x]) for width in widths)
    return float(np.max(narrow + amount * (narrow - wide)) - 1.0)


def smoothed(picture: Pixels, random: np.random.Generator) -> tuple[Pixels, float]:
    """Smooth a picture as filters do that keep edges; return it and the share of its fine texture that is gone."""
    way = int(random.integers(4))
    if way == 3:
        deviation = float(random.uniform(3.0, 12.0))
        result = cv2.fastNlMeansDenoising(picture, None, deviation, 3, 9)
    else:
        deviation, times = float(random.uniform(20.0, 90.0)), int(random.integers(1, 4))
        coloured = cv2.merge([picture] * 3)  # the filter adds up the channels' distances
        for _ in range(times):
            coloured = cv2.bilateralFilter(coloured, 9 if way else 5, deviation, deviation)
        result = coloured[..., 0]
    strength = float(random.uniform(0.6, 1.0)) if random.random() < 0.3 else 1.0
    result = cv2.addWeighted(result, strength, picture, 1.0 - strength, 0.0)
    return np.asarray(result, dtype=np.uint8), max(0.0, 1.0 - _texture(result) / max(_texture(picture), 1e-3))


def _texture(picture: Array) -> float:
    """Return the fine texture of the calmer half of a picture in grey levels."""
    grey = picture.astype(np.float32)
    fine = np.abs(grey - cv2.GaussianBlur(grey, (0, 0), _TEXTURE))
    calm = cv2.GaussianBlur(fine, (0, 0), 4.0)
    return float(fine[calm <= np.median(calm)].mean())


def _lit_otherwise(clean: Pixels, random: np.random.Generator) -> Array:
    """Change scale, contrast and brightness, none of which spoils a picture."""
    scale = float(random.uniform(0.5, 1.0))
    small = cv2.resize(clean, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32)
    bent = 255.0 * (small / 255.0) ** np.float32(np.exp(random.normal(0.0, 0.25)))
    return np.asarray(
        np.clip(128.0 + (bent - 128.0) * np.float32(np.exp(random.normal(0.0, 0.2))), 0.0, 255.0), dtype=np.float32
    )


def _out_of_focus(picture: Array, random: np.random.Generator) -> tuple[Array, float]:
    """Blur by a Gaussian, a disk or a motion; return also the standard deviation along the worst direction."""
    way = int(random.integers(3))
    if way == 0:
        sigma = float(np.exp(random.uniform(math.log(0.6), math.log(4.0))))
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma)), sigma
    if way == 1:
        radius = float(np.exp(random.uniform(math.log(1.2), math.log(6.0))))
        return np.asarray(cv2.filter2D(picture, -1, disk(radius), borderType=cv2.BORDER_REFLECT)), radius / 2.0
    length = float(np.exp(random.uniform(math.log(3.0), math.log(18.0))))
    angle = 0.5 * math.pi * int(random.integers(2)) if random.random() < _LEVEL else float(random.uniform(0.0, math.pi))
    moved = cv2.filter2D(picture, -1, line(length, angle), borderType=cv2.BORDER_REFLECT)
    return np.asarray(moved), length / math.sqrt(12.0)


def _sensor_noise(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Return noise of deviation 1, alike in neighbours as demosaicing and cleaning leave it."""
    noise = random.standard_normal(shape, dtype=np.float32)
    width = float(random.uniform(0.0, 0.9))
    if width > 0.3:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), width), dtype=np.float32)
    return noise / np.float32(noise.std())


def _enlarged(picture: Pixels, times: float, random: np.random.Generator) -> Pixels:
    """Return a picture that was made smaller and as large as before."""
    less = (max(16, round(side / times)) for side in picture.shape[1::-1])
    way = cv2.INTER_AREA if random.random() < 0.7 else cv2.INTER_CUBIC
    small = np.asarray(cv2.resize(picture, tuple(less), interpolation=way), dtype=np.uint8)
    if random.random() < 0.4:
        small = jpeg(small, int(random.integers(60, 96)))
    return np.asarray(cv2.resize(small, picture.shape[1::-1], interpolation=_WAYS[int(random.integers(len(_WAYS)))]))


def _downsized(picture: Pixels, scale: float, random: np.random.Generator) -> Pixels:
    """Return a picture made smaller, as programs do before they publish it: no defect."""
    way = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(random.integers(3))]
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=way))


def _bytes(picture: Array) -> Pixels:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
