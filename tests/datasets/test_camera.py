"""The camera label against projected points: checked by where points land, not by the code's own matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import (
    FOCAL,
    LABEL_MIRROR_NEGATES,
    RADIUS,
    Camera,
    CameraError,
    canonical_to_world,
    geodesic,
    mean_rotation,
    rotation_x,
    rotation_z,
)
from spherehead.datasets.canonical_face import canonical_vertices, mirror_partners

fast = settings(max_examples=60, deadline=None, derandomize=True)
angles = st.floats(-math.pi + 1e-6, math.pi)
pitches = st.floats(-1.5, 1.5)
yaws = st.floats(-3.1, 3.1)
small = st.floats(-0.2, 0.2)
POINTS = np.random.default_rng(0).uniform(-0.3, 0.3, (50, 3))


def seen(camera: Camera, points: np.ndarray = POINTS) -> np.ndarray:
    return camera.project(points)[0]


def mapped(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    ahead = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return ahead[:, :2] / ahead[:, 2:]


cameras = st.builds(Camera.look_at, yaws, pitches, angles)


def test_front_camera_sees_the_subjects_left_on_the_right_and_up_at_the_top() -> None:
    camera = Camera.look_at(0.0, 0.0)
    (left, up, origin), depth = camera.project(np.array([[0.1, 0, 0], [0, 0.1, 0], [0, 0, 0]]))
    assert left[0] > 0.5 and abs(left[1] - 0.5) < 1e-12
    assert up[1] < 0.5 and abs(up[0] - 0.5) < 1e-12
    assert np.allclose(origin, 0.5) and np.allclose(depth, RADIUS)


def test_half_the_picture_spans_the_published_field_of_view() -> None:
    assert 2 * math.degrees(math.atan(0.5 / FOCAL)) == pytest.approx(13.37, abs=0.01)
    edge, _ = Camera.look_at(0, 0).project(np.array([RADIUS * 0.5 / FOCAL, 0, 0]))
    assert edge[0] == pytest.approx(1.0)


def test_positive_yaw_stands_on_the_subjects_left_and_positive_pitch_above() -> None:
    assert Camera.look_at(0.5, 0.0).position[0] > 0
    assert Camera.look_at(0.0, 0.5).position[1] > 0


@fast
@given(yaws, pitches, angles)
def test_look_at_gives_back_its_angles(yaw: float, pitch: float, roll: float) -> None:
    camera = Camera.look_at(yaw, pitch, roll)
    camera.check()
    assert camera.yaw == pytest.approx(yaw, abs=1e-7)
    assert camera.pitch == pytest.approx(pitch, abs=1e-7)
    assert abs(math.remainder(camera.roll - roll, 2 * math.pi)) < 1e-7


@fast
@given(yaws, st.sampled_from([-1.0, 1.0]), angles)
def test_look_at_is_sound_at_the_poles(yaw: float, side: float, roll: float) -> None:
    camera = Camera.look_at(yaw, side * math.pi / 2, roll)
    camera.check()
    assert camera.pitch == pytest.approx(side * math.pi / 2, abs=1e-7)
    again = Camera.look_at(camera.yaw, camera.pitch, camera.roll)
    assert geodesic(again.world2cam, camera.world2cam) < 1e-6


@fast
@given(yaws, pitches, angles)
def test_roll_turns_the_content_clockwise(yaw: float, pitch: float, roll: float) -> None:
    upright, turned = seen(Camera.look_at(yaw, pitch)) - 0.5, seen(Camera.look_at(yaw, pitch, roll)) - 0.5
    c, s = math.cos(roll), math.sin(roll)
    clockwise = upright @ np.array([[c, -s], [s, c]]).T  # y points down, so this turns as a clock does
    assert np.abs(turned - clockwise).max() < 1e-9
    assert np.abs(seen(Camera.look_at(yaw, pitch).rolled(roll)) - 0.5 - clockwise).max() < 1e-9


@fast
@given(cameras, small, small, st.floats(0.6, 1.5))
def test_mirrored_camera_sees_the_mirrored_point_for_any_intrinsics(
    camera: Camera, skew: float, shift: float, zoom: float
) -> None:
    odd = camera.warped(np.array([[zoom, skew, shift], [0, 1.1, -shift], [0, 0, 1.0]]))
    expected = seen(odd)
    expected[:, 0] = 1.0 - expected[:, 0]
    assert np.abs(seen(odd.mirrored(), POINTS * (-1, 1, 1)) - expected).max() < 1e-9


@fast
@given(cameras)
def test_mirroring_negates_exactly_the_listed_numbers_and_twice_is_nothing(camera: Camera) -> None:
    label, mirrored = camera.label(), camera.mirrored().label()
    signs = np.ones(25)
    signs[list(LABEL_MIRROR_NEGATES)] = -1
    assert np.array_equal(mirrored, label * signs)
    assert np.array_equal(camera.mirrored().mirrored().label(), label)


@fast
@given(cameras, st.lists(small, min_size=6, max_size=6), small, small, st.floats(0.5, 2.0))
def test_any_homography_is_an_exact_new_camera(camera: Camera, affine: list[float], gx: float, gy: float, zoom: float) -> None:
    homography = zoom * (np.eye(3) + np.array([affine[:3], affine[3:], [gx, gy, 0.0]]))
    assert np.abs(seen(camera.warped(homography)) - mapped(homography, seen(camera))).max() < 1e-9


@fast
@given(cameras, st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(0.3, 1.7))
def test_crop_moves_points_as_the_picture_moves(camera: Camera, x0: float, y0: float, side: float) -> None:
    cropped = camera.cropped(x0, y0, side)
    assert np.abs(seen(cropped) - (seen(camera) - (x0, y0)) / side).max() < 1e-9
    assert np.allclose(cropped.cam2world, camera.cam2world, atol=1e-12)  # a crop is a matter of intrinsics alone
    cropped.check(free_k=True)


@fast
@given(cameras, angles)
def test_roll_and_mirror_keep_the_canonical_intrinsics(camera: Camera, angle: float) -> None:
    camera.rolled(angle).check()
    camera.mirrored().check()


@fast
@given(cameras, angles)
def test_rolling_equals_turning_the_picture(camera: Camera, angle: float) -> None:
    c, s = math.cos(angle), math.sin(angle)
    to_centre = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1.0]])
    turn = np.linalg.inv(to_centre) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ to_centre
    assert np.abs(camera.warped(turn).label() - camera.rolled(angle).label()).max() < 1e-6


@fast
@given(cameras)
def test_label_round_trip_keeps_float32(camera: Camera) -> None:
    label = camera.label()
    assert label.shape == (25,) and label.dtype == np.float32
    again = Camera.from_label(label)
    again.check()
    assert np.array_equal(again.label(), label)
    assert np.abs(seen(again) - seen(camera)).max() < 1e-5


def test_a_flip_of_the_picture_is_refused_as_a_homography() -> None:
    with pytest.raises(CameraError, match="keeps orientation"):
        Camera.look_at(0.3, 0.1).warped(np.diag([-1.0, 1.0, 1.0]))


@fast
@given(yaws, pitches, st.floats(0, math.pi))
def test_geodesic_is_the_angle_turned_and_knows_no_wrap(yaw: float, pitch: float, angle: float) -> None:
    rotation = Camera.look_at(yaw, pitch).world2cam
    assert geodesic(rotation, rotation_z(angle) @ rotation) == pytest.approx(angle, abs=1e-7)
    near = geodesic(Camera.look_at(math.radians(179), 0).world2cam, Camera.look_at(math.radians(-179), 0).world2cam)
    assert math.degrees(near) == pytest.approx(2.0, abs=1e-6)


def as_label(cam2world: np.ndarray, intrinsics: np.ndarray | None = None) -> np.ndarray:
    k = Camera.look_at(0, 0).intrinsics if intrinsics is None else intrinsics
    return np.concatenate([np.asarray(cam2world).reshape(-1), np.asarray(k).reshape(-1)])


GOOD = Camera.look_at(0.4, 0.2)
PIXELS = GOOD.intrinsics * np.array([[512.0], [512.0], [1.0]])
FLIPPED = GOOD.cam2world.copy()
FLIPPED[:3, 0] *= -1
OPENGL = GOOD.cam2world @ np.diag([1.0, -1.0, -1.0, 1.0])
FAR = Camera.look_at(0.4, 0.2, radius=4.0).cam2world
SHIFTED = GOOD.cam2world.copy()
SHIFTED[:3, 3] = RADIUS * np.array([0.0, 0.0, 1.0])
UNSQUARE = GOOD.cam2world.copy()
UNSQUARE[:3, 0] *= 1.01


@pytest.mark.parametrize(
    ("cam2world", "intrinsics", "words"),
    [
        (np.eye(4), None, "never filled in"),
        (GOOD.cam2world, PIXELS, "divide its first two rows"),
        (GOOD.cam2world.T, None, "transposed"),
        (np.linalg.inv(GOOD.cam2world), None, "invert it"),
        (OPENGL, None, "OpenGL"),
        (FAR, None, "scale the translation by 0.675"),
        (FLIPPED, None, "determinant"),
        (SHIFTED, None, "optical axis"),
        (UNSQUARE, None, "orthonormal"),
        (GOOD.cam2world, np.diag([2.0, 2.0, 1.0]), "canonical intrinsics"),
    ],
)
def test_a_bad_camera_is_refused_with_what_was_probably_meant(
    cam2world: np.ndarray, intrinsics: np.ndarray | None, words: str
) -> None:
    with pytest.raises(CameraError, match=words):
        Camera.from_label(as_label(cam2world, intrinsics)).check()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_refused(bad: float) -> None:
    label = GOOD.label()
    label[7] = bad
    with pytest.raises(CameraError, match="finite"):
        Camera.from_label(label)


def test_a_label_of_another_length_is_refused() -> None:
    with pytest.raises(CameraError, match="got 16"):
        Camera.from_label(np.zeros(16))


def test_free_intrinsics_pass_only_where_they_are_allowed() -> None:
    zoomed = GOOD.cropped(0.1, 0.1, 0.8)
    zoomed.check(free_k=True)
    with pytest.raises(CameraError, match="canonical intrinsics"):
        zoomed.check()


def test_canonical_face_is_placed_by_the_calibrated_similarity() -> None:
    points = np.array([[0.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0]])
    placed = canonical_to_world(points)
    assert np.allclose(placed[0], (0.0, -0.0335, 0.043))
    assert np.allclose(placed[1] - placed[0], (0.0225, 0, 0))
    assert np.allclose(placed[2] - placed[0], 0.0225 * rotation_x(math.radians(-2.0))[:, 1])


def test_the_frontal_face_is_symmetric_in_the_frontal_picture() -> None:
    image = seen(Camera.look_at(0, 0.1), canonical_to_world(canonical_vertices()))
    partner = image[mirror_partners()]
    assert np.abs(image[:, 0] - (1 - partner[:, 0])).max() < 1e-9
    assert np.abs(image[:, 1] - partner[:, 1]).max() < 1e-9


@fast
@given(yaws, pitches, angles, st.floats(0, 1.2))
def test_the_mean_of_two_rotations_lies_half_way(yaw: float, pitch: float, roll: float, apart: float) -> None:
    first, second = Camera.look_at(yaw, pitch, roll).world2cam, Camera.look_at(yaw + apart, pitch, roll).world2cam
    middle = mean_rotation([first, second])
    half = 0.5 * geodesic(first, second)
    assert geodesic(first, middle) == pytest.approx(half, abs=1e-7) == pytest.approx(geodesic(second, middle), abs=1e-7)


@fast
@given(yaws, st.lists(st.floats(0.1, 3.0), min_size=5, max_size=5))
def test_a_mean_of_turns_about_one_axis_is_the_weighted_mean_of_their_directions(yaw: float, weights: list[float]) -> None:
    turns = yaw + np.array([-0.4, -0.1, 0.0, 0.3, 0.7])
    mean = mean_rotation([rotation_z(turn) for turn in turns.tolist()], weights)
    direction = np.angle(np.sum(np.array(weights) * np.exp(1j * turns)))
    np.testing.assert_allclose(mean, rotation_z(float(direction)), atol=1e-12)
