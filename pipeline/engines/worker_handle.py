"""A worker as a pool of workers sees it: the files that it holds and what it waits for; and how workers are started and heard.

How a worker is reached is left to `process_handle` and `ray_engine`; what it is sent, to `pool`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from ..execution.work import Task


@dataclass(frozen=True)
class Ending:
    """How a worker ended."""

    text: str
    """Such as "exit code -11"."""
    is_lost: bool = False
    """Its machine or connection went, so that the file in work is not to blame."""


@dataclass(eq=False)
class WorkerHandle(ABC):
    """One worker."""

    hired: float
    """When it began to start."""
    tasks: deque[Task] = field(default_factory=deque)
    """Files it holds; the first is the one in work."""
    since: float = 0.0
    """When the first file was begun; 0 while the worker is still starting."""
    held: int = 0
    """Bytes of leave it has."""
    wants: int = 0
    """Bytes it waits for."""
    content: str = ""
    """Work key of the file in work, once it is known."""
    asks: bool = False
    """Whether it waits for what is known of that content."""
    leaving: bool = False
    """It gets no more files, because it has grown too large."""
    place: str = ""
    """The machine whose memory it uses."""
    has_gpu: bool = False
    """Whether it may have files that take a GPU."""

    @abstractmethod
    def send(self, message: Any) -> None:
        """Send a message when the worker takes it; one that is gone gets none."""

    @abstractmethod
    def dismiss(self) -> None:
        """Let the worker end after what it has been sent."""

    @abstractmethod
    def kill(self) -> None:
        """End the worker at once."""

    @abstractmethod
    def ending(self) -> Ending:
        """Return how a worker that is gone has ended."""


class Transport(ABC):
    """Starts workers and carries what they say."""

    @abstractmethod
    def start(self, has_gpu: bool) -> WorkerHandle:
        """Start a worker, with a GPU or without."""

    @abstractmethod
    def receive(self, timeout: float) -> list[tuple[WorkerHandle, str, Any]]:
        """Return the messages of workers, as (worker, kind, value), or none after `timeout` seconds; "gone" is the last of one.

        Raises:
            EngineError: no worker can be reached any more.
        """

    @abstractmethod
    def close(self) -> None:
        """End what is still there."""
