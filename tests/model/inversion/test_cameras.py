"""Moved cameras: on their sphere, looking at the origin, by the angle asked for; gradients agree with finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spherehead.datasets.camera import RADIUS, Camera, geodesic
from spherehead.model.inversion.cameras import CameraPrior, angle_between, moved, rotation

ANGLES = st.floats(-3.0, 3.0)


def label(yaw: float, pitch: float) -> torch.Tensor:
    return torch.from_numpy(Camera.look_at(yaw, pitch).label())[None].double()


@given(ANGLES, st.floats(-1.2, 1.2), st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_turned_cameras_stay_canonical(yaw: float, pitch: float, turn: list[float]) -> None:
    units = torch.tensor([[*turn, 0.0, 0.0, 0.0]], dtype=torch.float64)
    found = moved(label(yaw, pitch), units, torch.tensor([0.2], dtype=torch.float64))
    Camera.from_label(found[0].numpy()).check()


@given(ANGLES, st.floats(-1.2, 1.2), st.floats(-2, 2))
def test_a_turn_about_the_cameras_up_is_that_many_degrees(yaw: float, pitch: float, turn: float) -> None:
    start = label(yaw, pitch)
    units = torch.tensor([[0.0, turn, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    found = moved(start, units, torch.tensor([0.3], dtype=torch.float64))
    assert float(angle_between(start, found)[0]) == pytest.approx(abs(0.3 * turn), abs=1e-5)


@given(ANGLES, ANGLES, st.floats(-1.2, 1.2))
def test_angle_between_is_the_geodesic_of_the_rotations(first: float, second: float, pitch: float) -> None:
    one, two = Camera.look_at(first, pitch), Camera.look_at(second, -pitch)
    found = float(angle_between(label(first, pitch), label(second, -pitch))[0])
    assert found == pytest.approx(geodesic(one.cam2world[:3, :3], two.cam2world[:3, :3]), abs=2e-3)


def test_no_move_gives_the_label_back() -> None:
    start = torch.from_numpy(Camera.look_at(2.0, 0.3).cropped(0.1, 0.05, 0.8).label())[None].double()
    torch.testing.assert_close(moved(start, torch.zeros(1, 6, dtype=torch.float64), torch.tensor([0.1]).double()), start)


def test_shift_and_zoom_move_the_picture_by_their_deviations() -> None:
    prior = CameraPrior(shift=0.02, zoom=0.1)
    start = label(0.4, 0.1)
    found = moved(start, torch.tensor([[0, 0, 0, 1.0, -2.0, 1.0]]).double(), torch.tensor([0.1]).double(), prior)[0].numpy()
    point = np.array([[0.1, 0.05, 0.2], [0.0, 0.0, 0.0]])
    before, _ = Camera.from_label(start[0].numpy()).project(point)
    after, _ = Camera.from_label(found).project(point)
    expected = 0.5 + (before - 0.5) * math.exp(0.1) + np.array([0.02, -0.04])
    np.testing.assert_allclose(after, expected, atol=1e-6)
    assert Camera.from_label(found).radius == pytest.approx(RADIUS)


def test_gradients_agree_with_finite_differences() -> None:
    start, error = label(0.7, -0.2), torch.tensor([0.2], dtype=torch.float64)
    units = torch.full((1, 6), 0.1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda value: moved(start, value, error), (units,), atol=1e-6)


def test_rotation_of_nothing_is_the_identity_with_a_gradient() -> None:
    vector = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    rotation(vector)[0, 2, 1].backward()
    torch.testing.assert_close(vector.grad, torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64))
