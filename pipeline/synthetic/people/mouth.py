"""What an open mouth shows: two rows of teeth in their gums, and a tongue, which move with the jaw; all is of class mouth.

The base mesh carries coarse strips where the teeth lie, which its morphs move; teeth of their own widths are shaped on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import scipy

from ....datasets.arrays import Array, Floats, Pixels
from ..hair.scalp import CENTIMETRE
from ..hair.shaping import way_along
from ..wear.fabric import opaque
from ..wear.garment import Garment, grid
from .body import Body
from .placement import face_vertices
from .subdivision import Subdivision, quads_of, subdivide

Colour = tuple[float, float, float]
UPPER = (
    (15061, 15060, 15062, 15063, 15064, 15065, 15066, 15067, 15068),
    (15079, 15075, 15074, 15073, 15072, 15084, 15083, 15082, 15081),
    (15069, 15086, 15071, 15070, 15085, 15078, 15077, 15076, 15080),
)
LOWER = (
    (14993, 14992, 14994, 14995, 14996, 14997, 14998, 14999, 15000),
    (15012, 15013, 15014, 15015, 15011, 15016, 15017, 15018, 15009),
    (15010, 15001, 15002, 15003, 15004, 15005, 15006, 15007, 15008),
)
"""Vertices of the base mesh from the middle to the left: where gums begin, half way, and where teeth end."""
UPPER_WIDTHS = (0.86, 0.66, 0.78, 0.70, 0.68, 1.00, 0.95)
LOWER_WIDTHS = (0.54, 0.60, 0.69, 0.70, 0.71, 1.08, 1.05)
"""Centimetres of the teeth of one side from the middle: two incisors, canine, two premolars, two molars."""
ENDS = (0.00, -0.04, 0.03, -0.03, -0.05, -0.07, -0.09)
"""How much farther than others each of them reaches, as a share of the strip's height."""
LONGER = (-0.30, 0.15)
"""Centimetres by which upper and lower teeth reach beyond the strips, which end where closed lips meet."""
OVERJET = 0.20
"""Centimetres by which the lower row stands behind the upper one."""
SUNK = 0.4
"""Centimetres by which the tongue lies lower than in the base mesh, where it touches the palate."""
LED = 0.6
"""Share of the jaw's way that a tongue must have gone by itself; the base mesh's units take it 0.3 along, face units 0.9."""
INNER_LIPS = ((13, 14), (82, 87), (312, 317), (81, 178), (311, 402), (80, 88), (310, 318))
"""Face points of the upper and the lower lip that touch where the mouth is closed."""
PARTED = 0.01
"""Decimetres by which an expression moves them apart from which teeth may be seen."""
ACROSS, PROFILE, BACK = 141, 16, 1.35
"""Columns along a row of teeth; rows from gums (0) over the teeth's ends (1) to their back side (`BACK`)."""
GUMS: Colour = (0.62, 0.30, 0.30)
TONGUE: Colour = (0.58, 0.34, 0.33)


@dataclass(frozen=True)
class TeethLook:
    """Somebody's teeth."""

    colour: Colour = (0.86, 0.82, 0.72)
    crooked: float = 0.3
    """0 to 1: how unevenly they stand."""
    gap: float = 0.0
    """Centimetres between the upper middle ones."""
    seed: int = 0


def draw_teeth(age: float, random: np.random.Generator) -> TeethLook:
    """Draw teeth: darker and yellower with age (0 young, 1 old), a few with a gap."""
    dark = float(np.clip(0.25 * age + random.normal(0.06, 0.06), 0.0, 0.4))
    light = float(random.uniform(0.88, 0.97)) * (1.0 - 0.5 * dark)
    yellow = 0.10 + 0.35 * dark + float(random.uniform(0.0, 0.06))
    return TeethLook(
        (light, light * (1.0 - 0.35 * yellow), light * (1.0 - yellow)), float(random.beta(1.3, 2.5)),
        float(random.uniform(0.05, 0.2)) if random.random() < 0.08 else 0.0, int(random.integers(1 << 31)),
    )  # fmt: skip


def is_open(vertices: Floats, calm: Floats) -> bool:
    """Tell from the (V, 3) vertices of the base mesh, in decimetres, with and without expression whether it parts the lips."""
    upper, lower = face_vertices()[np.array(INNER_LIPS)].T
    apart, before = (np.linalg.norm(some[upper] - some[lower], axis=1) for some in (vertices, calm))
    return bool((apart - before).max() > PARTED)


