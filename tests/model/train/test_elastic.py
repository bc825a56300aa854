"""Real `torchrun` over two nodes with folders of their own: one is killed, the other resumes without it.

A node is an agent of torchrun and its process, on the loopback address; its loss is kill -9 of both.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from spherehead.manifests.config import to_plain
from spherehead.model.train.config import RunSettings, TrainConfig
from spherehead.model.train.distributed import World
from spherehead.model.train.progress import read_metrics
from spherehead.model.train.trainer import train

FIRST, LAST = 24, 40
"""Pictures after which a node is killed, and at the end."""


class Node:
    """One machine of a run."""

    def __init__(self, run: Path, port: int, host: bool, words: list[str]) -> None:
        self.run, self.log = run, run.with_suffix(".log")
        place = ["--rdzv-id", "heads", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}"]
        place += ["--rdzv-conf", f"last_call_timeout=1,is_host={'true' if host else 'false'}", "--local-addr", "127.0.0.1"]
        sizes = ["--nnodes", "1:2", "--nproc-per-node", "1", "--max-restarts", "3", "--monitor-interval", "0.2"]
        command = [sys.executable, "-m", "torch.distributed.run", *sizes, *place, "-m", "spherehead", *words, "--out", str(run)]
        with self.log.open("w") as log:
            self.agent = psutil.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log)

    def lose(self) -> None:
        """Kill the machine: nothing of it says goodbye."""
        for process in (self.agent, *self.agent.children(recursive=True)):
            process.send_signal(signal.SIGKILL)
        self.agent.wait(30)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for_metrics(nodes: list[Node], images: int) -> None:
    deadline = time.monotonic() + 600
    while not any(row["images"] >= images for node in nodes for row in read_metrics(node.run)):
        assert all(node.agent.poll() is None for node in nodes), [node.log.read_text()[-2000:] for node in nodes]
        assert time.monotonic() < deadline, [node.log.read_text()[-2000:] for node in nodes]
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_torchrun_resumes_on_the_nodes_that_are_left_with_the_same_losses(
    config: TrainConfig, heads: str, quiet: RunSettings, tmp_path: Path
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(to_plain(dataclasses.replace(config, images=LAST))))
    words = ["train", "--data", heads, "--preset", str(file), "--device", "cpu", "--workers", "0", "--no-pictures"]
    words += ["--log-images", "8", "--save-images", "8", "--threads", "1"]
    port = free_port()
    nodes = [Node(tmp_path / name, port, name == "stays", words) for name in ("stays", "lost")]
    try:
        wait_for_metrics(nodes, FIRST)
        nodes[1].lose()
        assert nodes[0].agent.wait(200) == 0, nodes[0].log.read_text()[-4000:]
    finally:
        for node in nodes:
            if node.agent.poll() is None:
                node.lose()
    told = nodes[0].log.read_text()
    assert "Traceback" not in told
    assert told.count("error: ") == 1 and "another process of this run ended" in told
    train([heads], dataclasses.replace(config, images=LAST), tmp_path / "calm", quiet, World(0, 1, torch.device("cpu")))
    calm, kept = read_metrics(tmp_path / "calm"), read_metrics(tmp_path / "stays")
    assert [row["images"] for row in kept] == [row["images"] for row in calm] == list(range(8, LAST + 1, 8))
    for row, same in zip(kept, calm, strict=True):
        for name in ("discriminator_adversarial", "vico", "labeller", "real_score"):
            assert row[name] == pytest.approx(same[name], rel=5e-3, abs=5e-3)
