"""A worker process as the engine sees it: its pipe, read and written by threads of its own, and the files that it holds.

A worker may be stopped in the middle of a message; whoever waited for it on the pipe would wait with it. What is said is
left to `local`.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any

from ..execution.work import Task, WorkOrder

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_END = object()


@dataclass(eq=False)
class WorkerHandle:
    """One worker process."""

    process: BaseProcess
    pipe: Connection
    hired: float
    """When it was started."""
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
    """Whether it waits to be told what is known of that content."""
    leaving: bool = False
    """It gets no more files, because it has grown too large."""
    _outbox: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)

    @classmethod
    def start(
        cls,
        context: SpawnContext,
        serve: Callable[[Connection, WorkOrder], None],
        order: WorkOrder,
        inbox: queue.SimpleQueue[tuple[WorkerHandle, str, Any]],
    ) -> WorkerHandle:
        """Start a process.

        Args:
            context: how processes are made.
            serve: what the process runs.
            order: what it is told.
            inbox: where its messages go, as (handle, kind, value); the last is "gone".
        """
        mine, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, order), daemon=True, name="spherehead-worker")
        with _for_children():
            process.start()
        theirs.close()
        worker = cls(process, mine, time.monotonic())
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
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
