"""What errors of poses are: wrapped at the back, mirrored, rounded, and measured in eye distances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera, geodesic
from spherehead.pipeline.annotators.faces.face_shape import NUM_VERTICES
from spherehead.pipeline.stages.camera_checks import label_residual, mirror_error, rounded

angles = st.floats(-1.2, 1.2)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(angles, angles, angles)
def test_a_predictor_that_ignores_mirroring_is_off_by_twice_its_yaw(yaw: float, pitch: float, roll: float) -> None:
    camera = Camera.look_at(yaw, pitch)
    assert mirror_error(camera, camera.mirrored()) < 1e-9
    level = Camera.look_at(yaw, 0.0)
    assert mirror_error(level, level) == pytest.approx(2 * abs(yaw), abs=1e-9)
    assert mirror_error(Camera.look_at(0.0, pitch, roll), Camera.look_at(0.0, pitch, roll)) == pytest.approx(
        2 * abs(roll), abs=1e-9
    )


def test_no_wrap_at_the_back_hides_or_invents_an_error() -> None:
    back = Camera.look_at(math.radians(179), 0.0)
    assert math.degrees(mirror_error(back, back)) == pytest.approx(2.0, abs=1e-6)
    assert math.degrees(mirror_error(back, Camera.look_at(math.radians(-179), 0.0))) < 1e-6


@settings(max_examples=50, deadline=None, derandomize=True)
@given(angles, angles, angles)
def test_rounding_a_label_moves_it_by_less_than_a_thousandth_of_a_degree(yaw: float, pitch: float, roll: float) -> None:
    camera = Camera.look_at(yaw, pitch, roll)
    label = rounded(camera.world2cam)
    label.check()
    assert math.degrees(geodesic(label.world2cam, camera.world2cam)) < 1e-3
    jitter = rounded(Camera.look_at(yaw + 1e-12, pitch, roll).world2cam)
    assert np.abs(jitter.label() - label.label()).max() < 3e-6


def test_residual_is_measured_in_eye_distances() -> None:
    camera = Camera.look_at(0.0, 0.0)
    face = np.random.default_rng(0).uniform(-0.2, 0.2, (NUM_VERTICES, 3))
    mesh = np.column_stack([512 * camera.project(face)[0], np.zeros(NUM_VERTICES)])
    eyes = np.linalg.norm(mesh[[33, 133], :2].mean(axis=0) - mesh[[263, 362], :2].mean(axis=0))
    moved = mesh + np.array([0.05 * eyes, 0.0, 0.0])
    assert label_residual(camera, face, mesh, 512) == pytest.approx(0.0, abs=1e-9)
    assert label_residual(camera, face, moved, 512) == pytest.approx(0.05, rel=1e-6)
