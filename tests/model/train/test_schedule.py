"""Schedules against their formulas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spherehead.manifests.config import ConfigError
from spherehead.model.train.schedule import EmaSettings, Growth, Ramp, ScheduleSettings, schedule_state


@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(1, 1e6), st.floats(0, 1e6), st.floats(0, 3e6))
def test_a_ramp_is_linear_between_its_ends(start: float, end: float, length: float, begin: float, at: float) -> None:
    share = min(max((at - begin) / length, 0.0), 1.0)
    assert Ramp(start, end, length, begin).at(at) == pytest.approx(start * (1 - share) + end * share, abs=1e-9)


def test_a_ramp_of_no_length_is_a_step() -> None:
    assert [Ramp(1.0, 2.0, 0, begin=5).at(images) for images in (0, 4, 5, 6)] == [1.0, 1.0, 2.0, 2.0]


def test_growth_doubles_the_side_and_fades_each_new_stage_in() -> None:
    growth = Growth(64, images=100, fade=50)
    assert [growth.at(images, 512) for images in (0, 99, 100, 125, 150, 199, 200, 350, 10_000)] == [
        (64, 1.0), (64, 1.0), (128, 0.0), (128, 0.5), (128, 1.0), (128, 1.0), (256, 0.0), (512, 1.0), (512, 1.0),
    ]  # fmt: skip
    assert growth.at(10**9, 64) == (64, 1.0)


def test_growth_that_fades_longer_than_its_stage_is_refused() -> None:
    with pytest.raises(ConfigError, match="fade <= images"):
        Growth(64, images=10, fade=20)


@given(st.floats(1, 1e5), st.integers(1, 256), st.integers(1, 100))
def test_the_average_forgets_half_in_its_half_life(half_life: float, batch: int, count: int) -> None:
    decay = EmaSettings(half_life=half_life, ramp=None).decay(0, batch)
    assert decay**count == pytest.approx(0.5 ** (batch * count / half_life), rel=1e-9)


def test_the_average_follows_faster_at_the_start() -> None:
    settings = EmaSettings(half_life=10_000, ramp=0.05)
    assert settings.decay(0, 32) == 0.0
    assert settings.decay(1_000, 32) == pytest.approx(0.5 ** (32 / 50))
    assert settings.decay(10**9, 32) == pytest.approx(0.5 ** (32 / 10_000))


def test_rays_never_outnumber_the_pictures_side() -> None:
    settings = ScheduleSettings(growth=Growth(16, 100, 0), neural_resolution=Ramp(32, 64, 100))
    now = schedule_state(settings, 50, 64)
    assert (now.image_resolution, now.fade, now.neural_resolution) == (16, 1.0, 16)
    assert schedule_state(settings, 100, 64).neural_resolution == 32
    assert schedule_state(settings, 900, 64).neural_resolution == 64
