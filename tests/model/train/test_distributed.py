"""Several processes: they give the gradients of one, and the same run."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import step_gradients
import torch
from safetensors.torch import load_file
from spherehead import cli
from spherehead.manifests.config import ConfigError, override, to_plain
from spherehead.model.train.checkpoint import checkpoints
from spherehead.model.train.config import RunSettings, TrainConfig
from spherehead.model.train.distributed import World, _buckets, open_world
from spherehead.model.train.progress import read_metrics
from spherehead.model.train.trainer import train
from torch import nn


def environments(size: int) -> list[dict[str, str]]:
    """The variables that torchrun sets, for each process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(size), "OMP_NUM_THREADS": "1"}
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]


def run_together(line: list[str], size: int) -> None:
    """Run a command in a number of processes of one group."""
    processes = [
        subprocess.Popen([sys.executable, *line], env=environment, stderr=subprocess.PIPE, text=True)
        for environment in environments(size)
    ]
    told = [process.communicate(timeout=800)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * size, told


@pytest.mark.parametrize(
    "changes",
    [[], pytest.param(["model.discriminator.frozen={strides: [4, 16], channels: 8, width: 8}"], marks=pytest.mark.slow)],
)
def test_two_processes_give_the_gradients_of_one_with_twice_the_batch(
    config: TrainConfig, heads: str, tmp_path: Path, changes: list[str]
) -> None:
    # steps too small to move a weight: else Adam's first step, which is a sign, would make much of the last digit
    still = override(config, ["optimiser.generator_lr=1e-20", "optimiser.discriminator_lr=1e-20", *changes])
    (tmp_path / "config.json").write_text(json.dumps(to_plain(still)))
    words = [str(tmp_path / "config.json"), heads]
    step_gradients.save_gradients(*words, str(tmp_path / "1.safetensors"))
    run_together([step_gradients.__file__, *words, str(tmp_path / "2.safetensors")], 2)
    one, two = (load_file(tmp_path / f"{size}.safetensors") for size in (1, 2))
    assert one.keys() == two.keys() and len(one) > 100
    difference = torch.cat([(one[name] - two[name]).reshape(-1) for name in one]).norm()
    assert difference / torch.cat([one[name].reshape(-1) for name in one]).norm() < 1e-5


def test_a_run_begun_by_two_processes_goes_on_with_one(config: TrainConfig, heads: str, tmp_path: Path) -> None:
    def words(name: str, images: int) -> list[str]:
        file = tmp_path / "config.json"
        file.write_text(json.dumps(to_plain(dataclasses.replace(config, images=images))))
        return ["train", "--data", heads, "--preset", str(file), "--out", str(tmp_path / name), "--device",
                "cpu", "--workers", "0", "--no-pictures", "--log-images", "8", "--threads", "1"]  # fmt: skip

    run_together(["-m", "spherehead", *words("mixed", 16)], 2)
    assert cli.main(words("mixed", 24)) == 0
    assert cli.main(words("one", 24)) == 0
    runs = {name: read_metrics(tmp_path / name) for name in ("one", "mixed")}
    assert [row["images"] for row in runs["mixed"]] == [row["images"] for row in runs["one"]] == [8, 16, 24]
    for mixed, one in zip(runs["mixed"], runs["one"], strict=True):
        for name in ("discriminator_adversarial", "vico", "labeller", "real_score"):
            assert mixed[name] == pytest.approx(one[name], rel=2e-3, abs=2e-3)


def test_a_process_that_survives_another_says_so_in_one_line(config: TrainConfig, heads: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(to_plain(dataclasses.replace(config, images=8_000_000))))
    line = ["-m", "spherehead", "train", "--data", heads, "--preset", str(file), "--out", str(tmp_path / "run"), "--device",
            "cpu", "--workers", "0", "--no-pictures", "--log-images", "8", "--threads", "1"]  # fmt: skip
    first, second = (
        subprocess.Popen([sys.executable, *line], env=environment, stderr=subprocess.PIPE, text=True)
        for environment in environments(2)
    )
    deadline = time.monotonic() + 600
    while not read_metrics(tmp_path / "run") and time.monotonic() < deadline:
        time.sleep(0.1)
    second.kill()
    second.communicate(timeout=300)
    told = first.communicate(timeout=300)[1]
    errors = [row for row in told.splitlines() if not row.startswith("training ")]
    assert first.returncode == 1 and "internal" not in told and "Traceback" not in told
    assert sum(row.startswith("error: ") for row in errors) == 1
    assert "another process of this run ended" in told and "rerun the same command in all processes" in told


def contents(run: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    """Return the tensors of a run's last checkpoint, and its metrics without times."""
    last = max((run / "checkpoints").iterdir())
    tensors = {f"{file.name}/{name}": value for file in last.glob("*.safetensors") for name, value in load_file(file).items()}
    untimed = [{k: v for k, v in row.items() if not k.startswith(("seconds", "time", "wait"))} for row in read_metrics(run)]
    return tensors, untimed


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_of_which_one_was_killed_resume_bit_exact(config: TrainConfig, heads: str, tmp_path: Path) -> None:
    def line(name: str) -> list[str]:
        words = ["-m", "spherehead", "train", "--data", heads, "--preset", str(file), "--out", str(tmp_path / name)]
        return [*words, "--device", "cpu", "--workers", "0", "--no-pictures", "--log-images", "8", "--save-images", "16",
                "--threads", "1"]  # fmt: skip

    file = tmp_path / "config.json"
    file.write_text(json.dumps(to_plain(dataclasses.replace(config, images=40))))
    run_together(line("calm"), 2)
    first, second = (
        subprocess.Popen([sys.executable, *line("struck")], env=environment, stderr=subprocess.PIPE, text=True)
        for environment in environments(2)
    )
    deadline = time.monotonic() + 600
    while not any(row["images"] >= 24 for row in read_metrics(tmp_path / "struck")) and time.monotonic() < deadline:
        time.sleep(0.02)
    second.kill()
    second.communicate(timeout=300)
    told = first.communicate(timeout=600)[1]
    assert first.returncode == 1 and sum(row.startswith("error: ") for row in told.splitlines()) == 1, told
    reached = [row["images"] for row in read_metrics(tmp_path / "struck")]
    assert 24 in reached and 40 not in reached  # it was killed behind a checkpoint, before the end
    run_together(line("struck"), 2)
    (calm, rows), (struck, others) = contents(tmp_path / "calm"), contents(tmp_path / "struck")
    assert rows[-1]["images"] == 40 and rows == others
    assert calm.keys() == struck.keys() and len(calm) > 100
    assert all(torch.equal(value, struck[name]) for name, value in calm.items())


def test_processes_that_cannot_share_a_step_are_told(config: TrainConfig, heads: str, tmp_path: Path) -> None:
    from spherehead.model.train.config import RunSettings
    from spherehead.model.train.trainer import train

    three = World(0, 3, torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"2 micro-batches .* 3 processes"):
        train([heads], config, tmp_path / "run", RunSettings(workers=0), three)


def test_buckets_hold_every_parameter_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spherehead.model.train.distributed.BUCKET", 10)
    parameters = [nn.Parameter(torch.zeros(size)) for size in (3, 9, 25, 1, 1)]
    assert [[len(item) for item in bucket] for bucket in _buckets(parameters)] == [[3, 9], [25], [1, 1]]


def test_half_of_torchruns_variables_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ConfigError, match="WORLD_SIZE"):
        open_world("cpu")
    monkeypatch.delenv("RANK")
    assert open_world("cpu") == World(0, 1, torch.device("cpu"))
    with pytest.raises(ConfigError, match="auto, cpu or cuda"):
        open_world("tpu")


def test_a_run_whose_time_is_over_on_another_process_first_ends_as_finished(
    config: TrainConfig, heads: str, quiet: RunSettings, tmp_path: Path
) -> None:
    """Processes' clocks differ by what each took to begin; here another's is over after the first step, this one's is not."""

    class Slower(World):
        asked = itertools.count()

        def any(self, flag: bool) -> bool:  # per step: both players' numbers, then whether to stop, then why
            return next(self.asked) == 2 or flag

    settings = dataclasses.replace(quiet, max_seconds=1e9)
    state = train([heads], config, tmp_path / "run", settings, Slower(0, 1, torch.device("cpu")))
    assert state.images == config.batch < config.images and len(checkpoints(tmp_path / "run")) == 1
