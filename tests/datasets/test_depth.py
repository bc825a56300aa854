"""Depth maps keep their steps through a PNG, and warped ones say where the surface of a ball really is."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from spherehead.datasets.camera import Camera
from spherehead.datasets.depth import UNIT, decode_depth, encode_depth, ray_lengths, warp_depth
from spherehead.pipeline.stages.geometry import Geometry

RADIUS = 0.2


def ball(camera: Camera, size: int) -> np.ndarray:
    """Return the depth along the optical axis of a ball about the origin, 0 beside it."""
    axis = (np.arange(size) + 0.5) / size
    points = np.stack([*np.meshgrid(axis, axis), np.ones((size, size))], axis=-1)
    rays = points @ np.linalg.inv(camera.intrinsics).T @ camera.cam2world[:3, :3].T
    a, b = (rays**2).sum(-1), rays @ camera.position
    inside = b * b - a * (camera.position @ camera.position - RADIUS**2)
    return np.where(inside > 0, (-b - np.sqrt(np.maximum(inside, 0))) / a, 0.0).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_every_step_survives_the_png(steps: np.ndarray) -> None:
    depth = (steps * np.float32(UNIT)).astype(np.float32)
    assert np.array_equal(decode_depth(encode_depth(depth)), depth)


def test_what_is_not_known_stays_so_and_far_things_end() -> None:
    depth = np.array([[np.inf, 0.0, 2.7004], [100.0, np.nan, 1e-9]], dtype=np.float32)
    expected = np.array([[0.0, 0.0, 2.7], [65.535, 0.0, UNIT]], dtype=np.float32)
    np.testing.assert_allclose(decode_depth(encode_depth(depth)), expected, rtol=1e-6)


@pytest.mark.parametrize("picture", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.uint16)])
def test_other_pictures_are_no_depth_maps(picture: np.ndarray) -> None:
    with pytest.raises(ValueError, match="16-bit grey"):
        decode_depth(bytes(cv2.imencode(".png", picture)[1]))


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(mirror=True),
        Geometry(roll=0.4),
        Geometry(zoom=1.2, shift=(0.1, -0.07)),
        Geometry(mirror=True, roll=-0.2, zoom=0.9, aspect=1.1, shear=0.1, perspective=(0.25, -0.2)),
    ],
)
def test_a_warped_map_is_that_of_the_warped_camera(geometry: Geometry) -> None:
    """The nearest pixel is at most 0.71 pixels off, so the error is at most the ball's slope there."""
    size, camera = 256, Camera.look_at(0.5, 0.2, 0.1)
    moved = geometry.camera(camera)
    warped = warp_depth(ball(camera, size), geometry.pixel_matrix(size), size, camera, moved)
    truth = ball(moved, size)
    middle = (truth > 0) & (truth * ray_lengths(moved.intrinsics, size) < np.linalg.norm(camera.position) - 0.6 * RADIUS)
    assert middle.sum() > 3000
    assert np.abs(warped - truth)[middle].max() < 0.006
    assert ((warped > 0) == (truth > 0)).mean() > 0.985


@pytest.mark.parametrize("size", [7, 8])
def test_a_mirrored_map_is_the_map_mirrored(size: int) -> None:
    camera, geometry = Camera.look_at(0.5, 0.2, 0.1), Geometry(mirror=True)
    depth = (2.0 + np.random.default_rng(0).random((size, size))).astype(np.float32)
    warped = warp_depth(depth, geometry.pixel_matrix(size), size, camera, geometry.camera(camera))
    np.testing.assert_allclose(warped, depth[:, ::-1], rtol=1e-6)


def test_nothing_is_known_beside_the_picture() -> None:
    camera = Camera.look_at(0.0, 0.0)
    geometry = Geometry(shift=(0.5, 0.0))
    warped = warp_depth(np.full((8, 8), 2.0, np.float32), geometry.pixel_matrix(8), 8, camera, geometry.camera(camera))
    assert (warped[:, :4] == 0).all() and (warped[:, 4:] > 0).all()


def test_rays_lengthen_towards_the_corners() -> None:
    camera = Camera.look_at(0.3, 0.1)
    lengths = ray_lengths(camera.intrinsics, 2)
    assert lengths == pytest.approx(math.sqrt(1 + 2 * (0.25 / camera.intrinsics[0, 0]) ** 2))
