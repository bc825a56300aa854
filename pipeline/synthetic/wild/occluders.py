"""What comes between camera and people: hands, phones, poles, leaves and shoulders out of focus, drawn flat with soft shading.

Where a head lies is told by its box; labels of what is hidden are `scene`'s.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.images.colour_space import srgb_to_linear
from .people import Box

SHARE = 0.28
"""Share of photographs with an occluder."""
KINDS = ("hand", "phone", "pole", "leaves", "shoulder", "patch")
SKINS = ((0.92, 0.74, 0.62), (0.80, 0.60, 0.46), (0.58, 0.40, 0.28), (0.36, 0.24, 0.17))
"""sRGB of hands."""
_FINE = 4
"""Samples a pixel along each axis of outlines."""


def draw_occluder(random: np.random.Generator, size: int, box: Box) -> Array:
    """Draw one occluder over a part of a head.

    Args:
        random: source of chance.
        size: side of the photograph in pixels.
        box: x, y, width and height of the head.

    Returns:
        (S, S, 4) float32 linear colours times opacity, and opacity.
    """
    x, y, width, height = box
    kind = KINDS[int(random.choice(len(KINDS), p=[0.3, 0.15, 0.12, 0.13, 0.15, 0.15]))]
    scale = 0.5 * (width + height)
    centre = np.array([x + width * random.uniform(-0.1, 1.1), y + height * random.uniform(0.1, 1.15)])
    outlines = {"hand": _hand, "phone": _phone, "pole": _pole, "leaves": _leaves, "shoulder": _shoulder, "patch": _patch}
    shapes, colour = outlines[kind](random, scale)
    angle = float(random.uniform(-math.pi, math.pi)) if kind in ("hand", "phone", "patch", "leaves") else 0.0
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    mask = _filled([shape @ turn.T + centre for shape in shapes], size)
    blur = size * float(random.uniform(0.006, 0.03)) if kind in ("shoulder", "leaves") else float(random.uniform(0.2, 0.8))
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), blur), dtype=np.float32)
    round_off = np.asarray(cv2.GaussianBlur(mask, (0, 0), max(0.06 * scale, 0.5)), dtype=np.float32)
    axis = (np.arange(size, dtype=np.float32) - size / 2.0) / size
    tilt = random.uniform(-0.5, 0.5, 2).astype(np.float32)
    shade = np.clip(0.35 + 0.65 * round_off + tilt[0] * axis[None, :] + tilt[1] * axis[:, None], 0.1, 1.3)
    light = srgb_to_linear(np.asarray(colour)).astype(np.float32) * np.float32(random.uniform(0.5, 1.1))
    return np.dstack([mask[..., None] * shade[..., None] * light, mask]).astype(np.float32)


def _filled(shapes: list[Floats], size: int) -> Array:
    """Return (S, S) float32 cover of closed outlines in pixels."""
    canvas = np.zeros((size * _FINE, size * _FINE), dtype=np.uint8)
    for shape in shapes:
        cv2.fillPoly(canvas, [np.round(np.clip(shape, -4 * size, 5 * size) * _FINE).astype(np.int32)], 255)
    return np.asarray(cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA), dtype=np.float32) / np.float32(255.0)


def _capsule(start: Floats, end: Floats, first: float, last: float) -> Floats:
    """Return the outline of a finger or arm: a rounded line that is `first` wide at its start and `last` at its end."""
    along = (end - start) / max(float(np.linalg.norm(end - start)), 1e-6)
    heading = math.atan2(along[1], along[0])
    front = heading + np.linspace(-math.pi / 2, math.pi / 2, 9)
    back = heading + np.linspace(math.pi / 2, 3 * math.pi / 2, 9)
    ends = [end + last * np.column_stack([np.cos(front), np.sin(front)]),
            start + first * np.column_stack([np.cos(back), np.sin(back)])]  # fmt: skip
    return np.vstack(ends)


def _hand(random: np.random.Generator, scale: float) -> tuple[list[Floats], Floats]:
    """Palm, four fingers more or less spread, a thumb and an arm; a hand is about as long as a face."""
    unit = scale * float(random.uniform(0.55, 0.85))
    spread, bend = float(random.uniform(0.03, 0.16)), float(random.uniform(0.5, 1.0))
    shapes = [_capsule(np.array([0.0, 0.28 * unit]), np.array([0.0, 0.0]), 0.17 * unit, 0.21 * unit)]
    for finger, length in enumerate((0.40, 0.46, 0.43, 0.33)):
        root = np.array([(finger - 1.5) * 0.105 * unit, -0.12 * unit])
        angle = -math.pi / 2 + (finger - 1.5) * spread
        tip = root + length * bend * unit * np.array([math.cos(angle), math.sin(angle)])
        shapes.append(_capsule(root, tip, 0.055 * unit, 0.043 * unit))
    shapes.append(_capsule(np.array([0.14, 0.16]) * unit, np.array([0.36, -0.06]) * unit, 0.07 * unit, 0.05 * unit))
    shapes.append(_capsule(np.array([0.0, 0.3]) * unit, np.array([0.05, 2.4]) * unit, 0.13 * unit, 0.2 * unit))
    colour = np.array(SKINS[int(random.integers(len(SKINS)))]) * random.uniform(0.85, 1.1)
    return shapes, np.clip(colour, 0.0, 1.0)


def _phone(random: np.random.Generator, scale: float) -> tuple[list[Floats], Floats]:
    half = scale * np.array([0.17, 0.34]) * random.uniform(0.7, 1.2)
    corner = 0.2 * half[0]
    angles = np.linspace(0.0, 2.0 * math.pi, 33)
    rounded = np.column_stack([np.cos(angles), np.sin(angles)])
    return [np.sign(rounded) * (half - corner) + corner * rounded], random.uniform(0.02, 0.35, 3) * np.ones(3)


def _pole(random: np.random.Generator, scale: float) -> tuple[list[Floats], Floats]:
    half, lean = scale * float(random.uniform(0.04, 0.2)), float(random.normal(0.0, 0.15))
    end = 12.0 * scale * np.array([math.sin(lean), math.cos(lean)])
    if random.random() < 0.3:
        end = end[::-1].copy()
    side = half * np.array([end[1], -end[0]]) / np.linalg.norm(end)
    return [np.array([-end - side, -end + side, end + side, end - side])], random.uniform(0.05, 0.9, 3)


def _leaves(random: np.random.Generator, scale: float) -> tuple[list[Floats], Floats]:
    shapes = []
    angles = np.linspace(0.0, 2.0 * math.pi, 17)
    for _ in range(int(random.integers(4, 14))):
        length, heading = scale * float(random.uniform(0.1, 0.35)), float(random.uniform(0.0, 2.0 * math.pi))
        leaf = np.column_stack([length * np.cos(angles), 0.35 * length * np.sin(angles) * np.abs(np.sin(angles))])
        turn = np.array([[math.cos(heading), -math.sin(heading)], [math.sin(heading), math.cos(heading)]])
        shapes.append(leaf @ turn.T + random.normal(0.0, 0.45 * scale, 2))
    return shapes, np.array([random.uniform(0.1, 0.5), random.uniform(0.25, 0.6), random.uniform(0.05, 0.25)])


def _shoulder(random: np.random.Generator, scale: float) -> tuple[list[Floats], Floats]:
    """Somebody's shoulder before the camera: a wide round shape that runs out of the picture below."""
    half = scale * float(random.uniform(0.7, 1.6))
    angles = np.linspace(math.pi, 2.0 * math.pi, 25)
    top = np.column_stack([half * np.cos(angles), 0.6 * half * np.sin(angles) + 0.55 * half])
    below = np.array([[half, 14.0 * scale], [-half, 14.0 * scale]])
    return [np.vstack([top, below])], random.uniform(0.05, 0.8, 3)


def _patch(random: np.random.Generator, scale: float) -> tuple[list[Floats], Floats]:
    """Anything: a polygon with few corners or a smooth blob."""
    count = int(random.choice([4, 5, 24]))
    angles = np.sort(random.uniform(0.0, 2.0 * math.pi, count)) if count < 10 else np.linspace(0.0, 2.0 * math.pi, count)
    reach = scale * random.uniform(0.12, 0.45) * (random.uniform(0.6, 1.3, count) if count < 10 else np.ones(count))
    stretch = np.array([1.0, random.uniform(0.4, 1.6)])
    return [np.column_stack([np.cos(angles), np.sin(angles)]) * reach[:, None] * stretch], random.uniform(0.02, 0.95, 3)
