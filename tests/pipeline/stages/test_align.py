"""The canonical crop: where it puts the head frame, what it refuses, and that faces and boxes agree."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from spherehead.datasets import warp as warping
from spherehead.datasets.camera import Camera
from spherehead.datasets.sample import Drop, Head, Photo, Sample
from spherehead.manifests.identity import rng
from spherehead.pipeline.annotators.faces.coarse_pose import head_of_body
from spherehead.pipeline.annotators.faces.head_fit import HeadFit, placement_at
from spherehead.pipeline.backends.mediapipe_models import PoseFinder
from spherehead.pipeline.stages.align import Align, place, warp_mesh
from spherehead.pipeline.stages.detect import Detect, OpenDetect

DRAW = rng(0, "0" * 16, "align")


@pytest.fixture(scope="module")
def detector() -> Iterator[OpenDetect]:
    opened = Detect(landmarks="mediapipe").open()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def found(detector: OpenDetect, astronaut: np.ndarray) -> Sample:
    (sample,) = detector.one(Sample("", Photo.of_pixels(astronaut)), DRAW)
    return sample


def align(sample: Sample, **settings: object) -> Sample:
    (aligned,) = Align(**settings).open().one(sample, DRAW)  # type: ignore[arg-type]
    return aligned


def test_everything_moves_with_the_one_matrix(found: Sample) -> None:
    aligned = align(found)
    matrix = aligned.crop.matrix
    assert aligned.image.shape == (512, 512, 3) and aligned.padding.shape == (512, 512)
    assert np.abs(warping.apply(matrix, found.head.mesh[:, :2]) - aligned.mesh[:, :2]).max() < 1e-3
    assert aligned.landmarks.shape == (68, 2) and np.array_equal(aligned.landmarks[36], aligned.mesh[33, :2])
    assert np.array_equal(aligned.image, warping.warp(found.photo.pixels, matrix, 512))
    depth = np.ptp(aligned.mesh[:, 2]) / np.ptp(found.head.mesh[:, 2])
    assert depth == pytest.approx(aligned.crop.upscale, rel=1e-3)


def test_the_head_stands_upright_at_the_frames_centre_and_scale(found: Sample) -> None:
    """Where the mesh alone places it; our network's reading moves a front by less than a per cent."""
    assert found.head is not None
    aligned, joined = align(found.with_(head=dataclasses.replace(found.head, pose=None))), align(found)
    apart = warping.apply(joined.crop.matrix @ np.linalg.inv(aligned.crop.matrix), np.array([[256.0, 256.0], [512.0, 256.0]]))
    assert 0.0 < np.abs(apart - [[256.0, 256.0], [512.0, 256.0]]).max() < 5.0
    again = HeadFit().fit(aligned.mesh)
    assert np.abs(again.centre - 256).max() < 0.5
    assert again.scale == pytest.approx(512, rel=2e-3)
    assert abs(math.degrees(again.camera.roll)) < 0.2


@pytest.mark.parametrize("size", [128, 256])
def test_another_size_is_the_same_view(found: Sample, size: int) -> None:
    small, large = align(found, size=size), align(found)
    assert np.allclose(small.crop.matrix[:2], large.crop.matrix[:2] * size / 512)


