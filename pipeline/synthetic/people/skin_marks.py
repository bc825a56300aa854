"""What skin carries beside its own texture: freckles, moles, flushes and make-up, painted where they lie on every face."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats
from .body import LOWER_LIP, MIDDLE_ROW, UPPER_LIP

Colour = tuple[float, float, float]
LIPSTICKS: tuple[Colour, ...] = (
    (0.62, 0.10, 0.14), (0.70, 0.28, 0.34), (0.45, 0.08, 0.16), (0.75, 0.42, 0.38), (0.32, 0.10, 0.12), (0.72, 0.20, 0.45),
)  # fmt: skip
SHADOWS: tuple[Colour, ...] = (
    (0.25, 0.18, 0.16),
    (0.20, 0.22, 0.30),
    (0.40, 0.24, 0.30),
    (0.15, 0.28, 0.30),
    (0.50, 0.38, 0.22),
)
EYE = (0.0717, 0.0317)
"""x and y of the left eye's middle on the mean head, in the head frame."""


@dataclass(frozen=True)
class SkinMarks:
    """What is on somebody's skin; shares from 0 for none to 1."""

    freckles: float = 0.0
    moles: int = 0
    flush: float = 0.0
    """Redness of nose, cheeks and forehead, as of sun or cold."""
    lipstick: Colour | None = None
    blush: float = 0.0
    shadow: Colour | None = None
    """Colour on the lids."""
    seed: int = 0


def draw_marks(male: float, age: float, dark: float, random: np.random.Generator) -> SkinMarks:
    """Draw what is on a skin.

    Args:
        male: 0 woman, 1 man.
        age: 0 young, 1 old.
        dark: share of the dark texture in the skin; freckles and flushes are those of light skins.
        random: drawn numbers.
    """
    chance = random.random(5)
    painted = chance[3] < 0.4 * (1.0 - male)
    return SkinMarks(
        freckles=float(random.uniform(0.2, 1.0)) if chance[0] < 0.3 * (1.0 - dark) else 0.0,
        moles=int(random.poisson(1.2 + 2.0 * age)),
        flush=float(random.uniform(0.2, 1.0)) if chance[1] < 0.25 * (1.0 - dark) else 0.0,
        lipstick=LIPSTICKS[int(random.integers(len(LIPSTICKS)))] if painted else None,
        blush=float(random.uniform(0.1, 0.5)) if painted else 0.0,
        shadow=SHADOWS[int(random.integers(len(SHADOWS)))] if painted and chance[4] < 0.6 else None,
        seed=int(random.integers(1 << 31)),
    )


def mark(skin: Array, marks: SkinMarks, places: Array, corner: tuple[int, int], scale: int) -> Array:
    """Paint marks on a skin.

    Args:
        skin: (H, W, 3) float32 sRGB from 0 to 255.
        marks: what is painted.
        places: (H / scale, W / scale, 3) places on the mean head of the texels, far away where they show none of it.
        corner: column and row of the skin's first texel in textures of 512.
        scale: texels of `skin` for one of those.

    Returns:
        (H, W, 3) float32.
    """
    random = np.random.Generator(np.random.Philox(marks.seed))
    size = (skin.shape[1], skin.shape[0])
    x, y, z = np.abs(places[..., 0]), places[..., 1], places[..., 2]
    face = (z > 0.05) & (z < 1.0)
    nose = np.exp(-((x / 0.035) ** 2) - ((y + 0.05) / 0.03) ** 2)
    cheek = np.exp(-(((x - 0.085) / 0.035) ** 2) - ((y + 0.045) / 0.03) ** 2)
    brow = np.exp(-((x / 0.09) ** 2) - ((y - 0.13) / 0.035) ** 2)

    def wide(field: Floats, strength: float) -> Array:
        share = cv2.resize((strength * field * face).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
        return np.asarray(np.clip(share, 0.0, 1.0)[..., None])

    red = wide(0.9 * nose + 0.8 * cheek + 0.4 * brow, 0.20 * marks.flush) + wide(cheek, 0.22 * marks.blush)
    skin = skin * (1.0 - red * np.array([0.05, 0.55, 0.5], dtype=np.float32))
    if marks.shadow is not None:
        lid = np.exp(-(((x - EYE[0]) / 0.034) ** 2) - ((y - EYE[1] - 0.016) / 0.011) ** 2)
        skin = _covered(skin, marks.shadow, wide(lid, 0.5))
    if marks.lipstick is not None:
        skin = _covered(skin, marks.lipstick, 0.62 * _lips(skin.shape[:2], corner, scale)[..., None])
    spots = _spots(
        skin.shape[:2],
        np.asarray(face * (nose + cheek + 0.25 * brow), np.float64),
        round(520 * marks.freckles),
        (0.6, 1.5),
        scale,
        random,
    )
    skin = skin * (1.0 - spots * np.array([0.18, 0.30, 0.36], dtype=np.float32))
    moles = _spots(skin.shape[:2], face.astype(np.float64), marks.moles, (1.5, 3.0), scale, random)
    return np.asarray(skin * (1.0 - moles * np.array([0.62, 0.72, 0.75], dtype=np.float32)), dtype=np.float32)


def _covered(skin: Array, colour: Colour, share: Array) -> Array:
    """Lay a colour over a skin, which keeps its own light and shade."""
    luma = skin.mean(axis=2, keepdims=True)
    shade = luma / np.maximum(cv2.GaussianBlur(luma, (0, 0), 24.0)[..., None], 1.0)
    return np.asarray(skin * (1.0 - share) + 255.0 * np.array(colour, dtype=np.float32) * shade * share)


def _lips(shape: tuple[int, ...], corner: tuple[int, int], scale: int) -> Array:
    """Return (H, W) float32: 1 on the lips, soft at their edge."""
    found = np.zeros(shape[:2], dtype=np.float32)
    for outline in (UPPER_LIP, LOWER_LIP):
        points = (np.array(outline) - (corner[0], corner[1] - MIDDLE_ROW)) * scale
        cv2.fillPoly(found, [np.round(16.0 * points).astype(np.int32)], 1.0, lineType=cv2.LINE_AA, shift=4)
    return np.asarray(cv2.GaussianBlur(found, (0, 0), 0.6 * scale))


def _spots(
    shape: tuple[int, ...], density: Floats, count: int, radius: tuple[float, float], scale: int, random: np.random.Generator
) -> Array:
    """Return (H, W, 1) float32 round spots, each of its own strength, where a density over coarse texels says.

    Args:
        shape: of the fine picture.
        density: (H / scale, W / scale).
        count: how many.
        radius: range of radii in fine texels.
        scale: fine texels for a coarse one.
        random: where they lie.
    """
    found = np.zeros(shape[:2], dtype=np.float32)
    weight = np.cumsum(density.ravel())
    if not count or weight[-1] <= 0.0:
        return found[..., None]
    for index in np.searchsorted(weight, random.random(count) * weight[-1]):
        row, column = divmod(int(index), density.shape[1])
        place = (np.array([column, row]) + random.random(2)) * scale
        centre = (round(16.0 * place[0]), round(16.0 * place[1]))
        cv2.circle(
            found, centre, round(16.0 * random.uniform(*radius)), float(random.uniform(0.3, 1.0)), -1, cv2.LINE_AA, shift=4
        )
    return np.asarray(cv2.GaussianBlur(found, (0, 0), 0.7)[..., None])
