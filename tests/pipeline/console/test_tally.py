from __future__ import annotations

import math

import pytest
from spherehead.pipeline.console import tally as module
from spherehead.pipeline.console.tally import Tally


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def run_steady(tally: Tally, clock: Clock, rate: float, seconds: float) -> None:
    for _ in range(round(rate * seconds)):
        clock.seconds += 1.0 / rate
        tally.add("kept", "", None)


@pytest.mark.parametrize("rate", [0.5, 4.0, 50.0])
def test_steady_stream_shows_its_rate_from_the_first_seconds_on(rate: float) -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.start(None, None)
    run_steady(tally, clock, rate, 10)
    # n events at even steps: sum of exp(-k step) over tau (1 - exp(-n step)); the n cancels
    step = 1.0 / rate / tally.memory_seconds
    exact = 1.0 / (tally.memory_seconds * (1.0 - math.exp(-step)))
    assert tally.recent_rate() == pytest.approx(exact, rel=1e-9)
    assert tally.recent_rate() == pytest.approx(rate, rel=0.06)
    assert tally.mean_rate() == pytest.approx(rate, rel=1e-6)


def test_recent_rate_follows_a_slowdown_and_the_mean_does_not() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.start(10_000, 5_000)
    run_steady(tally, clock, 40.0, 60)
    run_steady(tally, clock, 2.0, 120)
    assert tally.recent_rate() == pytest.approx(2.0, rel=0.1)
    assert tally.mean_rate() == pytest.approx((2400 + 240) / 180)
    assert tally.remaining_seconds() == pytest.approx((5_000 - 2_640) / tally.recent_rate())


def test_a_stall_lowers_the_rate_without_any_event() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.start(None, None)
    run_steady(tally, clock, 10.0, 100)
    before = tally.recent_rate()
    clock.seconds += tally.memory_seconds
    assert tally.recent_rate() == pytest.approx(before / math.e, rel=0.02)
    assert tally.remaining_seconds() is None


def test_top_reasons_are_sorted_by_count_then_name() -> None:
    tally = Tally(Clock())
    for reason, count in (("blurred", 2), ("no_head", 7), ("dark", 2), ("a", 1), ("b", 1), ("c", 1)):
        for _ in range(count):
            tally.add("dropped", reason, {"detect": 0.5})
    assert tally.top_reasons() == [("no_head", 7), ("blurred", 2), ("dark", 2), ("a", 1), ("b", 1)]
    assert tally.seconds["detect"] == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.4, "59s"), (59.6, "01:00"), (192, "03:12"), (7392, "2:03:12"), (273600, "3d 04h")]
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert module.duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**41, "2.0 TiB")])
def test_sizes_read_well(count: int, text: str) -> None:
    assert module.size(count) == text
