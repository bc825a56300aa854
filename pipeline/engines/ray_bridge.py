"""The process that speaks Ray for a build: it starts one actor per worker, reports how they end, and carries messages of those
without a socket.

It is a process of its own because Ray ends whoever is connected to a raylet that dies. Files, limits and results are `pool`'s
business; the worker itself is a child of its actor, so that its exit code is known, see `ray_node`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from typing import Any

SOCKETS = "SPHEREHEAD_RAY_SOCKETS"
"""Variable of the build: 0 has all messages go through Ray."""
_POLLS = 2
"""Calls that wait in an actor for what its worker says, so that it need not wait for the next call."""
_BATCH_BYTES = 4 << 20
"""Messages that an actor sends together."""
_TICK = 0.25
_STORE_BYTES = 128 << 20
"""Shared memory of a local cluster, beside that of each worker."""
_STORE_BYTES_PER_WORKER = 32 << 20
_PATIENCE = 5.0


class SphereheadWorker:
    """An actor on a node: one worker process, its pipe and its end."""

    def __init__(self, mission: bytes, invitation: bytes, paths: list[str], variables: dict[str, str]) -> None:
        """Start the worker.

        Args:
            mission: what `ray_node.main` reads first.
            invitation: how it reaches the build by a socket; empty where it is to speak through this actor.
            paths: the build's `sys.path`; folders that are not here do no harm.
            variables: of the environment.
        """
        import ray as ray_module

        ray: Any = ray_module
        mine, theirs = Pipe()
        inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        known = [path for path in dict.fromkeys([*inherited, *paths]) if path and os.path.isdir(path)]  # noqa: PTH112
        program = "import sys; from spherehead.pipeline.engines.ray_node import main; main(int(sys.argv[1]))"
        self._pipe, self._gpus = mine, [str(gpu) for gpu in ray.get_gpu_ids()]
        self._child = subprocess.Popen(
            [sys.executable, "-c", program, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={
                **os.environ,
                **variables,
                "PYTHONPATH": os.pathsep.join(known),
                "CUDA_VISIBLE_DEVICES": ",".join(self._gpus),  # Ray leaves this as it is where nothing is asked for
            },
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        self._node = f"{socket.gethostname()} (node {ray.get_runtime_context().get_node_id()[:8]})"
        with contextlib.suppress(OSError):  # a worker that ended at once says so by its exit code
            mine.send_bytes(mission)
            mine.send_bytes(invitation)

    def where(self) -> tuple[str, int, int, list[str]]:
        """Return the node, the process ids of this actor and its worker, and the GPUs that it has or shares."""
        return self._node, os.getpid(), self._child.pid, self._gpus

    def tell(self, message: bytes) -> None:
        """Pass a message on to the worker; one that is gone gets none."""
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(message)

    def hear(self) -> tuple[list[bytes], int | None]:
        """Wait for messages of the worker; return them, or none and its exit code where it has ended."""
        found: list[bytes] = []
        try:
            while not found or (sum(map(len, found)) < _BATCH_BYTES and self._pipe.poll(0.0)):
                found.append(self._pipe.recv_bytes())
        except (EOFError, OSError):
            if not found:
                try:
                    return [], self._child.wait(timeout=_PATIENCE)
                except subprocess.TimeoutExpired:
                    self._child.kill()
                    return [], self._child.wait()
        return found, None


@dataclass
class _Actor:
    """An actor as the bridge knows it."""

    number: int
    handle: Any
    hearing: deque[Any] = field(default_factory=deque)
    """Calls that wait for messages, the first to be answered first."""
    is_placed: bool = False


class Bridge:
    """The connection to a cluster, and the actors of one build."""

    def __init__(self, pipe: Connection, settings: dict[str, Any]) -> None:
        """Connect.

        Args:
            pipe: to the build.
            settings: address, workers, name, mission, paths and variables, see `ray_engine`.
        """
        import ray as ray_module

        ray: Any = ray_module  # its types know remote() as a decorator without options only
        self._ray, self._pipe, self._settings = ray, pipe, settings
        self._actors: dict[int, _Actor] = {}
        self._lock = threading.Lock()
        self._is_wanted = True
        if settings["address"] == "local":
            count = max(1, settings["workers"])
            ray.init(
                address="local", num_cpus=count, include_dashboard=False, log_to_driver=False,
                object_store_memory=_STORE_BYTES + count * _STORE_BYTES_PER_WORKER,
            )  # fmt: skip
        else:
            ray.init(address=settings["address"], log_to_driver=False)
        self._mission = ray.put(settings["mission"])
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a node without this toolkit can then say so
        groups = {"tell": 1, "hear": 1}
        self._class = ray.remote(concurrency_groups=groups, max_restarts=0, max_task_retries=0)(SphereheadWorker)

    def run(self) -> None:
        """Carry messages until the build closes its end."""
        nodes = [
            (node["NodeManagerHostname"], int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0)))
            for node in self._ray.nodes()
            if node["Alive"]
        ]
        self._pipe.send((0, "cluster", (nodes, self._host())))
        threading.Thread(target=self._obey, daemon=True).start()
        while self._is_wanted:
            with self._lock:
                waiting = {actor.hearing[0]: actor for actor in self._actors.values()}
            if not waiting:
                threading.Event().wait(_TICK / 2)
                continue
            ready, _ = self._ray.wait(list(waiting), num_returns=1, timeout=_TICK, fetch_local=False)
            for call in ready:
                self._pass_on(waiting[call])
        self._ray.shutdown()

    def _obey(self) -> None:
        """Do what the build asks for."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                number, what, value = self._pipe.recv()
                if what == "start":
                    self._start(number, *value)
                elif (actor := self._actors.get(number)) is None:
                    continue
                elif what == "tell":
                    actor.handle.tell.options(concurrency_group="tell").remote(value)
                elif what == "kill":
                    self._forget(actor)
        self._is_wanted = False
        late = threading.Timer(_PATIENCE, os._exit, (0,))  # a cluster that does not answer does not keep this process
        late.daemon = True
        late.start()

    def _host(self) -> str:
        """Return the address by which nodes reach this machine; empty where messages are to go through Ray."""
        address: str = self._settings["address"]
        if os.environ.get(SOCKETS) == "0" or os.environ.get("RAY_USE_TLS") == "1" or address.startswith("ray://"):
            return ""
        return "127.0.0.1" if address == "local" else str(self._ray.util.get_node_ip_address())

    def _start(self, number: int, invitation: bytes, gpu_share: float) -> None:
        name = f"{self._settings['name']}, {'GPU worker' if gpu_share else 'worker'} {number}"
        options = {"name": name, "num_cpus": 1, "num_gpus": gpu_share, "scheduling_strategy": "SPREAD"}
        handle = self._class.options(**options).remote(
            self._mission, invitation, self._settings["paths"], self._settings["variables"]
        )
        actor = _Actor(number, handle)
        actor.hearing.append(handle.where.options(concurrency_group="hear").remote())
        self._listen(actor)
        with self._lock:
            self._actors[number] = actor

    def _listen(self, actor: _Actor) -> None:
        while len(actor.hearing) < _POLLS:
            actor.hearing.append(actor.handle.hear.options(concurrency_group="hear").remote())

    def _pass_on(self, actor: _Actor) -> None:
        """Fetch what an actor has answered and pass it on, which waits while the build does not take it."""
        try:
            answer = self._ray.get(actor.hearing.popleft())
        except Exception as error:  # whatever Ray raises, the worker is out of reach
            if self._forget(actor):
                self._send(actor.number, *_fault(error))
            return
        if not actor.is_placed:
            actor.is_placed = True
            self._send(actor.number, "placed", answer)
        elif answer[1] is not None:
            if self._forget(actor):
                self._send(actor.number, "exit", answer[1])
            return
        else:
            self._send(actor.number, "messages", answer[0])
        self._listen(actor)

    def _send(self, number: int, kind: str, value: Any) -> None:
        with contextlib.suppress(OSError):
            self._pipe.send((number, kind, value))

    def _forget(self, actor: _Actor) -> bool:
        """End an actor; False where that was done before."""
        with self._lock:
            if self._actors.pop(actor.number, None) is None:
                return False
        self._ray.kill(actor.handle, no_restart=True)
        return True


