"""Where hair grows: the head as a surface with angles that mean the same on everybody, hairlines on it, and roots.

Angles are told on the mean head, whose points every person's surface carries with it: the azimuth is 0 in front and positive
towards the subject's left, the elevation 0 on the level of the middle of the skull.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ....datasets.arrays import Array, Floats
from .collision import DistanceField, distance_field

CENTRE = (0.0, 0.07, -0.06)
"""Middle of the mean skull in the head frame."""
CENTIMETRE = 0.0245
"""World units a centimetre of a mean head."""
HAIRLINE = (
    (0.0, 35.0), (14.0, 36.0), (28.0, 36.0), (38.0, 33.0), (48.0, 26.0), (57.0, 15.0), (63.0, 4.0), (68.0, -4.0), (73.0, -10.0),
    (77.0, -20.0), (80.0, -31.0), (87.0, -31.0), (90.0, -14.0), (97.0, -8.0), (106.0, -10.0), (113.0, -22.0), (119.0, -38.0),
    (130.0, -47.0), (150.0, -50.0), (180.0, -51.0),
)  # fmt: skip
"""Azimuth and elevation in degrees of the lower edge of the hair of a young person: forehead, temple, sideburn, above the ear,
nape; the other side is its mirror."""


@dataclass(frozen=True, eq=False)
class Surface:
    """A head as far as hair is concerned."""

    points: Floats
    """(V, 3) in the head frame."""
    normals: Floats
    """(V, 3) unit vectors outwards."""
    faces: Array
    """(F, 3) int32."""
    rest: Floats
    """(V, 3) the same points on the mean head, in the head frame."""
    around: tuple[Floats, Floats]
    """Points and normals of what else strands must stay outside of, such as clothes."""

    @cached_property
    def angles(self) -> tuple[Floats, Floats]:
        """(V,) azimuth and elevation of every point in radians."""
        return angles_of(self.rest)

    @cached_property
    def field(self) -> DistanceField:
        """How far points lie outside."""
        corners, bent = self.points[self.faces], self.normals[self.faces]
        points = np.vstack([self.points, corners.mean(axis=1), self.around[0]])
        normals = np.vstack([self.normals, bent.mean(axis=1), self.around[1]])
        return distance_field(points, normals)


def angles_of(rest: Floats) -> tuple[Floats, Floats]:
    """Return azimuth and elevation in radians of (N, 3) points of the mean head."""
    x, y, z = (rest - np.array(CENTRE)).T
    return np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))


def within(azimuth: Floats, elevation: Floats, outline: tuple[tuple[float, float], ...] = HAIRLINE) -> Floats:
    """Return how far inside a hairline points lie, in centimetres along the head, negative outside.

    Args:
        azimuth: (N,) radians.
        elevation: (N,) radians.
        outline: azimuth and elevation of its corners in degrees, from 0 to 180; both sides alike.
    """
    side = np.degrees(np.abs(azimuth))
    up = np.degrees(elevation)
    corners = np.array(outline)
    inside = up > np.interp(side, corners[:, 0], corners[:, 1])
    narrow = np.cos(np.minimum(np.abs(elevation), 1.2))
    nearest = np.full(len(side), np.inf)
    for (a, b), (c, d) in itertools.pairwise(corners):
        along = np.array([c - a, d - b])
        offset_x, offset_y = (side - a) * narrow, up - b
        step_x, step_y = along[0] * narrow, along[1]
        share = np.clip((offset_x * step_x + offset_y * step_y) / np.maximum(step_x**2 + step_y**2, 1e-9), 0.0, 1.0)
        nearest = np.minimum(nearest, np.hypot(offset_x - share * step_x, offset_y - share * step_y))
    return np.asarray(np.where(inside, nearest, -nearest) * np.radians(1.0) * 0.2 / CENTIMETRE)


@dataclass(frozen=True, eq=False)
class Roots:
    """Where strands begin."""

    points: Array
    """(S, 3) float32."""
    normals: Array
    """(S, 3) float32 unit vectors."""
    azimuth: Floats
    """(S,) radians on the mean head."""
    elevation: Floats
    rest: Floats | None = None
    """(S, 3) the same places on the mean head, where they are known."""

    def __len__(self) -> int:
        return len(self.points)

    def chosen(self, which: Array) -> Roots:
        """Return some of the roots."""
        return Roots(
            self.points[which],
            self.normals[which],
            self.azimuth[which],
            self.elevation[which],
            None if self.rest is None else self.rest[which],
        )


def sow(surface: Surface, density: Floats, count: int, random: np.random.Generator) -> Roots:
    """Sow roots over a surface, at random.

    Args:
        surface: the head.
        density: (V,) relative number of roots an area, 0 for none.
        count: how many.
        random: where they come from.
    """
    corners = surface.points[surface.faces]
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    weight = np.cumsum(area * density[surface.faces].mean(axis=1))
    if not count or weight[-1] <= 0.0:
        none = np.zeros((0, 3), dtype=np.float32)
        return Roots(none, none, np.zeros(0), np.zeros(0), np.zeros((0, 3)))
    # stratified along the faces' order, which keeps gaps small
    place = (np.arange(count) + random.random(count)) / count * weight[-1]
    face = surface.faces[np.minimum(np.searchsorted(weight, place), len(weight) - 1)]
    first, second = np.sqrt(random.random(count)), random.random(count)
    shares = np.stack([1.0 - first, first * (1.0 - second), first * second], axis=1)[..., None]

    def mixed(values: Floats) -> Floats:
        return np.asarray((values[face] * shares).sum(axis=1))

    normals = mixed(surface.normals)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    rest = mixed(surface.rest)
    return Roots(mixed(surface.points).astype(np.float32), normals.astype(np.float32), *angles_of(rest), rest)
