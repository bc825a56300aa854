"""A worker process on this machine and its pipe, read and written by threads of its own.

A worker may be stopped in the middle of a message; whoever waited for it on the pipe would wait with it.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any

from ..execution.processes import single_threads
from ..execution.work import WorkOrder
from .worker_handle import Ending, WorkerHandle

_END = object()


@dataclass(eq=False, kw_only=True)
class ProcessHandle(WorkerHandle):
    """One worker process."""

    process: BaseProcess
    pipe: Connection
    _outbox: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)

    @classmethod
    def begin(
        cls,
        context: SpawnContext,
        serve: Callable[[Connection, WorkOrder], None],
        order: WorkOrder,
        inbox: queue.SimpleQueue[tuple[WorkerHandle, str, Any]],
        has_gpu: bool = False,
    ) -> ProcessHandle:
        """Start a process.

        Args:
            context: how processes are made.
            serve: what the process runs.
            order: the work order that it gets.
            inbox: where its messages go, as (handle, kind, value); the last is "gone".
            has_gpu: whether it may have files that take a GPU.
        """
        mine, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, order), daemon=True, name="spherehead-worker")
        with _for_children():
            process.start()
        theirs.close()
        worker = cls(time.monotonic(), has_gpu=has_gpu, process=process, pipe=mine)
        sender = threading.Thread(target=worker._send_all, daemon=True)
        sender.start()
        threading.Thread(target=worker._receive_all, args=(inbox, sender), daemon=True).start()
        return worker

    def send(self, message: Any) -> None:
        """Send a message when the worker takes it; one that is gone gets none."""
        self._outbox.put(message)

    def dismiss(self) -> None:
        """Let the worker end after what it has been sent."""
        self._outbox.put(None)
        self._outbox.put(_END)

    def kill(self) -> None:
        """End the worker at once."""
        self.process.kill()

    def ending(self) -> Ending:
        """Return the exit code."""
        self.process.join(timeout=5)
        return Ending(f"exit code {self.process.exitcode}")

    def _send_all(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (message := self._outbox.get()) is not _END:
                self.pipe.send(message)

    def _receive_all(self, inbox: queue.SimpleQueue[tuple[WorkerHandle, str, Any]], sender: threading.Thread) -> None:
        try:
            while True:
                inbox.put((self, *self.pipe.recv()))
        except (EOFError, OSError):
            pass
        except Exception:  # a message that does not unpickle
            inbox.put((self, "broken", traceback.format_exc()))
        inbox.put((self, "gone", None))
        self._outbox.put(_END)
        sender.join()
        self.pipe.close()


@contextlib.contextmanager
def _for_children() -> Iterator[None]:
    """Give processes that are started in the block one thread for each library, and no Ctrl-C while they come up."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with single_threads():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
