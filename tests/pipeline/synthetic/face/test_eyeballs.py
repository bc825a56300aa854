"""Eyeballs: over their irises lies a cornea, in which a lamp is one small highlight."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.face.eyeballs import CORNEA, LIMBUS, cornea_normals
from spherehead.pipeline.synthetic.people.face_points import iris_points
from spherehead.pipeline.synthetic.people.figure import build_figure
from spherehead.pipeline.synthetic.people.population import draw_person


@pytest.mark.parametrize("gaze", [(0.0, 0.0), (0.4, -0.2)])
def test_the_normals_of_an_iris_are_those_of_a_ball_behind_it(makehuman: Assets, gaze: tuple[float, float]) -> None:
    """A cornea is a sphere of 7.8 mm over an iris of 5.9 mm: normals lean outwards by the sine 5.9 / 7.8 times the share."""
    person = dataclasses.replace(draw_person(makehuman, 3, 0), gaze=gaze)
    eyes = [part for part in build_figure(makehuman, person).parts if part.finish == "eye"]
    assert len(eyes) == 2
    for eye in eyes:
        middle, right, up, left, down = iris_points(eye.points, eye.faces, eye.uvs, eye.face_uvs)
        axis = np.cross(right - left, up - down)
        axis /= np.linalg.norm(axis)
        aside = eye.points - middle - ((eye.points - middle) @ axis)[:, None] * axis
        spokes = np.array([right, up, left, down]) - middle
        away = np.linalg.norm(aside, axis=1) / np.linalg.norm(spokes - (spokes @ axis)[:, None] * axis, axis=1).mean()
        iris = (away < 0.98) & ((eye.points - eye.points.mean(axis=0)) @ axis > 0.0)
        assert iris.sum() > 40
        leaning = (eye.normals[iris] * aside[iris] / np.linalg.norm(aside[iris], axis=1, keepdims=True)).sum(axis=1)
        assert leaning == pytest.approx(5.9 / 7.8 * away[iris], abs=0.01) and pytest.approx(5.9 / 7.8, abs=0.001) == CORNEA
        assert np.linalg.norm(eye.normals, axis=1) == pytest.approx(np.ones(len(eye.normals)))


def test_the_white_of_an_eye_keeps_its_normals_and_an_eye_without_iris_all_of_them() -> None:
    random = np.random.default_rng(1)
    points = random.standard_normal((400, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    angle = 0.4
    rim = np.array([(np.sin(angle), 0, 0), (0, np.sin(angle), 0), (-np.sin(angle), 0, 0), (0, -np.sin(angle), 0)])
    iris = np.vstack([[(0.0, 0.0, 1.0)], rim + np.cos(angle) * np.eye(3)[2]])
    assert cornea_normals(points, points, np.zeros((0, 3))) is points
    changed = cornea_normals(points, points, iris)
    near = np.hypot(points[:, 0], points[:, 1]) < LIMBUS * np.sin(angle)
    front, behind = near & (points[:, 2] > 0.3), near & (points[:, 2] < -0.3)
    assert np.allclose(changed[~near], points[~near]) and np.allclose(changed[behind], points[behind])
    assert not np.allclose(changed[front], points[front], atol=0.05)
