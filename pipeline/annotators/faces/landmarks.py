"""The 68 iBUG landmarks read off MediaPipe's 478-point mesh.

Points 0 to 16 run along the jaw from the subject's right ear to the left, 17 to 26 along the brows, 27 to 35 down the nose,
36 to 47 around the eyes, 48 to 67 around the lips (Sagonas et al. 2013). A network trained on iBUG's own marks is in
`face_alignment_points`; the two differ by a few per cent of the eye distance along the jaw, where marks slide.
"""

from __future__ import annotations

import numpy as np

from ....datasets.arrays import Array
from ....datasets.canonical_face import IBUG_VERTICES

MESH_INDEX = IBUG_VERTICES
"""Mesh vertex of each iBUG landmark."""


def landmarks_of_mesh(mesh: Array) -> Array:
    """Return the (68, 2) float32 landmarks of a (468 or 478, 3) mesh, in the mesh's pixels."""
    return np.asarray(mesh)[list(MESH_INDEX), :2].astype(np.float32)
