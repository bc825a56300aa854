"""Files that wait for workers of one kind: those with a GPU, and those without.

Which kind a file needs is a field of the task; who gets it when is decided by `pool`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from ..execution.placement import Placement
from ..execution.work import Task, WorkOrder
from .base import EngineError

_LOOK = 2000
"""Files that are looked at in one go for one of a kind, so that a pool still hears its workers."""
_END: Final = object()


class TaskQueue:
    """Files of one kind, read when a worker wants them."""

    def __init__(self, tasks: Iterator[Task | None], workers: int, has_gpu: bool = False) -> None:
        """Wait for the first file.

        Args:
            tasks: None says that the next file is still looked for.
            workers: how many may have them at most.
            has_gpu: whether workers of this kind have one; they also take files that need none, once their own are done.
        """
        self.workers, self.has_gpu = workers, has_gpu
        self.is_looking = False
        """Whether the next file was still looked for when somebody last asked; set back by who asks."""
        self._tasks = tasks
        self._again: deque[Task] = deque()
        self._exhausted = False

    @property
    def is_done(self) -> bool:
        """Whether no file waits and none will come."""
        return self._exhausted and not self._again

    def next(self) -> Task | None:
        """Return the next file; those that came back go first."""
        return self._again.popleft() if self._again else self._read()

    def are_waiting(self, count: int) -> bool:
        """Return whether more files than `count` wait for a worker."""
        while len(self._again) <= count and (task := self._read()):
            self._again.append(task)
        return len(self._again) > count

    def try_again(self, task: Task) -> None:
        """Take a file back, to be tried after those that wait."""
        self._again.append(task)

    def take_back(self, tasks: Iterable[Task]) -> None:
        """Take files back that nobody has begun, before those that wait."""
        self._again.extendleft(reversed(list(tasks)))

    def _read(self) -> Task | None:
        if self._exhausted:
            return None
        task = next(self._tasks, _END)
        self._exhausted, self.is_looking = task is _END, task is None
        return task if isinstance(task, Task) else None


def queues_of(order: WorkOrder, tasks: Iterable[Task], workers: int, gpu_workers: int, lack: str = "") -> list[TaskQueue]:
    """Return files that take a GPU, and those that do not, as two queues; as one where no file can take any.

    Args:
        order: the work order of the build.
        tasks: is iterated once for each kind, so that neither waits for the other and none is held in memory.
        workers: of both kinds together.
        gpu_workers: of those with a GPU.
        lack: what to say where a file takes a GPU and no worker has one.
    """
    if not Placement(order.sources, order.recipe, order.device).may_take_gpu:
        return [TaskQueue(iter(tasks), workers)]
    if gpu_workers:
        with_gpu = TaskQueue(_only(tasks, True), gpu_workers, has_gpu=True)
    else:
        with_gpu = TaskQueue(_refused(tasks, lack), 1, has_gpu=True)  # asked for a worker's sake, who then does not start
    return [with_gpu, TaskQueue(_only(tasks, False), workers)]


def _only(tasks: Iterable[Task], takes_gpu: bool) -> Iterator[Task | None]:
    for count, task in enumerate(tasks, 1):
        if task.takes_gpu == takes_gpu:
            yield task
        elif count % _LOOK == 0:
            yield None


def _refused(tasks: Iterable[Task], lack: str) -> Iterator[Task | None]:
    """Look for files that take a GPU, and stop the build at the first.

    Raises:
        EngineError: there is one.
    """
    for task in _only(tasks, True):
        if task is not None:
            raise EngineError(lack)
        yield None
