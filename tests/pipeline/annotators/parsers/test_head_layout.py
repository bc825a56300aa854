"""Guarantees of the layout: places mirror with the head, ears hide behind it, the jaw divides neck from face."""

from __future__ import annotations

import math

import numpy as np
import pytest
from spherehead.datasets.camera import Camera
from spherehead.datasets.canonical_face import canonical_vertices, mirror_partners
from spherehead.pipeline.annotators.faces.face_regions import JAW
from spherehead.pipeline.annotators.parsers import head_layout
from spherehead.pipeline.annotators.parsers.head_layout import CLOTH, HAIR, NECK, SKIN


def mesh_seen_by(camera: Camera, size: int) -> np.ndarray:
    points = head_layout.project(camera, canonical_vertices(), size)
    points = np.concatenate([points, points[:10]])
    return np.concatenate([points, np.zeros((478, 1))], axis=1).astype(np.float32)


@pytest.mark.parametrize("yaw", [0.0, 0.6])
def test_layout_mirrors_with_the_head(yaw: float) -> None:
    camera = Camera.look_at(yaw, 0.1)
    mesh = mesh_seen_by(camera, 512)
    mirrored = mesh.copy()
    mirrored[:468] = mesh[:468][mirror_partners()]
    mirrored[:, 0] = 512 - mirrored[:, 0]
    here = head_layout.layout_of_mesh(mesh, camera, 512, 128)
    there = head_layout.layout_of_mesh(mirrored, camera.mirrored(), 512, 128)
    assert np.abs(here.prior - there.prior[:, :, ::-1]).mean() < 0.01
    assert (here.core != there.core[:, ::-1]).mean() < 0.01


def test_places_are_where_a_frontal_head_has_them() -> None:
    camera = Camera.look_at(0.0, 0.0)
    prior = head_layout.layout_of_mesh(mesh_seen_by(camera, 512), camera, 512, 128).prior
    assert prior.shape == (4, 128, 128)
    assert prior[:, 64, 64].argmax() == SKIN  # the nose
    assert prior[:, 12, 64].argmax() == HAIR  # the crown
    assert prior[:, 118, 64].argmax() == NECK  # under the chin
    assert prior[CLOTH, 126, 5] > prior[CLOTH, 60, 5]


def test_both_ears_in_front_the_near_one_aside_none_lost_behind() -> None:
    def seen(degrees: float) -> list[int]:
        return [side for side, _ in head_layout.visible_ears(Camera.look_at(math.radians(degrees), 0.0), 512)]

    assert seen(0) == [-1, 1] and seen(180) == [-1, 1]
    assert seen(60) == [1] and seen(-60) == [-1]


def test_left_ear_is_seen_image_right_in_front_and_image_left_behind() -> None:
    front = dict(head_layout.visible_ears(Camera.look_at(0.0, 0.0), 512))
    behind = dict(head_layout.visible_ears(Camera.look_at(math.pi, 0.0), 512))
    assert front[1][:, 0].mean() > 256 > behind[1][:, 0].mean()


def test_jaw_limit_has_the_face_above_and_the_throat_below() -> None:
    import cv2

    mesh = mesh_seen_by(Camera.look_at(0.0, 0.0), 512)
    polygon = head_layout.jaw_limit(mesh, 512).astype(np.float32)
    chin = mesh[list(JAW)].mean(axis=0)
    assert cv2.pointPolygonTest(polygon, (256.0, 200.0), False) > 0
    assert cv2.pointPolygonTest(polygon, (float(chin[0]), 505.0), False) < 0
    assert cv2.pointPolygonTest(polygon, (5.0, 100.0), False) > 0


def test_face_is_expected_in_profile_and_not_from_behind() -> None:
    side = head_layout.layout_of_camera(Camera.look_at(math.radians(80), 0.0), 512, 128)
    back = head_layout.layout_of_camera(Camera.look_at(math.pi, 0.0), 512, 128)
    assert side.face.any() and not side.core.any()
    assert not back.face.any() and not back.skin_seed.any()
    columns = np.nonzero(side.face)[1]
    assert columns.mean() < 64  # the camera stands at the subject's left, so the face points to image left


def test_scale_is_that_of_projected_centimetres() -> None:
    camera = Camera.look_at(0.0, 0.0)
    ends = head_layout.project(camera, np.array([[-0.5, 1.5, -1.9], [0.5, 1.5, -1.9]]), 512)
    assert np.isclose(np.linalg.norm(ends[1] - ends[0]), head_layout.scale(camera, 512), rtol=0.01)
