"""The 68 iBUG landmarks read off MediaPipe's 478-point mesh.

Points 0 to 16 run along the jaw from the subject's right ear to the left, 17 to 26 along the brows, 27 to 35 down the nose,
36 to 47 around the eyes, 48 to 67 around the lips (Sagonas et al. 2013). A network trained on iBUG's own marks is in
`face_alignment_points`; the two differ by a few per cent of the eye distance along the jaw, where marks slide.
"""

from __future__ import annotations

import numpy as np

from ....datasets.arrays import Array

MESH_INDEX: tuple[int, ...] = (
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


def landmarks_of_mesh(mesh: Array) -> Array:
    """Return the (68, 2) float32 landmarks of a (468 or 478, 3) mesh, in the mesh's pixels."""
    return np.asarray(mesh)[list(MESH_INDEX), :2].astype(np.float32)
