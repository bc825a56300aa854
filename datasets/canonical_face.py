"""MediaPipe's canonical face model: where the 468 mesh points lie on a mean face, in centimetres; see NOTICE for its origin."""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np

from .arrays import Array, Floats


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
