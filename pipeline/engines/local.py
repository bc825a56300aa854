"""The default engine: spawned processes on this machine, each with its own pipe, a time limit and a replacement when it dies.

Processes are spawned, not forked, because MediaPipe hangs in forked ones. The parent alone decides: it hands out files, leave
to use memory and what is known of a content, so that no lock is shared with a process that may be killed.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import queue
import signal
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from ...datasets.sample import Drop
from ..execution.work import Answer, FileResult, Task, WorkOrder
from ..execution.worker import Worker
from .base import Engine, EngineError, Limits, Parent, failure
from .worker_handle import WorkerHandle

log = logging.getLogger(__name__)

_AHEAD = 2
"""Files a worker holds at once, so that it need not wait for the parent between two."""
_TICK = 0.25
_STARTS = 3
"""Workers that may die in a row before their first file is done."""
_CLOSE_SECONDS = 1.0
_START_SECONDS = 300.0
"""Time for a worker to come up, before it has a file."""


def _serve(pipe: Connection, order: WorkOrder) -> None:
    """Be a worker: take files from the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    waiting: deque[Task | None] = deque()

    def hear() -> Any:
        """Return the parent's answer; files that it handed out before come later."""
        while isinstance(message := pipe.recv(), Task) or message is None:
            waiting.append(message)
        return message

    def ask_memory(needed: int) -> None:
        pipe.send(("memory", needed))
        if (answer := hear()) is not True:
            raise Drop("out_of_memory", str(answer), needed)

    def ask(work_key: str) -> Answer:
        pipe.send(("content", work_key))
        answer: Answer = hear()
        return answer

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
                pipe.send(("done", worker.process(task, ask_memory, ask)))
            except (EOFError, BrokenPipeError, ConnectionResetError):
                raise
            except Exception:
                pipe.send(("broken", traceback.format_exc()))
                return
    worker.close()


class LocalEngine(Engine):
    """Spawned worker processes."""

    def run(self, order: WorkOrder, tasks: Iterable[Task], limits: Limits, parent: Parent) -> Iterator[tuple[Task, FileResult]]:
        """Yield one result a task, in the order they finish."""
        pool = _WorkerPool(order, iter(tasks), limits, parent)
        try:
            while pool.step():
                yield from pool.take()
                parent.tick()
            yield from pool.take()
        finally:
            pool.close()


