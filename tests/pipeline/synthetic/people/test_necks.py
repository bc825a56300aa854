"""Heads turned on their bodies: the head, its frame and its label stay, shoulders turn by the angle, skin and shirts follow."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from spherehead.manifests.config import to_plain
from spherehead.manifests.identity import rng
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.people.body import NECK_LENGTH
from spherehead.pipeline.synthetic.people.figure import body_of, build_figure
from spherehead.pipeline.synthetic.people.population import AHEAD, NECK_DEGREES, draw_neck, draw_person
from spherehead.pipeline.synthetic.people.settings import DRAWN, PopulationSettings, deciding

TURNED = PopulationSettings(necks=DRAWN)


@pytest.mark.parametrize("neck", [(0.0, 0.8, 0.0), (0.3, 0.0, 0.0), (0.0, 0.0, -0.2), (-0.2, -0.9, 0.15)])
def test_shoulders_turn_by_the_whole_angle_and_what_is_above_the_jaw_stays(
    makehuman: Assets, neck: tuple[float, float, float]
) -> None:
    body = body_of(makehuman)
    before = body.morph(draw_person(makehuman, 7, 1).shape)
    after = body.turned(before, neck)
    head, trunk = body.below_jaw <= 0.0, body.below_jaw >= NECK_LENGTH
    assert np.array_equal(after[head], before[head])
    first, second = (points[trunk] - points[trunk].mean(axis=0) for points in (before, after))
    left, _, right = np.linalg.svd(second.T @ first)
    found = left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right
    assert math.acos((np.trace(found) - 1.0) / 2.0) == pytest.approx(float(np.linalg.norm(neck)), abs=1e-9)
    axis = np.array([found[2, 1] - found[1, 2], found[0, 2] - found[2, 0], found[1, 0] - found[0, 1]])
    assert float(axis @ neck) < 0.0  # the body turns the other way than the head on it
    assert np.abs(second - first @ found.T).max() < 1e-9


def test_a_turned_neck_folds_no_skin_over(makehuman: Assets) -> None:
    """Edges of the neck grow or shrink, but by no more than a twist over its length makes them."""
    body = body_of(makehuman)
    before = body.morph(draw_person(makehuman, 7, 1).shape)
    edges = body.bust.subdivision.faces
    for neck in ((0.4, 0.9, 0.2), (-0.35, -0.9, 0.0)):
        fine = [body.bust.subdivision.refine(points) for points in (before, body.turned(before, neck))]
        long = [np.linalg.norm(points[edges] - points[np.roll(edges, 1, axis=1)], axis=-1) for points in fine]
        assert np.quantile(long[1] / np.maximum(long[0], 1e-9), 0.0005) > 0.3
        assert np.quantile(long[1] / np.maximum(long[0], 1e-9), 0.9995) < 3.0


def test_the_head_of_a_turned_figure_is_that_of_the_same_person_ahead(makehuman: Assets) -> None:
    person = draw_person(makehuman, 7, 1)
    ahead, turned = (build_figure(makehuman, dataclasses.replace(person, neck=neck)) for neck in ((0.0,) * 3, (0.1, 0.7, 0.0)))
    assert np.abs(ahead.face_points - turned.face_points).max() < 2e-4  # the skin under the chin, a thirtieth of a millimetre
    assert np.array_equal(ahead.placement.rotation, turned.placement.rotation)
    for name in ("left_eye", "right_eye"):
        first, second = (next(part.points for part in figure.parts if part.name == name) for figure in (ahead, turned))
        assert np.abs(first - second).max() < 1e-5
    first, second = (next(part.points for part in figure.parts if part.name == "cloth") for figure in (ahead, turned))
    assert np.linalg.norm(first - second, axis=1).mean() > 0.05  # a shirt is on the body


def test_necks_are_drawn_within_reach_and_nothing_else_of_a_person_changes(makehuman: Assets) -> None:
    drawn = np.degrees([draw_neck(rng(1, str(number), "neck")) for number in range(600)])
    still = ~drawn.any(axis=1)
    assert abs(still.mean() - AHEAD) < 4.0 * math.sqrt(AHEAD * (1.0 - AHEAD) / 600)
    spread = drawn[~still].std(axis=0) / NECK_DEGREES
    assert (
        (spread > 0.82).all()
        and (spread < 1.1).all()
        and (np.abs(drawn).max(axis=0) <= 2.2 * np.array(NECK_DEGREES) + 1e-9).all()
    )
    for head in range(5):
        plain, other = draw_person(makehuman, 4, head), draw_person(makehuman, 4, head, TURNED)
        assert dataclasses.replace(other, neck=plain.neck) == plain


def test_sets_of_before_are_resumed_and_turned_ones_are_others() -> None:
    assert "necks" not in deciding(to_plain(PopulationSettings())) and deciding(to_plain(TURNED))["necks"] == DRAWN
