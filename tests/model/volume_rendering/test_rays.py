"""Rays pass through the centres of pixels of any camera, and labels that no head's camera has are refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera
from spherehead.model.volume_rendering.rays import LabelError, camera_rays, check_labels, ray_distance

CANONICAL = Camera.look_at(0.0, 0.0)


def label_of(camera: Camera) -> torch.Tensor:
    return torch.from_numpy(camera.label())[None]


def changed(index: int, value: float) -> torch.Tensor:
    label = label_of(CANONICAL).clone()
    label[0, index] = value
    return label


@given(st.floats(-3, 3), st.floats(-1, 1), st.floats(1, 8), st.floats(1, 8), st.floats(0, 1), st.floats(0, 1), st.floats(-1, 1))
@settings(max_examples=40, deadline=None)
def test_every_ray_projects_to_its_pixels_centre(
    yaw: float, pitch: float, fx: float, fy: float, cx: float, cy: float, skew: float
) -> None:
    intrinsics = np.array([[fx, skew, cx], [0, fy, cy], [0, 0, 1.0]])
    camera = Camera(Camera.look_at(yaw, pitch).cam2world, intrinsics)
    origins, directions = camera_rays(label_of(camera).double(), 3)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(1, 9, dtype=torch.float64))
    places, depths = camera.project((origins + 2.5 * directions)[0].numpy())
    centres = (np.arange(3) + 0.5) / 3
    wanted = np.stack(np.meshgrid(centres, centres), -1).reshape(9, 2)  # rows first, x fastest
    assert np.abs(places - wanted).max() < 1e-5 and depths.min() > 0


@pytest.mark.parametrize(("yaw", "skew", "size"), [(0.7, 0.0, 6), (2.9, 0.3, 18)])
def test_a_depth_map_becomes_distances_to_the_points_it_shows(yaw: float, skew: float, size: int) -> None:
    """The wall at a depth of 2.5 is met by every ray there; what is not known stays so. Each ray takes the nearest pixel."""
    intrinsics = np.array([[1.2, skew, 0.4], [0, 1.5, 0.6], [0, 0, 1.0]])
    camera = Camera(Camera.look_at(yaw, 0.3).cam2world, intrinsics)
    depth = torch.full((1, size, size), 2.5, dtype=torch.float64)
    depth[:, : size // 6] = 0.0
    distances = ray_distance(depth, label_of(camera).double(), 6)
    assert distances.shape == (1, 1, 6, 6) and bool((distances[:, :, 0] == 0).all())
    origins, directions = camera_rays(label_of(camera).double(), 6)
    depths = camera.project((origins + distances.view(1, 36, 1) * directions)[0, 6:].numpy())[1]
    np.testing.assert_allclose(depths, 2.5, atol=1e-5)


def test_the_frontal_camera_looks_at_the_face() -> None:
    origins, directions = camera_rays(label_of(CANONICAL), 2)
    torch.testing.assert_close(origins[0, 0], torch.tensor([0.0, 0.0, 2.7]))
    assert bool((directions[..., 2] < 0).all())
    right, up = directions[0, :, 0] > 0, directions[0, :, 1] > 0
    assert (right.tolist(), up.tolist()) == ([False, True, False, True], [True, True, False, False])


def test_a_shift_of_the_camera_receives_a_gradient() -> None:
    label = label_of(CANONICAL).requires_grad_()
    origins, _ = camera_rays(label, 4)
    (grad,) = torch.autograd.grad(origins.sum(), label)
    assert grad[0, [3, 7, 11]].tolist() == [16.0] * 3


BAD = {
    "expected camera labels of shape": torch.zeros(1, 16),
    "finite numbers, got nan at entry 5": changed(5, math.nan),
    "divide the first two rows": changed(16, 2183.5),
    "positive focal lengths": changed(20, -4.26),
    "last row of cam2world": changed(12, 0.3),
    "upper-triangular": changed(24, 512.0),
    "outside the head .* got distance 0.1": changed(11, 0.1),
    "determinant +1, got determinant -1": changed(0, -1.0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_labels_are_named_with_what_was_expected(message: str) -> None:
    with pytest.raises(LabelError, match=message.replace("+", r"\+")):
        check_labels(BAD[message])


def test_a_label_for_every_head_and_a_positive_resolution_are_needed() -> None:
    two = label_of(CANONICAL).repeat(2, 1)
    check_labels(two, batch=2)
    with pytest.raises(LabelError, match="one camera label a head: 3, got 2"):
        check_labels(two, batch=3)
    with pytest.raises(LabelError, match="at least 1 pixel, got 0"):
        camera_rays(two, 0)
    with pytest.raises(LabelError, match=r"got torch\.int64"):
        camera_rays(two.long(), 4)


def test_the_second_of_two_labels_is_named() -> None:
    labels = torch.cat([label_of(CANONICAL), changed(3, math.inf)])
    with pytest.raises(LabelError, match="camera label 1: expected finite numbers, got inf"):
        check_labels(labels)
