"""Mouths: teeth and tongue are seen where lips part, move with the jaw, and have the class of the hollow mouth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX
from spherehead.manifests.config import ConfigError, to_plain
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.people.figure import Figure, body_of, build_figure
from spherehead.pipeline.synthetic.people.mouth import UPPER_WIDTHS, TeethLook, _teeth, is_open
from spherehead.pipeline.synthetic.people.population import Person, draw_person
from spherehead.pipeline.synthetic.people.settings import DRAWN, PopulationSettings, deciding
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing
from spherehead.pipeline.synthetic.rendering.light import draw_light
from spherehead.pipeline.synthetic.rendering.render import Studio
from spherehead.pipeline.synthetic.shading.deferred import photograph
from spherehead.pipeline.synthetic.shading.surfaces import surfaces_of

OPEN = {"expression/units/caucasian/mouth-open": 0.5}
INSIDE = ("upper teeth", "lower teeth", "tongue")
CLOSE = dataclasses.replace(
    Camera.look_at(0.0, 0.0), intrinsics=np.array([[17.06, 0.0, 0.5], [0.0, 17.06, -0.32], [0.0, 0.0, 1.0]])
)
"""Sees the mouth, four times as large as a canonical crop does."""


def somebody(assets: Assets, expression: dict[str, float]) -> Person:
    """A bald person without anything that hides the mouth."""
    drawn = draw_person(assets, 3, 0)
    return dataclasses.replace(
        drawn, hair="", hat="", clothes="", lashes="", glasses=None, scalp="bare", expression=expression, teeth=TeethLook()
    )


@pytest.fixture(scope="module")
def shouting(makehuman: Assets) -> Figure:
    return build_figure(makehuman, somebody(makehuman, OPEN))


def without(figure: Figure) -> Figure:
    return dataclasses.replace(figure, parts=tuple(part for part in figure.parts if part.name not in INSIDE))


def test_an_open_mouth_shows_both_rows_of_teeth_and_the_class_map_stays(shouting: Figure) -> None:
    full, hollow = Drawing(shouting), Drawing(without(shouting))
    seen = full.see(CLOSE, 96)
    classes, parts = full.classes(seen), full.part_of[seen.face]
    for name in INSIDE:
        shown = (seen.face >= 0) & (parts == [part.name for part in shouting.parts].index(name))
        assert shown.sum() >= 30
        assert (classes[shown] == INDEX["mouth"]).all()
    assert np.array_equal(classes, hollow.classes(hollow.see(CLOSE, 96)))


def test_only_expressions_that_part_the_lips_show_teeth(makehuman: Assets) -> None:
    body, shape = body_of(makehuman), draw_person(makehuman, 3, 0).shape
    calm = body.morph(shape)

    def parted(**units: float) -> bool:
        moved = {f"expression/units/caucasian/{name.replace('_', '-')}": share for name, share in units.items()}
        return is_open(body.morph({**shape, **moved}), calm)

    assert not parted() and not parted(eye_left_closure=1.0, eyebrows_left_up=1.0)
    assert not parted(mouth_compression=0.8) and not parted(mouth_corner_puller=0.9)
    assert parted(mouth_open=0.1) and parted(mouth_parling=0.6, mouth_corner_puller=0.9)
    closed = build_figure(makehuman, somebody(makehuman, {}))
    assert not {part.name for part in closed.parts} & set(INSIDE)


def test_lower_teeth_go_with_the_jaw_and_upper_ones_stay(makehuman: Assets, shouting: Figure) -> None:
    wide = build_figure(makehuman, somebody(makehuman, {name: 1.6 * share for name, share in OPEN.items()}))
    moved = {
        name: next(p.points for p in wide.parts if p.name == name) - next(p.points for p in shouting.parts if p.name == name)
        for name in INSIDE
    }
    assert np.abs(moved["upper teeth"]).max() < 1e-6
    assert (moved["lower teeth"][:, 1] < -0.004).all() and moved["lower teeth"][:, 1].mean() < -0.01
    assert moved["tongue"][:, 1].min() < -0.01 and np.abs(moved["tongue"]).min() < 1e-3  # its root stays


def test_teeth_are_as_wide_as_told_and_mirrored() -> None:
    place = np.linspace(-1.0, 1.0, 20001)
    tooth, within = _teeth(place, UPPER_WIDTHS, 0.0)
    for index, width in enumerate(UPPER_WIDTHS):
        for number in (index, -1 - index):
            assert (tooth == number).mean() * 2.0 * sum(UPPER_WIDTHS) == pytest.approx(width, abs=0.01)
    assert np.allclose(within[place > 1e-6], within[place < -1e-6][::-1], atol=1e-3)
    assert np.abs(within).max() <= 1.0


def test_teeth_are_drawn_where_asked_for_and_change_nothing_else(makehuman: Assets) -> None:
    plain = [draw_person(makehuman, 4, head) for head in range(12)]
    drawn = [draw_person(makehuman, 4, head, PopulationSettings(teeth=DRAWN)) for head in range(12)]
    assert all(person.teeth is None for person in plain)
    assert [dataclasses.replace(person, teeth=None) for person in drawn] == plain
    assert len({person.teeth for person in drawn}) == 12
    assert "teeth" not in deciding(to_plain(PopulationSettings()))
    assert deciding(to_plain(PopulationSettings(teeth=DRAWN)))["teeth"] == DRAWN
    with pytest.raises(ConfigError, match="teeth"):
        PopulationSettings(teeth="false")


@pytest.mark.slow
def test_both_renderers_show_teeth_lighter_than_the_hollow_mouth(shouting: Figure) -> None:
    pytest.importorskip("mitsuba")
    light = draw_light(np.random.default_rng(3), True)
    camera = Camera.look_at(0.0, 0.0)
    bare, size = without(shouting), 128
    drawing = Drawing(shouting)
    seen = drawing.see(camera, size)
    upper = [part.name for part in shouting.parts].index("upper teeth")
    teeth = (seen.face >= 0) & (drawing.part_of[seen.face] == upper)
    assert teeth.sum() >= 10
    rows, columns = (slice(int(where.min()), int(where.max()) + 1) for where in np.nonzero(teeth))
    window = (columns.start, rows.start, columns.stop, rows.stop)
    traced = [Studio(some).photograph(camera, light, size, 16, 1, window) for some in (shouting, bare)]
    drawings = (drawing, Drawing(bare))
    shaded = [photograph(surfaces_of(some), some.see(camera, size), camera, light, 1) for some in drawings]
    for with_teeth, hollow in (traced, shaded):
        assert with_teeth[teeth][:, :3].mean() > 1.5 * hollow[teeth][:, :3].mean()
