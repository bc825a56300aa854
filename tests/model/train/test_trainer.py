"""A run: that it resumes bit-exact after any stop, keeps what was learned, and says what is wrong before it starts."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from spherehead import cli
from spherehead.datasets.streaming.batch import Batch
from spherehead.manifests.config import ConfigError, override, to_plain
from spherehead.model.generator import Generator
from spherehead.model.presets import preset
from spherehead.model.store import load_generator, problems, read_config
from spherehead.model.train import trainer
from spherehead.model.train.checkpoint import CheckpointWriteError, checkpoints, newest, room_needed
from spherehead.model.train.config import RunSettings, TrainConfig
from spherehead.model.train.distributed import World
from spherehead.model.train.progress import read_metrics
from spherehead.model.train.record import read_record
from spherehead.model.train.state import Average, new_state
from spherehead.model.train.trainer import TrainDiverged, train

ALONE = World(0, 1, torch.device("cpu"))
LEARNED = (
    "generator_adversarial",
    "discriminator_adversarial",
    "vico",
    "labeller",
    "parsing",
    "real_score",
    "generator_gradient",
)


def losses(run: Path) -> list[dict[str, float]]:
    """The metrics that a clock does not enter."""
    return [{name: value for name, value in row.items() if name in LEARNED or name == "images"} for row in read_metrics(run)]


def bits(run: Path) -> dict[str, str]:
    """Digest of every file of the newest checkpoint."""
    folder = newest(run)
    beside = json.loads((folder / "position.json").read_text())["parts"]
    return {name: entry.sha256 for name, entry in read_config(folder).parts.items()} | {
        name: entry["sha256"] for name, entry in beside.items()
    }


@pytest.fixture(scope="module")
def undisturbed(config: TrainConfig, heads: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run") / "whole"
    train([heads], config, run, RunSettings(0, 24, 9, 8, False, False, threads=1), ALONE)
    return run


def test_a_run_leaves_a_model_metrics_and_a_record(undisturbed: Path, config: TrainConfig) -> None:
    folder = newest(undisturbed)
    assert folder.name == "step-00000008" and not problems(folder, read_config(folder))
    generator = load_generator(folder)
    assert generator.settings == config.model.generator
    rows = losses(undisturbed)
    assert [row["images"] for row in rows] == [8, 16, 24, 32, 40, 48, 56, 64]
    assert all(set(LEARNED) <= set(row) for row in rows)
    record = read_record(undisturbed)
    assert record is not None and record.config == to_plain(config) and len(record.manifests[0]) == 64
    assert record.environment["torch"] == torch.__version__


def test_a_run_stopped_four_times_resumes_bit_exact(
    undisturbed: Path, config: TrainConfig, heads: str, quiet: RunSettings, tmp_path: Path
) -> None:
    for images in (8, 24, 40, 56, config.images):  # before, while and after it grows, at a save and between two
        train([heads], dataclasses.replace(config, images=images), tmp_path / "run", quiet, ALONE)
    assert losses(tmp_path / "run") == losses(undisturbed)
    assert bits(tmp_path / "run") == bits(undisturbed)


def test_workers_change_no_bit(undisturbed: Path, config: TrainConfig, heads: str, quiet: RunSettings, tmp_path: Path) -> None:
    train([heads], config, tmp_path / "run", dataclasses.replace(quiet, workers=2), ALONE)
    assert bits(tmp_path / "run") == bits(undisturbed)


def line_for(config: TrainConfig, heads: str, run: Path, *more: str) -> list[str]:
    """Write the config beside the run and return the command line that trains it."""
    file = run.with_suffix(".json")
    file.write_text(json.dumps(to_plain(config)))
    start = [sys.executable, "-m", "spherehead", "train", "--data", heads, "--preset", str(file), "--out", str(run)]
    return [*start, "--device", "cpu", "--threads", "1", "--no-pictures", "--log-images", "8", *more]


def wait_for(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[1]


def semaphores_of(pid: int) -> list[Path]:
    """Return the files of the named semaphores that a process shares with its data workers."""
    maps = Path(f"/proc/{pid}/maps")
    lines = maps.read_text().splitlines() if maps.is_file() else []
    return sorted({Path(line.split(maxsplit=5)[5]) for line in lines if "/dev/shm/sem.mp-" in line})


@pytest.mark.slow
def test_a_run_killed_outright_resumes_bit_exact(
    undisturbed: Path, config: TrainConfig, heads: str, quiet: RunSettings, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    endless = dataclasses.replace(config, images=10**6)
    line = line_for(endless, heads, run, "--workers", "1", "--save-images", "8", "--keep", "300")
    process = subprocess.Popen(line, stderr=subprocess.PIPE, start_new_session=True, text=True)
    wait_for(process, lambda: len(checkpoints(run)) >= 3)
    semaphores = semaphores_of(process.pid)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    for semaphore in semaphores:  # their tracker, which outlives a killed trainer, died with the group
        semaphore.unlink(missing_ok=True)
    for late in checkpoints(run)[7:]:  # as if it had been killed earlier: the comparison ends at step 8
        shutil.rmtree(late)
    train([heads], config, run, quiet, ALONE)
    assert losses(run) == losses(undisturbed)
    assert bits(run) == bits(undisturbed)


def test_sigterm_saves_and_leaves(config: TrainConfig, heads: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(
        line_for(dataclasses.replace(config, images=10**6), heads, run), stderr=subprocess.PIPE, text=True
    )
    wait_for(process, lambda: bool(read_metrics(run)))
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=600)
    assert process.returncode == 143, told
    assert "rerun the same command to resume" in told
    saved = json.loads((newest(run) / "position.json").read_text())["position"]
    assert saved["images"] == read_metrics(run)[-1]["images"] > 0


def test_a_signal_while_data_workers_start_saves_and_leaves_too(
    config: TrainConfig, heads: str, quiet: RunSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGINT, which ends no test process where it is handled too late."""
    opened = trainer.open_loader

    def stopped(*arguments: Any, **named: Any) -> Iterator[Batch]:
        signal.raise_signal(signal.SIGINT)
        return opened(*arguments, **named)

    monkeypatch.setattr(trainer, "open_loader", stopped)
    with pytest.raises(trainer.TrainInterrupted, match="rerun the same command to resume"):
        train([heads], config, tmp_path / "run", quiet, ALONE)
    assert json.loads((newest(tmp_path / "run") / "position.json").read_text())["position"]["images"] == config.batch


