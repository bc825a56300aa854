"""MediaPipe's canonical face model: where the 468 mesh points lie on a mean face, in centimetres; see NOTICE for its origin."""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np

from .arrays import Array, Floats

IBUG_VERTICES: tuple[int, ...] = (
    # jaw
    127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356,
    # brows
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    # nose: bridge, then base
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    # eyes
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    # lips: outer, then inner
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
"""Mesh vertex of each iBUG landmark."""


@cache
def canonical_vertices() -> Floats:
    """Return the (468, 3) vertices in centimetres: y up, z out of the face, the subject's left at +x; read-only."""
    with resources.files(__package__).joinpath("data/canonical_face.csv").open() as file:
        vertices = np.loadtxt(file, delimiter=",", skiprows=1)
    vertices.setflags(write=False)
    return np.asarray(vertices, dtype=np.float64)


@cache
def mirror_partners() -> Array:
    """Return the (468,) index of each vertex's mirror image, found by symmetry about x = 0; read-only."""
    vertices = canonical_vertices()
    distances = np.linalg.norm(vertices[:, None] - vertices[None] * (-1.0, 1.0, 1.0), axis=2)
    partners: Array = distances.argmin(axis=1)
    if not (partners[partners] == np.arange(len(vertices))).all():
        raise ValueError("the canonical face model is not symmetric; data/canonical_face.csv is damaged")
    partners.setflags(write=False)
    return partners
