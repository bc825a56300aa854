"""Shared memory that data workers fill and the trainer reads, the same pieces again and again.

Fresh shared pages cost more than decoding a mask (1.1 ms for a sample of 512 px against 0.07 ms to write it): each is cleared,
mapped and mapped again. So every worker has a few slots; one is free again as soon as nothing in the trainer refers to it.
What lies in a slot is left to `batch`.
"""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Pixels
from ..shards.storage import DataError

if TYPE_CHECKING:
    from torch import Tensor

_OPEN: weakref.WeakValueDictionary[int, Slots] = weakref.WeakValueDictionary()
"""Slots of this process by key: what comes out of a worker's pipe knows only the key."""
_SHARED = "/dev/shm"
_KEYS = itertools.count()


class Slots:
    """Slots of several workers. The trainer makes them; workers get a copy that shares the memory."""

    def __init__(self, workers: int, count: int, num_bytes: int) -> None:
        """Reserve the memory; its pages are taken when they are first written.

        Args:
            workers: processes that fill slots.
            count: slots of each.
            num_bytes: size of a slot.
        """
        import torch

        require_shared_memory(workers * count * num_bytes)
        self._key = next(_KEYS)
        self._memory = _shared(torch, (workers, count, num_bytes))
        self._taken = _shared(torch, (workers, count))
        _OPEN[self._key] = self

    def __getstate__(self) -> dict[str, Any]:
        return {"_key": self._key, "_memory": self._memory, "_taken": self._taken}

    def take(self, worker: int) -> int | None:
        """Return a free slot of a worker, which is its own from now on; None where all are in use. Called in the worker."""
        free = np.flatnonzero(self._taken.numpy()[worker] == 0)
        if not free.size:
            return None
        self._taken[worker, int(free[0])] = 1
        return int(free[0])

    def give_back(self, worker: int, slot: int) -> None:
        """Free a slot."""
        self._taken[worker, slot] = 0

    def memory(self, worker: int, slot: int) -> Tensor:
        """Return the (n,) uint8 memory of a slot, to be written by its worker."""
        return self._memory[worker, slot]

    def sent(self, worker: int, slot: int, rebuild: Callable[..., Any], *arguments: Any) -> Sent:
        """Return what a worker hands on in place of a slot's memory.

        Args:
            worker: who filled the slot.
            slot: which one.
            rebuild: makes what the trainer gets of the (n,) uint8 memory and `arguments`.
            arguments: small things that are pickled.
        """
        return Sent(self._key, worker, slot, rebuild, arguments)

    def lent(self, worker: int, slot: int) -> Tensor:
        """Return a slot's (n,) uint8 memory to the trainer; the slot is free when the last tensor on it is gone."""
        import torch

        view: Pixels = self._memory.numpy()[worker, slot]  # an object of its own, which the tensor's storage keeps alive
        weakref.finalize(view, self.give_back, worker, slot).atexit = False
        return torch.from_numpy(view)


class Sent:
    """A slot on its way to the trainer; unpickling it there gives what `rebuild` makes of its memory."""

    def __init__(self, key: int, worker: int, slot: int, rebuild: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._parts = (key, worker, slot, rebuild, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, self._parts


def _received(key: int, worker: int, slot: int, rebuild: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return rebuild(_OPEN[key].lent(worker, slot), *arguments)


def require_shared_memory(num_bytes: int) -> None:
    """Make sure that shared memory has room: it is taken page by page, and a write without room ends the process by SIGBUS.

    Raises:
        DataError: with what it needs, what is free, and what to do.
    """
    try:
        found = os.statvfs(_SHARED)
    except OSError:
        return
    free = found.f_bavail * found.f_frsize
    if num_bytes > free:
        raise DataError(
            f"{_SHARED} has {free >> 20:,} MiB free, the data workers need {num_bytes >> 20:,} MiB; use fewer --workers or a "
            "smaller batch, or give it more room (docker run --shm-size=8g)"
        )


def _shared(torch: Any, shape: tuple[int, ...]) -> Tensor:
    """Return zeros that processes share."""
    count = int(np.prod(shape))
    try:
        storage = torch.UntypedStorage._new_shared(count)
    except RuntimeError as error:
        raise DataError(
            f"cannot share {count >> 20:,} MiB of memory with the data workers ({str(error).splitlines()[0]}); make sure that "
            f"{_SHARED} is there and can be written, or read in this process (--workers 0)"
        ) from error
    memory: Tensor = torch.empty(0, dtype=torch.uint8).set_(storage)
    return memory.view(shape)
