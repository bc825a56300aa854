"""Coarse heads from a few points: the points are projected from a head of the stated size through known cameras."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import CANONICAL_SCALE, Camera
from spherehead.pipeline.annotators.faces.coarse_pose import (
    BACK_SCALE,
    EAR_HALF_DISTANCE,
    EYES_OVER_MOUTH,
    FACE_POINTS_SCALE,
    MOUTH_BEFORE_EYES,
    NOSE_BEFORE_EARS,
    ORIGIN_OVER_EARS,
    head_of_body,
    head_of_face,
)

HEAD = {
    "left_ear": (EAR_HALF_DISTANCE, -ORIGIN_OVER_EARS, 0.0),
    "right_ear": (-EAR_HALF_DISTANCE, -ORIGIN_OVER_EARS, 0.0),
    "nose": (0.0, -3.0, NOSE_BEFORE_EARS),
    "left_eye": (3.0, 1.0, 4.0),
    "right_eye": (-3.0, 1.0, 4.0),
    "mouth": (0.0, 1.0 - EYES_OVER_MOUTH, 4.0 + MOUTH_BEFORE_EYES),
}
"""Centimetres in a level head frame."""


def pixels(yaw: float, roll: float, names: list[str], scale: float = 300.0) -> np.ndarray:
    far = Camera.look_at(yaw, 0.0, roll, radius=270.0)  # a hundred times as far: no perspective, as the solver assumes
    image, _ = far.project(CANONICAL_SCALE * np.array([HEAD[name] for name in names]))
    return scale * 100.0 * (image - 0.5) + (400.0, 300.0)


FACE = ["right_eye", "left_eye", "nose", "mouth", "right_ear", "left_ear"]


def body(yaw: float, roll: float = 0.0, shoulders: float | None = None) -> np.ndarray:
    points = np.zeros((33, 4))
    points[:, 3] = 1.0
    order = {0: "nose", 2: "left_eye", 5: "right_eye", 7: "left_ear", 8: "right_ear", 9: "mouth", 10: "mouth"}
    for index, place in zip(order, pixels(yaw, roll, list(order.values())), strict=True):
        points[index, :2] = place
    turn = yaw if shoulders is None else shoulders
    half = 100.0 * np.array([math.cos(turn), 0.0, -math.sin(turn)])
    middle = np.array([400.0, 420.0, 0.0])
    points[11, :3], points[12, :3] = middle + half, middle - half
    return points


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.floats(-math.pi, math.pi), st.floats(-0.7, 0.7))
def test_azimuth_and_roll_come_back_over_the_whole_circle(yaw: float, roll: float) -> None:
    head = head_of_body(body(yaw, roll))
    assert abs(math.remainder(head.yaw - yaw, 2 * math.pi)) < math.radians(1.0)
    assert abs(head.roll - roll) < math.radians(1.5)
    assert np.hypot(*(head.placement.centre - (400, 300))) < 2.0


@pytest.mark.parametrize("yaw", [-1.2, -0.4, 0.0, 0.8])
def test_scale_is_the_heads_with_what_the_detectors_add_taken_off(yaw: float) -> None:
    assert head_of_face(pixels(yaw, 0.0, FACE)).placement.scale == pytest.approx(FACE_POINTS_SCALE * 300, rel=0.02)
    assert head_of_body(body(yaw)).placement.scale == pytest.approx(300, rel=0.02)


def test_scale_from_behind_is_raised() -> None:
    assert head_of_body(body(math.pi)).placement.scale == pytest.approx((1 + BACK_SCALE) * 300, rel=0.02)


def test_points_that_contradict_each_other_cost_confidence() -> None:
    good = pixels(0.3, 0.0, FACE)
    squeezed = good.copy()
    squeezed[:, 0] = 400 + 0.35 * (good[:, 0] - 400)
    assert head_of_face(good).confidence > 0.95
    assert head_of_face(squeezed).confidence < 0.3


def test_a_face_drawn_on_a_back_is_not_believed() -> None:
    """The head says front, the shoulders say back."""
    assert head_of_body(body(0.0)).confidence > 0.99
    assert head_of_body(body(0.0, shoulders=math.pi)).confidence < 1e-4
    assert head_of_body(body(3.1, shoulders=-3.1)).confidence > 0.95  # no wrap at the back


def test_hidden_points_cost_confidence() -> None:
    points = body(0.4)
    points[[7, 8, 11, 12], 3] = 0.1
    assert head_of_body(points).confidence < 0.35


def test_mirrored_points_give_the_mirrored_camera() -> None:
    points = pixels(0.6, 0.2, FACE)
    mirrored = np.column_stack([800 - points[:, 0], points[:, 1]])[[1, 0, 2, 3, 5, 4]]
    here, there = head_of_face(points), head_of_face(mirrored)
    assert (there.yaw, there.roll) == pytest.approx((-here.yaw, -here.roll), abs=1e-9)
    assert there.box[2:] == pytest.approx(here.box[2:])


def test_upright_keeps_azimuth_and_loses_roll() -> None:
    head = head_of_face(pixels(0.6, 0.3, FACE)).upright()
    assert head.roll == pytest.approx(0.0, abs=1e-12) and head.yaw == pytest.approx(0.6, abs=0.02)


def test_points_on_one_spot_are_no_crash_and_no_confidence() -> None:
    head = head_of_face(np.zeros((6, 2)))
    assert np.isfinite(head.box).all()
