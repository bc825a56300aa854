"""The engine on a Ray cluster: one actor a worker, with the limits, replacements and accounting of the local engine.

Workers are reached through a process of their own, the `ray_bridge`, which may die with the cluster: the build then connects
again, or ends with one line. Results wait on their nodes until the build takes them, one at a time.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import logging
import math
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any

from ...datasets.sample import Drop
from ..execution.work import FileResult, Task, WorkOrder
from .base import Engine, EngineError, Limits, Parent
from .pool import WorkerPool
from .process_handle import THREADS
from .ray_node import Mission
from .worker_handle import Ending, Transport, WorkerHandle

log = logging.getLogger(__name__)

MISSING = "Ray is not installed; pip install 'spherehead-toolkit[ray]' or use --engine local"
LOCAL = "local"
"""The address that asks for a cluster of this machine alone, which ends with the build."""
_CONNECT_SECONDS = 300.0
_STARTS = 3
"""Attempts to start a cluster of this machine: Ray gives its own processes 30 s, which a busy machine may exceed."""
_RECONNECTS = 3
"""Times in a row that the connection may be lost without a file done in between."""
_CLOSE_SECONDS = 10.0
_EVENTS = 16
"""Events that are taken between two looks at the workers."""
_TOLD_EVERY = 60.0
_TOLD_AFTER = 15.0
"""Seconds without an answer of the cluster after which that is said."""
_PASSED_ON = ("SPHEREHEAD_", "NO_ALBUMENTATIONS_", "XDG_CACHE_HOME", "HF_", "AWS_", "GOOGLE_", "AZURE_", "FSSPEC_")
"""Beginnings of variables that workers get from the build's environment."""


@dataclass(frozen=True)
class RayEngine(Engine):
    """Actors of a Ray cluster."""

    address: str = ""
    """Of the cluster, as `ray.init` takes it; empty for RAY_ADDRESS, and where that is not set, for a local cluster."""

    def check(self) -> None:
        """Refuse to begin without Ray.

        Raises:
            EngineError: it is not installed.
        """
        if importlib.util.find_spec("ray") is None:
            raise EngineError(MISSING)

    def run(self, order: WorkOrder, tasks: Iterable[Task], limits: Limits, parent: Parent) -> Iterator[tuple[Task, FileResult]]:
        """Yield one result a task, in the order they finish; `limits.workers` of 0 is one a CPU of the cluster."""
        self.check()
        open_tasks = iter(tasks)
        first = next(open_tasks, None)
        if first is None:
            return
        address = self.address or os.environ.get("RAY_ADDRESS", "") or LOCAL
        if address == LOCAL and not limits.workers:
            limits = replace(limits, workers=len(os.sched_getaffinity(0)))
        cluster = _Cluster(address, order, limits.workers, parent)
        if not limits.workers:
            limits = replace(limits, workers=max(1, cluster.gpus if cluster.wants_gpus else cluster.cpus))
        pool = WorkerPool(cluster, itertools.chain([first], open_tasks), limits, parent)
        for task, result in pool.run():
            _check_seen(order, task, result, address)
            yield task, result


def _check_seen(order: WorkOrder, task: Task, result: FileResult, address: str) -> None:
    """Tell a file that a node cannot see from one that cannot be read at all.

    Raises:
        EngineError: this machine can read it.
    """
    source = order.sources[task.source]
    if result.stage != "read" or result.outcome != "failed" or address == LOCAL or source.store is not None:
        return
    with contextlib.suppress(Drop):
        source.read(task.image)
        raise EngineError(
            f"a node cannot read {task.image.path} ({result.reason}: {result.detail}), which this machine can; "
            "put the sources where every node sees them under the same path, then rerun the same command to resume"
        )


@dataclass(eq=False, kw_only=True)
class _ActorHandle(WorkerHandle):
    """A worker behind the bridge."""

    number: int
    bridge: _BridgeProcess
    end: Ending = field(default_factory=lambda: Ending("the connection was lost", is_lost=True))

    def send(self, message: Any) -> None:
        self.bridge.send(self.number, "tell", pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))

    def dismiss(self) -> None:
        self.send(None)

    def kill(self) -> None:
        self.bridge.send(self.number, "kill")

    def ending(self) -> Ending:
        return self.end


