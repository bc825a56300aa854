"""What a run tells: metrics that survive kills, TensorBoard's copy of them, the line and the plan."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spherehead.model.train.config import RunSettings, TrainConfig
from spherehead.model.train.distributed import World
from spherehead.model.train.plan import make_plan
from spherehead.model.train.progress import METRICS, Line, Metrics, Stopwatch, clock, read_metrics


def write(run: Path, images: list[int], start: int = 0) -> None:
    metrics = Metrics(run, start, tensorboard=False)
    for count in images:
        metrics.write({"images": count, "loss": count / 3})
    metrics.close()


def test_lines_beyond_the_checkpoint_are_written_anew(tmp_path: Path) -> None:
    write(tmp_path, [8, 16, 24])
    write(tmp_path, [16, 24], start=8)
    assert [row["images"] for row in read_metrics(tmp_path)] == [8, 16, 24]


@given(st.integers(1, 60))
def test_a_line_cut_short_by_a_kill_is_left_out(length: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        write(run, [8, 16, 24])
        whole = (run / METRICS).read_bytes()
        (run / METRICS).write_bytes(whole[:-length])
        kept = whole[:-length].count(b"}")
        assert [row["images"] for row in read_metrics(run)] == [8, 16, 24][:kept]
        write(run, [99], start=50)
        assert [row["images"] for row in read_metrics(run)] == [*[8, 16, 24][:kept], 99]


def test_tensorboard_holds_the_same_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    metrics = Metrics(tmp_path, 0, tensorboard=True)
    for count in (8, 16):
        metrics.write({"images": count, "loss": count / 4})
    metrics.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(8, 2.0), (16, 4.0)]


def test_the_line_says_rate_rest_and_waiting() -> None:
    told = io.StringIO()
    line = Line(1_000, 0, told, interval=0.0)
    line.show(500, {"real_score": 0.25, "fake_score": -1.0, "vico": 3.0}, 0.031)
    text = told.getvalue()
    assert text.startswith("training 500/1,000 | ") and "images/s | ETA 00:00:0" in text
    assert "waiting for data 3.1% | real_score 0.25 fake_score -1\n" in text


@pytest.mark.parametrize(("seconds", "text"), [(0, "00:00:00"), (3_725.9, "01:02:05"), (90_061, "1 d 01:01:01")])
def test_clock_writes_days_and_hours(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_a_stopwatch_tells_each_stretch_once() -> None:
    watch = Stopwatch()
    with watch.time("data"):
        pass
    assert set(watch.take()) == {"data"} and watch.take() == {}


def test_a_plan_counts_parameters_and_writes_nothing(config: TrainConfig, heads: str, tmp_path: Path) -> None:
    plan = make_plan([heads], config, RunSettings(), World(0, 2, torch.device("cpu")))
    from spherehead.model.discriminator import Discriminator
    from spherehead.model.generator import Generator

    assert plan.generator_parameters == sum(p.numel() for p in Generator(config.model.generator).parameters())
    assert plan.discriminator_parameters == sum(p.numel() for p in Discriminator(config.model.discriminator).parameters())
    assert plan.num_steps == 8 and plan.step_seconds > 0
    lines = "\n".join(plan.lines())
    assert "2 processes" in lines and f"generator {plan.generator_parameters:,}" in lines
    assert not list(tmp_path.iterdir())


def test_a_plan_takes_one_micro_batch_where_that_is_all_there_is_time_for(
    config: TrainConfig, heads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spherehead.model.train import plan as module

    calls: list[int] = []
    real = module.train_step

    def counted(state: Any, config: TrainConfig, *rest: Any) -> Any:
        calls.append(config.batch)
        return real(state, config, *rest)

    monkeypatch.setattr(module, "train_step", counted)
    monkeypatch.setattr(module, "SECONDS", 0.0)
    plan = make_plan([heads], config, RunSettings(), World(0, 1, torch.device("cpu")))
    assert calls == [config.micro_batch] and plan.measured == 1 and not plan.with_lazy_terms
    assert "without terms that are due now and then" in "\n".join(plan.lines())


def test_a_plan_counts_lazy_terms_by_how_often_they_are_due(
    config: TrainConfig, heads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain micro-batches of 3 s, 7 s with R1 every second update, 1 s of which moves weights: 2 x (3 + 4 / 2 - 1) + 1."""
    from spherehead.model.train import plan as module

    seconds = iter([9.0, 7.0, 3.0, 3.0, 7.0, 3.0, 1.0])
    monkeypatch.setattr(module, "_timed", lambda work, device: next(seconds))
    monkeypatch.setattr(module, "SECONDS", 1e9)
    plan = make_plan([heads], config, RunSettings(), World(0, 1, torch.device("cpu")))
    assert plan.step_seconds == pytest.approx(9.0) and plan.with_lazy_terms
    assert "advice" not in "\n".join(plan.lines())
    endless = dataclasses.replace(plan, num_steps=10**6)
    assert f"images={int(7 * 86_400 / 9) * 8}" in endless.lines()[-1] and "tiny-64" in endless.lines()[-1]
