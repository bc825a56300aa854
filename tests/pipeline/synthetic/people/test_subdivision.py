"""Catmull-Clark subdivision, against the rule worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from spherehead.pipeline.synthetic.people.subdivision import compact, quads_of, subdivide

CUBE = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
CUBE_QUADS = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])


def test_a_cube_goes_where_the_rule_says() -> None:
    """Corner: (Q + 2 R) / 3 with Q the mean of three face middles (1/3 each axis) and R of three edge middles (2/3)."""
    fine = subdivide(8, CUBE_QUADS, 8, CUBE_QUADS)
    points = fine.refine(CUBE)
    corner = (1.0 / 3.0 + 2.0 * 2.0 / 3.0) / 3.0
    assert np.abs(points[:8]) == pytest.approx(np.full((8, 3), corner))
    assert np.sort(np.abs(points[8:20]), axis=1) == pytest.approx(np.tile([0.0, 0.75, 0.75], (12, 1)))
    assert np.sort(np.abs(points[20:]), axis=1) == pytest.approx(np.tile([0.0, 0.0, 1.0], (6, 1)))


def test_faces_keep_their_side_and_their_order() -> None:
    fine = subdivide(8, CUBE_QUADS, 8, CUBE_QUADS)
    assert fine.faces.shape == (6 * 8, 3)
    coarse = CUBE[CUBE_QUADS]
    outwards = np.cross(coarse[:, 1] - coarse[:, 0], coarse[:, 2] - coarse[:, 0])
    first, second, third = (fine.refine(CUBE)[fine.faces[:, k]] for k in range(3))
    normals = np.cross(second - first, third - first)
    assert (np.einsum("ij,ij->i", normals, np.repeat(outwards, 8, axis=0)) > 0).all()


def test_a_flat_sheet_keeps_its_corners_and_its_plane() -> None:
    grid = np.array([[x, y, 0.0] for y in range(4) for x in range(4)])
    quads = np.array([[4 * y + x, 4 * y + x + 1, 4 * y + x + 5, 4 * y + x + 4] for y in range(3) for x in range(3)])
    points = subdivide(16, quads, 16, quads).refine(grid)
    assert points[[5, 6, 9, 10]] == pytest.approx(grid[[5, 6, 9, 10]])
    assert (points[:, 2] == 0).all()
    assert (points.min(axis=0)[:2] >= 0).all()
    assert points.max() <= 3


def test_texture_coordinates_are_halved_linearly() -> None:
    uvs = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    fine = subdivide(4, np.array([[0, 1, 2, 3]]), 4, np.array([[0, 1, 2, 3]]))
    refined = fine.uv_matrix @ uvs
    assert refined[:4].tolist() == uvs.tolist()
    assert sorted(refined[4:].tolist()) == [[0.0, 0.5], [0.5, 0.0], [0.5, 0.5], [0.5, 1.0], [1.0, 0.5]]


def test_quads_are_found_again_and_triangles_refused() -> None:
    assert quads_of(np.array([[0, 1, 2], [0, 2, 3]])).tolist() == [[0, 1, 2, 3]]
    with pytest.raises(ValueError, match="quads"):
        quads_of(np.array([[0, 1, 2], [1, 2, 3]]))


def test_faces_without_the_vertices_that_none_uses_are_those_of_numpys_unique() -> None:
    faces = np.random.default_rng(1).integers(0, 900, (150, 3))
    used, new = compact(faces)
    wanted, places = np.unique(faces, return_inverse=True)
    assert len(used) < 900 and np.array_equal(used, wanted) and np.array_equal(new, places.reshape(faces.shape))
    nothing, none = compact(np.zeros((0, 3), dtype=np.int64))
    assert len(nothing) == 0 and none.shape == (0, 3)
