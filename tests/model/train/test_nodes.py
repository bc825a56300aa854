"""Runs that lose machines: the others end soon with one line, and the same command resumes with as many or fewer processes."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
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
from spherehead.model.train.nodes.heartbeat import INTERVAL, LIMIT, Heartbeat
from spherehead.model.train.nodes.start import agree_on_start
from spherehead.model.train.nodes.store import RunStore, run_folder
from spherehead.model.train.progress import read_metrics
from spherehead.model.train.trainer import numbers
from torch.distributed import HashStore


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


def test_a_store_that_never_answers_is_a_loss_that_is_told_within_a_minute() -> None:
    class Stopped(Numbers):
        def multi_get(self, keys: list[str]) -> list[bytes]:
            never.wait()
            return super().multi_get(keys)

    never, told, heard = threading.Event(), list[str](), threading.Event()
    one = beating(Stopped(), 1, 2, lambda text: (told.append(text), heard.set())[0])
    assert heard.wait(10) and told[0].startswith("process 0 of 2 gave no sign of life")
    never.set()
    one.close()
    assert LIMIT + 2 * INTERVAL < 60  # the last sign may be one interval old, and so may the last look


def test_processes_agree_on_a_start_whatever_an_earlier_one_left_in_their_store() -> None:
    store, names = HashStore(), list[str]()
    for _ in range(3):  # questions and answers of the earlier rounds stay in the store
        found: dict[int, str] = {}

        def begin(rank: int, found: dict[int, str] = found) -> None:
            found[rank] = agree_on_start(store, rank, 3, 20)

        threads = [threading.Thread(target=begin, args=(rank,)) for rank in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(found) == 3 and len(set(found.values())) == 1
        names.append(found[0])
    assert len(set(names)) == 3
    with pytest.raises(RuntimeError, match="not all of the other 3 processes came"):
        agree_on_start(store, 0, 4, 0.1)


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


def together(words: list[list[str]]) -> None:
    """Run a command in one process a list of words, as the ranks of one run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {**os.environ, "OMP_NUM_THREADS": "1"}
    if len(words) > 1:
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(len(words))}
    processes = []
    for rank, line in enumerate(words):
        own = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} if len(words) > 1 else shared
        command = [sys.executable, "-m", "spherehead", *line]
        processes.append(subprocess.Popen(command, env=own, stderr=subprocess.PIPE, text=True))
    told = [process.communicate(timeout=800)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(words), told


def losses(run: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if not k.startswith(("seconds", "time", "wait"))} for row in read_metrics(run)]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nodes_with_folders_of_their_own_resume_from_the_newest_checkpoint_whichever_has_it(
    config: TrainConfig, heads: str, tmp_path: Path
) -> None:
    file = tmp_path / "config.json"
    for images, names in ((8, ("old", "lost")), (16, ("old", "new")), (24, ("late", "old")), (24, ("calm",))):
        file.write_text(json.dumps(to_plain(dataclasses.replace(config, images=images))))
        together([line(file, heads, tmp_path / name) for name in names])
    assert not (tmp_path / "new" / "checkpoints").exists()
    assert [row["images"] for row in losses(tmp_path / "old")] == [8, 16]
    assert len(list((tmp_path / "late" / "checkpoints").iterdir())) == 1  # process 0 had none: it took that of process 1
    for row, calm in zip(losses(tmp_path / "late"), losses(tmp_path / "calm"), strict=True):
        for name in ("discriminator_adversarial", "vico", "real_score"):
            assert row[name] == pytest.approx(calm[name], rel=2e-3, abs=2e-3)
