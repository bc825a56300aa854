"""What training costs beside the arithmetic: waiting for data, going on after kills, and one step part by part.

    python tests/bench/train.py --data SET [--preset tiny-64] [--steps 40] [--kills 5]

Prints images per second with the share of waiting, for 0, 1 and 2 data workers; then kills runs at random times,
resumes each time, and compares every loss and every bit of the last checkpoint with an undisturbed run's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from spherehead.model.train.checkpoint import checkpoints, newest
from spherehead.model.train.progress import read_metrics


def line(arguments: argparse.Namespace, out: Path, images: int, *more: str) -> list[str]:
    """Return the command that trains."""
    return [
        sys.executable, "-m", "spherehead", "train", "--data", arguments.data, "--preset", arguments.preset, "--out", str(out),
        "--set", f"images={images}", "--no-pictures", "--threads", str(arguments.threads), *more,
    ]  # fmt: skip


def speed(arguments: argparse.Namespace, folder: Path, batch: int) -> None:
    """Print images per second and the share of waiting, after the first steps."""
    for workers in (0, 1, 2):
        out = folder / f"speed-{workers}"
        images = batch * arguments.steps
        command = line(
            arguments, out, images, "--workers", str(workers), "--log-images", str(batch), "--save-images", str(images)
        )
        subprocess.run(command, check=True, capture_output=True)
        rows = read_metrics(out)[arguments.steps // 4 :]
        data, step = (sum(row[f"seconds_{name}"] for row in rows) for name in ("data", "step"))
        rate = batch * len(rows) / (data + step)
        print(f"{workers} workers: {rate:6.2f} images/s, waiting for data {data / (data + step):6.2%}, {len(rows)} steps")


def state(run: Path) -> list[str]:
    """Return the digests of everything in the newest checkpoint."""
    folder = newest(run)
    config, position = (json.loads((folder / name).read_text()) for name in ("config.json", "position.json"))
    return [entry["sha256"] for entry in (*config["parts"].values(), *position["parts"].values())]


def losses(run: Path) -> list[tuple[float, float, float]]:
    """Return what a clock does not enter."""
    return [(row["images"], row["generator_adversarial"], row["discriminator_adversarial"]) for row in read_metrics(run)]


def kills(arguments: argparse.Namespace, folder: Path, batch: int) -> None:
    """Kill runs at random times, resume, and compare with an undisturbed one."""
    images = batch * 12
    often = ("--save-images", str(2 * batch), "--log-images", str(batch), "--workers", "1", "--keep", "99")
    subprocess.run(line(arguments, folder / "whole", images, *often), check=True, capture_output=True)
    chance = random.Random(0)
    equal = 0
    for number in range(arguments.kills):
        run, rounds = folder / f"killed-{number}", 0
        while True:
            process = subprocess.Popen(line(arguments, run, images, *often), stderr=subprocess.DEVNULL, start_new_session=True)
            wanted = len(checkpoints(run)) + chance.randint(1, 3)
            while process.poll() is None and len(checkpoints(run)) < wanted:
                time.sleep(0.05)
            time.sleep(chance.random())
            if process.poll() is not None:
                break
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            rounds += 1
        same = losses(run) == losses(folder / "whole") and state(run) == state(folder / "whole")
        equal += same
        print(f"run {number}: killed {rounds} times, {'bit-equal' if same else 'DIFFERENT'}")
        shutil.rmtree(run)
    print(f"{equal} of {arguments.kills} killed and continued runs equal the undisturbed one in every loss and every bit")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a finished data set with masks and class maps")
    parser.add_argument("--preset", default="tiny-64")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    from spherehead.model.train.recipes import configured

    batch = configured(arguments.preset).batch
    load = os.getloadavg()[0]
    print(f"{arguments.preset}, batch {batch}, {arguments.threads} threads, torch {torch.__version__}, load {load:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.steps:
            speed(arguments, Path(folder), batch)
        if arguments.kills:
            kills(arguments, Path(folder), batch)


if __name__ == "__main__":
    main()
