"""Spectacles as meshes: rims, lenses, bridge and temples that sit on a person's own nose and ears.

Who wears glasses is drawn by `population`, which ones by `draw_frame`. All lengths are decimetres in the body's coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ....datasets.arrays import Array, Floats
from ..hair.scalp import CENTIMETRE

SHAPES: Mapping[str, tuple[float, float, float, float, float]] = {
    "round": (0.225, 0.215, 2.0, 0.0, 0.0), "oval": (0.255, 0.170, 2.3, 0.0, 0.0), "rectangle": (0.270, 0.165, 5.0, 0.02, 0.0),
    "square": (0.260, 0.205, 4.0, 0.02, 0.0), "aviator": (0.275, 0.240, 2.5, 0.14, 0.0),
    "cat-eye": (0.270, 0.185, 2.8, 0.06, 0.07),
}  # fmt: skip
"""Shape -> half width, half height, exponent of the superellipse, inner lower edge moved out, outer corner lifted."""
MORE_SHAPES: Mapping[str, tuple[float, float, float, float, float]] = {
    "large round": (0.270, 0.258, 2.0, 0.0, 0.0), "wayfarer": (0.275, 0.190, 3.2, 0.07, 0.035),
    "butterfly": (0.310, 0.245, 2.6, 0.05, 0.06), "narrow": (0.262, 0.105, 3.4, 0.01, 0.0),
    "hexagon": (0.262, 0.212, 1.45, 0.0, 0.0), "navigator": (0.285, 0.228, 4.2, 0.11, 0.02),
    "shield": (0.318, 0.230, 3.0, 0.10, 0.02),
}  # fmt: skip
"""Further shapes, which people of `people.wear=drawn` have."""
RIMS = ("full", "half", "none")
"""Where a lens is framed: all around, above, or not at all."""
TINTS = (
    (0.03, 0.03, 0.035),
    (0.16, 0.09, 0.04),
    (0.05, 0.12, 0.07),
    (0.35, 0.12, 0.10),
    (0.10, 0.16, 0.34),
    (0.45, 0.34, 0.06),
)
APART = 0.045
"""Decimetres between a lens of the wider choice and the middle of the face."""
_ROUND = 8
_OUTLINE = 48


@dataclass(frozen=True)
class GlassesLook:
    """A pair of spectacles."""

    shape: str
    """A key of `SHAPES` or `MORE_SHAPES`."""
    frame: tuple[float, float, float]
    """sRGB colour of the frame."""
    size: float
    """Factor on the lenses' size."""
    thickness: float
    """Radius of the rims."""
    lens_opacity: float
    """0 for clear lenses, near 1 for sun glasses."""
    metal: bool
    """Whether the frame shines like metal."""
    rim: str = "full"
    """One of `RIMS`."""
    lens: tuple[float, float, float] | None = None
    """sRGB colour of the lenses; dark grey or clear, after their opacity, where None."""
    temple: float = 0.8
    """Radius of the temples as a share of the rims'."""


def draw_frame(random: np.random.Generator, frame: tuple[float, float, float]) -> GlassesLook:
    """Draw glasses of the wider choice: all shapes, with and without rims, clear, tinted or dark."""
    shapes = [*SHAPES, *MORE_SHAPES]
    shape = shapes[int(random.integers(len(shapes)))]
    metal = bool(random.random() < 0.4)
    opacity = float(random.choice([0.0, 0.0, 0.45, 0.75, 0.92]))
    thickness = float(random.uniform(0.006, 0.012) if metal else random.uniform(0.012, 0.034))
    red, green, blue = TINTS[int(random.integers(len(TINTS)))] if opacity else (0.9, 0.95, 1.0)
    rim = RIMS[int(random.choice(3, p=(0.7, 0.18, 0.12)))]
    size, temple = float(random.uniform(0.86, 1.15)), float(random.uniform(0.7, 1.5))
    return GlassesLook(shape, frame, size, thickness, opacity, metal, rim, (red, green, blue), temple)


@dataclass(frozen=True, eq=False)
class Seat:
    """What spectacles rest on."""

    left_eye: Floats
    """(3,) centre of the eyeball."""
    right_eye: Floats
    bridge: Floats
    """(3,) on the nose, a little under the level of the eyes."""
    left_ear: Floats
    """(3,) top of the ear's root."""
    right_ear: Floats
    skin: Floats
    """(N, 3) points of the head's skin, ears left out."""


