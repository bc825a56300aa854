"""Kill parts of builds on a local Ray cluster at random moments, resume, and compare with an undisturbed local build.

Each round kills actors, worker processes, raylets and, in every other round, the build itself with kill -9.

python tests/bench/ray_kill.py PHOTOGRAPHS [--preset frames] [--rounds 20] [--set frame.size=64] [--scratch DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
from kill import digests

PARTS = {"actor": "ray::SphereheadWorker", "worker": "ray_node", "raylet": "raylet/raylet"}


class Trial:
    """One build, on the local engine once and then on Ray."""

    def __init__(self, arguments: argparse.Namespace, scratch: Path) -> None:
        """Build without Ray, and on Ray undisturbed."""
        self.words = [sys.executable, "-m", "spherehead", "build-dataset", *arguments.photographs]
        self.words += ["--preset", arguments.preset, "--workers", str(arguments.workers), "--no-report"]
        self.words += [word for setting in arguments.set for word in ("--set", setting)]
        self.scratch, self.random = scratch, random.Random(arguments.seed)
        self.kills: Counter[str] = Counter()
        self.local = self.timed("local", "local")
        self.calm = digests(scratch / "local")
        self.ray = self.timed("ray", "ray")
        equal = digests(scratch / "ray") == self.calm
        print(
            f"undisturbed: local {self.local:.1f} s, ray {self.ray:.1f} s, {len(self.calm)} files, equal: {equal}", flush=True
        )

    def start(self, name: str, engine: str) -> subprocess.Popen[bytes]:
        """Begin a build, or resume it."""
        words = [*self.words, "--out", str(self.scratch / name), "--engine", engine]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def timed(self, name: str, engine: str) -> float:
        """Build undisturbed and return the seconds."""
        began = time.perf_counter()
        if code := self.start(name, engine).wait():
            sys.exit(f"an undisturbed build ended with {code}")
        return time.perf_counter() - began

    def strike(self, build: subprocess.Popen[bytes], part: str) -> None:
        """Kill one process of a kind."""
        found = []
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(build.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if PARTS[part] in " ".join(process.cmdline())[:400]:
                        found.append(process)
        if found:
            with contextlib.suppress(psutil.Error):
                self.random.choice(found).kill()
                self.kills[part] += 1

    def round(self, number: int) -> bool:
        """Kill parts of a build, or the build, resume it to its end, and say whether it came out equal."""
        shutil.rmtree(self.scratch / "killed", ignore_errors=True)
        build = self.start("killed", "ray")
        for part in self.random.sample(["actor", "actor", "actor", "worker", "raylet"], 3):
            with contextlib.suppress(subprocess.TimeoutExpired):
                build.wait(timeout=self.random.uniform(0.1, 0.5) * self.ray)
            self.strike(build, part)
        if number % 2:
            with contextlib.suppress(subprocess.TimeoutExpired):
                build.wait(timeout=self.random.uniform(0.0, 0.3) * self.ray)
            if build.poll() is None:
                os.kill(build.pid, signal.SIGKILL)
                self.kills["build"] += 1
        build.wait()
        return self.start("killed", "ray").wait() == 0 and digests(self.scratch / "killed") == self.calm


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
        equal = 0
        for number in range(arguments.rounds):
            equal += trial.round(number)
            killed = ", ".join(f"{count} {part}" for part, count in sorted(trial.kills.items()))
            print(f"{equal} of {number + 1} rounds equal; killed: {killed}", flush=True)


if __name__ == "__main__":
    main()
