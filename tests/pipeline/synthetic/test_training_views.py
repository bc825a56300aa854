"""Views that annotators are trained on: where their cameras are, and which of their hair is beard."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from spherehead.datasets.classes import INDEX
from spherehead.datasets.shards.codec import decode_grey
from spherehead.datasets.shards.tar import iterate
from spherehead.manifests.config import ConfigError
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.people.figure import build_figure
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.people.settings import PopulationSettings
from spherehead.pipeline.synthetic.rendering.exact_pass import GROWTH, Drawing, look_with_guide
from spherehead.pipeline.synthetic.training_views import (
    SIDES,
    STEEP,
    VERSION,
    TrainingViews,
    beard_of,
    cameras_of,
    render_views,
    views_of,
)

PLAIN = TrainingViews(views=12, seed=3)


def test_cameras_of_a_person_are_spread_evenly_around() -> None:
    yaws = np.sort([camera.yaw for camera in cameras_of(PLAIN, "person")])
    gaps = np.diff(np.append(yaws, yaws[0] + 2.0 * math.pi))
    assert gaps.min() > 0.3 * 2.0 * math.pi / 12 and gaps.max() < 1.7 * 2.0 * math.pi / 12 + 1e-9


def test_a_share_of_the_views_is_turned_to_a_side_and_the_others_stay() -> None:
    turned = dataclasses.replace(PLAIN, sides=0.4)
    moved = 0
    for number in range(40):
        for plain, other in zip(cameras_of(PLAIN, str(number)), cameras_of(turned, str(number)), strict=True):
            assert abs(plain.pitch - other.pitch) < 1e-9
            if abs(plain.yaw - other.yaw) > 1e-9:
                moved += 1
                assert SIDES[0] - 1e-9 <= abs(other.yaw) <= SIDES[1] + 1e-9
    assert abs(moved / 480 - 0.4) < 0.07  # three standard deviations of 480 draws


def test_a_share_of_the_views_is_spread_over_the_sphere_and_the_others_stay() -> None:
    tilted, heights = dataclasses.replace(PLAIN, steep=0.3), list[float]()
    for number in range(200):
        for plain, other in zip(cameras_of(PLAIN, str(number)), cameras_of(tilted, str(number)), strict=True):
            assert abs(math.remainder(plain.yaw - other.yaw, 2.0 * math.pi)) < 1e-9
            if abs(plain.pitch - other.pitch) > 1e-9:
                heights.append(math.sin(other.pitch))
    low, high = np.sin(STEEP)
    assert abs(len(heights) / 2400 - 0.3) < 0.03  # three standard deviations of 2,400 draws
    assert low <= min(heights) < low + 0.02 and high - 0.02 < max(heights) <= high
    share, _ = np.histogram(heights, bins=4, range=(low, high))
    assert np.all(np.abs(share / len(heights) - 0.25) < 0.05)  # heights over the equator are even where directions are


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"sides": 1.5}, "share of sides"), ({"steep": -0.1}, "share of steep views"), ({"pitch_degrees": -1.0}, "pitch_degrees")],
)
def test_a_share_or_spread_that_is_none_is_refused(wrong: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        TrainingViews(**wrong)  # type: ignore[arg-type]


def test_workers_and_resuming_change_no_byte(tmp_path: Path, makehuman: Assets) -> None:
    few = dataclasses.replace(PLAIN, count=3, views=2, size=32, heads_per_shard=1, steep=0.5)
    assert render_views(makehuman, few, tmp_path / "one") == 3
    assert render_views(makehuman, few, tmp_path / "two", workers=2) == 3
    (tmp_path / "two" / "views-000001.tar").unlink()
    assert render_views(makehuman, few, tmp_path / "two", workers=2) == 1
    for path in (tmp_path / "one").iterdir():
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes(), path.name
    with pytest.raises(ConfigError, match="other settings"):
        render_views(makehuman, dataclasses.replace(few, steep=0.0), tmp_path / "one")


def test_beards_of_views_are_those_of_the_exact_pass_and_go_with_the_beard(makehuman: Assets) -> None:
    people = PopulationSettings(hair="grown", beards=1.0, bald=0.0, hats=0.0)
    settings = TrainingViews(views=2, seed=3, size=64, people=people)

    def full(number: int) -> bool:
        growth = draw_person(makehuman, settings.seed, number, people).growth
        return growth is not None and growth.beard is not None and min(growth.beard.cheeks, growth.beard.chin) > 0.5

    number = next(number for number in range(100) if full(number))
    person = draw_person(makehuman, settings.seed, number, people)
    assert person.growth is not None
    shaved = dataclasses.replace(person, growth=dataclasses.replace(person.growth, beard=None))
    drawing, without = Drawing(build_figure(makehuman, person)), Drawing(build_figure(makehuman, shaved))
    num = 0
    views = views_of(makehuman, settings, number)
    for (_, members), camera in zip(views, cameras_of(settings, person.name), strict=True):
        beard, parsing = decode_grey(members["beard.png"]) > 0, decode_grey(members["seg.png"])
        seen = look_with_guide(drawing, camera, settings.size, settings.supersampling)[0]
        assert np.array_equal(beard, seen.growth == GROWTH.index("beard"))
        assert (parsing[beard] == INDEX["hair"]).all()
        bare = look_with_guide(without, camera, settings.size, settings.supersampling)[0]
        assert beard_of(bare).max() == 0 and np.mean(bare.parsing[beard] != INDEX["hair"]) > 0.8
        num += int(beard.sum())
    assert num > 50


def test_hair_of_cards_is_no_beard_and_sets_of_before_are_resumed(makehuman: Assets, tmp_path: Path) -> None:
    few = dataclasses.replace(PLAIN, count=2, views=1, size=32, heads_per_shard=1)
    render_views(makehuman, dataclasses.replace(few, count=1), tmp_path)
    with (tmp_path / "views-000000.tar").open("rb") as file:
        ((_, members),) = iterate(file)
    assert not decode_grey(members["beard.png"]).any() and (decode_grey(members["seg.png"]) == INDEX["hair"]).any()
    told, kept = tmp_path / "training-views.json", (tmp_path / "views-000000.tar").read_bytes()
    told.write_text(told.read_text().replace(f'"version":{VERSION}', '"version":6'))
    assert render_views(makehuman, few, tmp_path) == 1 and (tmp_path / "views-000000.tar").read_bytes() == kept
    told.write_text(told.read_text().replace(f'"version":{VERSION}', '"version":5'))
    with pytest.raises(ConfigError, match="other settings"):
        render_views(makehuman, few, tmp_path)


def test_a_set_that_grows_is_the_set_of_its_new_size(makehuman: Assets, tmp_path: Path) -> None:
    """The last shard of the smaller set lacks heads; a set that was not asked for fewer keeps what it has."""
    three = dataclasses.replace(PLAIN, count=3, views=1, size=32, heads_per_shard=2)
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    assert [render_views(makehuman, dataclasses.replace(three, count=count), grown) for count in (1, 3, 3, 1)] == [1, 2, 0, 0]
    assert render_views(makehuman, three, whole) == 2
    for name in ("views-000000.tar", "views-000002.tar"):
        assert (grown / name).read_bytes() == (whole / name).read_bytes()
