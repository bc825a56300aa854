"""Meshes of worn things: grids and tubes as vertices, triangles and texture coordinates. Where they lie is others' business."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....datasets.arrays import Array, Floats, Pixels


@dataclass(frozen=True, eq=False)
class Garment:
    """One mesh of one material, in the head frame."""

    name: str
    label: str
    """Its class."""
    finish: str
    """As of `people.figure.Part`."""
    points: Floats
    """(V, 3)."""
    faces: Array
    """(F, 3) int32, counter-clockwise as seen from outside."""
    uvs: Floats
    """(T, 2), v down."""
    face_uvs: Array
    """(F, 3) int32."""
    texture: Pixels
    """(H, W, 4) sRGB and opacity."""


def grid(name: str, label: str, finish: str, points: Floats, texture: Pixels, closed: bool = False) -> Garment:
    """Make a sheet of (A, E, 3) points, u along the first axis, v from 1 to 0 along the second.

    Outside is where the first axis runs to the left while the second runs upwards.

    Args:
        name, label, finish, texture: as of `Garment`.
        points: the grid.
        closed: whether the first axis is a ring, whose last column is not repeated.
    """
    across, up = points.shape[:2]
    columns = across + int(closed)
    u, v = np.meshgrid(np.linspace(0.0, 1.0, columns), np.linspace(1.0, 0.0, up), indexing="ij")
    i, j = np.meshgrid(np.arange(columns - 1), np.arange(up - 1), indexing="ij")

    def index(width: int) -> Array:
        here, there = (i % width) * up + j, ((i + 1) % width) * up + j
        first = np.stack([here, there + 1, here + 1], axis=-1).reshape(-1, 3)
        second = np.stack([here, there, there + 1], axis=-1).reshape(-1, 3)
        return np.concatenate([first, second]).astype(np.int32)

    uvs = np.column_stack([u.ravel(), v.ravel()])
    return Garment(name, label, finish, points.reshape(-1, 3), index(across), uvs, index(columns), texture)


def tube(
    name: str, label: str, finish: str, path: Floats, radius: Floats | float, texture: Pixels, closed: bool = False,
    round_: int = 10, flat: float = 1.0, up: Floats | None = None,
) -> Garment:  # fmt: skip
    """Sweep an ellipse along a path.

    Args:
        name, label, finish, texture: as of `Garment`.
        path: (N, 3).
        radius: half the width, (N,) or one for all.
        closed: whether the path is a ring, whose first point is not repeated.
        round_: points around.
        flat: thickness as a share of the width.
        up: (N, 3) or (3,) direction of the thickness; any where None.
    """
    if closed:
        along = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0)
    else:
        along = np.gradient(path, axis=0)
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-12)
    thick = np.broadcast_to(np.array([0.31, 0.42, 0.85]) if up is None else up, path.shape)
    thick = thick - (thick * along).sum(axis=1, keepdims=True) * along
    thick = thick / np.maximum(np.linalg.norm(thick, axis=1, keepdims=True), 1e-12)
    wide = np.cross(thick, along)
    angle = np.linspace(0.0, 2.0 * np.pi, round_, endpoint=False)
    size = np.broadcast_to(np.asarray(radius, dtype=np.float64), (len(path),))[:, None, None]
    ring = np.cos(angle)[None, :, None] * wide[:, None] + flat * np.sin(angle)[None, :, None] * thick[:, None]
    points = path[:, None] + size * ring
    if closed:
        points = np.concatenate([points, points[:1]])
    else:  # both ends run to a point
        points = np.concatenate([np.repeat(path[:1, None], round_, axis=1), points, np.repeat(path[-1:, None], round_, axis=1)])
    return grid(name, label, finish, points.transpose(1, 0, 2), texture, closed=True)


def beads(name: str, label: str, finish: str, middles: Floats, size: float, texture: Pixels, fine: int = 8) -> Garment:
    """Make one mesh of equal balls of a radius around (N, 3) points, which share texture coordinates."""
    one = ball(name, label, finish, np.zeros(3), size, texture, fine)
    points = (middles[:, None] + one.points).reshape(-1, 3)
    faces = np.arange(len(middles), dtype=np.int32)[:, None, None] * np.int32(len(one.points)) + one.faces
    face_uvs = np.tile(one.face_uvs, (len(middles), 1))
    return Garment(name, label, finish, points, faces.reshape(-1, 3).astype(np.int32), one.uvs, face_uvs, texture)


def ball(name: str, label: str, finish: str, middle: Floats, size: Floats | float, texture: Pixels, fine: int = 16) -> Garment:
    """Make an ellipsoid with half axes `size` (3,) or one radius around a point (3,)."""
    azimuth = np.linspace(0.0, 2.0 * np.pi, 2 * fine, endpoint=False)[:, None]
    elevation = np.linspace(-0.5 * np.pi, 0.5 * np.pi, fine)[None]
    unit = np.stack(
        [np.cos(elevation) * np.sin(azimuth), np.sin(elevation) + 0.0 * azimuth, np.cos(elevation) * np.cos(azimuth)], axis=-1
    )
    return grid(name, label, finish, middle + np.asarray(size) * unit, texture, closed=True)
