"""The default engine: spawned processes on this machine, each with its own pipe, a time limit and a stand-in when it dies.

Processes are spawned, not forked, because MediaPipe hangs in forked ones. The parent alone decides: it hands out files and
leave to use memory, so that no lock is shared with a process that may be killed.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from ...datasets.sample import Drop
from ..execution.work import FileResult, Task, WorkOrder
from ..execution.worker import Worker
from .base import Engine, EngineError, Limits, failure

log = logging.getLogger(__name__)

_AHEAD = 2
"""Files a worker holds at once, so that it need not wait for the parent between two."""
_TICK = 0.25
_STARTS = 3
"""Workers that may die in a row before their first file is done."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def _serve(pipe: Connection, order: WorkOrder) -> None:
    """Be a worker: take files from the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    waiting: deque[Task | None] = deque()

    def ask_memory(needed: int) -> None:
        pipe.send(("memory", needed))
        while isinstance(answer := pipe.recv(), Task) or answer is None:
            waiting.append(answer)  # a file handed out ahead came first
        if answer is not True:
            raise Drop("out_of_memory", str(answer), needed)

    try:
        worker = Worker(order)
    except Exception:
        pipe.send(("broken", traceback.format_exc()))
        return
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(("ready", None))
        while True:
            task = waiting.popleft() if waiting else pipe.recv()
            if task is None:
                break
            pipe.send(("start", task.number))
            try:
                pipe.send(("done", worker.process(task, ask_memory)))
            except (EOFError, BrokenPipeError, ConnectionResetError):
                raise
            except Exception:
                pipe.send(("broken", traceback.format_exc()))
                return
    worker.close()


@dataclass(eq=False)
class _Seat:
    """A worker process as the parent sees it."""

    process: BaseProcess
    pipe: Connection
    tasks: deque[Task] = field(default_factory=deque)
    """Files it holds; the first is the one in work."""
    since: float = 0.0
    """When the first file was begun; 0 while the worker is still starting."""
    held: int = 0
    """Bytes of leave it has."""
    wants: int = 0
    """Bytes it waits for."""
    leaving: bool = False
    """It gets no more files, because it has grown too large."""


class LocalEngine(Engine):
    """Spawned worker processes."""

    def run(
        self, order: WorkOrder, tasks: Iterable[Task], limits: Limits, tick: Callable[[], None]
    ) -> Iterator[tuple[Task, FileResult]]:
        """Yield one result a task, in the order they finish."""
        crew = _Crew(order, iter(tasks), limits)
        try:
            while crew.step():
                yield from crew.take()
                tick()
            yield from crew.take()
        finally:
            crew.close()


class _Crew:
    """All workers of one run."""

    def __init__(self, order: WorkOrder, tasks: Iterator[Task], limits: Limits) -> None:
        self._order, self._tasks, self._limits = order, tasks, limits
        self._again: deque[Task] = deque()
        self._suspects: dict[int, int] = {}
        self._seats: list[_Seat] = []
        self._results: list[tuple[Task, FileResult]] = []
        self._early_deaths = 0
        self._exhausted = False

    def take(self) -> list[tuple[Task, FileResult]]:
        """Return the results since the last call."""
        results, self._results = self._results, []
        return results

    def step(self) -> bool:
        """Hand out files, wait a moment for messages, look after the workers; False when all is done."""
        self._fill()
        if not self._seats:
            return False
        ready: list[Any] = wait([seat.pipe for seat in self._seats], timeout=_TICK)
        for seat in [seat for seat in self._seats if seat.pipe in ready]:
            self._hear(seat)
        self._grant()
        now = time.monotonic()
        for seat in list(self._seats):
            if seat.since and seat.tasks and now - seat.since > self._limits.seconds:
                self._give_up(seat, "timeout", f"took longer than {self._limits.seconds:g} s")
        return True

    def _next(self) -> Task | None:
        if self._again:
            return self._again.popleft()
        if not self._exhausted:
            task = next(self._tasks, None)
            if task is not None:
                return task
            self._exhausted = True
        return None

    def _fill(self) -> None:
        """Give every worker its files; start workers while there are files for them; send idle ones home."""
        for ahead in range(1, _AHEAD + 1):
            for seat in list(self._seats):
                alone = any(task.number in self._suspects for task in seat.tasks)
                if not seat.leaving and not alone and len(seat.tasks) < ahead and (task := self._next()):
                    self._give(seat, task)
        while len(self._seats) < self._limits.workers and (task := self._next()):
            self._give(self._hire(), task)
        for seat in [seat for seat in self._seats if not seat.tasks]:
            if seat.leaving or (self._exhausted and not self._again):
                self._dismiss(seat)

    def _give(self, seat: _Seat, task: Task) -> None:
        if task.number in self._suspects and seat.tasks:
            self._again.append(task)
            return
        if not seat.tasks:
            seat.since = time.monotonic() if seat.since else 0.0
        seat.tasks.append(task)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            seat.pipe.send(task)

    def _hire(self) -> _Seat:
        context = multiprocessing.get_context("spawn")
        mine, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._order), daemon=True, name="spherehead-worker")
        before = {name: os.environ.get(name) for name in _THREADS}
        os.environ.update(dict.fromkeys(_THREADS, "1"))
        try:
            process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
        theirs.close()
        seat = _Seat(process, mine)
        self._seats.append(seat)
        return seat

    def _hear(self, seat: _Seat) -> None:
        """Read what a worker said; a closed pipe means that it died."""
        try:
            while seat.pipe.poll():
                kind, value = seat.pipe.recv()
                if kind in ("ready", "start"):
                    seat.since = time.monotonic()
                elif kind == "memory":
                    seat.wants = value
                elif kind == "done":
                    self._finish(seat, value)
                elif kind == "broken":
                    raise EngineError(f"a worker cannot work:\n{value}")
        except (EOFError, ConnectionResetError):
            self._mourn(seat)

    def _finish(self, seat: _Seat, result: FileResult) -> None:
        task = seat.tasks.popleft()
        self._suspects.pop(task.number, None)
        self._results.append((task, result))
        self._early_deaths = 0
        seat.held, seat.since = 0, time.monotonic()
        if result.rss > self._limits.worker_memory and not seat.leaving:
            log.info("replacing a worker that has grown to %d MiB", result.rss >> 20)
            seat.leaving = True

    def _grant(self) -> None:
        """Give leave for memory in the order of seats, never more than the budget at once."""
        for seat in self._seats:
            if not seat.wants:
                continue
            used = sum(other.held for other in self._seats)
            answer: bool | str | None = None
            if seat.wants > self._limits.memory:
                answer = f"needs {seat.wants >> 20} MiB, the budget is {self._limits.memory >> 20} MiB"
            elif used + seat.wants <= self._limits.memory:
                seat.held += seat.wants
                answer = True
            else:
                seat.since = time.monotonic()
            if answer is not None:
                seat.wants = 0
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    seat.pipe.send(answer)

    def _mourn(self, seat: _Seat) -> None:
        """Replace a worker that died: its file is tried once more alone, then given up."""
        seat.process.join(timeout=5)
        code = seat.process.exitcode
        if not seat.since:
            self._early_deaths += 1
            if self._early_deaths >= _STARTS:
                raise EngineError(f"{_STARTS} workers in a row died while starting (exit code {code}); run `spherehead doctor`")
            self._again.extendleft(reversed(seat.tasks))
            seat.tasks.clear()
        elif seat.tasks:
            task = seat.tasks.popleft()
            tries = self._suspects.get(task.number, 0) + 1
            if tries < 2:
                log.warning("a worker died (exit code %s) on %s; trying once more", code, task.image.path)
                self._suspects[task.number] = tries
                self._again.append(task)
            else:
                self._suspects.pop(task.number)
                self._results.append((task, failure("worker_crash", f"the worker died twice, exit code {code}")))
        self._again.extendleft(reversed(seat.tasks))
        seat.tasks.clear()
        self._dismiss(seat)

    def _give_up(self, seat: _Seat, reason: str, detail: str) -> None:
        """Kill a worker and give up the file it is at; its other files go to somebody else."""
        task = seat.tasks.popleft()
        self._suspects.pop(task.number, None)
        self._results.append((task, failure(reason, detail)))
        self._again.extendleft(reversed(seat.tasks))
        seat.tasks.clear()
        seat.process.kill()
        self._dismiss(seat)

    def _dismiss(self, seat: _Seat) -> None:
        self._seats.remove(seat)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, OSError):
            seat.pipe.send(None)
        seat.pipe.close()

    def close(self) -> None:
        """Stop every worker."""
        for seat in list(self._seats):
            seat.process.kill()
            self._dismiss(seat)
            seat.process.join(timeout=5)
