"""The expected drift of the mesh: none in front, the mirrored one for mirrored heads, and a better fit to real turned faces."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from spherehead.datasets.camera import FOCAL, Camera, canonical_to_world
from spherehead.datasets.canonical_face import canonical_vertices, mirror_partners
from spherehead.pipeline.annotators.faces.head_fit import HeadFit
from spherehead.pipeline.annotators.faces.mesh_drift import LARGEST_YAW, coefficients, drift, marked
from spherehead.pipeline.stages.detect import Detect


def test_a_face_seen_from_in_front_is_marked_where_it_is() -> None:
    face = canonical_to_world(canonical_vertices())
    camera = Camera.look_at(0.0, 0.2)
    assert np.abs(marked(camera, face) - camera.project(face)[0]).max() < 1e-12


@pytest.mark.parametrize("yaw", [0.2, 0.7, 1.2])
def test_the_mirrored_head_drifts_mirrored(yaw: float) -> None:
    here, there = drift(yaw), drift(-yaw)
    assert np.abs(there[mirror_partners()] * [-1, 1] - here).max() < 1e-6


def test_a_turned_picture_turns_the_drift() -> None:
    upright, turned = drift(0.8), drift(0.8, math.pi / 2)
    assert np.abs(turned - np.stack([-upright[:, 1], upright[:, 0]], axis=1)).max() < 1e-12


def test_the_drift_grows_with_the_yaw_from_millimetres_to_a_centimetre_and_then_stops() -> None:
    assert coefficients().shape == (4, 468, 2)
    centimetres = [float(np.linalg.norm(drift(math.radians(yaw)), axis=1).mean()) / 0.0225 for yaw in (15, 30, 45, 60, 75)]
    assert centimetres == sorted(centimetres)
    assert centimetres[1] < 0.3 and centimetres[-1] < 1.2
    assert np.array_equal(drift(LARGEST_YAW), drift(1.5))


def test_marks_are_the_projection_moved_by_the_drift_at_the_points_own_distance() -> None:
    camera, face = Camera.look_at(0.9, -0.1, 0.3), canonical_to_world(canonical_vertices())
    image, depth = camera.project(face)
    moved = (marked(camera, face) - image) * depth[:, None] / FOCAL
    assert np.abs(moved - drift(camera.yaw, camera.roll)).max() < 1e-12


def test_real_faces_that_are_turned_lie_nearer_with_the_drift_than_without(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photographs that had no part in measuring the drift; its opposite must do harm."""
    detect = Detect(landmarks="mediapipe").open()
    costs: dict[float, list[float]] = {0.0: [], 1.0: [], -1.0: []}
    names = ("biden-blue-room", "obama-address", "obama-blue-room")
    meshes = []
    for name in names:
        pixels = np.ascontiguousarray(cv2.imread(str(shared / "photos" / f"{name}.jpg"))[:, :, ::-1])
        meshes.append(detect.heads(pixels)[0].mesh)
    for strength, found in costs.items():
        monkeypatch.setattr("spherehead.pipeline.annotators.faces.head_fit.drift", lambda *at, s=strength: s * drift(*at))
        monkeypatch.setattr(
            "spherehead.pipeline.annotators.faces.head_fit.marked",
            lambda camera, face, s=strength: (1 - s) * camera.project(face)[0] + s * marked(camera, face),
        )
        found += [float(np.sqrt(np.mean(HeadFit().fit(mesh).residuals ** 2))) for mesh in meshes]
    for with_it, without, against in zip(costs[1.0], costs[0.0], costs[-1.0], strict=True):
        assert with_it < 0.98 * without < without < 0.95 * against
