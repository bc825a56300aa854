"""The default engine: spawned processes on this machine, each with its own pipe, a time limit and a replacement when it dies.

Processes are spawned, not forked, because MediaPipe hangs in forked ones. What they are given is decided by `pool`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import time
from collections.abc import Iterable, Iterator
from typing import Any

from ..execution.work import FileResult, Task, WorkOrder
from .base import Engine, Limits, Parent
from .pool import WorkerPool
from .process_handle import ProcessHandle
from .serving import serve as _serve
from .task_queue import TaskQueue, queues_of
from .worker_handle import Transport, WorkerHandle

_CLOSE_SECONDS = 1.0


class LocalEngine(Engine):
    """Spawned worker processes."""

    def run(self, order: WorkOrder, tasks: Iterable[Task], limits: Limits, parent: Parent) -> Iterator[tuple[Task, FileResult]]:
        """Yield one result a task, in the order they finish.

        A process loads models onto the GPU when it first has a file that takes one: `limits.workers_per_gpu` of them may, all
        where it is 0.
        """
        queues = [TaskQueue(iter(tasks), limits.workers, has_gpu=True)]
        if limits.workers_per_gpu:
            queues = queues_of(order, tasks, limits.workers, min(limits.workers, limits.workers_per_gpu))
        yield from WorkerPool(_Processes(order), queues, limits, parent).run()


class _Processes(Transport):
    """Worker processes of this machine."""

    def __init__(self, order: WorkOrder) -> None:
        self._order = order
        self._inbox: queue.SimpleQueue[tuple[WorkerHandle, str, Any]] = queue.SimpleQueue()
        self._started: list[ProcessHandle] = []

    def start(self, has_gpu: bool) -> WorkerHandle:
        worker = ProcessHandle.begin(multiprocessing.get_context("spawn"), _serve, self._order, self._inbox, has_gpu)
        self._started = [other for other in self._started if other.process.is_alive()]
        self._started.append(worker)
        return worker

    def receive(self, timeout: float) -> list[tuple[WorkerHandle, str, Any]]:
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._inbox.get(timeout=timeout))
            for _ in range(self._inbox.qsize()):
                found.append(self._inbox.get_nowait())
        return found

    def close(self) -> None:
        """Wait for workers that were dismissed: they have a moment to free their models."""
        patience = time.monotonic() + _CLOSE_SECONDS
        for worker in self._started:
            worker.process.join(timeout=max(0.0, patience - time.monotonic()))
            worker.process.kill()
            worker.process.join(timeout=1)
