"""One writer a folder: a lock that the system frees when its holder dies, so that none is ever stale."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class BuildLocked(RuntimeError):
    """Another process is writing this folder."""


@contextlib.contextmanager
def writer_lock(path: Path) -> Iterator[None]:
    """Hold the lock file while the block runs.

    Raises:
        BuildLocked: somebody else holds it; the message has the process id.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise BuildLocked(
                f"{path.parent.parent} is being written by process {holder}; wait for it, or stop it and run the line again"
            ) from error
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
