"""The head-frame fit against faces rendered through known cameras: points come from the label's own projection formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import FOCAL, RADIUS, Camera, canonical_to_world, geodesic
from spherehead.datasets.canonical_face import canonical_vertices
from spherehead.datasets.warp import apply
from spherehead.pipeline.annotators.faces.face_shape import mean_face, mirror_mesh, shape_modes
from spherehead.pipeline.annotators.faces.head_fit import (
    HEAD_HALF_AXES,
    HeadFit,
    coarse_placement,
    placement_at,
    placement_of_box,
    rotation_vector,
)
from spherehead.pipeline.annotators.faces.mesh_drift import marked

CANONICAL = HeadFit(num_modes=0)
FULL = HeadFit()


def mesh_of(camera: Camera, scale: float, centre: tuple[float, float], vertices: np.ndarray | None = None) -> np.ndarray:
    """The mesh that a faultless network of that kind would mark: the label's projection and the usual drift, with depth."""
    world = canonical_to_world(canonical_vertices() if vertices is None else vertices)
    image, depth = marked(camera, world), camera.project(world)[1]
    return np.column_stack([scale * (image - 0.5) + centre, (depth - RADIUS) * scale * FOCAL / RADIUS])


def person(seed: int, strength: float = 1.0) -> np.ndarray:
    weights = strength * np.random.default_rng(seed).normal(size=40)
    return mean_face() + np.tensordot(weights, shape_modes(40), 1)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.floats(-1.0, 1.0), st.floats(-0.6, 0.6), st.floats(-1.5, 1.5), st.floats(80, 900))
def test_a_canonical_face_gives_back_camera_scale_and_place(yaw: float, pitch: float, roll: float, scale: float) -> None:
    truth = Camera.look_at(yaw, pitch, roll)
    found = HeadFit(num_modes=0, tolerance=1e-9, max_steps=60).fit(mesh_of(truth, scale, (310.0, 220.0)))
    assert geodesic(found.rotation, truth.world2cam) < 1e-5
    assert found.scale == pytest.approx(scale, rel=1e-5)
    assert np.abs(found.centre - (310, 220)).max() < 1e-3 * scale / 100
    assert found.residuals.max() < 1e-4
    found.camera.check()


@pytest.mark.parametrize("seed", range(6))
def test_a_person_unlike_the_model_is_seen_from_where_he_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = Camera.look_at(rng.uniform(-0.7, 0.7), rng.uniform(-0.3, 0.3), rng.uniform(-0.4, 0.4))
    mesh = mesh_of(truth, 400.0, (256.0, 256.0), person(seed))
    found = FULL.fit(mesh)
    assert math.degrees(geodesic(found.rotation, truth.world2cam)) < 5.0
    assert np.median(found.residuals) < 0.02
    assert found.scale == pytest.approx(400, rel=0.03)


def test_an_open_mouth_turns_the_camera_less_than_it_turns_a_rigid_fit() -> None:
    vertices = mean_face().copy()
    jaw = vertices[:, 1] < -4.0
    vertices[jaw] += (0.0, -1.5, -0.5)
    truth = Camera.look_at(0.3, 0.0)
    mesh = mesh_of(truth, 400.0, (256.0, 256.0), vertices)
    rigid, full = (geodesic(fit.fit(mesh).rotation, truth.world2cam) for fit in (CANONICAL, FULL))
    assert full < 0.7 * rigid and math.degrees(full) < 3.0


def test_the_stated_deviation_covers_the_error_of_random_people() -> None:
    """Over random faces of the model itself, errors in units of the stated deviation must scatter about one."""
    scaled = []
    for seed in range(30):
        truth = Camera.look_at(0.4 * math.sin(seed), 0.2 * math.cos(3 * seed))
        found = FULL.fit(mesh_of(truth, 400.0, (256.0, 256.0), person(100 + seed)))
        turn = found.rotation @ truth.world2cam.T
        error = 0.5 * np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
        scaled.append(error / found.sigma)
    spread = np.sqrt(np.mean(np.square(scaled)))
    assert 0.5 < spread < 2.0


def test_mirrored_mesh_gives_the_mirrored_camera() -> None:
    mesh = mesh_of(Camera.look_at(0.5, 0.1, 0.2), 300.0, (200.0, 180.0), person(3))
    here, there = FULL.fit(mesh), FULL.fit(mirror_mesh(mesh, 512.0))
    assert geodesic(here.camera.mirrored().world2cam, there.rotation) < 2e-3
    assert there.centre[0] == pytest.approx(512 - here.centre[0], abs=0.05)


def test_a_turned_picture_turns_only_the_roll() -> None:
    mesh = mesh_of(Camera.look_at(-0.4, 0.2), 300.0, (200.0, 180.0), person(4))
    c, s = math.cos(0.7), math.sin(0.7)
    turned = np.column_stack([mesh[:, :2] @ np.array([[c, -s], [s, c]]).T, mesh[:, 2]])
    here, there = FULL.fit(mesh).camera, FULL.fit(turned).camera
    assert (there.yaw, there.pitch) == pytest.approx((here.yaw, here.pitch), abs=1e-3)
    assert there.roll - here.roll == pytest.approx(0.7, abs=1e-3)


