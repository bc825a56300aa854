"""What a worker process does: files in from a pipe, questions and results out, until the pipe closes.

The same loop serves on this machine and on a node of a cluster; who starts the process is `local`'s and `ray_node`'s business.
"""

from __future__ import annotations

import contextlib
import platform
import signal
import traceback
from collections import deque
from typing import Any, Protocol

from ...datasets.sample import Drop
from ...manifests.terminal import escape_tracebacks, log_to_terminal
from ..execution.work import Answer, Task, WorkOrder
from ..execution.worker import Worker
from ..stage import StageUnavailable


class MessagePipe(Protocol):
    """A pipe to the pool: of this machine, of an actor, or a socket."""

    def send(self, obj: Any, /) -> None:
        """Send a message."""

    def recv(self) -> Any:
        """Return the next message; raises EOFError at the end."""


def serve(pipe: MessagePipe, order: WorkOrder) -> None:
    """Be a worker: take files from the pipe until it closes.

    Sent are ("ready", None), ("start", number), ("memory", bytes), ("content", work key), ("done", result) and, where nothing
    can be done at all, ("broken", reason or traceback).

    Args:
        pipe: to the pool.
        order: the work order of the build.
    """
    log_to_terminal()
    escape_tracebacks()
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
            except StageUnavailable as error:
                pipe.send(("broken", f"{platform.node()}: {error}"))
                return
            except Exception:
                pipe.send(("broken", traceback.format_exc()))
                return
    worker.close()
