"""Marks on skins: where they are told to lie, and nowhere else."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from spherehead.datasets.arrays import Array
from spherehead.datasets.camera import Camera
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.people import paint
from spherehead.pipeline.synthetic.people.figure import body_of, build_figure
from spherehead.pipeline.synthetic.people.growth import head_places
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.people.settings import DRAWN, PopulationSettings
from spherehead.pipeline.synthetic.people.skin_marks import OILY, TATTOOS, SkinMarks, _design, _unstretched, draw_marks, mark
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing
from spherehead.pipeline.synthetic.rendering.light import draw_light
from spherehead.pipeline.synthetic.shading.deferred import photograph
from spherehead.pipeline.synthetic.shading.surfaces import surfaces_of

SCALE = 2 * paint.FINE
LEFT, TOP, RIGHT, BOTTOM = paint.HEAD_CROP


@pytest.fixture(scope="module")
def places(makehuman: Assets) -> Array:
    return head_places(makehuman, body_of(makehuman))[TOP:BOTTOM, LEFT:RIGHT]


def changed(marks: SkinMarks, places: Array) -> tuple[Array, Array]:
    """How much a grey skin is darkened at each coarse texel at most, and those texels' places."""
    grey = np.full((places.shape[0] * SCALE, places.shape[1] * SCALE, 3), 150.0, dtype=np.float32)
    away = np.abs(mark(grey, marks, places, (LEFT, TOP), SCALE) - grey).max(axis=2)
    return away.reshape(places.shape[0], SCALE, places.shape[1], SCALE).max(axis=(1, 3)), places


def test_no_marks_change_nothing(places: Array) -> None:
    assert changed(SkinMarks(), places)[0].max() < 1e-3


@pytest.mark.parametrize(
    ("marks", "low", "high"),
    [
        (SkinMarks(freckles=1.0, seed=3), (-0.20, 0.05), (0.20, 0.22)),
        (SkinMarks(lipstick=(0.6, 0.1, 0.1)), (-0.075, -0.165), (0.075, -0.09)),
        (SkinMarks(shadow=(0.2, 0.2, 0.3)), (-0.16, 0.0), (0.16, 0.10)),
        (SkinMarks(moles=5, seed=4), (-0.25, -0.35), (0.25, 0.30)),
        (SkinMarks(wrinkles=1.0, seed=4), (-0.16, -0.20), (0.16, 0.16)),
        (SkinMarks(tattoo="rings", site=1, seed=4), (0.06, -0.11), (0.15, -0.02)),
        (SkinMarks(tattoo="waves", site=0, seed=5), (-0.16, 0.02), (-0.08, 0.11)),
    ],
)
def test_marks_lie_on_their_part_of_the_face(
    marks: SkinMarks, low: tuple[float, float], high: tuple[float, float], places: Array
) -> None:
    away, where = changed(marks, places)
    marked = where[away > 12.0]
    assert len(marked) >= 5
    assert (marked[:, 2] > 0.03).mean() > 0.98
    assert ((marked[:, 0] > low[0]) & (marked[:, 0] < high[0])).mean() > 0.98
    floor = low[1] if marks.freckles == 0.0 else -0.14
    assert ((marked[:, 1] > floor) & (marked[:, 1] < high[1])).mean() > 0.97


def test_marks_are_drawn_where_asked_for_and_change_nothing_else(makehuman: Assets) -> None:
    plain = [draw_person(makehuman, 4, head) for head in range(60)]
    drawn = [draw_person(makehuman, 4, head, PopulationSettings(skins=DRAWN)) for head in range(60)]
    assert all(person.marks is None for person in plain)
    assert [dataclasses.replace(person, marks=None) for person in drawn] == plain
    assert 2 < sum(person.marks.freckles > 0.0 for person in drawn if person.marks) < 30
    assert any(person.marks and person.marks.lipstick for person in drawn)