def _fault(error: Exception) -> tuple[str, str]:
    """Tell a lost actor from one that cannot start at all."""
    text = str(error)
    if "creation task" in text:
        return "broken", f"a node cannot start workers; is the same Python and Ray installed there?\n{text}"
    reason = next((line for line in text.splitlines() if "because" in line), text.partition("\n")[0])
    return "lost", reason.strip()[:300]


def main(descriptor: int) -> None:
    """Be the bridge of a build.

    Args:
        descriptor: of the pipe to the build.
    """
    pipe = Connection(descriptor)
    settings, is_connected = pipe.recv(), threading.Event()
    watch = threading.Thread(target=_end_with_build, args=(pipe, is_connected), daemon=True)
    watch.start()
    try:
        bridge = Bridge(pipe, settings)
    except Exception as error:
        pipe.send((0, "unreachable", f"{type(error).__name__}: {error}{_hint(error, settings['address'])}"))
        return
    is_connected.set()
    watch.join()
    bridge.run()


def _hint(error: Exception, address: str) -> str:
    """Return what may be missing where a cluster at an address refuses: `ray start` asks for a token, `ray.init` sends none."""
    if not isinstance(error, ConnectionError) or address in ("local", "auto") or os.environ.get("RAY_AUTH_MODE"):
        return ""
    return "; if it was started with token authentication, the default of `ray start`, set RAY_AUTH_MODE=token"


def _end_with_build(pipe: Connection, is_connected: threading.Event) -> None:
    """End this process when the build ends while Ray still tries to connect, which it does for minutes."""
    while not is_connected.wait(_TICK):
        if pipe.poll():  # the build asks for nothing yet, so its end is closed
            os._exit(1)
