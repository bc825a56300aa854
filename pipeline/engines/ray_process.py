"""The process that speaks Ray, as its build sees it, and the workers that it has started.

A worker that reached the build is sent its messages by a socket, others through Ray. What workers are sent is `pool`'s
business, how they and their cluster end is `ray_engine`'s.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from multiprocessing.connection import Pipe
from typing import IO, Any

from .ray_sockets import Listener
from .worker_handle import Ending, WorkerHandle

SOCKET, RAY = "socket", "Ray"
_CLOSE_SECONDS = 10.0


class BridgeProcess:
    """The process that speaks Ray."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Start it; its pipe then has ("cluster", ...) or ("unreachable", why) as the first event.

        Args:
            settings: see `ray_bridge.Bridge`; `paths` is its PYTHONPATH.
        """
        self.pipe, theirs = Pipe()
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        program = "import sys; from spherehead.pipeline.engines.ray_bridge import main; main(int(sys.argv[1]))"
        variables = {"RAY_USAGE_STATS_ENABLED": "0", **os.environ, "PYTHONPATH": os.pathsep.join(settings["paths"])}
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(theirs.fileno())],
            pass_fds=[theirs.fileno()], env=variables, stdin=subprocess.DEVNULL, stdout=self._words, stderr=self._words,
            start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self.pipe.send(settings)

    def send(self, number: int, what: str, value: Any = None) -> None:
        """Ask for something; nothing is sent to a bridge that is gone."""
        with contextlib.suppress(OSError):
            self.pipe.send((number, what, value))

    def last_words(self) -> str:
        """Return the last line that the process wrote."""
        self._words.seek(max(0, self._words.seek(0, os.SEEK_END) - 2000))
        lines = [line.strip() for line in self._words.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it said nothing"

    def close(self) -> None:
        """Let the process leave the cluster and end."""
        self.pipe.close()
        try:
            self.process.wait(timeout=_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._words.close()


@dataclass(eq=False, kw_only=True)
class ActorHandle(WorkerHandle):
    """A worker on a node."""

    number: int
    bridge: BridgeProcess
    listener: Listener | None = None
    """Where it may connect."""
    route: str = ""
    """How it is reached; empty until its first word came, or its connection."""
    end: Ending = field(default_factory=lambda: Ending("the connection was lost", is_lost=True))
    ended: float = 0.0
    """When its cluster said that it has ended."""
    closed: float = 0.0
    """When its socket was closed."""
    early: list[bytes] = field(default_factory=list)
    """What it said before it was known where it runs."""
    _unsent: list[bytes] = field(default_factory=list)

    def send(self, message: Any) -> None:
        """Send a message on the worker's route, once that is known."""
        self._unsent.append(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))
        self._flush()

    def reach_by(self, route: str) -> None:
        """Take note of how the worker is reached."""
        self.route = route
        self._flush()

    def dismiss(self) -> None:
        """Let the worker end after what it has been sent."""
        self.send(None)

    def kill(self) -> None:
        """End the worker's actor, and with it the worker."""
        self.bridge.send(self.number, "kill")

    def ending(self) -> Ending:
        """Return what the cluster said of its end."""
        return self.end

    def _flush(self) -> None:
        if not self.route:
            return
        for message in self._unsent:
            if self.route == SOCKET and self.listener is not None:
                self.listener.send(self.number, message)
            else:
                self.bridge.send(self.number, "tell", message)
        self._unsent.clear()
