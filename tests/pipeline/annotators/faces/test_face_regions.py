"""Guarantees of the mesh polygons: each part where it belongs, on the subject's own side."""

from __future__ import annotations

import numpy as np
from spherehead.datasets.canonical_face import canonical_vertices, mirror_partners
from spherehead.datasets.classes import INDEX, mirror_parsing
from spherehead.pipeline.annotators.faces import face_regions


def frontal_mesh(size: int = 512) -> np.ndarray:
    """The canonical face seen straight on: x right, y down."""
    vertices = canonical_vertices()
    points = vertices * (18.0, -18.0, -18.0) + (size / 2, size / 2, 0)
    return np.concatenate([points, points[:10]]).astype(np.float32)


def painted(mesh: np.ndarray, size: int = 512) -> np.ndarray:
    parsing = np.full((size, size), INDEX["skin"], dtype=np.uint8)
    face_regions.paint_features(parsing, mesh, np.ones((size, size), dtype=bool))
    return parsing


def centre(parsing: np.ndarray, name: str) -> np.ndarray:
    rows, columns = np.nonzero(parsing == INDEX[name])
    return np.array([columns.mean(), rows.mean()])


def test_left_is_the_subjects_left_which_is_image_right() -> None:
    parsing = painted(frontal_mesh())
    for part in ("brow", "eye"):
        assert centre(parsing, f"left_{part}")[0] > 256 > centre(parsing, f"right_{part}")[0]


def test_parts_stand_in_their_order_from_brow_to_lip() -> None:
    parsing = painted(frontal_mesh())
    heights = [centre(parsing, name)[1] for name in ("left_brow", "left_eye", "nose", "upper_lip", "lower_lip")]
    assert heights == sorted(heights)


def test_mirrored_mesh_paints_the_mirrored_map() -> None:
    mesh = frontal_mesh()
    mesh[:, 0] += 0.2 * mesh[:, 1]  # a face that is not symmetric in the picture
    mirrored = mesh.copy()
    mirrored[:468] = mesh[:468][mirror_partners()]
    mirrored[:, 0] = 512 - mirrored[:, 0]
    assert (painted(mirrored) != mirror_parsing(painted(mesh))).mean() < 0.002


def test_polygon_covers_its_area() -> None:
    canvas = np.zeros((40, 40), dtype=np.uint8)
    face_regions.fill(canvas, np.array([[10.0, 10.0], [30.0, 10.0], [30.0, 20.0], [10.0, 20.0]]), 1)
    assert abs(int(canvas.sum()) - 200) <= 32  # OpenCV also paints the pixels on the outline
    assert canvas[15, 20] == 1 and canvas[5, 20] == 0


def test_nothing_is_painted_where_it_is_not_allowed() -> None:
    parsing = np.zeros((512, 512), dtype=np.uint8)
    face_regions.paint_features(parsing, frontal_mesh(), np.zeros((512, 512), dtype=bool))
    assert not parsing.any()


def test_ears_stand_beside_the_face_and_mirror_each_other() -> None:
    left, right = face_regions.ear_outline(1), face_regions.ear_outline(-1)
    assert np.allclose(left * (-1, 1, 1), right)
    assert left[:, 0].mean() > canonical_vertices()[:, 0].max()
    assert np.ptp(left[:, 1]) == 2 * face_regions.EAR_HALF_HEIGHT
