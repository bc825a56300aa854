"""Guarantees of parsing without a network, on a real head and on painted ones."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from spherehead.datasets.camera import Camera
from spherehead.datasets.canonical_face import canonical_vertices
from spherehead.datasets.classes import INDEX
from spherehead.pipeline.annotators.parsers import head_layout, mesh_parser
from spherehead.pipeline.annotators.parsers.colour_models import ColourModel

SKIN, HAIR, SHIRT = (205, 155, 130), (60, 42, 35), (50, 80, 160)


def painted_head(hair: tuple[int, int, int] | None, yaw: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, Camera]:
    """Paint an oval head with a cap of hair, neck and shirt: picture, mask, mesh and camera at 512 px."""
    camera = Camera.look_at(yaw, 0.0)
    points = head_layout.project(camera, canonical_vertices(), 512)
    mesh = np.concatenate([points, points[:10]])
    mesh = np.concatenate([mesh, np.zeros((478, 1))], axis=1).astype(np.float32)
    picture, mask = np.full((512, 512, 3), (120, 130, 120), dtype=np.uint8), np.zeros((512, 512), dtype=np.uint8)
    for canvas, skin, shirt in ((picture, SKIN, SHIRT), (mask, 255, 255)):
        cv2.rectangle(canvas, (190, 380), (322, 511), skin, -1)
        cv2.rectangle(canvas, (60, 485), (452, 511), shirt, -1)
        cv2.ellipse(canvas, (256, 250), (165, 215), 0, 0, 360, 255 if canvas is mask else (hair or SKIN), -1)
    cv2.ellipse(picture, (256, 290), (140, 160), 0, 0, 360, SKIN, -1)
    noise = np.random.default_rng(0).normal(0, 5, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8), mask, mesh, camera


def share(classes: np.ndarray, where: tuple[slice, slice], name: str) -> float:
    return float((classes[where] == INDEX[name]).mean())


def test_painted_hair_neck_and_shirt_are_told_apart() -> None:
    classes = mesh_parser.parse(*painted_head(HAIR), ColourModel()).classes
    assert share(classes, (slice(45, 110), slice(220, 290)), "hair") > 0.95
    assert share(classes, (slice(150, 170), slice(220, 290)), "skin") > 0.95
    assert share(classes, (slice(465, 480), slice(200, 310)), "neck") > 0.9
    assert share(classes, (slice(495, 510), slice(70, 170)), "cloth") > 0.9


def test_bald_head_is_skin() -> None:
    classes = mesh_parser.parse(*painted_head(None), ColourModel()).classes
    assert share(classes, (slice(0, 400), slice(0, 512)), "hair") < 0.01
    assert share(classes, (slice(45, 110), slice(220, 290)), "skin") > 0.95


def test_background_is_exactly_where_the_mask_is_under_half() -> None:
    picture, mask, mesh, camera = painted_head(HAIR)
    mask = cv2.GaussianBlur(mask, (0, 0), 6)
    for known in (mesh, None):
        classes = mesh_parser.parse(picture, mask, known, camera, ColourModel()).classes
        assert ((classes == 0) == (mask < mesh_parser.INSIDE)).all()
        assert classes.max() < 19


def test_a_dark_picture_is_parsed_like_a_bright_one() -> None:
    picture, mask, mesh, camera = painted_head(HAIR)
    bright = mesh_parser.parse(picture, mask, mesh, camera, ColourModel()).classes
    dark = mesh_parser.parse((picture * 0.4).astype(np.uint8), mask, mesh, camera, ColourModel()).classes
    assert (bright == dark).mean() > 0.97


@pytest.mark.parametrize("yaw", [90.0, 180.0])
def test_heads_without_a_mesh_claim_no_features_and_little_confidence(yaw: float) -> None:
    picture, mask, _, _ = painted_head(HAIR)
    parsed = mesh_parser.parse(picture, mask, None, Camera.look_at(math.radians(yaw), 0.0), ColourModel())
    assert not np.isin(parsed.classes, [INDEX[n] for n in ("left_eye", "right_eye", "nose", "mouth", "left_brow")]).any()
    assert parsed.confidence <= 0.35


def test_confidence_falls_with_the_azimuth() -> None:
    front = mesh_parser.parse(*painted_head(HAIR), ColourModel()).confidence
    picture, mask, mesh, _ = painted_head(HAIR)
    side = mesh_parser.parse(picture, mask, mesh, Camera.look_at(math.radians(70), 0.0), ColourModel()).confidence
    assert 0.0 <= side < front <= 1.0


def test_strongest_is_argmax() -> None:
    planes = np.random.default_rng(0).integers(0, 5, (4, 30, 30)).astype(np.float32)
    assert (mesh_parser.strongest(planes) == planes.argmax(axis=0)).all()


@pytest.mark.parametrize("size", [128, 200, 256])
def test_other_crop_sizes_work(size: int) -> None:
    picture, mask, mesh, camera = painted_head(HAIR)
    small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    small_mask = cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST)
    whole = mesh_parser.parse(picture, mask, mesh, camera, ColourModel()).classes
    classes = mesh_parser.parse(small, small_mask, mesh * np.float32(size / 512), camera, ColourModel()).classes
    reduced = cv2.resize(whole, (size, size), interpolation=cv2.INTER_NEAREST)
    assert (classes == reduced).mean() > 0.9
