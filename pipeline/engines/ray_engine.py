"""The engine on a Ray cluster: one actor a worker, with the limits, replacements and accounting of the local engine.

Ray places workers and reports how they end, through a process of its own, the `ray_bridge`, which may die with the cluster: the
build then connects again, or ends with one line. Files and results pass by sockets, or through Ray where a node does not reach
the build.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import logging
import math
import os
import pickle
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from typing import Any

from ...datasets.sample import Drop
from ..execution.placement import is_gpu
from ..execution.processes import THREADS
from ..execution.work import FileResult, Task, WorkOrder
from .base import Engine, EngineError, Limits, Parent
from .cluster_plan import Node, lack_of_gpus, plan_workers
from .pool import WorkerPool
from .ray_node import CONNECTION_LOST, Mission
from .ray_process import RAY, SOCKET, ActorHandle, BridgeProcess
from .ray_sockets import Listener
from .task_queue import queues_of
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
_GONE_SECONDS = 10.0
"""Time between a worker's end and the end of its connection, whichever comes first, after which the other is not waited for."""
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
        if next(iter(tasks), None) is None:
            return
        address = self.address or os.environ.get("RAY_ADDRESS", "") or LOCAL
        if address == LOCAL and not limits.workers:
            limits = replace(limits, workers=len(os.sched_getaffinity(0)))
        cluster = _Cluster(address, order, limits.workers, parent)
        plan = plan_workers(cluster.nodes, limits.workers, limits.workers_per_gpu)
        cluster.gpu_share = plan.gpu_share
        parent.note_workers(plan.workers)
        queues = queues_of(order, tasks, plan.workers, plan.gpu_workers, lack_of_gpus(cluster.nodes, _gpu_users(order)))
        pool = WorkerPool(cluster, queues, replace(limits, workers=plan.workers), parent)
        for task, result in pool.run():
            _check_seen(order, task, result, address)
            yield task, result


def _gpu_users(order: WorkOrder) -> str:
    """Return what of a build takes a GPU, for a message."""
    sources = [source.label for source in order.sources if source.uses_gpu]
    stages = [stage.name for stage in order.recipe.stages if stage.uses_device] if is_gpu(order.device) else []
    device = f"--device {order.device} (stages {', '.join(stages)})" if stages else ""
    return " and ".join(filter(None, [device, f"rendering ({', '.join(sources)})" if sources else ""]))


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


