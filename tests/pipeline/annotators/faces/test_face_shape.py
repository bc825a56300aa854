"""The Gaussian-process face: its covariance against the formula, its symmetry, and what it leaves to the camera."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from spherehead.datasets.canonical_face import canonical_vertices, mirror_partners
from spherehead.pipeline.annotators.faces import head_fit
from spherehead.pipeline.annotators.faces.face_shape import (
    ASYMMETRY,
    EXPRESSION_LENGTH,
    IRIS_PARTNERS,
    PERSON_DEVIATION,
    PERSON_LENGTH,
    expression_deviation,
    eye_centres,
    eye_distance,
    mean_face,
    mirror_mesh,
    shape_modes,
    vertex_normals,
)
from spherehead.pipeline.stages.detect import Detect


def test_all_modes_together_are_the_process_without_rigid_motions() -> None:
    """The slow twin: the whole covariance written down point by point, then projected off what belongs to the camera."""
    vertices, partners, expression = canonical_vertices(), mirror_partners(), expression_deviation()
    squared = ((vertices[:, None] - vertices[None]) ** 2).sum(axis=2)
    kernel = PERSON_DEVIATION**2 * np.exp(-squared / (2 * PERSON_LENGTH**2))
    kernel += np.outer(expression, expression) * np.exp(-squared / (2 * EXPRESSION_LENGTH**2))
    across = kernel[:, partners]  # of a point with the other's mirror image
    covariance = np.zeros((468, 3, 468, 3))
    for axis, sign in enumerate((-1.0, 1.0, 1.0)):
        covariance[:, axis, :, axis] = 0.5 * (kernel + sign * across) + 0.5 * ASYMMETRY * (kernel - sign * across)
    centred = vertices - vertices.mean(axis=0)
    rigid = [centred] + [np.tile(axis, (468, 1)) for axis in np.eye(3)] + [np.cross(axis, centred) for axis in np.eye(3)]
    basis = np.linalg.qr(np.array(rigid).reshape(7, -1).T)[0]
    keep = np.eye(1404) - basis @ basis.T
    expected = keep @ covariance.reshape(1404, 1404) @ keep
    modes = shape_modes(1404).reshape(1404, -1)
    assert np.abs(modes.T @ modes - expected).max() < 1e-6


def test_modes_are_ordered_by_strength_and_few_carry_most() -> None:
    strength = (shape_modes(200) ** 2).sum(axis=(1, 2))
    assert strength[:40].sum() > 0.8 * strength.sum()


def test_every_mode_is_symmetric_or_antisymmetric() -> None:
    flipped = shape_modes(40)[:, mirror_partners()] * (-1.0, 1.0, 1.0)
    even = np.abs(flipped - shape_modes(40)).max(axis=(1, 2)) < 1e-9
    odd = np.abs(flipped + shape_modes(40)).max(axis=(1, 2)) < 1e-9
    assert np.all(even | odd) and even.sum() > odd.sum()


def test_modes_do_not_move_turn_or_scale_the_face() -> None:
    modes = shape_modes(40)
    centred = canonical_vertices() - canonical_vertices().mean(axis=0)
    assert np.abs(modes.mean(axis=1)).max() < 1e-9
    assert np.abs(np.cross(centred, modes).sum(axis=1)).max() < 1e-8
    assert np.abs((modes * centred).sum(axis=(1, 2))).max() < 1e-8


def test_the_mouth_moves_more_than_the_brow_ridge() -> None:
    spread = np.sqrt((shape_modes(40) ** 2).sum(axis=(0, 2)))
    assert spread[13] > 1.8 * spread[9]


def test_normals_point_out_of_the_face() -> None:
    normals = vertex_normals()
    assert np.allclose(np.linalg.norm(normals, axis=1), 1)
    assert normals[1, 2] > 0.7 and normals[454, 0] > 0.9 and normals[234, 0] < -0.9
    assert np.abs(normals[mirror_partners()] * (-1, 1, 1) - normals).max() < 0.2


def test_eyes_lie_as_far_apart_as_on_the_canonical_face() -> None:
    right, left = eye_centres(canonical_vertices())
    assert right[0] < 0 < left[0]
    assert np.isclose(eye_distance(canonical_vertices()), 6.3023, atol=1e-3)


def test_mirrored_mesh_twice_is_the_mesh_and_keeps_sides_apart() -> None:
    mesh = np.random.default_rng(0).normal(size=(478, 3)).astype(np.float32)
    once = mirror_mesh(mesh, 100.0)
    assert np.allclose(mirror_mesh(once, 100.0), mesh, atol=1e-5)
    assert np.isclose(once[33, 0], 100 - mesh[263, 0]) and np.isclose(once[473, 0], 100 - mesh[468, 0])
    assert sorted(IRIS_PARTNERS) == list(range(468, 478))


def test_the_mean_face_has_two_sides_and_is_neither_moved_nor_turned_nor_scaled() -> None:
    """Against the canonical face: what a similarity could do would be taken for the camera's doing."""
    apart = mean_face() - canonical_vertices()
    assert np.abs(apart[mirror_partners()] * [-1, 1, 1] - apart).max() < 1e-5
    centred = canonical_vertices() - canonical_vertices().mean(axis=0)
    assert np.abs(apart.mean(axis=0)).max() < 1e-5
    assert np.abs(np.cross(centred, apart).mean(axis=0)).max() < 1e-4
    assert abs(float((centred * apart).mean())) < 1e-4
    assert 0.1 < float(np.sqrt((apart**2).sum(axis=1).mean())) < 1.0


def test_faces_in_photographs_lie_nearer_the_mean_face_than_its_opposite(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photographs that had no part in it: residual and prior cost less with it than without, and most with its opposite."""
    detect = Detect(landmarks="mediapipe").open()
    learned, costs = mean_face(), {}
    names = ("biden-blue-room", "obama-address", "obama-blue-room", "obama-portrait")
    pictures = [cv2.imread(str(shared / "photos" / f"{name}.jpg"))[:, :, ::-1] for name in names]
    meshes = [detect.heads(np.ascontiguousarray(picture))[0].mesh for picture in pictures]
    for share in (1.0, 0.0, -1.0):
        face = canonical_vertices() + share * (learned - canonical_vertices())
        monkeypatch.setattr(head_fit, "mean_face", lambda face=face: face)
        head_fit._world_model.cache_clear()
        fit = head_fit.HeadFit()
        placed = [fit.fit(mesh) for mesh in meshes]
        far = [4.0 * (np.sqrt(1.0 + (one.residuals / (2.0 * fit.noise)) ** 2) - 1.0).sum() * 180 / 468 for one in placed]
        costs[share] = sum(far) + sum(0.5 * float(one.weights @ one.weights) for one in placed)
    monkeypatch.undo()
    head_fit._world_model.cache_clear()
    assert costs[1.0] < 0.98 * costs[0.0] < 0.95 * costs[-1.0]
