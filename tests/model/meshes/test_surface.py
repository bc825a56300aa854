"""Surfaces: a ball and a ring come back with area and volume, closed and outward, whatever floats about or hides inside."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.arrays import Array, Floats
from spherehead.model.meshes.density import opacity_of, raw_density
from spherehead.model.meshes.mesh import CENTIMETRE, Mesh, MeshError
from spherehead.model.meshes.surface import Box, Grid, largest_piece, simplified, surface

BOX = Box((-0.4, -0.4, -0.4), (0.4, 0.4, 0.4))
SPACING = 0.5 * CENTIMETRE
REACH = 10.0


def ball(points: Floats, radius: float = 0.2, centre: tuple[float, float, float] = (0, 0, 0), slope: float = 300.0) -> Array:
    """Raw density of a ball: 0 on its surface, rising inward."""
    return slope * (radius - np.linalg.norm(points - np.array(centre), axis=1))


def ring(points: Floats) -> Array:
    around = np.hypot(points[:, 0], points[:, 2]) - 0.2
    return 300.0 * (0.08 - np.hypot(around, points[:, 1]))


def extracted(field: object, level: float = 0.0) -> Mesh:
    return surface(Grid.sample(field, BOX, SPACING), level, REACH)  # type: ignore[arg-type]


@settings(max_examples=6, deadline=None)
@given(st.floats(0.1, 0.3), st.tuples(*[st.floats(-0.09, 0.09)] * 3), st.floats(-5.0, 5.0))
def test_a_ball_comes_back_with_its_area_and_volume(radius: float, centre: tuple[float, float, float], level: float) -> None:
    mesh = extracted(lambda points: ball(points, radius, centre) + level, level)
    assert mesh.is_watertight()
    assert mesh.genus() == 0
    assert mesh.area() == pytest.approx(4 * math.pi * radius**2, rel=0.01)
    assert mesh.volume() == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.01)
    outward = (mesh.vertices - centre) / np.linalg.norm(mesh.vertices - centre, axis=1, keepdims=True)
    assert (np.einsum("nk,nk->n", mesh.normals(), outward) > 0.98).all()


def test_a_ring_has_a_handle() -> None:
    mesh = extracted(ring)
    assert mesh.is_watertight()
    assert mesh.genus() == 1
    assert mesh.area() == pytest.approx(4 * math.pi**2 * 0.2 * 0.08, rel=0.01)
    assert mesh.volume() == pytest.approx(2 * math.pi**2 * 0.2 * 0.08**2, rel=0.02)


def test_floating_pieces_and_cavities_are_gone() -> None:
    def dirty(points: Floats) -> Array:
        crumb = ball(points, 0.05, (0.33, 0.33, 0.33))
        return np.maximum(np.minimum(ball(points), -ball(points, 0.1)), crumb)

    mesh = extracted(dirty)
    assert mesh.volume() == pytest.approx(4 / 3 * math.pi * 0.2**3, rel=0.01)
    assert mesh.genus() == 0


def test_a_body_that_the_box_cuts_is_closed_by_a_plane() -> None:
    """A half ball: half the volume, half the surface and a disc."""
    grid = Grid.sample(ball, Box((-0.4, 0.0, -0.4), (0.4, 0.4, 0.4)), SPACING)
    mesh = surface(grid, 0.0, REACH)
    assert mesh.is_watertight()
    assert mesh.vertices[:, 1].min() == 0.0
    assert mesh.volume() == pytest.approx(2 / 3 * math.pi * 0.2**3, rel=0.015)
    assert mesh.area() == pytest.approx(3 * math.pi * 0.2**2, rel=0.015)


@pytest.mark.parametrize("count", [500, 4000])
def test_simplification_keeps_the_shape_and_closes_it(count: int) -> None:
    found = simplified(extracted(ball), count)
    assert 0.9 * count <= len(found.faces) <= count
    assert found.is_watertight()
    assert found.genus() == 0
    assert found.volume() == pytest.approx(4 / 3 * math.pi * 0.2**3, rel=0.015)
    again = simplified(extracted(ball), count)
    assert np.array_equal(found.vertices, again.vertices)
    assert np.array_equal(found.faces, again.faces)


def test_few_faces_are_left_as_they_are() -> None:
    mesh = extracted(ball)
    assert simplified(mesh, len(mesh.faces)) is mesh


def test_the_largest_piece_is_the_one_of_the_greatest_volume() -> None:
    large, small = extracted(ball), extracted(lambda points: ball(points, 0.1))
    both = Mesh(
        np.concatenate([small.vertices, large.vertices]), np.concatenate([small.faces, large.faces + len(small.vertices)])
    )
    assert largest_piece(both).volume() == pytest.approx(large.volume())


def test_an_open_mesh_is_not_called_closed() -> None:
    mesh = extracted(ball)
    assert not mesh.chosen(np.arange(len(mesh.faces)) > 0).is_watertight()
    turned = mesh.faces.copy()
    turned[0] = turned[0][::-1]
    assert not Mesh(mesh.vertices, turned).is_watertight()


def test_an_empty_or_broken_density_says_so() -> None:
    with pytest.raises(MeshError, match=r"no density reaches 5.*highest is"):
        extracted(lambda points: np.zeros(len(points)), 5.0)
    with pytest.raises(MeshError, match="NaN"):
        extracted(lambda points: np.full(len(points), np.nan))


@given(st.floats(0.001, 0.999))
def test_opacity_of_a_centimetre_and_raw_density_are_inverse(opacity: float) -> None:
    raw = raw_density(opacity)
    assert opacity_of(raw) == pytest.approx(opacity, rel=1e-9)
    assert 1 - math.exp(-math.log1p(math.exp(raw - 1)) * CENTIMETRE) == pytest.approx(opacity, rel=1e-6)