@dataclass(frozen=True, eq=False)
class Solid:
    """Vertices and triangles."""

    points: Floats
    faces: Array


def build(look: GlassesLook, seat: Seat) -> tuple[Solid, Solid]:
    """Return the frame and the two lenses."""
    eyes = (seat.left_eye + seat.right_eye) / 2.0
    front = max(float(seat.bridge[2]) + 0.02 + look.thickness, float(eyes[2]) + 0.27, _foremost(seat, eyes))
    centre_y = float(eyes[1]) - 0.03
    tubes: list[Solid] = []
    lenses: list[Solid] = []
    for side, eye, ear in ((1.0, seat.left_eye, seat.left_ear), (-1.0, seat.right_eye, seat.right_ear)):
        outline = _outline(look) * [side * _narrowed(look, eye), 1.0] + [float(eye[0]) + 0.012 * side, centre_y]
        rim = np.column_stack([outline, front - 0.22 * outline[:, 0] ** 2])
        if look.rim == "full":
            tubes.append(_tube(rim, look.thickness, closed=True))
        elif look.rim == "half":
            tubes.append(_tube(rim[: _OUTLINE // 2 + 1], look.thickness))
        lenses.append(_fan(rim))
        tubes.append(_tube(_temple(rim, ear, side, seat, look.thickness), look.thickness * look.temple))
    tubes.append(_tube(_bridge(look, seat, front, centre_y), look.thickness * 0.9))
    return _join(tubes), _join(lenses)


def ground(lenses: Floats) -> Floats:
    """Return the (V, 3) normals of two lenses ground to a radius of 9 cm, which bend what they mirror; flat ones look like tin.

    Args:
        lenses: (V, 3) in the head frame, in front of the eyes.
    """
    found = np.empty_like(lenses)
    for side in (lenses[:, 0] > 0.0, lenses[:, 0] <= 0.0):
        away = lenses[side] - lenses[side].mean(axis=0) + [0.0, 0.0, 9.0 * CENTIMETRE]
        found[side] = away / np.linalg.norm(away, axis=1, keepdims=True)
    return found


def _narrowed(look: GlassesLook, eye: Floats) -> float:
    """Return the factor on the width of a lens of the wider choice that keeps it off the other one."""
    if look.lens is None:
        return 1.0
    half_width = {**SHAPES, **MORE_SHAPES}[look.shape][0] * look.size
    return min(1.0, (abs(float(eye[0])) + 0.012 - APART - look.thickness) / half_width)


def _foremost(seat: Seat, eyes: Floats) -> float:
    """Return how far forward the lenses must stay to clear brows and cheeks."""
    near = np.abs(seat.skin[:, 0]) > 0.18
    near &= (np.abs(seat.skin[:, 0]) < 0.5) & (np.abs(seat.skin[:, 1] - eyes[1]) < 0.17)
    if not near.any():
        return -math.inf
    return float((seat.skin[near, 2] + 0.22 * seat.skin[near, 0] ** 2).max()) + 0.01


def _outline(look: GlassesLook) -> Floats:
    """Return (N, 2) points of the left lens's outline around its middle, x away from the nose."""
    half_width, half_height, power, narrow, lift = {**SHAPES, **MORE_SHAPES}[look.shape]
    angle = np.linspace(0.0, 2.0 * np.pi, _OUTLINE, endpoint=False)
    x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2.0 / power)
    y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2.0 / power)
    inner_low = np.clip(-x, 0.0, 1.0) * np.clip(-y, 0.0, 1.0)
    outer_high = np.clip(x, 0.0, 1.0) * np.clip(y, 0.0, 1.0)
    x = x * half_width + narrow * inner_low
    y = y * half_height + lift * outer_high
    return np.asarray(look.size * np.column_stack([x, y]))


def _temple(rim: Floats, ear: Floats, side: float, seat: Seat, radius: float) -> Floats:
    """Return the path from the rim's outer edge over the ear and down behind it, outside the skin."""
    outer = rim[np.argmax(side * rim[:, 0] + 0.35 * rim[:, 1])]
    start = outer + np.array([0.015 * side, 0.0, -0.005])
    over = ear + np.array([0.0, radius, 0.0])
    steps = np.linspace(0.0, 1.0, 15)[1:, None]
    path = np.vstack([outer, start, start + (over - start) * steps])
    for point in path[2:]:
        near = (np.abs(seat.skin[:, 1] - point[1]) < 0.10) & (np.abs(seat.skin[:, 2] - point[2]) < 0.12)
        near &= side * seat.skin[:, 0] > 0
        if near.any():
            width = float((side * seat.skin[near, 0]).max()) + 1.5 * radius
            point[0] = side * max(side * float(point[0]), width)
    inward = path[-1, 0] - 0.03 * side
    down = ((path[-1, 0], -0.03, -0.08), (inward, -0.13, -0.15), (inward, -0.27, -0.18))
    hook = [(x, over[1] + y, over[2] + z) for x, y, z in down]
    return np.vstack([path, hook])


def _bridge(look: GlassesLook, seat: Seat, front: float, centre_y: float) -> Floats:
    """Return the arc between the lenses."""
    half_width = {**SHAPES, **MORE_SHAPES}[look.shape][0] * look.size
    inner = max(0.04, abs(float(seat.left_eye[0])) + 0.012 - half_width)
    x = np.linspace(-inner, inner, 9)
    lift = 1.0 - (x / inner) ** 2
    middle = (float(seat.left_eye[0]) + float(seat.right_eye[0])) / 2.0
    return np.column_stack([x + middle, centre_y + 0.05 + 0.035 * lift, front - 0.22 * x**2 + 0.03 * lift])


def _tube(path: Floats, radius: float, closed: bool = False) -> Solid:
    """Sweep a circle along a path."""
    count = len(path)
    if closed:
        tangent = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0)
    else:
        tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    sideways = np.cross(tangent, [0.0, 0.0, 1.0])
    flat = np.linalg.norm(sideways, axis=1) < 0.3
    sideways[flat] = np.cross(tangent[flat], [0.0, 1.0, 0.0])
    sideways /= np.linalg.norm(sideways, axis=1, keepdims=True)
    upward = np.cross(sideways, tangent)
    angle = np.linspace(0.0, 2.0 * np.pi, _ROUND, endpoint=False)
    ring = np.cos(angle)[None, :, None] * sideways[:, None] + np.sin(angle)[None, :, None] * upward[:, None]
    points = (path[:, None] + radius * ring).reshape(-1, 3)
    faces = []
    for k in range(count if closed else count - 1):
        here, there = k * _ROUND, (k + 1) % count * _ROUND
        for j in range(_ROUND):
            after = (j + 1) % _ROUND
            faces += [(here + j, there + j, there + after), (here + j, there + after, here + after)]
    if not closed:
        points = np.vstack([points, path[0], path[-1]])
        first, last, end = len(points) - 2, len(points) - 1, (count - 1) * _ROUND
        for j in range(_ROUND):
            after = (j + 1) % _ROUND
            faces += [(first, j, after), (last, end + after, end + j)]
    return Solid(points, np.array(faces, dtype=np.int32))


def _fan(rim: Floats) -> Solid:
    """Close a rim with a slightly bulged lens that faces forward, whichever way the rim runs."""
    middle = rim.mean(axis=0)
    x, y = (rim - middle)[:, :2].T
    if np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) < 0.0:
        rim = rim[::-1]
    inner = middle + 0.5 * (rim - middle) + [0.0, 0.0, 0.012]
    points = np.vstack([rim, inner, middle + np.array([0.0, 0.0, 0.016])])
    count = len(rim)
    faces = []
    for k in range(count):
        after = (k + 1) % count
        faces += [(k, after, count + after), (k, count + after, count + k), (count + k, count + after, 2 * count)]
    return Solid(points, np.array(faces, dtype=np.int32))


def _join(solids: list[Solid]) -> Solid:
    starts = np.cumsum([0, *(len(solid.points) for solid in solids[:-1])])
    faces = [solid.faces + start for solid, start in zip(solids, starts, strict=True)]
    return Solid(np.vstack([solid.points for solid in solids]), np.vstack(faces).astype(np.int32))
