"""The assets' clothes as people wear them: in colours of wardrobes, of a fabric with a grain, and with folds.

Their meshes and pictures come from `assets`; what is made without assets is the other modules' business.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import scipy

from ....datasets.arrays import Array, Floats, Pixels
from ..assets.library import Assets
from ..hair.look import Colour
from ..hair.scalp import CENTIMETRE

PLAIN: tuple[Colour, ...] = (
    (0.09, 0.09, 0.10), (0.13, 0.15, 0.21), (0.22, 0.23, 0.25), (0.36, 0.37, 0.39), (0.56, 0.57, 0.58), (0.86, 0.85, 0.82),
    (0.78, 0.74, 0.66), (0.58, 0.50, 0.41), (0.36, 0.29, 0.24), (0.31, 0.33, 0.26), (0.22, 0.29, 0.27), (0.20, 0.28, 0.40),
    (0.36, 0.45, 0.56), (0.62, 0.70, 0.76), (0.38, 0.17, 0.19), (0.56, 0.29, 0.26), (0.66, 0.52, 0.52), (0.64, 0.53, 0.29),
)  # fmt: skip
"""Colours of clothes: mostly greys, blues and browns, as in wardrobes."""
BRIGHT = 0.07
"""Share of clothes in a brighter colour."""
GRAIN = 0.02
"""Standard deviation of a fabric's relative brightness from yarn to yarn."""
FOLDS = ((0.60, 2.6), (0.30, 1.4))
"""Height in centimetres and half width of folds, of wide ones and of narrow ones."""
NECK = (0.25, -0.62)
"""Open edges nearer to the middle than this x, and above this y, are of the neckline."""
STILL, LOOSE = 0.035, 0.11
"""World units from a collar's edge within which cloth lies still, and from which folds are whole."""


@dataclass(frozen=True)
class ClothesLook:
    """Colours and fall of clothes."""

    colour: Colour = (0.36, 0.37, 0.39)
    second: Colour = (0.86, 0.85, 0.82)
    """Colour of trimmings, and of shirts beneath dungarees."""
    folds: float = 1.0
    """Factor on the height of folds."""
    seed: int = 0


def draw_clothes(random: np.random.Generator) -> ClothesLook:
    """Draw the colours of somebody's clothes."""
    first, second = (_dyed(random) for _ in range(2))
    if random.random() < 0.5:  # trimmings in white, grey or a shade of the whole
        second = _jittered(np.array([PLAIN[5], PLAIN[3], 0.6 * np.array(first)][int(random.integers(3))]), random)
    return ClothesLook(first, second, float(random.uniform(0.5, 1.3)), int(random.integers(1 << 31)))


def _dyed(random: np.random.Generator) -> Colour:
    base = np.array(PLAIN[int(random.integers(len(PLAIN)))])
    if random.random() < BRIGHT:
        base = base.mean() + 1.6 * (base - base.mean())
    return _jittered(base, random)


def _jittered(base: Floats, random: np.random.Generator) -> Colour:
    red, green, blue = np.clip(
        base * np.exp(random.normal(0.0, 0.10)) * np.exp(random.normal(0.0, 0.03, 3)), 0.04, 0.90
    ).tolist()
    return red, green, blue


def coloured(assets: Assets, texture: str, look: ClothesLook, fineness: int = 2) -> Pixels:
    """Paint a texture of clothes in a look's colours, `fineness` times as fine, keeping its seams, wear and shade.

    The texels of the most common hue take the first colour, others the second.

    Args:
        assets: where the texture comes from, (H, W, 4) sRGB and opacity.
        texture: its path.
        look: the colours.
        fineness: N, texels a texel of the assets' own along each axis.

    Returns:
        (N H, N W, 4) uint8.
    """
    picture = assets.picture(texture)
    share, levels = _colourless(assets, texture)
    first, second = (
        level * np.array(colour, dtype=np.float32) for level, colour in zip(levels, (look.colour, look.second), strict=True)
    )
    mixed = share * first + (1.0 - share) * second
    size = (fineness * picture.shape[1], fineness * picture.shape[0])
    fine = cv2.resize(mixed, size, interpolation=cv2.INTER_LINEAR) * (1.0 + _grain(look.seed, size, fineness))[..., None]
    opacity = cv2.resize(picture[..., 3], size, interpolation=cv2.INTER_LINEAR)
    return np.dstack([np.clip(np.round(255.0 * fine), 0, 255).astype(np.uint8), opacity])


