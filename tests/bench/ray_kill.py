"""Kill parts of builds on a local Ray cluster when a random share of files is done, resume, and compare with a local build.

Each round kills two parts of actors, worker processes and raylets, and in every other round the build itself, with kill -9. The
moments are drawn from progress: shares of the photographs that the build's memory has as settled. A round whose kills did not
all strike a running build is told apart.

python tests/bench/ray_kill.py PHOTOGRAPHS [--preset frames] [--rounds 20] [--set frame.size=64] [--scratch DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
from kill import digests

_RESUMES = 3
"""Times that a build is run again after a kill: on a busy machine Ray itself may not start within its 30 s."""
PARTS = {"actor": "ray::SphereheadWorker", "worker": "ray_node", "raylet": "raylet/raylet"}


class Trial:
    """One build, on the local engine once and then on Ray."""

    def __init__(self, arguments: argparse.Namespace, scratch: Path) -> None:
        """Build without Ray."""
        self.words = [sys.executable, "-m", "spherehead", "build-dataset", *arguments.photographs]
        self.words += ["--preset", arguments.preset, "--workers", str(arguments.workers), "--no-report"]
        self.words += [word for setting in arguments.set for word in ("--set", setting)]
        self.scratch, self.random = scratch, random.Random(arguments.seed)
        self.kills: Counter[str] = Counter()
        self.resumed = 0
        began = time.perf_counter()
        if code := self.start("local", "local").wait():
            sys.exit(f"an undisturbed build ended with {code}")
        self.calm = digests(scratch / "local")
        self.total = self.settled("local")
        took = time.perf_counter() - began
        print(f"local: {self.total} photographs in {took:.1f} s, {len(self.calm)} files", flush=True)

    def start(self, name: str, engine: str) -> subprocess.Popen[bytes]:
        """Begin a build, or resume it."""
        words = [*self.words, "--out", str(self.scratch / name), "--engine", engine]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def settled(self, name: str) -> int:
        """Return how many photographs the memory of a build has as done."""
        path = self.scratch / name / ".state" / "state.sqlite"
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT count(*) FROM origins WHERE outcome != ''").fetchone()[0])
        return 0

    def strike(self, build: subprocess.Popen[bytes], part: str) -> bool:
        """Kill one process of a kind, or the build; False where there was none."""
        if part == "build":
            if build.poll() is not None:
                return False
            os.kill(build.pid, signal.SIGKILL)
            self.kills[part] += 1
            return True
        found = []
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(build.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if PARTS[part] in " ".join(process.cmdline())[:400]:
                        found.append(process)
        for process in self.random.sample(found, len(found))[:1]:
            with contextlib.suppress(psutil.Error):
                process.kill()
                self.kills[part] += 1
                return True
        return False

    def round(self, number: int) -> tuple[bool, int]:
        """Kill parts of a build, or the build, and resume it to its end.

        Returns:
            Whether it came out equal, and how many kills struck.
        """
        shutil.rmtree(self.scratch / "killed", ignore_errors=True)
        parts = self.random.sample(["actor", "actor", "worker", "worker", "raylet"], 2) + ["build"] * (number % 2)
        shares = sorted(self.random.uniform(0.02, 0.9) for _ in parts)
        build, struck = self.start("killed", "ray"), 0
        for part, share in zip(parts, shares, strict=True):
            while build.poll() is None:
                if self.settled("killed") >= share * self.total and self.strike(build, part):
                    struck += 1
                    break
                time.sleep(0.1)
        code = build.wait()
        for _ in range(_RESUMES):
            if code:
                code = self.start("killed", "ray").wait()
                self.resumed += 1
        return code == 0 and digests(self.scratch / "killed") == self.calm, struck


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", nargs="+")
    parser.add_argument("--preset", default="frames")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--scratch", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as name:
        trial = Trial(arguments, Path(name))
        equal = hit = 0
        for number in range(arguments.rounds):
            is_equal, struck = trial.round(number)
            equal, hit = equal + is_equal, hit + (struck == 2 + number % 2)
            killed = ", ".join(f"{count} {part}" for part, count in sorted(trial.kills.items()))
            done = f"{equal} of {number + 1} rounds equal, in {hit} every kill struck a running build"
            print(f"{done}; killed: {killed}; run again {trial.resumed} times", flush=True)


if __name__ == "__main__":
    main()
