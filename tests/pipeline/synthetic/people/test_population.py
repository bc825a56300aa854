"""People drawn by number: plausible, different, and dependent on nothing but seed and number."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from spherehead.datasets.camera import canonical_to_world
from spherehead.datasets.canonical_face import canonical_vertices, mirror_partners
from spherehead.manifests.config import to_plain
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.face.morphs import MORE_EXPRESSIONS, sliders
from spherehead.pipeline.synthetic.people.figure import body_of, build_figure
from spherehead.pipeline.synthetic.people.placement import face_vertices, place
from spherehead.pipeline.synthetic.people.population import Person, draw_person
from spherehead.pipeline.synthetic.people.settings import PopulationSettings, deciding

COUNT = 300


@pytest.fixture(scope="module")
def people(makehuman: Assets) -> list[Person]:
    return [draw_person(makehuman, 11, head) for head in range(COUNT)]


def test_sex_age_and_ancestry_always_add_up_to_one_person(people: list[Person]) -> None:
    for person in people:
        macro = {name: weight for name, weight in person.shape.items() if name.startswith("macrodetails/")}
        assert sum(macro.values()) == pytest.approx(1.0)
        assert min(macro.values()) >= 0.0
        assert not any("child" in name for name in macro)
        assert sum(person.ancestry) == pytest.approx(1.0)
        assert sum(share for _, share in person.skins) == pytest.approx(1.0)


def test_children_come_only_when_asked_for(makehuman: Assets) -> None:
    settings = PopulationSettings(children=True)
    drawn = [draw_person(makehuman, 11, head, settings) for head in range(60)]
    shares = [sum(weight for name, weight in person.shape.items() if "child" in name) for person in drawn]
    assert 0.05 < np.mean(np.array(shares) > 0.5) < 0.4


def test_every_morph_exists_and_stays_within_its_slider(makehuman: Assets, people: list[Person]) -> None:
    names = set(makehuman.names("targets"))
    for person in people:
        assert set(person.shape) | set(person.expression) <= names
        assert all(0.0 <= weight <= 1.0 for weight in (*person.shape.values(), *person.expression.values()))


def test_the_two_ends_of_a_slider_are_never_pulled_at_once(makehuman: Assets, people: list[Person]) -> None:
    pairs = sliders(makehuman.names("targets"))
    assert len(pairs) > 80
    assert pairs["nose/nose-hump"] == ("nose/nose-hump-decr", "nose/nose-hump-incr")
    for person in people[:40]:
        assert not [slider for slider, ends in pairs.items() if set(ends) <= set(person.shape)]


def test_rare_things_come_as_often_as_asked(makehuman: Assets, people: list[Person]) -> None:
    """Within four deviations of a binomial of 300."""
    for share, found in (
        (0.22, [person.glasses is not None for person in people]), (0.06, [bool(person.hat) for person in people]),
    ):  # fmt: skip
        assert abs(np.mean(found) - share) < 4 * np.sqrt(share * (1 - share) / COUNT)
    bare = [draw_person(makehuman, 2, head, PopulationSettings(glasses=0.0, hats=0.0, expressions=0.0)) for head in range(30)]
    assert not any(person.glasses or person.hat or person.expression for person in bare)
    assert len({person.hair for person in people}) == 8  # seven styles and none
    assert len({person.clothes for person in people}) == 4
    assert {person.scalp for person in people} == {"bare", "stubble", "covered"}


def test_skins_follow_ancestry_sex_and_age(people: list[Person]) -> None:
    for person in people:
        for name, share in person.skins:
            assert ("_male_" in name) == (person.male > 0.5)
            assert name.startswith("skins/textures/old_") == (person.age >= 0.6)
            if "darkskinned" in name and person.ancestry[0] > 0.9:
                assert share > 0.9


def test_only_hair_that_lies_flat_goes_under_a_hat(people: list[Person]) -> None:
    assert all(not person.hair for person in people if person.hat)


def test_a_name_lists_what_is_worn(makehuman: Assets, people: list[Person]) -> None:
    kinds = ("hair", "eyebrows", "eyelashes", "eyes", "clothes")
    known = {*makehuman.files(""), *(name for kind in kinds for name in makehuman.names(kind))}
    for person in people[:20]:
        assert set(person.assets) <= known
        assert {person.clothes, person.eyes, person.brows} <= set(person.assets)


LANDMARKS = {"nose tip": (297, 1), "nose base": (5072, 2), "nasion": (133, 168), "left mouth corner": (7162, 291)}
"""Landmark -> its vertex of MakeHuman's base mesh, and of MediaPipe's canonical face."""


def test_every_face_lies_on_the_canonical_one(makehuman: Assets, people: list[Person]) -> None:
    """Landmarks picked by hand lie within a tenth of a head of the canonical ones for everybody, a twentieth on average."""
    body, away = body_of(makehuman), []
    ours, theirs = np.array(list(LANDMARKS.values())).T
    for person in people[:40]:
        vertices = body.morph(person.shape)
        placement = place(vertices)
        eyes = placement.apply(np.array([body.centre(vertices, f"joint-{side}-eye") for side in "lr"]))
        assert np.abs(eyes[0] - eyes[1] * [-1, 1, 1]).max() < 0.01
        away.append(placement.apply(vertices[ours]) - canonical_to_world(canonical_vertices()[theirs]))
        assert placement.scale == pytest.approx(0.25, rel=0.3)
        assert np.linalg.det(placement.rotation) == pytest.approx(1.0)
    assert np.linalg.norm(away, axis=2).max() < 0.04
    assert np.linalg.norm(np.mean(away, axis=0), axis=1).max() < 0.02


def test_the_face_has_two_sides(makehuman: Assets) -> None:
    """The vertices that stand for the mesh network's points are each other's mirror images on the symmetric base mesh."""
    points = body_of(makehuman).base.vertices[face_vertices()]
    assert np.abs(points[mirror_partners()] * [-1, 1, 1] - points).max() < 1e-3


def test_an_expression_does_not_move_the_head(makehuman: Assets, people: list[Person]) -> None:
    """The label is that of the face at rest: laughing moves the mouth, not the back of the head."""
    person = next(person for person in people if any("mouth-open" in name for name in person.expression))
    calm = build_figure(makehuman, dataclasses.replace(person, expression={}))
    moved = build_figure(makehuman, person)
    assert np.array_equal(calm.placement.offset, moved.placement.offset)
    before, after = (next(part.points for part in figure.parts if part.name == "head") for figure in (calm, moved))
    away = np.linalg.norm(after - before, axis=1)
    assert away.max() > 0.005
    assert away[before[:, 2] < -0.07].max() < 0.002


def test_wide_faces_know_every_expression_and_usual_ones_stay(makehuman: Assets) -> None:
    names = set(makehuman.names("targets"))
    units = {f"expression/units/caucasian/{unit}" for _, some in MORE_EXPRESSIONS.values() for unit in some}
    assert units <= names
    usual = [draw_person(makehuman, 6, head) for head in range(150)]
    wide = [draw_person(makehuman, 6, head, PopulationSettings(faces="wide")) for head in range(150)]
    assert [dataclasses.replace(person, expression={}) for person in usual] == [
        dataclasses.replace(person, expression={}) for person in wide
    ]
    assert {unit for person in wide for unit in person.expression} >= units
    winks = [person.expression for person in wide if len([u for u in person.expression if "closure" in u]) == 1]
    assert winks


def test_settings_that_came_later_leave_earlier_stamps_alone() -> None:
    told = deciding(to_plain(PopulationSettings()))
    assert not {"wear", "shares", "skins", "faces", "hair", "beards", "growth"} & set(told)
    assert deciding(to_plain(PopulationSettings(faces="wide")))["faces"] == "wide"