@lru_cache(maxsize=32)
def _colourless(assets: Assets, texture: str) -> tuple[Array, tuple[Array, Array]]:
    """Return what of a texture no colour changes: (H, W, 1) shares of the main hue, and how light its two colours are."""
    values = assets.picture(texture)[..., :3].astype(np.float32) / np.float32(255.0)
    share = _of_the_main_hue(values)[..., None]
    luma = values @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    first, second = (
        np.clip(luma / max(_typical(luma, weight), 0.08), 0.25, 1.6)[..., None] ** 0.8
        for weight in (share[..., 0], 1.0 - share[..., 0])
    )
    for kept in (share, first, second):
        kept.setflags(write=False)
    return share, (first, second)


def _of_the_main_hue(values: Array) -> Array:
    """Return (H, W) how much each texel is of the hue that most coloured texels have; 1 everywhere where none is coloured."""
    chroma = values.max(axis=2) - values.min(axis=2)
    coloured_ones = chroma > 0.08
    if coloured_ones.mean() < 0.05:
        return np.ones(values.shape[:2], dtype=np.float32)
    deviation = values - values.mean(axis=2, keepdims=True)
    middle = np.median(deviation[coloured_ones], axis=0)
    middle /= max(float(np.linalg.norm(middle)), 1e-6)
    along = deviation @ middle.astype(np.float32)
    return np.asarray(np.clip((along - 0.02) / 0.05, 0.0, 1.0), dtype=np.float32)


def _typical(luma: Array, weight: Array) -> float:
    """Return the median brightness of texels that count by more than a half."""
    some = luma[weight > 0.5]
    return float(np.median(some)) if some.size else 1.0


def _grain(seed: int, size: tuple[int, int], fineness: int) -> Array:
    """Return (H, W) relative brightness of yarns that run down a cloth, and of how evenly it took its dye."""
    random = np.random.Generator(np.random.Philox(seed))
    wide = random.standard_normal((size[1] // fineness // 8, size[0] // fineness // 8), dtype=np.float32)
    rough = random.standard_normal((size[1], size[0]), dtype=np.float32)
    yarn = cv2.GaussianBlur(rough, (0, 0), sigmaX=0.5, sigmaY=0.9)
    dye = cv2.resize(cv2.GaussianBlur(wide, (0, 0), 1.5), size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(GRAIN * (yarn / max(float(yarn.std()), 1e-6) + 0.6 * dye / max(float(dye.std()), 1e-6)))


def folded(points: Floats, normals: Floats, faces: Array, look: ClothesLook) -> Floats:
    """Return a cloth's (V, 3) points with folds: lifted along their normals, never sunk into the body, still at the neckline.

    Args:
        points: (V, 3) in the head frame.
        normals: (V, 3) unit normals.
        faces: (F, 3) triangles.
        look: gives the folds' height and their seed.
    """
    random = np.random.Generator(np.random.Philox(look.seed))
    height = np.zeros(len(points))
    for high, half in FOLDS:
        place = points / (half * CENTIMETRE)
        field = np.zeros(len(points))
        for _ in range(10):  # folds hang down and fan out from the neck: waves mostly run around the body
            around, tilt = random.uniform(0.0, 2.0 * np.pi), random.normal(0.0, 0.45)
            wave = np.array([np.cos(around), tilt, np.sin(around)]) * random.uniform(0.5, 1.0) * np.pi / 2.0
            field += np.cos(place @ wave + random.uniform(0.0, 2.0 * np.pi))
        ridge = np.clip(field / np.sqrt(5.0) * 0.5 + 0.35, 0.0, 1.6)
        height += high * CENTIMETRE * ridge**1.5
    slack = np.clip((_from_neckline(points, faces) - STILL) / (LOOSE - STILL), 0.0, 1.0)
    return np.asarray(points + (look.folds * height * slack * slack * (3.0 - 2.0 * slack))[:, None] * normals)


def _from_neckline(points: Floats, faces: Array) -> Floats:
    """Return (V,) how far points lie from the nearest open edge around the neck; 1 without one."""
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    single, count = np.unique(edges, axis=0, return_counts=True)
    rim = points[np.unique(single[count == 1])]
    rim = rim[(np.abs(rim[:, 0]) < NECK[0]) & (rim[:, 1] > NECK[1])]
    return np.asarray(scipy.spatial.cKDTree(rim).query(points)[0]) if len(rim) else np.ones(len(points))
