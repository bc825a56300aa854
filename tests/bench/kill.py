"""Kill builds at random moments and compare what the last one leaves with an undisturbed build; or interrupt them, and time it.

python tests/bench/kill.py PHOTOGRAPHS [--preset frames] [--rounds 200] [--kills 0] [--signals 0] [--set frame.size=64]
    [--forked] [--engine inline] [--scratch DIR]

A round kills a build one to three times, resumes it to its end and compares; it counts only where a kill struck a running
build, and rounds are run until there are --rounds of them and --kills kills. With --forked every build begins in a fork of a
process that has imported everything, and moments are drawn by its progress (see `forked`); else from the processor time of the
build's own process, so that a busy machine does not shift them.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from forked import PHASES, Forked, Moment, Moments, import_all


def digests(out: Path) -> dict[str, str]:
    """Return sha256 by name of all that must not vary."""
    names = ("manifest.json", "manifest.parquet", "origins.parquet")
    files = [*out.glob("*.tar"), *(out / name for name in names), *(out / "quarantine").glob("*/*.jpg")]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def waited(pid: int) -> float:
    """Return the seconds that the main thread of a process was ready and had no core (Linux; 0 elsewhere)."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def worked(pid: int) -> float:
    """Return the processor seconds of a process, its threads included and its children not (Linux)."""
    with contextlib.suppress(OSError):
        return time.clock_gettime((~pid << 3) | 2)  # the clock of a process: clock_getcpuclockid(3)
    return 0.0


def run_until(process: subprocess.Popen[bytes] | Forked, seconds: float) -> float:
    """Let a process run until it has worked for so long or has ended; returns how long it has worked."""
    spent = 0.0
    while process.poll() is None and spent < seconds:
        spent = max(spent, worked(process.pid))
        time.sleep(0.0005)
    return spent


class Trial:
    """One build, begun again and again."""

    def __init__(self, arguments: argparse.Namespace, scratch: Path) -> None:
        """Time an undisturbed build and keep what it made."""
        self.words = ["build-dataset", *arguments.photographs, "--preset", arguments.preset, "--no-report"]
        self.words += ["--workers", str(arguments.workers), "--engine", arguments.engine]
        self.words += [word for setting in arguments.set for word in ("--set", setting)]
        self.scratch, self.random, self.forked = scratch, random.Random(arguments.seed), arguments.forked
        self.kills, self.inside, self.missed = Counter[str](), 0, 0
        self.start("first").wait()  # compiles modules and reads files: moments are drawn from what those that follow do
        if self.forked:
            import_all(self._told("first")["modules"])
            self.start("second").wait()
        calm = self.start("calm")
        self.whole = run_until(calm, 1e9)
        if code := calm.wait():
            sys.exit(f"an undisturbed build ended with {code}; run {' '.join(self.words)} --out DIR to see why")
        self.calm = digests(scratch / "calm")
        print(f"an undisturbed build: {self.whole:.2f} s of its process, {len(self.calm)} files", flush=True)
        if self.forked:
            told = self._told("calm")
            self.moments = Moments([(int(phase), second) for phase, second in told["events"]], told["ended"], self.random)
            print(self.moments, flush=True)

    def _told(self, name: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.scratch / f"{name}.told").read_text())
        return told

    def start(self, name: str, moment: Moment | None = None) -> subprocess.Popen[bytes] | Forked:
        """Begin a build, or resume it."""
        words = [*self.words, "--out", str(self.scratch / name)]
        if self.forked:
            return Forked(words, moment)
        words = [sys.executable, "-m", "spherehead", *words]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0)

    def strike(self, whole_group: bool) -> str:
        """Begin a build and kill it at a random moment; returns the phase, or nothing where the build ended first."""
        process = self.start("killed", self.moments.one() if self.forked else None)
        if not isinstance(process, Forked):
            run_until(process, self.random.uniform(0.0, 1.0) * self.whole)
            if process.poll() is not None:
                return ""
            process.kill()
        code = process.wait()
        if whole_group:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        if code != -signal.SIGKILL:
            return ""
        self.inside += (self.scratch / "killed" / ".state" / "state.sqlite").exists()
        return PHASES[process.progress.phase] if isinstance(process, Forked) else "any"

    def round(self, number: int) -> bool:
        """Kill a build some times, resume it to its end, and say whether it came out equal."""
        shutil.rmtree(self.scratch / "killed", ignore_errors=True)
        struck = 0
        for _ in range(self.random.randint(1, 3)):
            while not (phase := self.strike(number % 2 == 1)) and not struck:
                self.missed += 1
                shutil.rmtree(self.scratch / "killed", ignore_errors=True)
            self.kills.update([phase] if phase else [])
            struck += bool(phase)
        return self.start("killed").wait() == 0 and digests(self.scratch / "killed") == self.calm

    def interrupt(self, number: int) -> tuple[float, float, int]:
        """Stop a build by a signal at a random moment, some with stopped workers.

        Returns:
            Seconds, seconds without those in which the build's main thread waited for a core, and the exit code.
        """
        shutil.rmtree(self.scratch / "stopped", ignore_errors=True)
        process = self.start("stopped")
        run_until(process, self.random.uniform(0.0, 1.0) * self.whole)
        if number % 3 == 0:
            import psutil

            for child in psutil.Process(process.pid).children() if process.poll() is None else ():
                child.suspend()
        began, without = time.perf_counter(), waited(process.pid)
        process.send_signal(signal.SIGTERM if number % 2 else signal.SIGINT)
        if process.poll() is None:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        spent, without = time.perf_counter() - began, waited(process.pid) - without
        return spent, spent - max(0.0, without), process.wait(timeout=60)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", nargs="+")
    parser.add_argument("--preset", default="frames")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--kills", type=int, default=0, help="kills that struck, at least")
    parser.add_argument("--signals", type=int, default=0, help="interruptions to time")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--engine", default="local")
    parser.add_argument("--forked", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--scratch", type=Path, default=None)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit an ignored SIGINT
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as name:
        trial = Trial(arguments, Path(name))
        equal = rounds = 0
        while rounds < arguments.rounds or trial.kills.total() < arguments.kills:
            equal += trial.round(rounds)
            rounds += 1
            print(f"{equal} of {rounds} rounds equal, {trial.kills.total()} kills, {trial.missed} missed", flush=True)
        if rounds:
            phases = ", ".join(f"{phase} {count}" for phase, count in sorted(trial.kills.items()))
            print(f"{trial.kills.total()} kills ({phases}); of them {trial.inside} had a memory to resume from", flush=True)
        stops = []
        for number in range(arguments.signals):
            stops.append(trial.interrupt(number))
            print("signal {}: {:.1f} s, {:.1f} s without waiting for a core, exit {}".format(number, *stops[-1]), flush=True)
        if stops:
            spent, running, codes = zip(*stops, strict=True)
            print(
                f"{len(stops)} signals: median {statistics.median(spent):.1f} s, longest {max(spent):.1f} s; without waits for "
                f"a core {statistics.median(running):.1f} and {max(running):.1f} s; exit {sorted(set(codes))}"
            )


if __name__ == "__main__":
    main()
