"""What skin carries beside its own texture: freckles, moles, flushes, make-up, wrinkles and tattoos, where they belong."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np
import scipy

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
CREASES: tuple[tuple[float, tuple[tuple[float, float], ...]], ...] = (
    (0.9, ((0.000, 0.104), (0.030, 0.107), (0.060, 0.109), (0.082, 0.104))),
    (1.0, ((0.000, 0.121), (0.030, 0.124), (0.062, 0.126), (0.088, 0.120))),
    (0.8, ((0.000, 0.139), (0.030, 0.142), (0.058, 0.143), (0.080, 0.138))),
    (0.9, ((0.011, 0.052), (0.010, 0.066), (0.013, 0.082))),
    (0.7, ((0.107, 0.033), (0.118, 0.040), (0.130, 0.050))),
    (0.8, ((0.109, 0.027), (0.122, 0.028), (0.136, 0.031))),
    (0.7, ((0.107, 0.021), (0.119, 0.014), (0.131, 0.009))),
    (0.8, ((0.040, 0.010), (0.055, 0.002), (0.075, 0.000), (0.092, 0.008))),
    (1.0, ((0.034, -0.050), (0.048, -0.070), (0.060, -0.095), (0.066, -0.125))),
    (0.7, ((0.062, -0.140), (0.066, -0.158), (0.064, -0.178))),
)
"""Strength, and x and y on the left of the mean head: forehead, between the brows, beside and beneath the eyes, from nose
to mouth, beside the chin."""
TATTOOS = ("rings", "star", "waves", "thorns", "script", "dots")
SITES = ((0.120, 0.062, 0.085), (0.105, -0.065, 0.100), (0.040, 0.128, 0.140))
"""Places on the mean head where tattoos lie: temple, cheek, forehead."""
SITE_RADII = (0.026, 0.030, 0.030)
"""How far they reach there, world units."""
OILY = 0.12
"""Share of people with oily skin, where nothing else is told."""
INKED = 192
"""Texels of a tattoo's picture along each side."""


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
    wrinkles: float = 0.0
    tattoo: str = ""
    """One of `TATTOOS`; empty for none."""
    site: int = 0
    """Where the tattoo lies, an index in `SITES`; on the right where `seed` is odd."""
    ink: Colour = (0.10, 0.14, 0.18)
    oily: bool = False
    """Whether the skin of the head shines."""


def draw_marks(male: float, age: float, dark: float, random: np.random.Generator, oily: float = OILY) -> SkinMarks:
    """Draw what is on a skin.

    Args:
        male: 0 woman, 1 man.
        age: 0 young, 1 old.
        dark: share of the dark texture in the skin; freckles and flushes are those of light skins.
        random: drawn numbers.
        oily: share of people with oily skin.
    """
    chance = random.random(5)
    painted = chance[3] < 0.4 * (1.0 - male)
    marks = SkinMarks(
        freckles=float(random.uniform(0.2, 1.0)) if chance[0] < 0.3 * (1.0 - dark) else 0.0,
        moles=int(random.poisson(1.2 + 2.0 * age)),
        flush=float(random.uniform(0.2, 1.0)) if chance[1] < 0.25 * (1.0 - dark) else 0.0,
        lipstick=LIPSTICKS[int(random.integers(len(LIPSTICKS)))] if painted else None,
        blush=float(random.uniform(0.1, 0.5)) if painted else 0.0,
        shadow=SHADOWS[int(random.integers(len(SHADOWS)))] if painted and chance[4] < 0.6 else None,
        seed=int(random.integers(1 << 31)),
        wrinkles=float(np.clip(1.5 * (age - 0.22) + random.normal(0.0, 0.12), 0.0, 1.0)),
    )
    apart = np.random.Generator(np.random.Philox(marks.seed).jumped())  # what was drawn before oil stays as it was
    return dataclasses.replace(_with_tattoo(marks, random), oily=float(apart.random()) < oily)


def _with_tattoo(marks: SkinMarks, random: np.random.Generator) -> SkinMarks:
    """Add a tattoo to the marks of one of twenty people."""
    if random.random() >= 0.05:
        return marks
    kind, site = TATTOOS[int(random.integers(len(TATTOOS)))], int(random.choice(len(SITES), p=(0.45, 0.35, 0.2)))
    faded = float(random.uniform(0.0, 0.12))
    return dataclasses.replace(marks, tattoo=kind, site=site, ink=(0.06 + faded, 0.09 + faded, 0.12 + faded))


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
        skin = _covered(skin, marks.shadow, wide(lid, 0.5), scale)
    if marks.lipstick is not None:
        skin = _covered(skin, marks.lipstick, 0.62 * _lips(skin.shape[:2], corner, scale)[..., None], scale)
    even = face & _unstretched(places, face)
    spots = _spots(
        skin.shape[:2],
        np.asarray(even * (nose + cheek + 0.25 * brow), np.float64),
        round(520 * marks.freckles),
        (0.15, 0.375),
        scale,
        random,
    )
    skin = skin * (1.0 - spots * np.array([0.18, 0.30, 0.36], dtype=np.float32))
    moles = _spots(skin.shape[:2], even.astype(np.float64), marks.moles, (0.375, 0.75), scale, random)
    skin = skin * (1.0 - moles * np.array([0.62, 0.72, 0.75], dtype=np.float32))
    if marks.wrinkles > 0.0:
        skin = _creased(skin, marks, places, scale)
    return np.asarray(_tattooed(skin, marks, places, scale) if marks.tattoo else skin, dtype=np.float32)


