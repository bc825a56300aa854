"""Labels checked by thousands at once: the verdicts, angles and mirror images of one `Camera` at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera, CameraError, rotation_x
from spherehead.datasets.labels import label_angles, label_problems, mirrored_labels, surely_sound

EDGES = (0.9, 0.99, 0.999, 0.999999, 1.0, 1.000001, 1.001, 1.01, 1.1, 30.0)
"""Sizes of a fault in units of the limit that it is held against."""


def random_cameras(count: int, seed: int) -> list[Camera]:
    random = np.random.default_rng(seed)
    yaw, roll = random.uniform(-math.pi, math.pi, (2, count))
    pitch = np.arcsin(random.uniform(-1, 1, count))
    return [Camera.look_at(*angles) for angles in zip(yaw, pitch, roll, strict=True)]


def broken(label: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a label with one fault, as a broken pipeline would write it, or near one of the limits."""
    camera = Camera.from_label(label)
    edge = float(random.choice(EDGES)) * float(random.choice([-1, 1]))
    matrix, k = camera.cam2world.copy(), camera.intrinsics.copy()
    kind = int(random.integers(14))
    if kind == 0:
        return np.where(np.arange(25) == random.integers(25), random.choice([np.nan, np.inf, -np.inf]), label)
    if kind == 1:
        matrix[3, random.integers(4)] += 1e-6 * edge
    elif kind == 2:
        matrix[:3, random.integers(3)] *= 1 + 0.5e-5 * edge
    elif kind == 3:
        matrix[:3, 3] *= (2.7 + 1e-4 * edge) / camera.radius
    elif kind == 4:
        k[tuple(random.integers(3, size=2))] += 1e-4 * edge
    elif kind == 5:
        k[random.integers(1, 3), 0] += 1e-6 * edge
    elif kind == 6:  # an axis that misses the origin
        matrix[:3, :3] = matrix[:3, :3] @ rotation_x(1e-4 / 2.7 * edge)
    elif kind == 7:
        matrix[:3, :3] = -matrix[:3, :3]
    elif kind == 8:
        matrix[:3, 2] = -matrix[:3, 2]
    elif kind == 9:
        matrix = np.linalg.inv(matrix)
    elif kind == 10:
        matrix = matrix.T
    elif kind == 11:
        k[:2] *= 512
    elif kind == 12:
        k[random.integers(2), random.integers(2)] *= -1
    else:
        return random.normal(size=25)
    return np.concatenate([matrix.ravel(), k.ravel()])


def verdict(label: np.ndarray, free_k: bool) -> str:
    try:
        Camera.from_label(label).check(free_k=free_k)
    except CameraError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("free_k", [False, True])
@settings(max_examples=12, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32))
def test_verdicts_are_those_of_one_camera_at_a_time(free_k: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    good = [camera.label() for camera in random_cameras(100, seed)]
    good += [Camera.from_label(label).cropped(0.03, -0.02, 0.9).label() for label in good[:40]]
    labels = np.array([*good, *(broken(label, random) for label in good for _ in range(2))], dtype=np.float32)
    expected = {index: text for index, label in enumerate(labels) if (text := verdict(label, free_k))}
    assert dict(label_problems(labels, free_k)) == expected
    assert 60 < len(expected) < len(labels) - 60


@settings(max_examples=30, deadline=None, derandomize=True)
@given(label=st.lists(st.floats(width=32), min_size=25, max_size=25))
def test_no_label_of_any_numbers_is_judged_otherwise(label: list[float]) -> None:
    labels = np.array([label], dtype=np.float32)
    assert dict(label_problems(labels)) == ({0: text} if (text := verdict(labels[0], False)) else {})


def test_sound_labels_do_not_need_the_slow_check() -> None:
    labels = np.array([camera.label() for camera in random_cameras(1000, 1)])
    assert surely_sound(labels).all()
    assert surely_sound(np.zeros((0, 25), np.float32)).shape == (0,)


def test_angles_are_the_cameras() -> None:
    cameras = [Camera.from_label(camera.label()) for camera in random_cameras(500, 2)]
    found = label_angles(np.array([camera.label() for camera in cameras]))
    expected = np.degrees([[camera.yaw, camera.pitch, camera.roll] for camera in cameras])
    turn = (found - expected + 180) % 360 - 180
    assert np.abs(turn).max() < 1e-9


@pytest.mark.parametrize("free", [False, True])
def test_mirrored_labels_are_the_cameras_bit_for_bit(free: bool) -> None:
    cameras = random_cameras(300, 3)
    if free:
        cameras = [camera.cropped(0.11, 0.02, 0.8).rolled(0.3) for camera in cameras]
    labels = np.array([camera.label() for camera in cameras])
    expected = np.array([Camera.from_label(label).mirrored().label() for label in labels])
    assert mirrored_labels(labels).tobytes() == expected.tobytes()
    assert np.abs(mirrored_labels(mirrored_labels(labels)) - labels).max() < 1e-6
