"""Seconds until the processes of a training run end after one of two is lost, and the line with which they do.

python tests/bench/lost_rank.py DATA [--preset tiny-64] [--rounds 3] [--signals SIGSTOP] [--processes 0]

A process is lost by kill -9, which closes its connections, and by SIGSTOP, which leaves them open as a node without power does.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from spherehead.model.train.progress import read_metrics


def start(words: list[str], out: Path) -> list[subprocess.Popen[str]]:
    """Start two processes of one run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "spherehead", *words, "--out", str(out)]
    return [
        subprocess.Popen(line, env={**shared, "RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE, text=True)
        for rank in ("0", "1")
    ]


def lose(words: list[str], out: Path, victim: int, how: signal.Signals) -> tuple[float, list[str]]:
    """Lose a process in the middle of a run; return the seconds until the other has ended, and its lines of errors."""
    processes = start(words, out)
    try:
        while not out.is_dir() or len(read_metrics(out)) < 2:
            if any(process.poll() is not None for process in processes):
                processes[0].kill()
                processes[1].kill()
                told = "".join(process.communicate()[1] for process in processes)
                sys.exit(f"a process ended before one was lost: {told[-2000:]}")
            time.sleep(0.1)
        began = time.monotonic()
        processes[victim].send_signal(how)
        told = processes[1 - victim].communicate(timeout=300)[1]
        return time.monotonic() - began, [row for row in told.splitlines() if row.startswith("error")]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--preset", default="tiny-64")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--signals", nargs="+", choices=("SIGKILL", "SIGSTOP"), default=["SIGKILL", "SIGSTOP"])
    parser.add_argument("--processes", nargs="+", type=int, choices=(0, 1), default=[1, 0])
    arguments = parser.parse_args()
    words = ["train", "--data", arguments.data, "--preset", arguments.preset, "--device", "cpu", "--workers", "0"]
    words += ["--no-pictures", "--log-images", "8", "--threads", "1", "--set", "micro_batch=4"]
    with tempfile.TemporaryDirectory() as name:
        for number in range(arguments.rounds):
            for how in (signal.Signals[word] for word in arguments.signals):
                for victim in arguments.processes:
                    seconds, lines = lose(words, Path(name) / f"{number}-{how.name}-{victim}", victim, how)
                    print(f"{how.name} of process {victim}: the other ended after {seconds:.1f} s: {lines}", flush=True)


if __name__ == "__main__":
    main()