@pytest.mark.parametrize("angle", [-25.0, 40.0])
def test_turning_the_photograph_changes_nothing_in_the_crop(
    detector: OpenDetect, astronaut: np.ndarray, found: Sample, angle: float
) -> None:
    turn = cv2.getRotationMatrix2D((226, 120), angle, 1.0)
    turned = cv2.warpAffine(astronaut, turn, (512, 512), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    (sample,) = detector.one(Sample("", Photo.of_pixels(turned)), DRAW)
    here, there = align(found), align(sample)
    assert np.abs(here.mesh[:468, :2] - there.mesh[:468, :2]).mean() < 4.0  # under 1 % of the side
    assert np.abs(cv2.blur(here.image, (9, 9)).astype(float) - cv2.blur(there.image, (9, 9)))[100:420, 100:420].mean() < 6


def test_body_and_mesh_place_the_same_head_alike(found: Sample, astronaut: np.ndarray) -> None:
    with PoseFinder() as poser:
        body = poser.body(astronaut)
    coarse, fitted = head_of_body(body), place(found.head, HeadFit())
    assert coarse.placement.scale == pytest.approx(fitted.scale, rel=0.12)
    assert np.abs(coarse.placement.centre - fitted.centre).max() < 0.06 * fitted.scale
    by_box = place(Head(coarse.box, 1.0, "pose", coarse.yaw, roll=coarse.roll), HeadFit())
    assert by_box.scale == pytest.approx(coarse.placement.scale) and np.allclose(by_box.centre, coarse.placement.centre)


def head_at(x: float, y: float, scale: float, size: tuple[int, int] = (400, 300)) -> Sample:
    """A level head without a mesh, its frame's origin at (x, y), in a grey photograph of width x height."""
    box = placement_at(np.array([x, y]), scale, 0.0).head_box()
    photo = Photo.of_pixels(np.full((size[1], size[0], 3), 90, np.uint8))
    return Sample("0" * 16, photo, head=Head(box, 0.9, "pose", 0.0))


def test_padding_is_the_share_of_the_crop_outside_the_photograph() -> None:
    aligned = align(head_at(200.0, 0.0, 200.0), size=100, max_padding=0.6)
    assert aligned.crop.pad_ratio == pytest.approx(0.5, abs=0.011)
    assert (aligned.padding[:49] == 255).all() and (aligned.padding[51:] == 0).all()
    assert aligned.mesh is None and aligned.landmarks is None


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"min_head_px": 300.0}, "head_too_small"),
        ({"max_upscale": 2.0}, "upscaled_too_much"),
        ({"max_padding": 0.3}, "head_cut"),
    ],
)
def test_a_poor_crop_is_refused_with_its_number(settings: dict[str, float], reason: str) -> None:
    with pytest.raises(Drop) as caught:
        align(head_at(200.0, 20.0, 200.0), **settings)
    assert caught.value.reason == reason and caught.value.value is not None


def test_a_head_outside_the_photograph_is_refused_as_cut() -> None:
    with pytest.raises(Drop, match="head_cut"):
        align(head_at(-900.0, 20.0, 200.0))
    with pytest.raises(Drop, match="head_cut"):
        align(head_at(-900.0, 20.0, 200.0), max_padding=1.0)


def test_black_border_is_black_where_the_padding_says() -> None:
    aligned = align(head_at(200.0, 10.0, 200.0), size=64, border="black", max_padding=0.9)
    well_outside = cv2.erode(aligned.padding, np.ones((5, 5), np.uint8), borderValue=255) > 0
    assert well_outside.any() and (aligned.image[well_outside] == 0).all()


def test_landmarks_of_a_network_are_preferred_to_the_meshs(found: Sample) -> None:
    own = np.tile(np.array([[226.0, 120.0]], dtype=np.float32), (68, 1))
    aligned = align(found.with_(head=dataclasses.replace(found.head, landmarks=own)))
    assert np.allclose(aligned.landmarks, warping.apply(aligned.crop.matrix, own))


def test_a_mesh_keeps_its_shape_in_three_dimensions_under_the_crop() -> None:
    mesh = np.random.default_rng(0).normal(size=(478, 3)).astype(np.float32)
    warped = warp_mesh(mesh, warping.similarity(2.5, 0.4, np.zeros(2), np.array([9.0, 9.0])))
    before, after = (np.linalg.norm(points[1:] - points[:-1], axis=1) for points in (mesh, warped))
    assert np.allclose(after, 2.5 * before, rtol=1e-4)


def test_a_sample_without_a_head_names_what_is_missing() -> None:
    with pytest.raises(ValueError, match="no head"):
        align(Sample("", Photo.of_pixels(np.zeros((8, 8, 3), np.uint8))))


def test_a_level_camera_from_the_front_sees_the_box_where_it_was_put() -> None:
    """The crop of a box is the picture that the label's camera describes: origin in the middle."""
    sample = head_at(180.0, 140.0, 160.0)
    matrix = align(sample, size=160, max_padding=0.9).crop.matrix
    assert np.allclose(warping.apply(matrix, np.array([180.0, 140.0])), 80.0)
    assert Camera.look_at(0, 0).project(np.zeros(3))[0] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("setting", "value"),
    [("size", 0), ("min_head_px", math.nan), ("max_upscale", 0.0), ("max_padding", -0.1), ("max_padding", 1.1)],
)
def test_settings_that_cannot_work_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{setting}.*expected .*, got"):
        Align(**{setting: value})  # type: ignore[arg-type]
