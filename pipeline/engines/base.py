"""The one protocol of engines: tasks in, (task, result) pairs out in any order; how processes live and die is theirs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..execution.work import Answer, FileResult, Task, WorkOrder


class EngineError(RuntimeError):
    """The workers cannot work at all: an error of the set-up, not of a file."""


@dataclass(frozen=True)
class Limits:
    """What a file may cost."""

    workers: int = 1
    """Processes."""
    workers_per_gpu: int = 0
    """Processes that share a GPU; 0 leaves it to the engine."""
    seconds: float = 120.0
    """Time for one file; a file that takes longer is given up as `timeout`."""
    memory: int = 4 << 30
    """Bytes that all photographs being decoded at once may take together."""
    worker_memory: int = 1200 << 20
    """A worker that has grown beyond this many bytes is replaced after its file."""


@dataclass(frozen=True)
class Parent:
    """What an engine may ask of the build that runs it, always from the thread that iterates over its results."""

    tick: Callable[[], None] = lambda: None
    """Called now and then while the engine waits; may raise to end the run."""
    answer: Callable[[str], Answer] = lambda _: Answer()
    """Work key -> what is known of a content. Results that were yielded before count."""
    note_workers: Callable[[int], None] = lambda _: None
    """Called with how many workers there are at most, where the engine decides that."""


class Engine(ABC):
    """Runs tasks somewhere."""

    def check(self) -> None:
        """Refuse to begin where something is missing that this engine needs.

        Raises:
            EngineError: with what to do.
        """

    @abstractmethod
    def run(self, order: WorkOrder, tasks: Iterable[Task], limits: Limits, parent: Parent) -> Iterator[tuple[Task, FileResult]]:
        """Yield one result a task, in the order they finish.

        Args:
            order: the work order that every worker gets.
            tasks: files; each iteration yields those that are still open, and there may be several at once.
            limits: what they may cost.
            parent: the build.

        Closing the iterator stops the engine; files in work are given up without a result.

        Raises:
            EngineError: workers do not start.
        """


def failure(reason: str, detail: str) -> FileResult:
    """Return the result of a file whose worker could not report one itself."""
    return FileResult("", "", "failed", reason, detail, "worker")