class _BridgeProcess:
    """The process that speaks Ray."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.pipe, theirs = Pipe()
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        program = "import sys; from spherehead.pipeline.engines.ray_bridge import main; main(int(sys.argv[1]))"
        variables = {"RAY_USAGE_STATS_ENABLED": "0", **os.environ, "PYTHONPATH": os.pathsep.join(settings["paths"])}
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, str(theirs.fileno())],
            pass_fds=[theirs.fileno()], env=variables, stdin=subprocess.DEVNULL, stdout=self._words, stderr=self._words,
            start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self.pipe.send(settings)

    def send(self, number: int, what: str, value: Any = None) -> None:
        """Ask for something; a bridge that is gone is not told."""
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
            self._process.wait(timeout=_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._words.close()


class _Cluster(Transport):
    """Workers on the nodes of a cluster."""

    def __init__(self, address: str, order: WorkOrder, workers: int, parent: Parent) -> None:
        self.wants_gpus = order.device.startswith("cuda")
        self.cpus = self.gpus = 0
        self._parent = parent
        variables = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        self._settings: dict[str, Any] = {
            "address": address, "workers": workers, "gpus": float(self.wants_gpus), "name": f"spherehead {order.recipe.name}",
            "mission": pickle.dumps(Mission.of(order)), "paths": [os.path.abspath(path) for path in sys.path],  # noqa: PTH100
            "variables": {**variables, **dict.fromkeys(THREADS, "1")},
        }  # fmt: skip
        self._workers: dict[int, _ActorHandle] = {}
        self._numbers = itertools.count(1)
        self._reconnects = 0
        self._told = time.monotonic()
        self._bridge = self._connect()

    def _connect(self) -> _BridgeProcess:
        """Start a bridge and wait until it has reached the cluster; a busy machine may need a second attempt."""
        for _ in range(_STARTS - 1 if self._settings["address"] == LOCAL else 0):
            try:
                return self._connect_once()
            except EngineError as error:
                log.warning("%s; trying once more", error)
        return self._connect_once()

    def _connect_once(self) -> _BridgeProcess:
        bridge, began, address = _BridgeProcess(self._settings), time.monotonic(), self._settings["address"]
        tell_at = began + _TOLD_AFTER
        try:
            while not bridge.pipe.poll(0.25):
                self._parent.tick()
                now = time.monotonic()
                if now - began > _CONNECT_SECONDS:
                    words = f"did not answer within {_CONNECT_SECONDS:g} s ({bridge.last_words()})"
                    raise EngineError(f"Ray at {address!r} {words}; check that a cluster runs there")
                if now > tell_at:
                    log.warning("no answer from Ray at %r yet, waiting up to %g s", address, _CONNECT_SECONDS)
                    tell_at = math.inf
            _, kind, value = bridge.pipe.recv()
            if kind == "unreachable":
                raise EngineError(f"cannot connect to Ray at {address!r}: {value}")
        except (EOFError, OSError) as error:
            words = bridge.last_words()
            bridge.close()
            raise EngineError(f"the connection to Ray at {address!r} ended while it began: {words}") from error
        except BaseException:
            bridge.close()
            raise
        self.cpus, self.gpus, nodes = value
        log.info("Ray at %s: %d CPUs, %d GPUs, nodes %s", address, self.cpus, self.gpus, ", ".join(nodes))
        return bridge

    def start(self) -> WorkerHandle:
        worker = _ActorHandle(math.inf, number=next(self._numbers), bridge=self._bridge)
        self._workers[worker.number] = worker
        self._bridge.send(worker.number, "start")
        return worker

    def receive(self, timeout: float) -> list[tuple[WorkerHandle, str, Any]]:
        found: list[tuple[WorkerHandle, str, Any]] = []
        pipe: Connection = self._bridge.pipe
        try:
            while len(found) < _EVENTS and pipe.poll(0.0 if found else timeout):
                found += self._told_by(*pipe.recv())
        except (EOFError, OSError):
            return found + self._lose()
        self._tell_of_waiting()
        return found

    def _told_by(self, number: int, kind: str, value: Any) -> list[tuple[WorkerHandle, str, Any]]:
        """Return what an event of the bridge says of a worker."""
        worker = self._workers.get(number)
        if worker is None:
            return []
        if kind == "placed":
            worker.place, worker.hired = value[0], time.monotonic()
            log.info("worker %d is on %s, process %d", number, worker.place, value[2])
            return []
        if kind == "messages":
            heard = [pickle.loads(message) for message in value]
            if any(what == "done" for what, _ in heard):
                self._reconnects = 0
            return [(worker, what, told) for what, told in heard]
        if kind == "broken":
            return [(worker, "broken", value)]
        del self._workers[number]
        place = f" on {worker.place}" if worker.place and self._settings["address"] != LOCAL and kind == "lost" else ""
        worker.end = Ending(f"exit code {value}") if kind == "exit" else Ending(f"{value}{place}", is_lost=True)
        return [(worker, "gone", None)]

    def _lose(self) -> list[tuple[WorkerHandle, str, Any]]:
        """Connect again after the bridge has ended; every worker is gone with it.

        Raises:
            EngineError: that has happened too often.
        """
        gone: list[tuple[WorkerHandle, str, Any]] = [(worker, "gone", None) for worker in self._workers.values()]
        self._workers.clear()
        words = self._bridge.last_words()
        self._bridge.close()
        self._reconnects += 1
        if self._reconnects > _RECONNECTS:
            raise EngineError(
                f"the connection to Ray was lost {self._reconnects} times in a row ({words}); see Ray's logs, "
                "then rerun the same command to resume"
            )
        log.warning("the connection to Ray was lost; connecting again")
        self._bridge = self._connect()
        return gone

    def _tell_of_waiting(self) -> None:
        """Say from time to time that the cluster has not placed any worker yet."""
        now = time.monotonic()
        if any(worker.place for worker in self._workers.values()) or not self._workers:
            self._told = now
        elif now - self._told > _TOLD_EVERY:
            self._told = now
            what = "a GPU and a CPU" if self.wants_gpus else "a CPU"
            log.warning("no worker is placed yet: each waits for %s that is free in the cluster", what)

    def close(self) -> None:
        self._bridge.close()
