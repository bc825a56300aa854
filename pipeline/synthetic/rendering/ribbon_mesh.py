"""Strands as triangles for path tracing: ribbons that face a camera, as the exact pass draws them, bent like cylinders by their
normals.

Mitsuba's own curves took 10 s for 8,000 strands at 256 px and 16 samples, and crashed with its `hair` material (3.9.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....datasets.arrays import Array
from ....datasets.camera import Camera
from ..hair.strands import StrandSet

BEND = 0.8
"""Sine of the angle by which normals at a ribbon's edges lean outwards."""


@dataclass(frozen=True, eq=False)
class RibbonMesh:
    """Two vertices for each point of the strands."""

    points: Array
    """(2 N, 3) float32."""
    normals: Array
    """(2 N, 3) float32 unit vectors."""
    colours: Array
    """(2 N, 3) float32 linear."""
    faces: Array
    """(F, 3) uint32."""


def ribbon_mesh(strands: StrandSet, camera: Camera) -> RibbonMesh:
    """Return the ribbons of strands that face a camera."""
    towards = camera.position.astype(np.float32) - strands.points
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    aside = np.cross(strands.tangents, towards)
    aside /= np.maximum(np.linalg.norm(aside, axis=1, keepdims=True), np.float32(1e-9))
    facing = np.cross(aside, strands.tangents)
    wide = strands.radii[:, None] * aside
    points = np.stack([strands.points - wide, strands.points + wide], axis=1)
    straight = np.float32(np.sqrt(1.0 - BEND**2))
    normals = np.stack([straight * facing - BEND * aside, straight * facing + BEND * aside], axis=1)
    first = np.flatnonzero(strands.strand_of[1:] == strands.strand_of[:-1])
    a, b, c, d = (2 * first, 2 * first + 1, 2 * first + 2, 2 * first + 3)
    faces = np.stack([np.stack([a, b, c], axis=1), np.stack([b, d, c], axis=1)], axis=1).reshape(-1, 3)
    return RibbonMesh(
        points.reshape(-1, 3).astype(np.float32), normals.reshape(-1, 3).astype(np.float32),
        np.repeat(strands.colours, 2, axis=0), faces.astype(np.uint32),
    )  # fmt: skip
