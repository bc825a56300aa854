"""The engine without processes: for debugging, notebooks and machines where processes are not wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...datasets.sample import Drop
from ..execution.work import FileResult, Task, WorkOrder
from ..execution.worker import Worker
from ..stage import StageUnavailable
from .base import Engine, EngineError, Limits, Parent


class InlineEngine(Engine):
    """Works on one file after the other in this process; a crash is a crash, and there is no time limit."""

    def run(self, order: WorkOrder, tasks: Iterable[Task], limits: Limits, parent: Parent) -> Iterator[tuple[Task, FileResult]]:
        """Yield one result a task, in the order of the tasks."""

        def ask_memory(needed: int) -> None:
            if needed > limits.memory:
                raise Drop("out_of_memory", f"needs {needed >> 20} MiB, the budget is {limits.memory >> 20} MiB", needed)

        worker = Worker(order)
        try:
            for task in tasks:
                yield task, worker.process(task, ask_memory, parent.answer)
                parent.tick()
        except StageUnavailable as error:
            raise EngineError(str(error)) from error
        finally:
            worker.close()