def test_the_old_have_more_wrinkles_and_few_people_a_tattoo() -> None:
    random = np.random.default_rng(3)
    young, old = ([draw_marks(0.5, age, 0.5, random) for _ in range(300)] for age in (0.1, 0.8))
    assert np.mean([marks.wrinkles for marks in young]) < 0.05 < 0.6 < np.mean([marks.wrinkles for marks in old])
    tattooed = [marks for marks in young + old if marks.tattoo]
    assert 12 < len(tattooed) < 55 and {marks.tattoo for marks in tattooed} == set(TATTOOS)


def test_every_tattoo_is_a_picture_of_its_own_that_leaves_most_of_the_skin_free() -> None:
    for kind in TATTOOS:
        one, other = (_design(SkinMarks(tattoo=kind, seed=seed)) for seed in (2, 3))
        assert 0.004 < one.mean() < 0.6 and one.max() <= 1.0
        assert kind == "thorns" or not np.array_equal(one, other)


def test_moles_and_freckles_lie_where_they_stay_round(places: Array) -> None:
    """On a nose whose texels are three times as high as wide they were long dark bars."""
    face = (places[..., 2] > 0.05) & (places[..., 2] < 1.0)
    kept = _unstretched(places, face) & face
    assert 0.25 < kept.sum() / face.sum() < 0.95
    away, _ = changed(SkinMarks(moles=60, freckles=1.0, seed=4), places)
    rows, columns = np.nonzero(away > 40.0)
    near = cv2.dilate(kept.astype(np.uint8), np.ones((3, 3), np.uint8))
    assert len(rows) > 40 and near[rows, columns].mean() > 0.97
    plane = places.copy()
    plane[...] = np.stack([*np.meshgrid(np.arange(192) * 0.001, np.arange(368) * 0.003), np.full((368, 192), 0.1)], axis=-1)
    assert not _unstretched(plane, np.ones(plane.shape[:2], dtype=bool)).any()


def test_some_skins_shine_from_crown_to_bust(makehuman: Assets) -> None:
    drawn = [draw_marks(0.5, 0.4, 0.3, np.random.default_rng(seed)) for seed in range(1500)]
    assert abs(np.mean([marks.oily for marks in drawn]) - OILY) < 4.0 * np.sqrt(OILY / 1500)
    person = dataclasses.replace(draw_person(makehuman, 1, 3), growth=None, glasses=None)
    for marks, finish in ((SkinMarks(oily=True), "oily skin"), (SkinMarks(), "skin"), (None, "skin")):
        parts = build_figure(makehuman, dataclasses.replace(person, marks=marks), 64).parts
        assert {part.finish for part in parts if part.name in ("head", "bust")} == {finish}


def test_scalps_under_hair_are_parts_of_the_head_and_matt(makehuman: Assets) -> None:
    """Without strands before it, the scalp mirrors a lamp less than the same scalp with oily skin's finish."""
    settings = PopulationSettings(hair="grown", bald=0.0, skins=DRAWN, oily=1.0, styles="locs")
    person = draw_person(makehuman, 1, 276, settings)
    hairy, bald = (build_figure(makehuman, one, 64) for one in (person, dataclasses.replace(person, growth=None, scalp="bare")))
    finishes = {part.name: part.finish for part in hairy.parts}
    assert (finishes["head"], finishes["scalp"], finishes["bust"]) == ("oily skin", "scalp", "oily skin")
    sizes = {part.name: len(part.faces) for part in hairy.parts}
    assert "scalp" not in {part.name for part in bald.parts}
    assert sizes["head"] + sizes["scalp"] == next(len(part.faces) for part in bald.parts if part.name == "head")
    light, brightest = draw_light(np.random.default_rng(3), True), []
    for finish in ("scalp", "oily skin"):
        parts = tuple(dataclasses.replace(part, finish=finish) for part in hairy.parts if part.name == "scalp")
        drawing = Drawing(dataclasses.replace(hairy, parts=parts, strands=()))
        seen = [
            photograph(surfaces_of(drawing), drawing.see(camera, 64), camera, light, 1)[..., :3]
            for camera in (Camera.look_at(yaw, 0.5) for yaw in (-2.0, 0.0, 2.0))
        ]
        brightest.append(max(float(picture.max()) for picture in seen))
    assert brightest[0] < 0.8 * brightest[1]
