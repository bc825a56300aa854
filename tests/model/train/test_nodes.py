"""Runs that lose machines: the others end soon with one line, and the same command resumes with as many or fewer processes."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from faulty_servers import s3_keys, s3_server
from spherehead.cli import main
from spherehead.datasets.stores import retries
from spherehead.manifests.config import ConfigError, to_plain
from spherehead.model.train.config import TrainConfig
from spherehead.model.train.distributed import World
from spherehead.model.train.nodes.heartbeat import Heartbeat
from spherehead.model.train.nodes.store import RunStore, run_folder
from spherehead.model.train.progress import read_metrics
from spherehead.model.train.trainer import numbers

QUICK = """
import sys
from spherehead.model.train.nodes import heartbeat
heartbeat.INTERVAL, heartbeat.LIMIT = 1.0, 20.0
from spherehead.cli import main
sys.exit(main(sys.argv[1:]))
"""


class Numbers:
    """A store in this process that can fail."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.gone = False

    def set(self, key: str, value: str) -> None:
        if self.gone:
            raise RuntimeError("connection refused")
        self.values[key] = value.encode()

    def multi_get(self, keys: list[str]) -> list[bytes]:
        if self.gone:
            raise RuntimeError("connection refused")
        return [self.values[key] for key in keys]


def beating(store: Numbers, rank: int, size: int, lost: Callable[[str], None]) -> Heartbeat:
    for number in range(size):
        store.values.setdefault(f"run/alive/{number}", b"0")
    return Heartbeat(store, rank, size, "run", lost, interval=0.02, limit=0.4)


def test_a_process_without_a_sign_of_life_is_told_by_its_number() -> None:
    store, told, heard = Numbers(), list[str](), threading.Event()
    first = beating(store, 0, 3, lambda text: (told.append(text), heard.set())[0])
    second = beating(store, 1, 3, lambda text: None)
    assert heard.wait(10) and told[0].startswith("process 2 of 3 gave no sign of life")
    for one in (first, second):
        one.close()


def test_a_process_that_is_done_is_no_loss_and_a_store_that_is_gone_is_one() -> None:
    store, told, heard = Numbers(), list[str](), threading.Event()
    first = beating(store, 0, 2, lambda text: (told.append(text), heard.set())[0])
    beating(store, 1, 2, lambda text: None).close()
    assert not heard.wait(0.8) and store.values["run/alive/1"] == b"done"
    first.close()
    third = beating(store, 0, 2, lambda text: (told.append(text), heard.set())[0])
    store.values["run/alive/1"] = b"7"
    store.gone = True
    assert heard.wait(10) and len(told) == 1
    third.close()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_micro_batch_of_a_step_is_one_ranks_whatever_their_number(config: TrainConfig, size: int) -> None:
    several = dataclasses.replace(config, batch=5 * config.micro_batch)
    shared = []
    for rank in range(size):
        mine = numbers(several, 4, World(rank, size, torch.device("cpu")))
        shared += [next(mine) for _ in range(rank, several.num_micro_batches, size)]
        assert next(mine) >= 25  # then comes the next step
    assert sorted(shared) == list(range(20, 25))


def line(config: Path, heads: str, out: object, *more: str) -> list[str]:
    return [
        "train", "--data", heads, "--preset", str(config), "--out", str(out), "--device", "cpu", "--workers", "0",
        "--no-pictures", "--log-images", "8", "--save-images", "8", "--threads", "1", *more,
    ]  # fmt: skip


@pytest.mark.slow
def test_a_run_in_a_store_resumes_on_another_machine_bit_exact(
    config: TrainConfig, heads: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retries, "PAUSES", (0.01,) * 6)
    file = tmp_path / "config.json"

    def train(machine: str, out: object, images: int) -> int:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / machine))
        file.write_text(json.dumps(to_plain(dataclasses.replace(config, images=images))))
        return main(line(file, heads, out, "--keep", "1"))

    with s3_server(monkeypatch) as faults:
        url = f"s3://{faults.bucket}/run"
        assert train("one", url, 16) == 0
        kept = {key.split("/")[2] for key in s3_keys(faults.bucket) if "checkpoints" in key}
        assert len(kept) == 1 and f"run/checkpoints/{min(kept)}/config.json" in s3_keys(faults.bucket)
        faults.planned["503"] = 2
        assert train("two", url, 24) == 0 and "was brought from" in caplog.text
        assert train("whole", tmp_path / "whole", 24) == 0
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
        last = [read_metrics(folder)[-1] for folder in (run_folder(url)[0], tmp_path / "whole")]
        timing = {name for name in last[0] if name.startswith("seconds") or name in ("time", "waiting")}
        assert {k: v for k, v in last[0].items() if k not in timing} == {k: v for k, v in last[1].items() if k not in timing}
        with pytest.raises(ConfigError, match="no run"):
            RunStore(f"s3://{faults.bucket}", tmp_path / "x").fetch()


def node(tmp_path: Path, name: str, port: int, words: list[str]) -> subprocess.Popen[str]:
    """Start what stands for a node: torchrun with one process, in a group of its own."""
    script = tmp_path / "quick.py"
    script.write_text(QUICK)
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nnodes", "1:2", "--nproc-per-node", "1", "--max-restarts", "3",
         "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "run",
         "--rdzv-conf", f"is_host={name == 'first'},last_call_timeout=3,join_timeout=120", str(script), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def losses(run: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if not k.startswith(("seconds", "time", "wait"))} for row in read_metrics(run)]


@pytest.mark.slow
@pytest.mark.timeout(280)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "silent"])
def test_a_lost_node_costs_a_restart_with_the_other_and_the_curve_goes_on(
    config: TrainConfig, heads: str, tmp_path: Path, how: signal.Signals
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(to_plain(dataclasses.replace(config, images=64))))
    assert main(line(file, heads, tmp_path / "calm")) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    first = node(tmp_path, "first", port, line(file, heads, tmp_path / "first"))
    time.sleep(1.5)
    second = node(tmp_path, "second", port, line(file, heads, tmp_path / "second"))
    try:
        deadline = time.monotonic() + 120
        while len(read_metrics(tmp_path / "first")) < 3 and time.monotonic() < deadline and first.poll() is None:
            time.sleep(0.1)
        shown = len(read_metrics(tmp_path / "first"))
        assert 3 <= shown < 8
        os.killpg(second.pid, how)
        told = first.communicate(timeout=120)[1]
        assert first.returncode == 0, told
        own = [row for row in told.splitlines() if row.startswith("error: ")]
        assert len(own) == 1 and ("gave no sign of life" in own[0] or "another process of this run ended" in own[0])
    finally:
        for process in (first, second):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert not (tmp_path / "second" / "checkpoints").exists()
    rows, calm = losses(tmp_path / "first"), losses(tmp_path / "calm")
    assert [row["images"] for row in rows] == [row["images"] for row in calm]
    for row, expected in zip(rows, calm, strict=True):
        for name in ("discriminator_adversarial", "vico", "real_score"):
            assert row[name] == pytest.approx(expected[name], rel=2e-2, abs=2e-2)
