"""People of face units and other builds: who they are stays, faces and necks move, labels are those of the face at rest."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from spherehead.datasets.sources.base import SourceError
from spherehead.manifests.config import ConfigError, to_plain
from spherehead.pipeline.synthetic.assets import library
from spherehead.pipeline.synthetic.assets.library import Assets, open_morphs
from spherehead.pipeline.synthetic.people.figure import body_of, build_figure
from spherehead.pipeline.synthetic.people.mouth import TeethLook
from spherehead.pipeline.synthetic.people.placement import place
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.people.settings import DRAWN, UNITS, PopulationSettings, deciding, fingerprint_of
from spherehead.pipeline.synthetic.source import MakeHumanSource

BOTH = PopulationSettings(faces=UNITS, bodies=DRAWN, expressions=1.0)


def test_units_and_builds_leave_everything_else_of_a_person(makehuman: Assets) -> None:
    for head in range(30):
        plain = draw_person(makehuman, 4, head, PopulationSettings(expressions=1.0))
        drawn = draw_person(makehuman, 4, head, BOTH)
        assert dataclasses.replace(drawn, shape={}, expression={}) == dataclasses.replace(plain, shape={}, expression={})
        added = {name: weight for name, weight in drawn.shape.items() if "universal" in name}
        assert {name: weight for name, weight in drawn.shape.items() if name not in added} == plain.shape and added
        assert all(name.startswith("faceunits/") for name in drawn.expression)


def test_a_jaw_opens_by_its_unit_and_shows_the_mouth_but_does_not_move_the_head(makehuman: Assets, more_morphs: Path) -> None:
    person = dataclasses.replace(draw_person(makehuman, 3, 0), expression={}, teeth=TeethLook())
    calm = build_figure(makehuman, person)
    wide = build_figure(makehuman, dataclasses.replace(person, expression={"faceunits/jawOpen": 0.6}))
    assert np.array_equal(calm.placement.offset, wide.placement.offset)
    assert {part.name for part in wide.parts} - {part.name for part in calm.parts} == {"upper teeth", "lower teeth", "tongue"}
    same = build_figure(makehuman, dataclasses.replace(person, expression={"expression/units/caucasian/mouth-open": 0.6}))
    for one, other in zip(wide.parts, same.parts, strict=True):
        assert one.name == "tongue" or np.abs(one.points - other.points).max() < 1e-4  # the stand-in's texts have four decimals


def test_a_tongue_that_a_unit_moves_goes_where_the_unit_says(makehuman: Assets, more_morphs: Path) -> None:
    """As far forward as the unit's weight tells, the whole tongue alike."""
    person = dataclasses.replace(draw_person(makehuman, 3, 0), expression={}, teeth=TeethLook())
    moves = {"faceunits/jawOpen": 0.6, "faceunits/tongueOut": 1.0}
    tongues = [
        next(
            part.points
            for part in build_figure(makehuman, dataclasses.replace(person, expression=some)).parts
            if part.name == "tongue"
        )
        for some in (moves, {**moves, "faceunits/tongueOut": 0.5})
    ]
    way = tongues[0] - tongues[1]
    assert np.abs(way - way.mean(axis=0)).max() < 1e-5
    scale = place(body_of(makehuman).morph(person.shape)).scale
    assert np.linalg.norm(way.mean(axis=0)) == pytest.approx(0.5 * 0.2 * scale, rel=0.01)


def test_heavier_bodies_are_morphed_and_placed_by_their_own_face(makehuman: Assets, more_morphs: Path) -> None:
    """The stand-in grows bodies in depth only; faces of every build lie on the canonical one as well as others do."""
    body = body_of(makehuman)
    person = draw_person(makehuman, 4, 2)
    heavy = {**person.shape, "macrodetails/universal-male-young-averagemuscle-maxweight": 0.8}
    before, after = body.morph(person.shape), body.morph(heavy)
    moved = np.abs(after - before).max(axis=0)
    assert moved[2] > 0.05 and moved[:2].max() < 1e-9
    assert place(after).scale != place(before).scale


def test_stamps_tell_further_morphs_and_only_where_they_are_used(
    makehuman: Assets, more_morphs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = PopulationSettings()
    assert fingerprint_of(makehuman, plain) == makehuman.fingerprint
    seen = {
        fingerprint_of(makehuman, some) for some in (BOTH, PopulationSettings(faces=UNITS), PopulationSettings(bodies=DRAWN))
    }
    assert len(seen) == 1 and makehuman.fingerprint not in seen
    assert not {"faces", "bodies", "wet", "oily"} & set(deciding(to_plain(plain)))
    told = deciding(to_plain(dataclasses.replace(BOTH, hair="grown", wet=0.5, skins=DRAWN, oily=0.0)))
    assert (told["faces"], told["bodies"], told["wet"], told["oily"]) == (UNITS, DRAWN, 0.5, 0.0)
    first = open_morphs(len(makehuman.base.vertices)).fingerprint
    (more_morphs / "targets" / "faceunits" / "cheekPuff.target").write_text("7 0 0 0.5\n")
    assert open_morphs(len(makehuman.base.vertices)).fingerprint != first


def test_a_build_that_lacks_the_morphs_stops_before_it_starts(
    makehuman_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, makehuman: Assets
) -> None:
    monkeypatch.setattr(library, "morphs_folder", lambda: tmp_path / "none")
    makehuman.__dict__.pop("morphs", None)
    for setting in ("people.faces=units", "people.bodies=drawn"):
        with pytest.raises(SourceError, match="spherehead assets fetch morphs"):
            MakeHumanSource(f"makehuman:count=1,light=raster,assets={makehuman_folder},{setting}")
    MakeHumanSource(f"makehuman:count=1,light=raster,assets={makehuman_folder}")


def test_pictures_of_units_are_the_same_twice_and_differ_from_those_without(makehuman_folder: Path, more_morphs: Path) -> None:
    text = f"makehuman:count=1,views=1,size=64,light=raster,assets={makehuman_folder},people.expressions=1,people.bodies=drawn"
    pictures = []
    for setting in (",people.faces=units", ",people.faces=units", ""):
        source = MakeHumanSource(text.replace(",people.bodies=drawn", "") if not setting else text + setting)
        pictures.append(source.read(next(iter(source.entries()))))
    assert pictures[0] == pictures[1] != pictures[2]


def test_wet_hair_and_oily_skin_come_as_often_as_asked(makehuman: Assets) -> None:
    for share in (0.0, 0.5, 1.0):
        settings = PopulationSettings(hair="grown", bald=0.0, wet=share, skins=DRAWN, oily=share)
        people = [draw_person(makehuman, 9, head, settings) for head in range(100)]
        wet = np.mean([bool(person.growth.hair.wet) for person in people if person.growth and person.growth.hair])
        oily = np.mean([bool(person.marks.oily) for person in people if person.marks])
        for found in (wet, oily):
            assert abs(found - share) <= 4 * np.sqrt(share * (1 - share) / 100)
    for setting in ({"wet": 1.5}, {"oily": -0.1}, {"faces": "odd"}, {"bodies": "odd"}):
        with pytest.raises(ConfigError, match=next(iter(setting))):
            PopulationSettings(**setting)
