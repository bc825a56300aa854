"""Run a command of the toolkit in a fork of this process, and end it by SIGKILL at a moment of its own progress.

A moment is a number of audit events (files opened, renamed and removed, databases connected, modules imported) after the start
of a phase of the build, and some microseconds more, which a timer of the kernel waits for: where a kill strikes does not depend
on how fast the machine is, and falls inside the SQLite and Parquet libraries too. What is killed, and why, is `kill`'s.
"""

from __future__ import annotations

import bisect
import ctypes
import importlib
import json
import mmap
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

PHASES = ("before the state", "pictures", "deciding and packing", "after the manifest")
WEIGHTS = (10, 40, 35, 15)
"""Out of a hundred kills, how many are drawn in each phase."""


class Moment(NamedTuple):
    """When a build kills itself: the delay in seconds after an audit event, counted from the start of a phase."""

    phase: int
    event: int
    delay: float


class Progress:
    """The phase that a build is in and its audit events so far, readable from outside its process."""

    def __init__(self) -> None:
        """Begin before the first phase."""
        self.shared = memoryview(mmap.mmap(-1, 16)).cast("q")
        self.events: list[tuple[int, float]] = []
        self.moment: Moment | None = None

    @property
    def phase(self) -> int:
        """Return the number of the phase."""
        return int(self.shared[0])

    def watch(self, moment: Moment | None) -> None:
        """Count the audit events of this process from here; where a moment is given, die there."""
        from spherehead.pipeline.building import build

        self.moment = moment
        build.commit = self._entering(2, build.commit)  # type: ignore[assignment]
        sys.addaudithook(self._heard)

    def _entering(self, phase: int, work: Callable[..., Any]) -> Callable[..., Any]:
        def entered(*arguments: Any) -> Any:
            self._enter(phase)
            return work(*arguments)

        return entered

    def _enter(self, phase: int) -> None:
        if phase > self.shared[0]:
            self.shared[0], self.shared[1] = phase, 0

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "sqlite3.connect" and str(arguments[0]).endswith("state.sqlite"):
            self._enter(1)
        elif event == "os.rename" and str(arguments[1]).endswith("manifest.json"):
            self._enter(3)
        count = self.shared[1]
        self.shared[1] = count + 1  # before anything that is an event itself
        if self.moment is None:
            self.events.append((self.phase, time.perf_counter()))
        elif (self.moment.phase, self.moment.event) == (self.shared[0], count):
            die_in(self.moment.delay)


class _Event(ctypes.Structure):
    _fields_ = (("value", ctypes.c_void_p), ("signo", ctypes.c_int), ("notify", ctypes.c_int), ("rest", ctypes.c_int * 12))


class _Span(ctypes.Structure):
    _fields_ = (("interval", ctypes.c_long * 2), ("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def die_in(seconds: float) -> None:
    """Let the kernel kill this process after so long, whatever it does then: timer_create(2) with SIGKILL."""
    libc, timer = ctypes.CDLL(None, use_errno=True), ctypes.c_void_p()
    event = _Event(signo=signal.SIGKILL)
    span = _Span(seconds=int(seconds), nanoseconds=max(1, int(seconds % 1 * 1e9)))
    if libc.timer_create(time.CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)):
        os.kill(os.getpid(), signal.SIGKILL)
    libc.timer_settime(timer, 0, ctypes.byref(span), None)


class Moments:
    """Draws moments from the audit events of undisturbed builds."""

    def __init__(self, timeline: list[tuple[int, float]], ended: float, draw: random.Random) -> None:
        """Note when each event of a phase came after the first of its phase."""
        self.draw = draw
        self.spans: list[list[float]] = []
        for phase in range(len(PHASES)):
            seconds = [second for number, second in timeline if number == phase]
            later = [second for number, second in timeline if number > phase]
            if not seconds:
                sys.exit(f"an undisturbed build has no audit events in the phase {PHASES[phase]!r}")
            self.spans.append([second - seconds[0] for second in (*seconds, later[0] if later else ended)])

    def one(self) -> Moment:
        """Draw a phase, and in it a moment: every other over its events, every other over its time."""
        phase = self.draw.choices(range(len(PHASES)), WEIGHTS)[0]
        span = self.spans[phase]
        if self.draw.random() < 0.5:
            event = self.draw.randrange(len(span) - 1)
            return Moment(phase, event, self.draw.uniform(0.0, span[event + 1] - span[event]))
        second = self.draw.uniform(0.0, span[-1])
        event = min(bisect.bisect_right(span, second), len(span) - 1) - 1
        return Moment(phase, event, second - span[event])

    def __str__(self) -> str:
        """Return what an undisturbed build does in each phase."""
        parts = zip(PHASES, self.spans, strict=True)
        return ", ".join(f"{name} {len(span) - 1} events in {1e3 * span[-1]:.0f} ms" for name, span in parts)


class Forked:
    """A command of the toolkit in a fork of this process, with the part of `subprocess.Popen` that is needed here."""

    def __init__(self, words: list[str], moment: Moment | None = None) -> None:
        """Begin the command."""
        sys.stdout.flush()
        self.progress = Progress()
        self.pid, self.code = os.fork(), None
        if not self.pid:
            os._exit(self._run(words, moment))

    def _run(self, words: list[str], moment: Moment | None) -> int:
        from spherehead.cli import main

        os.setpgid(0, 0)  # a session of its own would lose the priority of this one's group
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        self.progress.watch(moment)
        code = main(words)
        if moment is None and "--out" in words and code == 0:
            told = {"modules": list(sys.modules), "events": self.progress.events, "ended": time.perf_counter()}
            Path(f"{words[-1]}.told").write_text(json.dumps(told))
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


def import_all(names: list[str]) -> None:
    """Import what a build has imported."""
    for name in names:
        with suppress(Exception):
            importlib.import_module(name)
