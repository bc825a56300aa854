"""Pictures laid out on paper: squares, grids, strips of text, and the PNG and JPEG bytes of what was laid out.

Needs neither tables nor samples, so that it is imported in no time; what of a data set is laid out is left to `sheets`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...manifests.store import write_bytes
from ..arrays import Pixels

INK, FAINT, PAPER, HOLE = (32, 34, 37), (120, 124, 130), (250, 250, 249), (233, 233, 231)
"""Text, secondary text, ground, and cells without a picture."""


def fit(picture: Pixels, side: int) -> Pixels:
    """Resize an (H, W, 3) picture into a (side, side, 3) square, keeping its shape, on grey."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    new = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = cv2.resize(picture, new, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    canvas = np.full((side, side, 3), 128, dtype=np.uint8)
    top, left = (side - new[1]) // 2, (side - new[0]) // 2
    canvas[top : top + new[1], left : left + new[0]] = resized
    return canvas


def degrees(value: float) -> str:
    """Word an angle in whole degrees: -35°, 0°, 12°."""
    return f"{round(value) + 0}°"


def grid(images: Sequence[Pixels], lines: Sequence[Sequence[str]], columns: int, side: int) -> Pixels:
    """Lay square tiles out with lines of text under each.

    Args:
        images: (H, W, 3) pictures of any size.
        lines: for each picture its lines of text.
        columns: tiles in a row.
        side: side of the tiles in pixels.
    """
    gap, height = 8, 15
    deepest = max((len(item) for item in lines), default=0)
    step = (side + gap, side + gap + height * deepest + (4 if deepest else 0))
    num_rows = -(-len(images) // columns)
    sheet = np.full((num_rows * step[1] + gap, columns * step[0] + gap, 3), PAPER, dtype=np.uint8)
    for index, (image, texts) in enumerate(zip(images, lines, strict=True)):
        y, x = gap + index // columns * step[1], gap + index % columns * step[0]
        sheet[y : y + side, x : x + side] = fit(image, side)
        for row, text in enumerate(texts):
            draw_text(sheet, text, (x, y + side + 3 + row * height), INK if row == 0 else FAINT, 12)
    return sheet


def text_band(text: str, width: int, colour: tuple[int, int, int]) -> Pixels:
    """Return a strip of paper with one line of text."""
    band = np.full((28, width, 3), PAPER, dtype=np.uint8)
    draw_text(band, text, (8, 8), colour, 13)
    return band


def text_width(text: str) -> int:
    """Return how many pixels wide `text_band` must be to show the whole line."""
    return 16 + math.ceil(float(_font(13).getlength(text)))


def stack(parts: Sequence[Pixels]) -> Pixels:
    """Put pictures under one another on paper, aligned at the left."""
    width = max(part.shape[1] for part in parts)
    sheet = np.full((sum(part.shape[0] for part in parts), width, 3), PAPER, dtype=np.uint8)
    y = 0
    for part in parts:
        sheet[y : y + part.shape[0], : part.shape[1]] = part
        y += part.shape[0]
    return sheet


def png(picture: Pixels) -> bytes:
    """Encode a picture as PNG."""
    return bytes(cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 6])[1])


def jpeg(picture: Pixels, quality: int = 88) -> bytes:
    """Encode a picture as JPEG with full colour resolution, which thin coloured lines need."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
    return bytes(cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), options)[1])


def write_png(path: Path, picture: Pixels) -> None:
    """Write a picture as PNG, atomically."""
    write_bytes(path, png(picture))


@cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def draw_text(picture: Pixels, text: str, place: tuple[int, int], colour: tuple[int, int, int], size: int) -> None:
    """Write text onto a picture in place, its top left corner at `place` (x, y)."""
    from PIL import Image, ImageDraw

    x, y = place
    region = picture[y : y + size * 3, x:]
    canvas = Image.fromarray(region)
    ImageDraw.Draw(canvas).multiline_text((0, 0), text, fill=colour, font=_font(size), spacing=2)
    region[:] = np.asarray(canvas)
