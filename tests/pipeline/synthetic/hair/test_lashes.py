"""Lashes: they stand on the margins of the lids and move with them; that they change no class is tested with growth."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.hair.lashes import COUNTS, draw_lashes
from spherehead.pipeline.synthetic.hair.look import LashLook
from spherehead.pipeline.synthetic.hair.scalp import CENTIMETRE
from spherehead.pipeline.synthetic.people.figure import body_of
from spherehead.pipeline.synthetic.people.growth import UPPER_LASHES, grow_lashes
from spherehead.pipeline.synthetic.people.placement import place
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.people.settings import GROWN, PopulationSettings


def test_lashes_stand_on_the_lids_and_point_away_from_the_head(makehuman: Assets) -> None:
    body = body_of(makehuman)
    vertices = body.morph(draw_person(makehuman, 3, 0).shape)
    placement = place(vertices)
    lashes = grow_lashes(LashLook(density=1.0), body, vertices, placement)
    assert lashes.kind == "lash" and len(lashes.points) == 2 * sum(COUNTS)
    away, _ = cKDTree(placement.apply(body.bust.subdivision.refine(vertices))).query(lashes.points[:, 0])
    assert np.quantile(away, 0.95) < 0.15 * CENTIMETRE
    assert (lashes.points[:, -1, 2] > lashes.points[:, 0, 2]).mean() > 0.95
    long = np.linalg.norm(np.diff(lashes.points, axis=1), axis=2).sum(axis=1) / CENTIMETRE
    assert long.min() > 0.15 and long.max() < 2.0
    left = lashes.points[:, 0, 0] > 0.0
    assert left.sum() == len(left) // 2


def test_lashes_leave_lids_forwards_and_rise_no_higher_than_lashes_do(makehuman: Assets) -> None:
    """Seen from in front those of a lid rise half a centimetre; lashes along the skin of a lid would reach the brow."""
    body = body_of(makehuman)
    vertices = body.morph(draw_person(makehuman, 3, 0).shape)
    lashes = grow_lashes(LashLook(density=1.0), body, vertices, place(vertices)).points
    first = lashes[:, 1] - lashes[:, 0]
    assert np.median(first[:, 2] / np.linalg.norm(first, axis=1)) > 0.6
    assert (np.abs(first[:, 1]) / np.linalg.norm(first, axis=1) < 0.45).mean() > 0.95
    upper = 2 * COUNTS[0]
    rise = (lashes[:, -1, 1] - lashes[:, 0, 1]) / CENTIMETRE
    assert 0.2 < np.median(rise[:upper]) < 0.55 and rise[:upper].max() < 0.8
    assert -0.3 < np.median(rise[upper:]) < -0.05 and rise[upper:].min() > -0.4


def test_upper_lashes_go_down_with_a_closing_lid(makehuman: Assets) -> None:
    body, shape = body_of(makehuman), draw_person(makehuman, 3, 0).shape
    placement = place(body.morph(shape))
    closed = {f"expression/units/caucasian/eye-{side}-closure": 1.0 for side in ("left", "right")}
    awake, asleep = (grow_lashes(LashLook(), body, body.morph({**shape, **some}), placement) for some in ({}, closed))
    upper = 2 * round(LashLook().density * COUNTS[0])
    moved = (asleep.points - awake.points)[:, 0, 1] / CENTIMETRE
    assert moved[:upper].mean() < -0.3 and abs(moved[upper:].mean()) < 0.2
    assert len(UPPER_LASHES[0]) == 13


def test_who_has_grown_hair_has_lashes_of_one_seed_and_nobody_has_both_kinds(makehuman: Assets) -> None:
    people = [draw_person(makehuman, 4, head, PopulationSettings(hair=GROWN)) for head in range(8)]
    found = [person.growth.lashes for person in people if person.growth is not None]
    assert len(set(found)) == 8 and all(person.lashes == "" for person in people)
    one, two = (draw_lashes(0.0, (0.3, 0.2, 0.1), np.random.default_rng(5)) for _ in range(2))
    assert one == two