class _WorkerPool:
    """All workers of one run."""

    def __init__(self, order: WorkOrder, tasks: Iterator[Task], limits: Limits, parent: Parent) -> None:
        self._order, self._tasks, self._limits, self._parent = order, tasks, limits, parent
        self._again: deque[Task] = deque()
        self._suspects: dict[int, int] = {}
        self._workers: list[WorkerHandle] = []
        self._dismissed: list[WorkerHandle] = []
        self._inbox: queue.SimpleQueue[tuple[WorkerHandle, str, Any]] = queue.SimpleQueue()
        self._results: list[tuple[Task, FileResult]] = []
        self._early_deaths = 0
        self._exhausted = False

    def take(self) -> list[tuple[Task, FileResult]]:
        """Return the results since the last call."""
        results, self._results = self._results, []
        return results

    def step(self) -> bool:
        """Hand out files, answer, wait a moment for messages, look after the workers; False when all is done."""
        self._fill()
        self._answer()
        if not self._workers:
            return False
        with contextlib.suppress(queue.Empty):
            self._hear(*self._inbox.get(timeout=_TICK))
            for _ in range(self._inbox.qsize()):
                self._hear(*self._inbox.get_nowait())
        self._grant()
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.since and worker.tasks and now - worker.since > self._limits.seconds:
                self._give_up(worker, "timeout", f"took longer than {self._limits.seconds:g} s")
            elif not worker.since and now - worker.hired > _START_SECONDS:
                worker.process.kill()
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
        """Give every worker its files; start workers while there are files for them; dismiss idle ones."""
        for ahead in range(1, _AHEAD + 1):
            for worker in list(self._workers):
                alone = any(task.number in self._suspects for task in worker.tasks)
                if not worker.leaving and not alone and len(worker.tasks) < ahead and (task := self._next()):
                    self._give(worker, task)
        while len(self._workers) < self._limits.workers and (task := self._next()):
            self._give(self._hire(), task)
        for worker in [worker for worker in self._workers if not worker.tasks]:
            if worker.leaving or (self._exhausted and not self._again):
                self._dismiss(worker)

    def _give(self, worker: WorkerHandle, task: Task) -> None:
        if task.number in self._suspects and worker.tasks:
            self._again.append(task)
            return
        if not worker.tasks:
            worker.since = time.monotonic() if worker.since else 0.0
        worker.tasks.append(task)
        worker.send(task)

    def _hire(self) -> WorkerHandle:
        worker = WorkerHandle.start(multiprocessing.get_context("spawn"), _serve, self._order, self._inbox)
        self._workers.append(worker)
        return worker

    def _hear(self, worker: WorkerHandle, kind: str, value: Any) -> None:
        """Take in a message of a worker; "gone" says that its pipe has closed."""
        if worker not in self._workers:
            return
        if kind in ("ready", "start"):
            worker.since = time.monotonic()
        elif kind == "memory":
            worker.wants = value
        elif kind == "content":
            worker.content, worker.asks = value, True
        elif kind == "done":
            self._finish(worker, value)
        elif kind == "broken":
            raise EngineError(f"a worker cannot work:\n{value}")
        elif kind == "gone":
            self._mourn(worker)

    def _finish(self, worker: WorkerHandle, result: FileResult) -> None:
        task = worker.tasks.popleft()
        self._suspects.pop(task.number, None)
        self._results.append((task, result))
        self._early_deaths = 0
        worker.held, worker.since, worker.content = 0, time.monotonic(), ""
        if result.rss > self._limits.worker_memory and not worker.leaving:
            log.info("replacing a worker that has grown to %d MiB", result.rss >> 20)
            worker.leaving = True

    def _answer(self) -> None:
        """Tell workers what is known of their contents; one whose content another worker has in hand waits for that."""
        for worker in self._workers:
            if not worker.asks:
                continue
            if any(other.content == worker.content and not other.asks for other in self._workers):
                worker.since = time.monotonic()
                continue
            worker.asks = False
            worker.send(self._parent.answer(worker.content))

    def _grant(self) -> None:
        """Give leave for memory in the order of workers, never more than the budget at once."""
        for worker in self._workers:
            if not worker.wants:
                continue
            used = sum(other.held for other in self._workers)
            if worker.wants > self._limits.memory:
                worker.send(f"needs {worker.wants >> 20} MiB, the budget is {self._limits.memory >> 20} MiB")
            elif used + worker.wants <= self._limits.memory:
                worker.held += worker.wants
                worker.send(True)
            else:
                worker.since = time.monotonic()
                continue
            worker.wants = 0

    def _mourn(self, worker: WorkerHandle) -> None:
        """Replace a worker that died: its file is tried once more alone, then given up."""
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        if not worker.since:
            self._early_deaths += 1
            if self._early_deaths >= _STARTS:
                raise EngineError(f"{_STARTS} workers in a row died while starting (exit code {code}); run `spherehead doctor`")
            self._again.extendleft(reversed(worker.tasks))
            worker.tasks.clear()
        elif worker.tasks:
            task = worker.tasks.popleft()
            tries = self._suspects.get(task.number, 0) + 1
            if tries < 2:
                log.warning("a worker died (exit code %s) on %s; trying once more", code, task.image.path)
                self._suspects[task.number] = tries
                self._again.append(task)
            else:
                self._suspects.pop(task.number)
                self._results.append((task, failure("worker_crash", f"the worker died twice, exit code {code}")))
        self._again.extendleft(reversed(worker.tasks))
        worker.tasks.clear()
        self._dismiss(worker)

    def _give_up(self, worker: WorkerHandle, reason: str, detail: str) -> None:
        """Kill a worker and give up the file it is at; its other files go to somebody else."""
        task = worker.tasks.popleft()
        self._suspects.pop(task.number, None)
        self._results.append((task, failure(reason, detail)))
        self._again.extendleft(reversed(worker.tasks))
        worker.tasks.clear()
        worker.process.kill()
        self._dismiss(worker)

    def _dismiss(self, worker: WorkerHandle) -> None:
        self._workers.remove(worker)
        self._dismissed = [other for other in self._dismissed if other.process.is_alive()]
        self._dismissed.append(worker)
        worker.dismiss()

    def close(self) -> None:
        """Stop every worker; those that were dismissed have a moment to free their models."""
        for worker in list(self._workers):
            worker.process.kill()
            self._dismiss(worker)
        patience = time.monotonic() + _CLOSE_SECONDS
        for worker in self._dismissed:
            worker.process.join(timeout=max(0.0, patience - time.monotonic()))
            worker.process.kill()
            worker.process.join(timeout=1)
