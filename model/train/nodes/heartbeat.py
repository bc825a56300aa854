"""Signs of life between the processes of a run: one that is gone ends the others within a minute, whatever they wait for.

A process that was killed closes its connections and is noticed by the exchange itself. A node that lost its power or network
does not: then every other process would wait for the whole timeout of torch.distributed. Here a thread of each process counts
up a number in the run's store and reads those of the others, and a second one watches what was read.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Protocol

from ....manifests.terminal import printable_text

INTERVAL = 5.0
"""Seconds between two signs of life."""
LIMIT = 40.0
"""Seconds without one after which a process counts as lost."""


class Numbers(Protocol):
    """What is asked of a store; `torch.distributed.TCPStore` has it."""

    def set(self, key: str, value: str) -> None:
        """Store a value."""

    def multi_get(self, keys: list[str]) -> list[bytes]:
        """Return values; waits for those that are not there yet."""


def give_up(text: str) -> None:
    """Say why this process ends, and end it: its main thread hangs in an exchange that nothing else ends."""
    sys.stderr.write(f"\nerror: {printable_text(text)}\n")
    sys.stderr.flush()
    os._exit(1)


class Heartbeat:
    """Tells the others that this process lives, and watches them."""

    def __init__(
        self,
        store: Numbers,
        rank: int,
        size: int,
        run: str,
        lost: Callable[[str], None] = give_up,
        interval: float = INTERVAL,
        limit: float = LIMIT,
    ) -> None:
        """Begin.

        Args:
            store: of this thread alone.
            rank: of this process.
            size: number of processes.
            run: what tells this start of the run from earlier ones in the same store.
            lost: called with a line for a person when a process is gone.
            interval: seconds between signs.
            limit: seconds without a sign.
        """
        self._store, self._rank, self._lost, self._interval, self._limit = store, rank, lost, interval, limit
        self._keys = [f"{run}/alive/{number}" for number in range(size)]
        self._ended = threading.Event()
        self._values: list[bytes] = []
        self._store.set(self._keys[rank], "0")
        self._teller = threading.Thread(target=self._exchange, name="heartbeat", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name="heartbeat watch", daemon=True)
        self._teller.start()
        self._watcher.start()

    def close(self) -> None:
        """End; the others are told that this process is done, which is no loss."""
        self._ended.set()
        self._watcher.join(timeout=2 * self._interval)
        self._teller.join(timeout=2 * self._interval)

    def _exchange(self) -> None:
        """Count up and read what the others count: a store whose process is stopped may never answer, whatever its timeout."""
        count = 0
        while not self._ended.wait(self._interval):
            count += 1
            with suppress(RuntimeError, OSError):  # the process that holds the store may be the one that is gone
                self._store.set(self._keys[self._rank], str(count))
                self._values = self._store.multi_get(self._keys)
        with suppress(RuntimeError, OSError):  # the run is over elsewhere as well
            self._store.set(self._keys[self._rank], "done")

    def _watch(self) -> None:
        """Compare what was read with what was read before."""
        told = list[bytes]()
        seen = [time.monotonic()] * len(self._keys)
        while not self._ended.wait(self._interval):
            values, now = self._values, time.monotonic()
            for number, value in enumerate(values):
                if number >= len(told) or value != told[number] or value == b"done":
                    seen[number] = now
            told = values
            seen[self._rank] = now
            late = [number for number, at in enumerate(seen) if now - at > self._limit]
            if late and not self._ended.is_set():
                self._tell(late, now - min(seen))
                return

    def _tell(self, late: list[int], seconds: float) -> None:
        ranks = ", ".join(map(str, late[:8])) + (", ..." if len(late) > 8 else "")
        which = f"process {ranks}" if len(late) == 1 else f"processes {ranks}"
        self._lost(
            f"{which} of {len(self._keys)} gave no sign of life for {seconds:.0f} s: a node or its network is gone; rerun "
            "the same command in all processes to resume from the newest checkpoint (torchrun --max-restarts does so by itself)"
        )


def open_heartbeat(rank: int, size: int, start: str) -> Heartbeat | None:
    """Begin signs of life over the store with which torch.distributed was joined; None where there is no such address.

    Args:
        rank: of this process.
        size: number of processes.
        start: what tells this start of the run from others in the same store; the same for all processes.
    """
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch exports it by a star

    host, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if not host or not port:
        return None
    store = TCPStore(host, int(port), is_master=False, wait_for_workers=False, timeout=timedelta(seconds=LIMIT / 3))
    return Heartbeat(store, rank, size, f"spherehead/{start}", interval=INTERVAL, limit=LIMIT)
