"""What lies behind the people of a photograph: drawn scenes, noise, stripes, and skimage's free pictures if it is installed.

None of them shows a person: skimage's pictures with people are left out.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import cv2
import numpy as np

from ....datasets.arrays import Array, Pixels
from ..rendering.light import draw_background

FREE_PICTURES = (
    "brick.png", "chelsea.png", "chessboard_RGB.png", "clock_motion.png", "coffee.png", "coins.png", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "motorcycle_right.png", "retina.jpg",
    "rocket.jpg", "text.png",
)  # fmt: skip
"""skimage's pictures that show nobody, all free (see its data/README.txt)."""


@cache
def free_pictures() -> tuple[Pixels, ...]:
    """Return skimage's pictures, (H, W, 3) sRGB at most 512 px wide; none where it is not installed."""
    try:
        folder = resources.files("skimage").joinpath("data")
    except ModuleNotFoundError:
        return ()
    found = []
    for name in FREE_PICTURES:
        file = folder.joinpath(name)
        if not file.is_file():
            continue
        picture = cv2.imdecode(np.frombuffer(file.read_bytes(), dtype=np.uint8), cv2.IMREAD_COLOR)
        if picture is not None:
            scale = min(1.0, 640.0 / max(picture.shape[:2]))
            small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            found.append(np.asarray(np.ascontiguousarray(small[..., ::-1]), dtype=np.uint8))
    return tuple(found)


def draw_ground(random: np.random.Generator, size: int) -> Pixels:
    """Draw an (S, S, 3) sRGB background."""
    kind = random.random()
    pictures = free_pictures()
    if kind < 0.40 and pictures:
        picture = _cut(random, pictures[int(random.integers(len(pictures)))], size)
    elif kind < 0.60:
        picture = _noise(random, size)
    elif kind < 0.70:
        picture = _stripes(random, size)
    else:
        picture = draw_background(random, size).astype(np.float32)
    if random.random() < 0.45:  # out of focus
        picture = cv2.GaussianBlur(picture, (0, 0), float(size * np.exp(random.uniform(np.log(0.003), np.log(0.05)))))
    return np.asarray(np.clip(np.rint(picture), 0, 255), dtype=np.uint8)


def _cut(random: np.random.Generator, picture: Pixels, size: int) -> Array:
    """Cut a square out of a picture, mirrored, turned by right angles and recoloured by chance."""
    side = int(min(picture.shape[:2]) * random.uniform(0.35, 1.0))
    top, left = (int(random.integers(0, length - side + 1)) for length in picture.shape[:2])
    cut = np.rot90(picture[top : top + side, left : left + side], int(random.integers(4)))
    if random.random() < 0.5:
        cut = cut[:, ::-1]
    way = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    resized = cv2.resize(np.ascontiguousarray(cut), (size, size), interpolation=way)
    coloured = resized.astype(np.float32) * random.uniform(0.6, 1.15, 3).astype(np.float32) + np.float32(
        random.uniform(-20, 20)
    )
    return np.asarray(np.clip(coloured, 0, 255))


def _noise(random: np.random.Generator, size: int) -> Array:
    """Draw noise of several scales, as of walls, foliage and crowds."""
    slope = float(random.uniform(0.6, 1.4))
    picture = np.zeros((size, size, 3), dtype=np.float32)
    for octave in range(1, 7):
        side = min(2**octave + 1, size)
        grid = random.standard_normal((side, side, 3), dtype=np.float32) * 2.0 ** (-slope * octave)
        picture += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    mixing = np.eye(3, dtype=np.float32) * float(random.uniform(0.1, 1.0)) + random.uniform(0.0, 0.6)
    picture = picture @ mixing.astype(np.float32)
    picture *= np.float32(random.uniform(20.0, 70.0)) / max(float(picture.std()), 1e-6)
    return np.asarray(np.clip(picture + random.uniform(40.0, 210.0, 3).astype(np.float32), 0, 255))


def _stripes(random: np.random.Generator, size: int) -> Array:
    """Draw stripes or a grid, as of blinds, tiles, shelves and fences."""
    axis = np.arange(size, dtype=np.float32)
    angle = float(random.normal(0.0, 0.25)) + float(random.integers(2)) * np.pi / 2.0
    place = axis[None, :] * np.float32(np.cos(angle)) + axis[:, None] * np.float32(np.sin(angle))
    period = size * float(np.exp(random.uniform(np.log(0.02), np.log(0.3))))
    wave = ((place / np.float32(period)) % 1.0 < random.uniform(0.2, 0.8)).astype(np.float32)
    if random.random() < 0.4:
        other = -axis[None, :] * np.float32(np.sin(angle)) + axis[:, None] * np.float32(np.cos(angle))
        wave = np.maximum(wave, ((other / np.float32(period)) % 1.0 < random.uniform(0.05, 0.5)).astype(np.float32))
    first, second = random.uniform(20.0, 235.0, (2, 3)).astype(np.float32)
    return np.asarray(first + (second - first) * cv2.GaussianBlur(wave, (0, 0), 0.7)[..., None])
