"""A triangle mesh and what can be measured of it: area, volume, normals, whether it is closed.

How meshes come about is left to `surface`, how they are written to `gltf` and `mesh_files`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...datasets.arrays import Array, Floats
from ...datasets.camera import CANONICAL_SCALE

CENTIMETRE = CANONICAL_SCALE
"""World units a centimetre, by the canonical face model; heads of other sizes than the mean are scaled to it."""
METRE = 100 * CENTIMETRE
"""World units a metre."""


@dataclass(frozen=True)
class Unit:
    """The unit in which vertices are written."""

    name: str
    """Its name, for comments."""
    size: float
    """World units in one of it."""


UNITS = {"cm": Unit("centimetre", CENTIMETRE), "m": Unit("metre", METRE), "head": Unit("world unit of the head frame", 1.0)}
"""Units of OBJ and PLY by name."""


class MeshError(ValueError):
    """A surface that cannot be made or written; the message says what was expected and what to do."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in the head frame, counter-clockwise seen from outside."""

    vertices: Floats
    """(V, 3) world points."""
    faces: Array
    """(F, 3) int64 indices into `vertices`."""

    def corners(self) -> Floats:
        """Return the (F, 3, 3) corners of every face."""
        return self.vertices[self.faces]

    def face_vectors(self) -> Floats:
        """Return (F, 3) outward normals as long as twice the face's area."""
        corners = self.corners()
        return np.asarray(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))

    def area(self) -> float:
        """Return the surface in square world units."""
        return float(np.linalg.norm(self.face_vectors(), axis=1).sum() / 2)

    def volume(self) -> float:
        """Return the enclosed volume in cubic world units by the divergence theorem; positive where normals point outward."""
        return float((self.corners()[:, 0] * self.face_vectors()).sum() / 6)

    def normals(self) -> Floats:
        """Return the (V, 3) unit normals, faces weighted by area; up where a vertex has no face of any area."""
        sums = np.zeros_like(self.vertices)
        vectors = self.face_vectors()
        for corner in range(3):
            np.add.at(sums, self.faces[:, corner], vectors)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        return np.where(lengths > 0, sums / np.where(lengths > 0, lengths, 1.0), (0.0, 1.0, 0.0))

    def is_watertight(self) -> bool:
        """Return whether every edge is shared by exactly two faces that run along it in opposite directions."""
        if not len(self.faces):
            return False
        edges = np.concatenate([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]])
        keys = edges[:, 0] * len(self.vertices) + edges[:, 1]
        back = edges[:, 1] * len(self.vertices) + edges[:, 0]
        return len(np.unique(keys)) == len(keys) and bool(np.isin(keys, back).all())

    def genus(self) -> int:
        """Return the number of handles of one closed piece: 0 for a ball, 1 for a ring (Euler: V - E + F = 2 - 2 g)."""
        used = len(np.unique(self.faces))
        return (2 - used + len(self.faces) * 3 // 2 - len(self.faces)) // 2

    def chosen(self, faces: Array) -> Mesh:
        """Return some of the faces with the vertices that they use.

        Args:
            faces: (K,) indices, or (F,) bool.
        """
        kept = self.faces[faces]
        used, places = np.unique(kept, return_inverse=True)
        return Mesh(self.vertices[used], places.reshape(-1, 3).astype(np.int64))
