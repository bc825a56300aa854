"""Pictures of fabrics, painted by numbers: knit, twill, straw, stripes, checks, dots and blots, with the shade of stitches."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats, Pixels
from ..hair.look import Colour
from .look import Fabric

HEIGHT, WIDTH = 256, 512
"""Texels of a fabric's picture."""


def paint(fabric: Fabric, around: float, high: float, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> Pixels:
    """Paint a piece of fabric.

    Args:
        fabric: what it is.
        around: its width in centimetres, along the picture's rows; patterns close where the picture's sides meet.
        high: its height in centimetres.
        shape: rows and columns of the picture.

    Returns:
        (H, W, 4) uint8 sRGB and full opacity.
    """
    random = np.random.Generator(np.random.Philox(fabric.seed))
    v, u = np.meshgrid(np.linspace(0.0, high, shape[0]), np.linspace(0.0, around, shape[1], endpoint=False), indexing="ij")
    first, second = np.array(fabric.colour), np.array(fabric.second)
    share: Any = np.zeros(shape)
    shade: Floats = np.ones(shape)
    scale = fabric.scale
    if fabric.pattern == "knit":
        shade = knitted(u, v, around, 0.55 * scale)
        share = _bands(v, high, random) * (random.random() < 0.45)
    elif fabric.pattern == "twill":
        shade = 1.0 + 0.10 * np.sin(2.0 * np.pi * (u * _whole(around, 0.25 * scale) + v / (0.25 * scale)))
        shade = shade + 0.06 * random.standard_normal(shape)
    elif fabric.pattern == "stripes":
        share = (np.sin(2.0 * np.pi * v / (1.6 * scale)) > 0.1).astype(np.float64)
    elif fabric.pattern == "check":
        across = np.sin(2.0 * np.pi * u * _whole(around, 2.4 * scale)) > 0.2
        share = 0.5 * across + 0.5 * (np.sin(2.0 * np.pi * v / (2.4 * scale)) > 0.2)
    elif fabric.pattern == "dots":
        share = _dots(u, v, around, 1.5 * scale)
    elif fabric.pattern == "blots":
        share = _blots(shape, around, high, 1.8 * scale, random)
    elif fabric.pattern == "straw":
        shade = plaited(u, v, around, 0.6 * scale) + 0.08 * random.standard_normal(shape)
        share = _blots(shape, around, high, 0.5, random, soft=True)
    elif fabric.pattern == "panels":
        share = (np.sin(np.pi * u / around * 6.0) > 0.0).astype(np.float64)
    share = cv2.GaussianBlur(share.astype(np.float32), (0, 0), 0.7)[..., None]
    worn = _blots(shape, around, high, 7.0, random, soft=True)
    shade = shade * (1.0 + 0.05 * random.standard_normal(shape)) * (0.93 + 0.12 * worn)
    return opaque((first * (1.0 - share) + second * share) * shade[..., None])


def opaque(colour: Floats) -> Pixels:
    """Return (H, W, 3) colours from 0 to 1 as (H, W, 4) bytes with full opacity."""
    picture = np.clip(np.round(255.0 * colour), 0, 255).astype(np.uint8)
    return np.dstack([picture, np.full(picture.shape[:2], 255, dtype=np.uint8)])


def plain(colour: Colour, opacity: float = 1.0) -> Pixels:
    """Return a picture of two by two texels of one colour."""
    picture = np.empty((2, 2, 4), dtype=np.uint8)
    picture[..., :3] = np.clip(np.round(255.0 * np.array(colour)), 0, 255)
    picture[..., 3] = round(255.0 * opacity)
    return picture


def knitted(u: Floats, v: Floats, around: float, stitch: float) -> Floats:
    """Return the shade of stocking stitch, rows of V, where columns are `stitch` centimetres wide."""
    column = u * _whole(around, stitch)
    lean = np.abs(column % 1.0 - 0.5)  # 0 in the middle of a stitch
    row = v / (0.75 * stitch) + 1.1 * lean
    return np.asarray(0.80 + 0.24 * np.abs(np.cos(np.pi * row)) ** 0.7 - 0.22 * np.exp(-(((0.5 - lean) / 0.10) ** 2)))


def plaited(u: Floats, v: Floats, around: float, wide: float) -> Floats:
    """Return the shade of straw: bands `wide` centimetres high that run around, each a plait of slanting stalks."""
    band = np.floor(v / wide)
    along = u * _whole(around, 0.5 * wide) + np.where(band % 2 > 0, 1.0, -1.0) * (v / wide - band) * 0.8
    stalk = 0.80 + 0.30 * np.abs(np.cos(np.pi * along)) ** 0.8
    seam = np.exp(-(((v / wide - band - 0.5) ** 2 - 0.25) ** 2) / 0.004)
    return np.asarray(stalk - 0.28 * seam)


def _whole(around: float, wanted: float) -> float:
    """Return the periods per centimetre nearest to 1 / `wanted` of which a whole number closes around."""
    return float(max(round(around / wanted), 1) / around)


def _bands(v: Floats, high: float, random: np.random.Generator) -> Floats:
    """Return some bands along a piece."""
    edges = np.sort(random.uniform(0.0, high, 2 * int(random.integers(1, 5))))
    return np.asarray(np.searchsorted(edges, v) % 2, dtype=np.float64)


def _dots(u: Floats, v: Floats, around: float, step: float) -> Floats:
    column = u * _whole(around, step)
    row = v / step
    column = column + 0.5 * (np.floor(row) % 2)
    return np.asarray(np.hypot(column % 1.0 - 0.5, row % 1.0 - 0.5) < 0.27, dtype=np.float64)


def _blots(
    shape: tuple[int, int], around: float, high: float, size: float, random: np.random.Generator, soft: bool = False
) -> Floats:
    """Return blots of a size in centimetres that close around; `soft` ones from 0 to 1 without edges."""
    pad = shape[1] // 4
    noise: Array = random.standard_normal(shape).astype(np.float32)
    wide = np.concatenate([noise[:, -pad:], noise, noise[:, :pad]], axis=1)
    sigma_x, sigma_y = 0.35 * size * shape[1] / around, 0.35 * size * shape[0] / high
    smooth = cv2.GaussianBlur(wide, (0, 0), sigmaX=min(sigma_x, 60.0), sigmaY=min(sigma_y, 60.0))[:, pad:-pad]
    level = (smooth - smooth.mean()) / max(float(smooth.std()), 1e-9)
    if soft:
        return np.asarray(np.clip(0.5 + 0.35 * level, 0.0, 1.0), dtype=np.float64)
    return np.asarray(level > 0.45, dtype=np.float64)
