"""The pool of workers that engines share: who gets which file, leave to use memory, time limits, and what follows a death.

The pool alone decides, in the thread that iterates over its results, so that no lock is shared with a process that may be
killed. How workers are started and reached is left to a `Transport`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ..execution.work import FileResult, Task
from .base import EngineError, Limits, Parent, failure
from .task_queue import TaskQueue
from .worker_handle import Transport, WorkerHandle

log = logging.getLogger(__name__)

_AHEAD = 2
"""Files a worker holds at once, so that it need not wait for the parent between two."""
_TICK = 0.25
_STARTS = 3
"""Workers that may die in a row before their first file is done."""
_CONNECTIONS = 4
"""Times in a row that all workers may be lost with the machine or the connection that they come by; how often an engine
connects again is its own affair, and no more than that."""
_LOSSES = 6
"""Times that a file may be in work on a machine that is lost."""
_START_SECONDS = 300.0
"""Time for a worker to come up, before it has a file."""


class WorkerPool:
    """All workers of one run."""

    def __init__(self, transport: Transport, queues: Sequence[TaskQueue], limits: Limits, parent: Parent) -> None:
        """Take the work of a run; workers are started by `run`.

        Args:
            transport: starts workers.
            queues: files by the kind of worker that they need; workers with a GPU come first.
            limits: what files may cost, and how many workers there are of all kinds.
            parent: the build.
        """
        self._transport, self._queues, self._limits, self._parent = transport, queues, limits, parent
        self._suspects: dict[int, int] = {}
        self._lost: dict[int, int] = {}
        self._workers: list[WorkerHandle] = []
        self._results: list[tuple[Task, FileResult]] = []
        self._early_deaths = 0

    def run(self) -> Iterator[tuple[Task, FileResult]]:
        """Yield one result a task, in the order they finish; closing the iterator ends every worker.

        Raises:
            EngineError: workers do not start, or cannot work.
        """
        try:
            while self._step():
                yield from self._take()
                self._parent.tick()
            yield from self._take()
        finally:
            for worker in list(self._workers):
                worker.kill()
                self._dismiss(worker)
            self._transport.close()

    def _take(self) -> list[tuple[Task, FileResult]]:
        """Return the results since the last call."""
        results, self._results = self._results, []
        return results

    def _step(self) -> bool:
        """Hand out files, answer, wait a moment for messages, look after the workers; False when all is done."""
        self._fill()
        self._answer()
        is_looking = any(queue.is_looking for queue in self._queues)
        if not self._workers and not is_looking:
            return False
        for worker, kind, value in self._transport.receive(0.0 if is_looking else _TICK):
            self._hear(worker, kind, value)
        self._grant()
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.since and worker.tasks and now - worker.since > self._limits.seconds:
                self._give_up(worker, "timeout", f"took longer than {self._limits.seconds:g} s")
            elif not worker.since and now - worker.hired > _START_SECONDS:
                worker.kill()
        return True

    def _queue_of(self, task: Task) -> TaskQueue:
        """Return the queue that a file came from."""
        return next((queue for queue in self._queues if queue.has_gpu == task.takes_gpu), self._queues[-1])

    def _queues_of(self, worker: WorkerHandle) -> list[TaskQueue]:
        """Return the queues that a worker takes files from, its own first."""
        return [queue for queue in self._queues if worker.has_gpu or not queue.has_gpu]

    def _next(self, worker: WorkerHandle) -> Task | None:
        """Return the next file for a worker; one with a GPU takes other files when none is left that needs it."""
        for queue in self._queues_of(worker):
            if (task := queue.next()) or not queue.is_done:
                return task
        return None

    def _room(self, queue: TaskQueue) -> int:
        """Return how many workers a kind may have now: those before it, which still may get files, keep their places."""
        kept = 0
        for before in self._queues[: self._queues.index(queue)]:
            living = sum(worker.has_gpu == before.has_gpu for worker in self._workers)
            kept += living if before.is_done else max(living, before.workers)
        return min(queue.workers, self._limits.workers - kept)

    def _fill(self) -> None:
        """Give every worker that is up its files; start workers while there are files for them; dismiss idle ones."""
        for queue in self._queues:
            queue.is_looking = False
        for ahead in range(1, _AHEAD + 1):
            for worker in list(self._workers):
                alone = any(task.number in self._suspects for task in worker.tasks)
                ready = worker.since and not worker.leaving and not alone
                if ready and len(worker.tasks) < ahead and (task := self._next(worker)):
                    self._give(worker, task)
        for queue in self._queues:
            own = [worker for worker in self._workers if worker.has_gpu == queue.has_gpu]
            starting = sum(not worker.since for worker in own)
            for _ in range(self._room(queue) - len(own)):
                if not queue.are_waiting(starting):
                    break
                self._workers.append(self._transport.start(queue.has_gpu))
                starting += 1
        for worker in [worker for worker in self._workers if not worker.tasks]:
            if worker.leaving or all(queue.is_done for queue in self._queues_of(worker)):
                self._dismiss(worker)

    def _give(self, worker: WorkerHandle, task: Task) -> None:
        if task.number in self._suspects and worker.tasks:
            self._queue_of(task).try_again(task)
            return
        if not worker.tasks:
            worker.since = time.monotonic()
        worker.tasks.append(task)
        worker.send(task)

    def _hear(self, worker: WorkerHandle, kind: str, value: Any) -> None:
        """Take in a message of a worker; "gone" says that it has ended."""
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
        self._lost.pop(task.number, None)
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
        """Give leave for memory in the order of workers, never more than the budget of their machine at once."""
        for worker in self._workers:
            if not worker.wants:
                continue
            used = sum(other.held for other in self._workers if other.place == worker.place)
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
        ending = worker.ending()
        if not worker.since:
            self._early_deaths += 1
            if self._early_deaths >= _STARTS + ending.is_lost * _CONNECTIONS * self._limits.workers:
                text = f"{self._early_deaths} workers in a row died while starting ({ending.text}"
                raise EngineError(f"{text}{f', {worker.place}' if worker.place else ''}); run `spherehead doctor` there")
        elif worker.tasks:
            task = worker.tasks.popleft()
            counted = self._lost if ending.is_lost else self._suspects
            tries = counted.get(task.number, 0) + 1
            if tries < (_LOSSES if ending.is_lost else 2):
                log.warning("a worker died (%s) on %s; trying once more", ending.text, task.image.path)
                counted[task.number] = tries
                self._queue_of(task).try_again(task)
            else:
                counted.pop(task.number)
                often = f"{tries} times" if ending.is_lost else "twice"
                self._results.append((task, failure("worker_crash", f"the worker died {often}, {ending.text}")))
        self._return(worker)
        self._dismiss(worker)

    def _give_up(self, worker: WorkerHandle, reason: str, detail: str) -> None:
        """Kill a worker and give up the file it is at; its other files go to somebody else."""
        task = worker.tasks.popleft()
        self._suspects.pop(task.number, None)
        self._results.append((task, failure(reason, detail)))
        self._return(worker)
        worker.kill()
        self._dismiss(worker)

    def _return(self, worker: WorkerHandle) -> None:
        """Take back the files that a worker has not begun."""
        for queue in self._queues:
            queue.take_back(task for task in worker.tasks if self._queue_of(task) is queue)
        worker.tasks.clear()

    def _dismiss(self, worker: WorkerHandle) -> None:
        self._workers.remove(worker)
        worker.dismiss()