def test_another_run_in_the_folder_is_refused_with_the_difference(
    undisturbed: Path, config: TrainConfig, heads: str, quiet: RunSettings
) -> None:
    other = override(config, ["optimiser.discriminator_lr=0.5"])
    with pytest.raises(ConfigError, match=r"optimiser\.discriminator_lr: 0\.002 -> 0\.5"):
        train([heads], other, undisturbed, quiet, ALONE)


def test_a_run_begun_before_a_setting_existed_goes_on(
    undisturbed: Path, config: TrainConfig, heads: str, quiet: RunSettings, tmp_path: Path
) -> None:
    """Its record lacks the setting, whose default is what the run meant; another value is a difference."""
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    plain = json.loads((run / "run.json").read_text())
    del plain["config"]["model"]["generator"]["camera_shift_scale"]
    (run / "run.json").write_text(json.dumps(plain))
    train([heads], config, run, quiet, ALONE)
    assert bits(run) == bits(undisturbed)
    (run / "run.json").write_text(json.dumps(plain))
    other = override(config, ["model.generator.camera_shift_scale=0.5"])
    with pytest.raises(ConfigError, match=r"camera_shift_scale: 1\.0 -> 0\.5"):
        train([heads], other, run, quiet, ALONE)


def test_a_runs_newest_model_is_shown_as_it_is_generated_from(undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["model", "show", str(undisturbed), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["folder"] == str(newest(undisturbed)) and shown["problems"] == []
    assert cli.main(["model", "show", str(undisturbed / "nowhere")]) == 2
    assert "no model in" in capsys.readouterr().err


def test_data_without_class_maps_train_where_parsing_is_left_out(
    config: TrainConfig, finished_sets: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    streams = importlib.import_module("stream_helpers")
    data = streams.build(finished_sets, tmp_path / "plain")
    streams.rename(data, "plain000", keep=("png", "mask.png", "cam.json", "json"))
    (tmp_path / "config.json").write_text(json.dumps(to_plain(dataclasses.replace(config, images=8))))
    words = ["train", "--data", str(data), "--preset", str(tmp_path / "config.json"), "--out", str(tmp_path / "run")]
    words += ["--workers", "0", "--no-pictures", "--threads", "1", "--device", "cpu"]
    assert cli.main(words) == 2
    assert "has no class maps" in (told := capsys.readouterr().err) and "--no-parsing" in told
    assert cli.main([*words, "--no-parsing"]) == 0
    generator = load_generator(newest(tmp_path / "run"))
    assert generator.parsing is None


def test_other_data_is_refused(
    undisturbed: Path, config: TrainConfig, quiet: RunSettings, finished_sets: ModuleType, tmp_path: Path
) -> None:
    other = finished_sets.build(tmp_path / "other", size=32, shard_size=7)
    with pytest.raises(ConfigError, match="data: manifests"):
        train([str(other)], config, undisturbed, quiet, ALONE)


def test_with_update_a_folder_goes_on_with_changed_settings(
    config: TrainConfig, heads: str, quiet: RunSettings, tmp_path: Path
) -> None:
    train([heads], dataclasses.replace(config, images=8), tmp_path / "run", quiet, ALONE)
    state = train(
        [heads],
        override(config, ["images=16", "optimiser.discriminator_lr=0.001"]),
        tmp_path / "run",
        quiet,
        ALONE,
        update=True,
    )
    assert state.images == 16 and state.discriminator_optimiser.param_groups[0]["lr"] == 0.001


def test_a_diverging_run_stops_with_the_last_good_checkpoint(
    config: TrainConfig, heads: str, quiet: RunSettings, tmp_path: Path
) -> None:
    train([heads], dataclasses.replace(config, images=16), tmp_path / "run", quiet, ALONE)
    wild = override(config, ["optimiser.generator_lr=1e30", "optimiser.discriminator_lr=1e30"])
    with pytest.raises(TrainDiverged, match=r"step-00000002.*lower optimiser"):
        train([heads], wild, tmp_path / "run", quiet, ALONE, update=True)
    generator = load_generator(newest(tmp_path / "run"))
    assert all(parameter.isfinite().all() for parameter in generator.parameters())


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Let the system refuse larger files, as a full disk does in the middle of one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_loses_nothing(config: TrainConfig, heads: str, quiet: RunSettings, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train([heads], dataclasses.replace(config, images=16), run, quiet, ALONE)
    good = bits(run)
    with no_file_larger_than(20_000), pytest.raises(CheckpointWriteError, match=r"last good one is .*step-00000002"):
        train([heads], dataclasses.replace(config, images=24), run, quiet, ALONE)
    assert bits(run) == good
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-00000002"]
    assert train([heads], dataclasses.replace(config, images=24), run, quiet, ALONE).images == 24


@pytest.mark.parametrize(("there", "more"), [(0, 4), (8, 3), (32, 1)])
def test_a_run_begins_only_where_every_checkpoint_it_holds_has_room(
    there: int, more: int, config: TrainConfig, heads: str, quiet: RunSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """keep 3 holds four for a moment: the new one is whole before the oldest goes."""
    run, every = tmp_path / "run", dataclasses.replace(quiet, save_images=8, keep=3)
    if there:
        train([heads], dataclasses.replace(config, images=there), run, dataclasses.replace(every, keep=4), ALONE)
    size = sum(path.stat().st_size for path in newest(run).iterdir()) if there else 0
    one = room_needed(new_state(config, ALONE.device))
    assert not there or 0.8 * size < one < 1.02 * size
    free = [more * one - 1]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free[0]))
    with pytest.raises(CheckpointWriteError, match=f"and {more} more must fit beside the {min(there // 8, 4)} that"):
        train([heads], config, run, every, ALONE)
    free[0] += 1
    train([heads], dataclasses.replace(config, images=there + 8), run, every, ALONE)


@dataclasses.dataclass(frozen=True)
class Usage:
    """What `shutil.disk_usage` says of a disk."""

    free: int


def test_the_average_is_the_published_formula_bit_for_bit() -> None:
    """p_ema + (1 - decay) (p - p_ema), parameter by parameter; buffers are copied (Karras et al. 2018, appendix)."""
    settings = preset("tiny-64").generator
    torch.manual_seed(0)
    first, second = Generator(settings), Generator(settings)
    average = Average(first)
    average.update(second, 0.75)
    for name, value in average.generator.named_parameters():
        before, after = first.get_parameter(name).detach(), second.get_parameter(name).detach()
        assert torch.equal(value, torch.lerp(before, after, 0.25))
    second.mapping.w_mean.fill_(3.0)
    average.update(second, 0.75)
    assert torch.equal(average.generator.mapping.w_mean, second.mapping.w_mean)


def test_a_damaged_newest_checkpoint_is_passed_over(
    undisturbed: Path, config: TrainConfig, heads: str, quiet: RunSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    part = newest(run) / "discriminator.safetensors"
    part.write_bytes(part.read_bytes()[:-8])
    train([heads], config, run, quiet, ALONE)
    assert "passing over a damaged checkpoint" in caplog.text and "step-00000008" in caplog.text
    assert bits(run) == bits(undisturbed) and losses(run) == losses(undisturbed)


def test_only_the_last_checkpoints_stay(config: TrainConfig, heads: str, quiet: RunSettings, tmp_path: Path) -> None:
    short, every = dataclasses.replace(config, images=32), dataclasses.replace(quiet, save_images=8, keep=2)
    train([heads], short, tmp_path / "run", every, ALONE)
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["step-00000003", "step-00000004"]
