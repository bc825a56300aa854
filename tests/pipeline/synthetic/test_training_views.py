"""Views that annotators are trained on: where their cameras are."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from spherehead.manifests.config import ConfigError
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.training_views import SIDES, STEEP, TrainingViews, cameras_of, render_views

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


@pytest.mark.parametrize(("wrong", "told"), [({"sides": 1.5}, "share of sides"), ({"steep": -0.1}, "share of steep views")])
def test_a_share_that_is_none_is_refused(wrong: dict[str, float], told: str) -> None:
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
