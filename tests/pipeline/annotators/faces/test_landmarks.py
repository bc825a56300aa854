"""The 68 landmarks of the mesh: symmetric, in iBUG's order, and on the features of a real face."""

from __future__ import annotations

import numpy as np
from spherehead.datasets.canonical_face import canonical_vertices, mirror_partners
from spherehead.datasets.classes import LANDMARK_MIRROR
from spherehead.pipeline.annotators.faces.landmarks import MESH_INDEX, landmarks_of_mesh
from spherehead.pipeline.backends.mediapipe_models import FaceMesher, Region


def test_every_landmark_is_its_own_vertex_and_mirrors_as_ibug_does() -> None:
    index = np.array(MESH_INDEX)
    assert len(set(MESH_INDEX)) == 68
    assert np.array_equal(mirror_partners()[index], index[LANDMARK_MIRROR])


def test_contours_run_the_way_ibug_draws_them() -> None:
    points = canonical_vertices()[list(MESH_INDEX)]
    x, y = points[:, 0], points[:, 1]
    assert np.all(np.diff(x[0:17]) > -0.6) and y[:17].argmin() == 8  # jaw from the subject's right, lowest at the chin
    assert np.all(np.diff(x[17:27]) > 0)
    assert np.all(np.diff(y[27:31]) < 0)
    assert np.all(np.diff(x[31:36]) > 0)
    assert x[36] == x[36:42].min() and x[45] == x[42:48].max()
    assert y[37] > y[41] and y[38] > y[40]  # upper lid first
    assert x[48] == x[48:60].min() and x[54] == x[48:60].max() and y[51] > y[57]
    assert np.all(y[[61, 62, 63]] > y[[67, 66, 65]])


def test_landmarks_lie_on_the_features_of_a_portrait(astronaut: np.ndarray) -> None:
    with FaceMesher() as mesher:
        mesh = mesher.mesh(astronaut, Region(224.0, 125.0, 160.0))
    assert mesh is not None
    points = landmarks_of_mesh(mesh)
    assert points.shape == (68, 2) and points.dtype == np.float32
    by_eye = {30: (224, 129), 36: (192, 101), 45: (258, 104), 48: (203, 140), 54: (245, 141), 8: (222, 178)}
    for index, place in by_eye.items():
        assert np.hypot(*(points[index] - place)) < 5, (index, points[index])