def build_mouth(look: TeethLook, body: Body, points: Floats, calm: Floats) -> list[Garment]:
    """Make teeth, gums and tongue.

    Args:
        look: the teeth.
        body: the base mesh.
        points: (V, 3) its vertices in the head frame, the expression included.
        calm: (V, 3) the same without the expression.
    """
    lower = _both_sides(body, LOWER)
    return [
        _row("upper teeth", look, points[_both_sides(body, UPPER)], UPPER_WIDTHS, upper=True),
        _row("lower teeth", look, points[lower], LOWER_WIDTHS, upper=False),
        _tongue(body, points, calm, (points[lower] - calm[lower]).mean(axis=(0, 1))),
    ]


@lru_cache(maxsize=4)
def _both_sides(body: Body, rows: tuple[tuple[int, ...], ...]) -> Array:
    """Return (3, 17) vertices from the right to the left; those of the right mirror the left ones."""
    left = np.array(rows)
    right = body.mirrored(left[:, 1:])
    return np.concatenate([right[:, ::-1], left], axis=1)


def _row(name: str, look: TeethLook, strip: Floats, widths: tuple[float, ...], upper: bool) -> Garment:
    """Make one row of teeth.

    Args:
        name: of the mesh.
        look: the teeth.
        strip: (3, 17, 3) gums, middle and ends of the teeth, from the right to the left.
        widths: of the teeth of one side.
        upper: whether they hang from above.
    """
    random = np.random.Generator(np.random.Philox(look.seed + int(upper)))
    smooth = strip + np.array([0.0, 0.5, 1.0])[:, None, None] * CENTIMETRE * np.array([0.0, LONGER[0 if upper else 1], 0.0])
    smooth[..., 2] -= 0.0 if upper else OVERJET * CENTIMETRE
    for _ in range(2):  # an arch, not a polygon
        smooth[:, 1:-1] = 0.25 * smooth[:, :-2] + 0.5 * smooth[:, 1:-1] + 0.25 * smooth[:, 2:]
    way = way_along(smooth[2])
    half = 0.5 * way[-1]
    curve = scipy.interpolate.CubicSpline(way - half, smooth, axis=1)
    place = np.linspace(-0.99 * half, 0.99 * half, ACROSS)
    tooth, within = _teeth(place / half, widths, look.gap * upper)
    lines, along = curve(place), curve(place, 1).mean(axis=0)
    outward = np.column_stack([-along[:, 2], np.zeros(ACROSS), along[:, 0]])
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    t = np.linspace(0.0, BACK, PROFILE)[None]
    reach, stands = _unevenness(look, tooth, random)
    down = np.minimum(t, 1.0) * (1.0 + reach - 0.09 * np.abs(within) ** 3.0)[:, None] - 0.55 * np.clip(t - 1.0, 0.0, None)
    front = np.where(t <= 1.0, 1.0, 1.0 - ((t - 1.0) / (BACK - 1.0)))
    crown = np.clip((t - _gum_line(within)[:, None]) / 0.12, 0.0, 1.0)
    bulge = (1.0 - np.abs(within) ** 5.0)[:, None] * np.sin(np.pi * np.clip(0.25 + 0.72 * t, 0.0, 1.0))
    out = CENTIMETRE * (0.02 + crown * (0.11 * bulge - 0.03 + stands[:, None]) - 0.32 * (1.0 - front))
    points = _between(lines, down) + out[..., None] * outward[:, None]
    picture = _painted(look, tooth, within, random)
    if upper:  # rows of a grid run upwards, those of its picture down: from back sides over the ends to the gums
        return grid(name, "mouth", "teeth", points[:, ::-1], picture)
    return grid(name, "mouth", "teeth", points, picture[::-1])


def _between(lines: Floats, share: Floats) -> Floats:
    """Return (A, E, 3) points of parabolas through (3, A, 3) points, at (A, E) shares of the way from the first to the last."""
    first, middle, last = (lines[k][:, None] for k in range(3))
    s = share[..., None]
    return np.asarray(first * (1 - s) * (1 - 2 * s) + middle * 4 * s * (1 - s) + last * s * (2 * s - 1))


def _teeth(place: Floats, widths: tuple[float, ...], gap: float) -> tuple[Array, Floats]:
    """Return which tooth lies at (A,) places from -1 to 1, counted from the middle, and where in it.

    Returns:
        (A,) indices 0 to 6, or -1 to -7 on the right, and (A,) -1 to 1 from the tooth's side towards the middle to the other;
        -1 in the gap.
    """
    sides = np.concatenate([[0.0], np.cumsum(widths)])
    sides = 0.5 * gap + sides
    away = np.abs(place) * sides[-1]
    index = np.clip(np.searchsorted(sides, away, side="right") - 1, 0, len(widths) - 1)
    middle, half = 0.5 * (sides[index] + sides[index + 1]), 0.5 * (sides[index + 1] - sides[index])
    within = np.clip((away - middle) / half, -1.0, 1.0)
    return np.where(place < 0.0, -1 - index, index), within


