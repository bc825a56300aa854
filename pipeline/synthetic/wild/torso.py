"""What hangs below a bust: a plain coat from the shoulders down, so that no picture shows where the bust was cut."""

from __future__ import annotations

import numpy as np

from ....datasets.arrays import Floats, Pixels
from ....datasets.classes import INDEX
from ..people.body import vertex_normals
from ..people.figure import Figure
from ..people.parts import Part

SIDES = 36
"""Corners of a ring."""
TAPER = ((0.4, 1.14), (0.9, 1.05), (1.5, 0.95), (2.2, 0.88), (3.0, 0.84), (4.2, 0.70), (5.0, 0.6))
"""World units below the shoulders, and half the width there in that of the bust."""


def coat_of(figure: Figure) -> Part:
    """Make a coat that starts inside the shoulders of a figure and hides the rim of its bust."""
    bust = np.vstack([part.points for part in figure.parts if part.name in ("bust", "cloth")])
    lowest = float(bust[:, 1].min())
    rim = bust[bust[:, 1] < lowest + 0.30]
    half_width, half_depth = float(np.quantile(np.abs(rim[:, 0]), 0.98)), float(np.ptp(rim[:, 2])) / 2.0
    middle = float(rim[:, 2].min() + half_depth)
    top = float(np.quantile(bust[np.abs(bust[:, 0]) > 0.85 * half_width][:, 1], 0.9))
    rings = [
        _ring(top - 0.02, 0.55 * half_width, 0.50 * half_depth, middle),
        _ring(top - 0.05, 0.96 * half_width, 0.70 * half_depth, middle),
        _ring(top - 0.16, 1.08 * half_width, 0.90 * half_depth, middle),
        _ring(lowest - 0.02, 1.12 * half_width, 1.02 * half_depth, middle),
        *(_ring(lowest - drop, wide * half_width, 1.02 * half_depth, middle) for drop, wide in TAPER),
    ]
    points = np.vstack(rings)
    at = np.arange(len(points)).reshape(len(rings), SIDES)
    a, b, c, d = at[:-1], at[1:], np.roll(at[1:], -1, axis=1), np.roll(at[:-1], -1, axis=1)
    faces = np.vstack([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]).astype(np.int32)
    labels = np.full(len(faces), INDEX["cloth"], dtype=np.uint8)
    uvs, face_uvs = np.full((1, 2), 0.5), np.zeros_like(faces)
    return Part("coat", points, vertex_normals(points, faces), faces, uvs, face_uvs, _colour(figure), labels, "cloth")


def _ring(height: float, half_width: float, half_depth: float, middle: float) -> Floats:
    """Return (SIDES, 3) corners of a rounded rectangle."""
    angle = np.arange(SIDES) * (2.0 * np.pi / SIDES)
    x, z = (np.sign(wave) * np.abs(wave) ** 0.8 for wave in (np.sin(angle), np.cos(angle)))
    return np.column_stack([half_width * x, np.full(SIDES, height), middle + half_depth * z])


def _colour(figure: Figure) -> Pixels:
    """Return a (2, 2, 4) texture of the clothes' commonest colour."""
    cloth = next((part for part in figure.parts if part.name == "cloth"), None)
    colour = np.array([70, 72, 80]) if cloth is None else np.median(cloth.texture[..., :3].reshape(-1, 3), axis=0)
    return np.broadcast_to(np.array([*np.round(colour), 255], dtype=np.uint8), (2, 2, 4)).copy()
