"""A name for this start of a run on which its processes agree: what earlier starts left in their store is then never read.

The agents of `torchrun` keep one store for all restarts (PyTorch 2.13), in which the addresses of ended processes stay, and
count restarts each for itself; a process that reads such an address waits for one that is gone.
"""

from __future__ import annotations

import time
import uuid
from typing import Protocol

_PAUSE = 0.02


class Messages(Protocol):
    """What is asked of a store; `torch.distributed.Store` has it."""

    def set(self, key: str, value: str) -> None:
        """Store a value."""

    def get(self, key: str) -> bytes:
        """Return a value; waits for one that is not there yet."""

    def check(self, keys: list[str]) -> bool:
        """Return whether all keys are there."""

    def add(self, key: str, amount: int) -> int:
        """Add to a number, 0 at first, and return it."""


def agree_on_start(store: Messages, rank: int, size: int, seconds: float) -> str:
    """Return a name that the processes of this start have in common and no other start had.

    Every other process asks the first one under a number of its own, drawn anew; the first answers whatever it is asked until
    all have taken the name. An old question in the store gets an answer that nobody reads.

    Args:
        store: of all processes, with whatever earlier starts left in it.
        rank: of this process.
        size: number of processes.
        seconds: after which the first process gives up.

    Raises:
        RuntimeError: the others did not come, or the store is gone.
    """
    own = uuid.uuid4().hex
    if rank:
        store.set(f"spherehead/ask/{rank}", own)
        name = store.get(f"spherehead/answer/{own}").decode()
        store.add(f"spherehead/taken/{name}", 1)
        return name
    asked = [f"spherehead/ask/{other}" for other in range(1, size)]
    answered, deadline = set[bytes](), time.monotonic() + seconds
    while store.add(f"spherehead/taken/{own}", 0) < size - 1:
        for question in {store.get(key) for key in asked if store.check([key])} - answered:
            store.set(f"spherehead/answer/{question.decode()}", own)
            answered.add(question)
        if time.monotonic() > deadline:
            raise RuntimeError(f"not all of the other {size - 1} processes came within {seconds:.0f} s")
        time.sleep(_PAUSE)
    return own