def _creased(skin: Array, marks: SkinMarks, places: Array, scale: int) -> Array:
    """Paint wrinkles: a thin dark line in the shade of a fold, and a lighter ridge around it."""
    random = np.random.Generator(np.random.Philox(marks.seed + 1))
    lines = np.zeros(skin.shape[:2], dtype=np.float32)
    front = (places[..., 2] > 0.0) & (places[..., 2] < 1.0)
    rows, columns = np.nonzero(front)
    tree = scipy.spatial.cKDTree(places[front][:, :2])
    for strength, corners in CREASES:
        for side in (1.0, -1.0):
            line = np.array(corners)
            steps = np.linspace(0.0, len(line) - 1.0, 8 * len(line) - 7)
            line = np.stack([np.interp(steps, np.arange(len(line)), line[:, k]) for k in (0, 1)], axis=1)
            phase, bend = random.uniform(0.0, 6.0), random.normal(0.0, 0.0012)
            line[:, 1] += bend * np.sin(0.35 * steps * len(line) + phase) + random.normal(0.0, 0.0015)
            away, nearest = tree.query(line * [side, 1.0], k=4)
            share = 1.0 / np.maximum(away, 1e-5)
            share = share / share.sum(axis=1, keepdims=True)
            spots = np.stack([(columns[nearest] * share).sum(axis=1), (rows[nearest] * share).sum(axis=1)], axis=1)
            level = float(strength * random.uniform(0.5, 1.0))
            drawn = np.round(16.0 * scale * (scipy.ndimage.gaussian_filter1d(spots, 1.5, axis=0) + 0.5)).astype(np.int32)
            cv2.polylines(lines, [drawn], False, level, max(1, scale // 2), cv2.LINE_AA, shift=4)
    thin, soft, ridge = (cv2.GaussianBlur(lines, (0, 0), scale * sigma) for sigma in (0.225, 0.75, 1.75))
    dark = marks.wrinkles * (0.14 * thin + 0.24 * soft - 0.20 * ridge)
    return np.asarray(skin * (1.0 - dark[..., None] * np.array([0.8, 1.0, 1.05], dtype=np.float32)))


def _tattooed(skin: Array, marks: SkinMarks, places: Array, scale: int) -> Array:
    """Paint a tattoo as ink beneath the skin: it keeps the skin's light and fine texture."""
    side = -1.0 if marks.seed % 2 else 1.0
    away = places - np.array(SITES[marks.site], dtype=np.float32) * np.array([side, 1.0, 1.0], dtype=np.float32)
    radius = SITE_RADII[marks.site]
    inside = (away**2).sum(axis=2) < (1.5 * radius) ** 2
    if not inside.any():
        return skin
    rows, columns = (slice(int(where.min()), int(where.max()) + 1) for where in np.nonzero(inside))
    across = (-side * away[..., 2] if marks.site == 0 else away[..., 0])[rows, columns]
    half = 0.5 * INKED
    size = (across.shape[1] * scale, across.shape[0] * scale)
    u, v = (cv2.resize(field, size) for field in (half + half / radius * across, half - half / radius * away[rows, columns, 1]))
    near = cv2.resize(inside[rows, columns].astype(np.float32), size)
    ink = cv2.remap(_design(marks), u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR, borderValue=0.0)
    share = (0.78 * cv2.GaussianBlur(ink, (0, 0), 0.2 * scale) * (near > 0.5))[..., None]
    window = np.s_[rows.start * scale : rows.stop * scale, columns.start * scale : columns.stop * scale]
    painted = skin.copy()
    painted[window] = skin[window] * (1.0 - share) + share * (255.0 * np.array(marks.ink) * 0.8 + 0.12 * skin[window])
    return np.asarray(painted)


def _design(marks: SkinMarks) -> Array:
    """Draw a tattoo's picture: (INKED, INKED) float32 share of ink."""
    random = np.random.Generator(np.random.Philox(marks.seed + 2))
    found = np.zeros((INKED, INKED), dtype=np.float32)
    middle = INKED / 2.0

    def stroke(x: Floats, y: Floats, wide: int, closed: bool = False) -> None:
        line = np.round(16.0 * (middle + middle * np.stack([x, y], axis=1))).astype(np.int32)
        cv2.polylines(found, [line], closed, 1.0, wide, cv2.LINE_AA, shift=4)

    t = np.linspace(0.0, 1.0, 60)
    if marks.tattoo == "rings":
        for radius in np.linspace(0.2, 0.9, int(random.integers(2, 5))):
            stroke(radius * np.cos(2 * np.pi * t), radius * np.sin(2 * np.pi * t), int(random.integers(3, 12)))
    elif marks.tattoo == "star":
        count = 2 * int(random.integers(5, 9))
        turn = 2.0 * np.pi * np.arange(count) / count
        far = np.where(np.arange(count) % 2, 0.35, 0.9)
        stroke(far * np.sin(turn), -far * np.cos(turn), int(random.integers(5, 14)), closed=True)
    elif marks.tattoo == "waves":
        for level in np.linspace(-0.7, 0.7, int(random.integers(3, 6))):
            stroke(1.8 * t - 0.9, level + 0.12 * np.sin(2 * np.pi * (2.5 * t + level)), int(random.integers(4, 12)))
    elif marks.tattoo == "thorns":
        stroke(0.18 * np.sin(7.0 * t), 1.8 * t - 0.9, 12)
        for place in np.linspace(0.05, 0.95, 9):
            out = 0.45 * (1.0 if round(place * 100) % 2 else -1.0)
            stroke(0.18 * np.sin(7.0 * place) + out * t, 1.8 * place - 0.9 - 0.3 * t**2, 8)
    elif marks.tattoo == "script":
        for level in (-0.35, 0.25):
            loops = np.cumsum(random.normal(0.0, 0.35, 240))
            x = np.linspace(-0.9, 0.9, 240) + 0.05 * np.sin(0.6 * np.arange(240) + loops)
            stroke(x, level + 0.16 * np.sin(0.55 * np.arange(240)) * (0.5 + random.random(240).cumsum() / 120.0), 4)
    else:
        for _ in range(int(random.integers(6, 18))):
            x, y = random.uniform(-0.85, 0.85, 2)
            stroke(x + 0.02 * t, y + 0.0 * t, int(random.integers(10, 26)))
    return found


def _covered(skin: Array, colour: Colour, share: Array, scale: int) -> Array:
    """Lay a colour over a skin, which keeps its own light and shade."""
    luma = skin.mean(axis=2, keepdims=True)
    shade = luma / np.maximum(cv2.GaussianBlur(luma, (0, 0), 6.0 * scale)[..., None], 1.0)
    return np.asarray(skin * (1.0 - share) + 255.0 * np.array(colour, dtype=np.float32) * shade * share)


def _lips(shape: tuple[int, ...], corner: tuple[int, int], scale: int) -> Array:
    """Return (H, W) float32: 1 on the lips, soft at their edge."""
    found = np.zeros(shape[:2], dtype=np.float32)
    for outline in (UPPER_LIP, LOWER_LIP):
        points = (np.array(outline) - (corner[0], corner[1] - MIDDLE_ROW)) * scale
        cv2.fillPoly(found, [np.round(16.0 * points).astype(np.int32)], 1.0, lineType=cv2.LINE_AA, shift=4)
    return np.asarray(cv2.GaussianBlur(found, (0, 0), 0.6 * scale))


def _unstretched(places: Array, face: Array) -> Array:
    """Tell where texels (H, W) are about as wide as high and of usual size on the head: round spots stay round there."""
    wide, high = (np.linalg.norm(np.gradient(places, axis=axis), axis=2) for axis in (1, 0))
    usual = float(np.median(np.sqrt(wide * high)[face])) if face.any() else 1.0
    near = np.minimum(wide, high) > 0.62 * usual
    return np.asarray(near & (np.maximum(wide, high) < 1.5 * usual) & (np.maximum(wide, high) < 1.35 * np.minimum(wide, high)))


def _spots(
    shape: tuple[int, ...], density: Floats, count: int, radius: tuple[float, float], scale: int, random: np.random.Generator
) -> Array:
    """Return (H, W, 1) float32 round spots, each of its own strength, where a density over coarse texels says.

    Args:
        shape: of the fine picture.
        density: (H / scale, W / scale).
        count: how many.
        radius: range of radii in coarse texels.
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
        wide = round(16.0 * scale * random.uniform(*radius))
        cv2.circle(found, centre, wide, float(random.uniform(0.3, 1.0)), -1, cv2.LINE_AA, shift=4)
    return np.asarray(cv2.GaussianBlur(found, (0, 0), 0.175 * scale)[..., None])
