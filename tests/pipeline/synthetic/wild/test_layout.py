"""Compositions: every head lies where it was wanted, and the canonical crop of each agrees with the photograph."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import RADIUS, Camera, geodesic
from spherehead.datasets.shards.photographs import HeadLabel
from spherehead.manifests.identity import rng
from spherehead.pipeline.synthetic.wild.layout import CLOSEST, canonical_view, draw_layout, place_head, turn_to

POINTS = np.random.default_rng(0).uniform(-0.35, 0.35, (50, 3))


def label_of(camera: Camera) -> HeadLabel:
    canonical, crop = canonical_view(camera)
    none = (0.0, 0.0, 1.0, 1.0)
    return HeadLabel("somebody", none, none, canonical, camera, crop, np.zeros((478, 4), np.float32), 1.0, 1.0)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-3.1, 3.1), st.floats(-1.2, 1.2), st.floats(-3.1, 3.1), st.floats(-0.6, 0.6), st.floats(-0.6, 0.6),
    st.floats(1.0, 30.0), st.floats(0.6, 6.0),
)  # fmt: skip
def test_points_in_the_photograph_and_in_the_crop_agree(
    yaw: float, pitch: float, roll: float, x: float, y: float, distance: float, focal: float
) -> None:
    """Reprojected through the crop's pinhole they lie within 0.001 of a pixel of 512 of where the homography takes them."""
    ray = np.array([x, y, 1.0]) / np.linalg.norm([x, y, 1.0])
    looking = Camera.look_at(yaw, pitch, roll)
    camera = place_head(looking, ray, distance, focal)
    label = label_of(camera)
    image, depth = camera.project(POINTS)
    assert (depth > 0).all()
    lifted = np.column_stack([image, np.ones(len(image))]) @ label.crop.T
    expected, _ = label.crop_camera().project(POINTS)
    assert np.abs(lifted[:, :2] / lifted[:, 2:] - expected).max() * 512 < 1e-3
    label.camera.check()
    assert geodesic(label.camera.cam2world[:3, :3], looking.cam2world[:3, :3]) < 1e-6
    assert label.distance == pytest.approx(distance)
    middle = camera.project(np.zeros(3))[0]
    assert np.allclose((middle - 0.5) / focal, ray[:2] / ray[2], atol=1e-6)


def test_the_canonical_camera_is_the_crops_own_where_the_distance_is_the_contracts() -> None:
    camera = place_head(Camera.look_at(0.4, 0.1, 0.2), np.array([0.0, 0.0, 1.0]), RADIUS, 3.0)
    label = label_of(camera)
    first, second = label.camera.project(POINTS)[0], label.crop_camera().project(POINTS)[0]
    assert np.abs(first - second).max() < 1e-9


def test_the_smallest_turn_takes_the_axis_to_the_ray() -> None:
    ray = np.array([0.3, -0.4, 1.0]) / np.linalg.norm([0.3, -0.4, 1.0])
    turn = turn_to(ray)
    assert np.allclose(turn @ [0, 0, 1], ray)
    assert np.allclose(turn @ turn.T, np.eye(3))
    assert geodesic(np.eye(3), turn) == pytest.approx(np.arccos(ray[2]))


def test_layouts_are_wide_and_their_bodies_stay_apart() -> None:
    """Over 400 photographs: one to six heads, all directions, 24 px to more than the picture, nearest first."""
    layouts = [draw_layout(rng(3, str(number), "layout"), 256, number % 6, 6) for number in range(400)]
    assert {len(layout) for layout in layouts} >= {1, 2, 3, 4}
    assert all(number % 6 in [place.member for place in layout] for number, layout in enumerate(layouts))
    for layout in layouts:
        distances = [place.camera.radius for place in layout]
        assert distances == sorted(distances)
        assert min(distances) >= CLOSEST - 1e-9
        assert len({place.camera.intrinsics[0, 0] for place in layout}) == 1
    cameras = [place.camera for layout in layouts for place in layout]
    heights = np.array([0.58 * camera.intrinsics[0, 0] / camera.radius * 256 for camera in cameras])
    assert heights.min() < 30
    assert heights.max() > 256
    labels = [canonical_view(camera)[0] for camera in cameras]
    yaws = np.degrees([label.yaw for label in labels])
    assert (np.histogram(yaws, 12, (-180, 180))[0] > 0.04 * len(yaws)).all()
    rolls = np.abs(np.degrees([label.roll for label in labels]))
    assert (rolls > 90).mean() > 0.02
    assert np.median(rolls) < 15
