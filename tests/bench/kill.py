"""Kill builds at random moments and compare what the last one leaves with an undisturbed build; or interrupt them, and time it.

python tests/bench/kill.py PHOTOGRAPHS [--preset frames] [--rounds 200] [--signals 0] [--set frame.size=64] [--scratch DIR]
    [--forked] [--engine inline]

Moments are drawn from the processor time of the build's own process, so that a busy machine does not shift them.
With --forked every build begins in a fork of a process that has imported everything, so that a moment drawn at random falls
into the build and not into its imports; the command that runs is the same.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def digests(out: Path) -> dict[str, str]:
    """Return sha256 by name of all that must not vary."""
    names = ("manifest.json", "manifest.parquet", "origins.parquet")
    files = [*out.glob("*.tar"), *(out / name for name in names), *(out / "quarantine").glob("*/*.jpg")]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


class Forked:
    """A command of the toolkit in a fork of this process, with the part of `subprocess.Popen` that is needed here."""

    def __init__(self, words: list[str]) -> None:
        """Begin the command."""
        sys.stdout.flush()
        self.pid, self.code = os.fork(), None
        if not self.pid:
            os._exit(self._run(words))

    def _run(self, words: list[str]) -> int:
        from spherehead.cli import main

        os.setpgid(0, 0)  # a session of its own would lose the priority of this one's group
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        code = main(words)
        if "--out" in words and code == 0:
            Path(f"{words[-1]}.modules").write_text("\n".join(sys.modules))
        return code

    def poll(self) -> int | None:
        """Return the exit code, or None while the command runs."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code

    def wait(self, timeout: float = 3600.0) -> int:
        """Return the exit code when the command has ended."""
        patience = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > patience:
                raise subprocess.TimeoutExpired("spherehead", timeout)
            time.sleep(0.001)
        assert self.code is not None
        return self.code

    def send_signal(self, signum: int) -> None:
        """Send a signal, where the command still runs."""
        if self.poll() is None:
            os.kill(self.pid, signum)


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


def import_all(names: list[str]) -> None:
    """Import what a build has imported."""
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


class Trial:
    """One build, begun again and again."""

    def __init__(self, arguments: argparse.Namespace, scratch: Path) -> None:
        """Time an undisturbed build and keep what it made."""
        self.words = ["build-dataset", *arguments.photographs, "--preset", arguments.preset, "--no-report"]
        self.words += ["--workers", str(arguments.workers), "--engine", arguments.engine]
        self.words += [word for setting in arguments.set for word in ("--set", setting)]
        self.scratch, self.random, self.forked = scratch, random.Random(arguments.seed), arguments.forked
        self.kills = self.inside = 0
        self.start("first").wait()  # compiles modules and reads files: moments are drawn from the time of those that follow
        if self.forked:
            import_all((scratch / "first.modules").read_text().splitlines())
        calm = self.start("calm")
        self.whole = run_until(calm, 1e9)
        if code := calm.wait():
            sys.exit(f"an undisturbed build ended with {code}; run {' '.join(self.words)} --out DIR to see why")
        self.calm = digests(scratch / "calm")
        print(f"an undisturbed build: {self.whole:.2f} s of its process, {len(self.calm)} files", flush=True)

    def start(self, name: str) -> subprocess.Popen[bytes] | Forked:
        """Begin a build, or resume it."""
        words = [*self.words, "--out", str(self.scratch / name)]
        if self.forked:
            return Forked(words)
        words = [sys.executable, "-m", "spherehead", *words]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0)

    def round(self, number: int) -> bool:
        """Kill a build some times, resume it to its end, and say whether it came out equal."""
        shutil.rmtree(self.scratch / "killed", ignore_errors=True)
        for _ in range(self.random.randint(1, 3)):
            process = self.start("killed")
            run_until(process, self.random.uniform(0.0, 1.0) * self.whole)
            if process.poll() is None:
                self.kills += 1
                self.inside += (self.scratch / "killed" / ".state" / "state.sqlite").exists()
                try:
                    (os.killpg if number % 2 else os.kill)(process.pid, signal.SIGKILL)
                except ProcessLookupError:  # a fork that is not yet a group
                    os.kill(process.pid, signal.SIGKILL)
                process.wait()
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
        equal = 0
        for number in range(arguments.rounds):
            equal += trial.round(number)
            print(f"{equal} of {number + 1} rounds equal", flush=True)
        if equal:
            print(f"{trial.kills} kills; of them {trial.inside} had a memory to resume from", flush=True)
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