class _Cluster(Transport):
    """Workers on the nodes of a cluster."""

    def __init__(self, address: str, order: WorkOrder, workers: int, parent: Parent) -> None:
        self.nodes: list[Node] = []
        self.gpu_share = 0.0
        """Of a GPU, of each worker that has one."""
        self._parent = parent
        variables = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        self._settings: dict[str, Any] = {
            "address": address, "workers": workers, "name": f"spherehead {order.recipe.name}",
            "mission": pickle.dumps(Mission.of(order)), "paths": [os.path.abspath(path) for path in sys.path],  # noqa: PTH100
            "variables": {**variables, **dict.fromkeys(THREADS, "1")},
        }  # fmt: skip
        self._workers: dict[int, ActorHandle] = {}
        self._listener: Listener | None = None
        self._is_inviting = False
        self._numbers = itertools.count(1)
        self._reconnects, self._detour = 0, False
        self._told = time.monotonic()
        self._bridge = self._connect()

    def _connect(self) -> BridgeProcess:
        """Start a bridge and wait until it has reached the cluster; a busy machine may need a second attempt."""
        for _ in range(_STARTS - 1 if self._settings["address"] == LOCAL else 0):
            try:
                return self._connect_once()
            except EngineError as error:
                log.warning("%s; trying once more", error)
        return self._connect_once()

    def _connect_once(self) -> BridgeProcess:
        bridge, began, address = BridgeProcess(self._settings), time.monotonic(), self._settings["address"]
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
        nodes, host = value
        self.nodes = [Node(cpus, gpus) for _, cpus, gpus in nodes]
        log.info("Ray at %s: %s", address, ", ".join(f"{name} with {cpus} CPUs, {gpus} GPUs" for name, cpus, gpus in nodes))
        self._is_inviting = bool(host)
        if host and self._listener is None:
            try:
                self._listener = Listener(host)
            except OSError as error:
                log.warning("cannot listen at %s (%s); messages go through Ray, which takes more CPU", host, error)
        return bridge

    def start(self, has_gpu: bool) -> WorkerHandle:
        listener = self._listener if self._is_inviting else None
        number, bridge = next(self._numbers), self._bridge
        worker = ActorHandle(math.inf, has_gpu=has_gpu, number=number, bridge=bridge, listener=listener)
        self._workers[worker.number] = worker
        invitation = listener.invitation(worker.number) if listener else b""
        self._bridge.send(worker.number, "start", (invitation, self.gpu_share if has_gpu else 0.0))
        return worker

    def receive(self, timeout: float) -> list[tuple[WorkerHandle, str, Any]]:
        found: list[tuple[WorkerHandle, str, Any]] = []
        pipe, is_lost = self._bridge.pipe, False
        wait([pipe, self._listener.ready] if self._listener else [pipe], timeout)
        try:
            while len(found) < _EVENTS and pipe.poll(0.0):
                found += self._told_by(*pipe.recv())
        except (EOFError, OSError):
            is_lost = True
        for event in self._listener.take() if self._listener else ():
            found += self._heard_from(*event)
        if is_lost:
            return found + self._lose()
        self._tell_of_waiting()
        return found + self._overdue()

    def _told_by(self, number: int, kind: str, value: Any) -> list[tuple[WorkerHandle, str, Any]]:
        """Return what an event of the bridge says of a worker."""
        worker = self._workers.get(number)
        if worker is None:
            return []
        if kind == "placed":
            worker.place, worker.hired = value[0], time.monotonic()
            gpus = f", GPU {', '.join(map(str, value[3]))}" if value[3] else ""
            log.info("worker %d is on %s%s, process %d", number, worker.place, gpus, value[2])
            return self._take(worker, worker.early)
        if kind == "messages":
            if not worker.route:
                self._tell_of_detour(worker)
                worker.reach_by(RAY)
            return self._take(worker, value)
        if kind == "broken":
            return [(worker, "broken", value)]
        place = f" on {worker.place}" if worker.place and self._settings["address"] != LOCAL and kind == "lost" else ""
        is_lost = kind == "lost" or value == CONNECTION_LOST
        text = f"{value}{place}" if kind == "lost" else "its connection was lost" if is_lost else f"exit code {value}"
        worker.end, worker.ended = Ending(text, is_lost), time.monotonic()
        return [] if worker.route == SOCKET and not worker.closed and not is_lost else self._bury(worker)

    def _heard_from(self, number: int, kind: str, message: bytes) -> list[tuple[WorkerHandle, str, Any]]:
        """Return what an event of the listener says of a worker."""
        worker = self._workers.get(number)
        if worker is None:
            return []
        if kind == "open":
            worker.reach_by(SOCKET)
            return []
        if kind == "message":
            return self._take(worker, [message])
        worker.closed = time.monotonic()
        return self._bury(worker) if worker.ended else []

    def _take(self, worker: ActorHandle, messages: list[bytes]) -> list[tuple[WorkerHandle, str, Any]]:
        """Return messages of a worker, or keep them until its place is known, whose memory it will ask for."""
        if not worker.place:
            worker.early += messages
            return []
        heard = [pickle.loads(message) for message in messages]
        if any(what == "done" for what, _ in heard):
            self._reconnects = 0
        return [(worker, what, value) for what, value in heard]

    def _bury(self, worker: ActorHandle) -> list[tuple[WorkerHandle, str, Any]]:
        """Forget a worker that has ended."""
        del self._workers[worker.number]
        if self._listener is not None:
            self._listener.drop(worker.number)
        return [(worker, "gone", None)]

    def _overdue(self) -> list[tuple[WorkerHandle, str, Any]]:
        """Give up workers whose end or whose connection's end is known for some time without the other."""
        since, found = time.monotonic() - _GONE_SECONDS, []
        for worker in list(self._workers.values()):
            if (worker.ended or worker.closed) and max(worker.ended, worker.closed) < since:
                worker.kill()
                found += self._bury(worker)
        return found

    def _lose(self) -> list[tuple[WorkerHandle, str, Any]]:
        """Connect again after the bridge has ended; every worker is gone with it.

        Raises:
            EngineError: that has happened too often.
        """
        gone = [event for worker in list(self._workers.values()) for event in self._bury(worker)]
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

    def _tell_of_detour(self, worker: ActorHandle) -> None:
        """Say once that a node does not reach the build."""
        if worker.listener is not None and not self._detour:
            self._detour = True
            where = f"{worker.listener.host}:{worker.listener.port}"
            log.warning(
                "%s does not reach this build at %s; its messages go through Ray, which takes more CPU", worker.place, where
            )

    def _tell_of_waiting(self) -> None:
        """Say from time to time that the cluster has not placed any worker of a kind yet."""
        now = time.monotonic()
        kinds = {worker.has_gpu for worker in self._workers.values()}
        waiting = kinds - {worker.has_gpu for worker in self._workers.values() if worker.place}
        if not waiting:
            self._told = now
        elif now - self._told > _TOLD_EVERY:
            self._told = now
            for has_gpu in sorted(waiting):
                kind, what = ("GPU worker", f"{self.gpu_share:g} of a GPU and a CPU") if has_gpu else ("worker", "a CPU")
                log.warning("no %s is placed yet: each waits for %s that is free on a node", kind, what)

    def close(self) -> None:
        self._bridge.close()
        if self._listener is not None:
            self._listener.close()