def test_a_few_wild_points_do_not_move_the_camera() -> None:
    truth = Camera.look_at(0.3, -0.1)
    mesh = mesh_of(truth, 400.0, (256.0, 256.0))
    mesh[::23, :2] += 40.0
    assert math.degrees(geodesic(CANONICAL.fit(mesh).rotation, truth.world2cam)) < 1.0


def test_crop_matrix_puts_the_origin_at_the_centre_upright_and_to_scale() -> None:
    camera = Camera.look_at(0.5, -0.2, 0.4)
    found = HeadFit(num_modes=0, tolerance=1e-9, max_steps=60).fit(mesh_of(camera, 333.0, (411.0, 97.0)))
    matrix = found.crop_matrix(256)
    upright = Camera.look_at(0.5, -0.2)
    points = canonical_to_world(canonical_vertices())
    expected = 256 * upright.project(points)[0]
    assert np.abs(apply(matrix, found.project(points)) - expected).max() < 0.01


def test_in_a_known_crop_the_place_is_held_and_the_points_still_fit() -> None:
    mesh = mesh_of(Camera.look_at(0.3, 0.1), 512.0, (256.0, 256.0), person(7))
    mesh[:, 0] += 3.0  # the crop is three pixels off
    free, held = FULL.fit(mesh), FULL.fit(mesh, size=512)
    assert abs(held.centre[0] - 256) < abs(free.centre[0] - 256)
    assert np.median(held.residuals) < 1.5 * np.median(free.residuals)


def test_a_start_near_the_answer_ends_where_any_start_ends() -> None:
    mesh = mesh_of(Camera.look_at(0.3, 0.1), 400.0, (256.0, 256.0), person(8))
    first = FULL.fit(mesh)
    assert geodesic(FULL.fit(mesh, start=first).rotation, first.rotation) < 1e-3


def test_the_same_mesh_gives_the_same_bits() -> None:
    mesh = mesh_of(Camera.look_at(0.2, 0.1), 400.0, (256.0, 256.0), person(9)).astype(np.float32)
    assert np.array_equal(FULL.fit(mesh).rotation, FULL.fit(mesh.copy()).rotation)


@pytest.mark.parametrize("bad", [np.zeros((478, 3)), np.full((478, 3), np.nan)])
def test_a_mesh_without_extent_or_numbers_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite mesh"):
        FULL.fit(bad)


@pytest.mark.parametrize("yaw", [0.0, 0.8, -1.5, 3.0])
def test_box_and_placement_are_each_others_inverse(yaw: float) -> None:
    placement = placement_at(np.array([120.0, 80.0]), 300.0, yaw)
    again = placement_of_box(placement.head_box(), yaw)
    assert np.allclose(again.centre, placement.centre) and again.scale == pytest.approx(300.0)


def test_head_box_is_as_wide_as_the_ellipsoid_from_the_front_and_as_deep_from_the_side() -> None:
    per_unit = 300.0 * FOCAL / RADIUS
    _, _, front, height = placement_at(np.zeros(2), 300.0, 0.0).head_box()
    _, _, side, _ = placement_at(np.zeros(2), 300.0, math.pi / 2).head_box()
    assert front == pytest.approx(2 * HEAD_HALF_AXES[0] * per_unit)
    assert side == pytest.approx(2 * HEAD_HALF_AXES[2] * per_unit)
    assert height == pytest.approx(placement_at(np.zeros(2), 300.0, 0.0).head_size)


def test_coarse_placement_is_near_the_fit() -> None:
    truth = Camera.look_at(0.6, 0.2, 0.3)
    coarse = coarse_placement(mesh_of(truth, 300.0, (200.0, 100.0)))
    assert math.degrees(geodesic(coarse.rotation, truth.world2cam)) < 10
    assert coarse.scale == pytest.approx(300, rel=0.1)


def test_rotation_vector_turns_about_its_axis_by_its_length() -> None:
    quarter = rotation_vector(np.array([0.0, 0.0, math.pi / 2]))
    assert np.allclose(quarter @ (1, 0, 0), (0, 1, 0))
    assert np.allclose(rotation_vector(np.zeros(3)), np.eye(3))
    assert np.allclose(rotation_vector(np.array([1e-9, 0, 0])), np.eye(3))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("num_modes", -1), ("num_modes", 3000), ("num_vertices", 0), ("noise", 0.0), ("place_deviation", 0.0), ("max_steps", 0)],
)
def test_settings_that_cannot_work_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{setting}.*expected .*, got"):
        HeadFit(**{setting: value})  # type: ignore[arg-type]
