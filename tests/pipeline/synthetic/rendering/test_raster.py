"""The z-buffer against its own uncompiled twin and against the label's projection."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera
from spherehead.pipeline.synthetic.rendering import raster
from spherehead.pipeline.synthetic.rendering.raster import AlphaMaps, Buffers, rasterise

OPAQUE = AlphaMaps(np.zeros(1, np.uint8), np.zeros((0, 3), np.int64), np.full(64, -1, np.int32), np.zeros(0))
UVS = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


def draw(points: np.ndarray, faces: np.ndarray, camera: Camera, size: int, alpha: AlphaMaps = OPAQUE) -> Buffers:
    return rasterise(points, faces, UVS, np.zeros_like(faces), alpha, camera, size)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_the_compiled_loop_is_the_plain_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    points = random.uniform(-0.4, 0.4, (12, 3))
    faces = random.integers(0, 12, (10, 3)).astype(np.int32)
    pixels = random.integers(0, 256, 64).astype(np.uint8)
    alpha = AlphaMaps(pixels, np.array([[0, 8, 8]]), np.where(np.arange(10) % 2, 0, -1).astype(np.int32), np.array([0.5]))
    camera = Camera.look_at(float(random.uniform(-3, 3)), float(random.uniform(-1, 1)))
    face_uvs = random.integers(0, 4, (10, 3)).astype(np.int32)
    fast = rasterise(points, faces, UVS, face_uvs, alpha, camera, 24)
    plain = [np.full((24, 24), -1, np.int32), np.zeros((24, 24, 2), np.float32), np.full((24, 24), np.inf, np.float32)]
    image, depth = camera.project(points)
    clear = np.ones((24, 24), np.float32)
    raster.fill(
        image * 24, depth, faces, UVS, face_uvs, pixels.astype(np.float64), alpha.places, alpha.of_face, alpha.seen_from,
        np.arange(10), raster.NEAREST, *plain, clear,
    )  # fmt: skip
    assert np.array_equal(fast.face, plain[0])
    assert np.allclose(fast.bary, plain[1], atol=1e-6)
    assert np.allclose(fast.clear, clear, atol=1e-6)


@pytest.mark.parametrize("yaw", [0.0, 1.0, 3.0])
def test_what_a_pixel_shows_projects_back_into_that_pixel(yaw: float) -> None:
    """Perspective-correct weights: the interpolated world point lies on the ray through the pixel's centre."""
    random = np.random.default_rng(3)
    points = random.uniform(-0.3, 0.3, (30, 3))
    faces = np.arange(30).reshape(10, 3)
    camera = Camera.look_at(yaw, 0.3, 0.2)
    seen = draw(points, faces, camera, 64)
    image, depth = camera.project(seen.blend(points, faces)[seen.face >= 0])
    row, column = np.nonzero(seen.face >= 0)
    assert len(row) > 300
    assert np.abs(image * 64 - 0.5 - np.column_stack([column, row])).max() < 1e-4
    assert np.abs(depth - seen.depth[row, column]).max() < 1e-5


def test_a_square_covers_as_many_pixels_as_its_area() -> None:
    camera = Camera.look_at(0.0, 0.0)
    half = 0.2
    points = np.array([[-half, -half, 0.0], [half, -half, 0], [half, half, 0], [-half, half, 0]])
    seen = draw(points, np.array([[0, 1, 2], [0, 2, 3]]), camera, 400)
    side = 2 * half * 4.2647 / 2.7 * 400
    assert (seen.face >= 0).sum() == pytest.approx(side**2, rel=0.01)
    assert ((seen.clear == 0) == (seen.face >= 0)).all()


def test_the_nearer_face_is_seen_whatever_the_order() -> None:
    camera = Camera.look_at(0.0, 0.0)
    near, far = (np.array([[-0.2, -0.2, z], [0.2, -0.2, z], [0.0, 0.2, z]]) for z in (0.1, -0.1))
    for points, expected in ((np.vstack([near, far]), 0), (np.vstack([far, near]), 1)):
        seen = draw(points, np.array([[0, 1, 2], [3, 4, 5]]), camera, 32)
        assert seen.face[16, 16] == expected
        assert seen.depth[16, 16] == pytest.approx(2.6, abs=1e-5)


def test_half_clear_sheets_multiply_and_hide_nothing() -> None:
    points = np.vstack([[[-0.3, -0.3, z], [0.3, -0.3, z], [0.0, 0.3, z]] for z in (0.0, 0.05)])
    alpha = AlphaMaps(np.full(4, 102, np.uint8), np.array([[0, 2, 2]]), np.zeros(2, np.int32), np.array([0.5]))
    seen = draw(points, np.array([[0, 1, 2], [3, 4, 5]]), Camera.look_at(0.0, 0.0), 32, alpha)
    assert seen.clear[16, 16] == pytest.approx((1 - 102 / 255) ** 2, abs=1e-5)
    assert seen.face[16, 16] == -1


def test_drawing_in_two_goes_is_drawing_at_once() -> None:
    random = np.random.default_rng(5)
    points, faces = random.uniform(-0.4, 0.4, (12, 3)), random.integers(0, 12, (10, 3)).astype(np.int32)
    alpha = AlphaMaps(np.full(4, 102, np.uint8), np.array([[0, 2, 2]]), np.where(np.arange(10) % 2, 0, -1), np.array([0.3]))
    camera, none = Camera.look_at(0.4, 0.1), np.zeros_like(faces)
    whole = rasterise(points, faces, UVS, none, alpha, camera, 48)
    parts = rasterise(points, faces, UVS, none, alpha, camera, 48, np.arange(0, 10, 2))
    parts = rasterise(points, faces, UVS, none, alpha, camera, 48, np.arange(1, 10, 2), parts)
    assert (whole.face >= 0).sum() > 100
    for name in ("face", "bary", "depth", "clear"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))