def _unevenness(look: TeethLook, tooth: Array, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Return how much farther each column's tooth reaches, and how many centimetres it stands out."""
    count = len(ENDS)
    reach = np.array([*ENDS, *ENDS[::-1]]) + 0.05 * look.crooked * random.standard_normal(2 * count)
    stands = 0.05 * look.crooked * random.standard_normal(2 * count)
    return reach[tooth], stands[tooth]


def _gum_line(within: Floats) -> Floats:
    """Return the share of the strip's height at which gums end: lower between the teeth."""
    return np.asarray(0.40 + 0.13 * within**2)


def _painted(look: TeethLook, tooth: Array, within: Floats, random: np.random.Generator, fine: int = 6) -> Pixels:
    """Paint a row of teeth, rows from gums to back sides."""
    columns = np.linspace(0, ACROSS - 1, 4 * ACROSS)
    nearest = np.round(columns).astype(int)
    inside, number = np.interp(columns, np.arange(ACROSS), within), tooth[nearest]
    aside = np.interp(columns, np.arange(ACROSS), np.abs(within))
    t = np.linspace(0.0, BACK, fine * PROFILE)[:, None]
    base = np.array(look.colour) * np.exp(0.02 * random.standard_normal((2 * len(ENDS), 1)))[number]
    farther = np.where(number < 0, -1 - number, number)
    base = base * (1.0 - 0.035 * farther)[:, None]  # teeth darken towards the back
    warm = np.clip((0.75 - t) / 0.5, 0.0, 1.0)[..., None] * np.array([0.02, 0.06, 0.14])
    clear = np.clip((t - 0.88) / 0.12, 0.0, 1.0)[..., None] * np.array([0.10, 0.06, 0.02])
    teeth = base[None] * (1.0 - warm - clear)
    teeth = teeth * (1.0 - 0.5 * np.exp(-(((1.0 - aside) / 0.10) ** 2)))[None, :, None]
    share = 1.0 / (1.0 + np.exp(-(t - _gum_line(inside)[None]) / 0.012))
    gums = np.array(GUMS) * (1.0 + 0.05 * cv2.GaussianBlur(random.standard_normal(share.shape), (0, 0), 2.0))[..., None]
    return opaque(gums * (1.0 - share[..., None]) + teeth * share[..., None])


@lru_cache(maxsize=4)
def _tongue_mesh(body: Body) -> tuple[Subdivision, Floats]:
    """Return the tongue of the base mesh, refined once, and its texture coordinates."""
    base = body.base
    chosen = base.group("helper-tongue")
    fine = subdivide(len(base.vertices), quads_of(base.faces[chosen]), len(base.uvs), quads_of(base.face_uvs[chosen]))
    return fine, np.asarray(fine.uv_matrix @ base.uvs)


def _tongue(body: Body, points: Floats, calm: Floats, jaw: Floats) -> Garment:
    """Make the tongue. Face units move it; the base mesh's own units leave it behind: then its tip goes where the jaw goes.

    Args:
        body: the base mesh.
        points: (V, 3) its vertices in the head frame, the expression included.
        calm: (V, 3) the same without the expression.
        jaw: (3,) how far the lower teeth have moved.
    """
    fine, uvs = _tongue_mesh(body)
    used, faces = np.unique(fine.faces, return_inverse=True)
    random = np.random.Generator(np.random.Philox(1))
    rough = 1.0 + 0.08 * cv2.GaussianBlur(random.standard_normal((256, 256)), (0, 0), 1.0)
    picture = opaque(np.array(TONGUE) * rough[..., None])
    placed = fine.refine(calm)[used]
    moved = fine.refine(points)[used] - placed
    depth = placed[:, 2]
    share = np.clip((depth - depth.min()) / (0.6 * (depth.max() - depth.min())), 0.0, 1.0)
    behind = np.abs(moved).max() < LED * np.abs(jaw).max()
    placed = placed + (share[:, None] * jaw if behind else moved) - [0.0, SUNK * CENTIMETRE, 0.0]
    return Garment(
        "tongue", "mouth", "skin", placed, faces.reshape(fine.faces.shape).astype(np.int32), uvs, fine.face_uvs, picture
    )
