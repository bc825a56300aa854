"""A worker on a node of a Ray cluster: the first message it gets, and the check that it would make the same bytes.

It is a child of an actor and ends with it; it connects to its build where it can. What it then does with files is `serving`'s.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import platform
import signal
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection

from ..execution.environment import environment
from ..execution.work import WorkOrder
from .ray_sockets import connect
from .serving import serve

CONNECTION_LOST = 83
"""Exit code of a worker whose connection to the build ended, so that the file in work is not to blame."""
_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


@dataclass(frozen=True)
class Mission:
    """The first message to a worker on another machine."""

    order: bytes
    """The work order, pickled: it is read once the versions are known to be the same."""
    versions: dict[str, str]
    """Of the build's own environment."""
    keys: tuple[str, ...]
    """Cache keys of the recipe as the build has them."""

    @classmethod
    def of(cls, order: WorkOrder) -> Mission:
        """Return the mission of a build."""
        return cls(pickle.dumps(order), environment(), order.recipe.keys())

    def differences(self) -> list[str]:
        """Return which versions of this process differ, as lines."""
        here = environment()
        return [
            f"{name} is {here.get(name)}, the build has {there}"
            for name, there in self.versions.items()
            if here.get(name) != there
        ]


def main(descriptor: int) -> None:
    """Be a worker.

    Args:
        descriptor: of the pipe to the actor.
    """
    _end_with_parent()
    pipe = Connection(descriptor)
    mission = pickle.loads(pipe.recv_bytes())
    if found := mission.differences():
        reason = f"{platform.node()} would make other bytes: {'; '.join(found)}; install the same versions on every node"
        pipe.send(("broken", reason))
        return
    order = pickle.loads(mission.order)
    if order.recipe.keys() != mission.keys:
        pipe.send(
            ("broken", f"{platform.node()} has other weights or back ends than the build; install the same on every node")
        )
        return
    invitation = pipe.recv_bytes()
    straight = connect(pickle.loads(invitation)) if invitation else None
    serve(straight or pipe, order)
    if straight is not None and straight.is_lost:
        sys.exit(CONNECTION_LOST)


def _end_with_parent() -> None:
    """Have the system kill this process when its actor ends (Linux)."""
    parent = os.getppid()
    if platform.system() == "Linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
