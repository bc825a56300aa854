"""Faces cut by a camera: where dlib's points come to lie, and that chips follow turns, zooms and shifts of the camera."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from spherehead.datasets.camera import FOCAL, RADIUS, Camera, canonical_to_world
from spherehead.datasets.canonical_face import canonical_vertices
from spherehead.model.nets.face_chips import (
    MEAN_POINTS,
    POINTS,
    chip_points,
    face_chips,
    face_points,
    face_visible,
    similarities,
)


def label(yaw: float = 0.0, pitch: float = 0.0) -> torch.Tensor:
    return torch.from_numpy(Camera.look_at(math.radians(yaw), math.radians(pitch)).label())[None]


def ramp(side: int) -> torch.Tensor:
    """A picture whose red is the column and whose green is the row, in sides."""
    centres = (torch.arange(side) + 0.5) / side
    rows, columns = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([columns, rows, torch.zeros_like(rows)])[None]


def test_points_lie_where_the_camera_projects_the_canonical_face() -> None:
    """A frontal camera at the label's radius: x / depth times the focal length, from the middle, y downwards."""
    world = canonical_to_world(canonical_vertices()[list(POINTS)])
    depth = RADIUS - world[:, 2]
    expected = np.stack([0.5 + FOCAL * world[:, 0] / depth, 0.5 - FOCAL * world[:, 1] / depth], axis=1)
    np.testing.assert_allclose(face_points(label())[0].numpy(), expected, atol=1e-6)


def test_the_similarity_is_found_again_and_is_the_best_one() -> None:
    draw = torch.Generator().manual_seed(0)
    points = torch.rand(5, 2, generator=draw, dtype=torch.float64)
    turn = torch.tensor([[[0.8, -0.3, 0.1], [0.3, 0.8, -0.2]]], dtype=torch.float64)
    exact = points @ turn[0, :, :2].T + turn[0, :, 2]
    torch.testing.assert_close(similarities(exact[None], points), turn)
    noisy = exact + 0.05 * torch.randn(5, 2, generator=draw, dtype=torch.float64)
    matrix, _ = cv2.estimateAffinePartial2D(points.numpy(), noisy.numpy(), method=cv2.LMEDS)
    found = similarities(noisy[None], points)[0]
    errors = [((points @ one[:, :2].T + one[:, 2] - noisy) ** 2).sum() for one in (found, torch.from_numpy(matrix))]
    assert errors[0] <= errors[1] + 1e-12


@pytest.mark.parametrize("side", [64, 512])
def test_eyes_and_nose_of_the_canonical_face_come_to_lie_where_dlib_wants_them(side: int) -> None:
    """In a ramp every pixel of the chip says where it was read: at dlib's points, near the face's own; two faces differ."""
    chip = face_chips(ramp(side), label())
    assert chip.shape == (1, 3, 150, 150)
    expected = (torch.tensor(MEAN_POINTS) + 0.25) / 1.5
    torch.testing.assert_close(chip_points().float(), expected)
    where = torch.nn.functional.grid_sample(chip, (2 * expected - 1)[None, None], align_corners=False)[0, :2, 0].T
    assert (where - face_points(label())[0]).norm(dim=1).max() < 0.03
    edge = chip[0, :2, 75, :].T
    width = float((edge[-1] - edge[0]).norm()) * 150 / 149
    assert 0.55 < width < 0.75, "a chip is about 18 cm of the 28 that a crop shows"


def test_chips_follow_the_crop() -> None:
    """A crop that is rolled, zoomed and shifted with its label gives the same chip."""
    camera = Camera.look_at(0.3, 0.1)
    picture = ramp(256)
    matrix = np.array([[0.9, -0.25, 0.14], [0.25, 0.9, -0.06], [0.0, 0.0, 1.0]])
    moved = face_points(torch.from_numpy(camera.label())[None])[0].numpy() @ matrix[:2, :2].T + matrix[:2, 2]
    one = similarities(face_points(torch.from_numpy(camera.label())[None]), chip_points())[0].numpy()
    two = similarities(torch.from_numpy(moved)[None], chip_points())[0].numpy()
    np.testing.assert_allclose(matrix[:2, :2] @ one + np.array([[0, 0, matrix[0, 2]], [0, 0, matrix[1, 2]]]), two, atol=1e-9)
    intrinsics = torch.from_numpy(camera.label())[None].clone()
    intrinsics[:, [18, 21]] += 0.05
    first, second = face_chips(picture, torch.from_numpy(camera.label())[None]), face_chips(picture, intrinsics)
    torch.testing.assert_close(second[:, :2, 40:110, 40:110], first[:, :2, 40:110, 40:110] + 0.05, atol=1e-4, rtol=0)


def test_large_pictures_are_averaged_and_not_skipped() -> None:
    """Stripes one pixel wide at 600 pixels become grey, not a pattern."""
    stripes = torch.ones(1, 3, 600, 600)
    stripes[..., ::2] = -1.0
    assert face_chips(stripes, label()).abs().max() < 0.35


def test_a_gradient_flows_to_the_picture_and_not_to_the_camera() -> None:
    picture, camera = ramp(64).requires_grad_(True), label().requires_grad_(True)
    face_chips(picture, camera).square().sum().backward()
    assert picture.grad is not None and camera.grad is None
    seen = picture.grad.abs().sum(dim=1)[0] > 0
    assert seen[20:44, 20:44].all() and not seen[0].any()


def test_faces_are_visible_from_in_front_only() -> None:
    labels = torch.cat([label(yaw, pitch) for yaw, pitch in ((0, 0), (-59, 0), (59, 39), (61, 0), (0, 41), (180, 0))])
    assert face_visible(labels).tolist() == [True, True, True, False, False, False]
    assert face_visible(labels, (45.0, 40.0)).tolist() == [True, False, False, False, False, False]
