"""One writer a folder: a lock that the system frees when its holder dies, so that none is ever stale.

The lock is filelock's, over flock. File systems without locks (some NFS, Lustre and FUSE mounts) are written without one,
after a warning; filelock's own fallback, a marker file, would stay behind after a kill.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from .faults import at_path

log = logging.getLogger(__name__)

NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})
"""Errors of file systems that know no locks."""


class BuildLocked(RuntimeError):
    """Another process is writing this folder."""


@contextlib.contextmanager
def writer_lock(path: Path) -> Iterator[None]:
    """Hold the lock file while the block runs.

    Args:
        path: the lock file, two levels below the folder that is written.

    Raises:
        BuildLocked: somebody else holds it; the message has the process id.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.parent.parent
    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise BuildLocked(
            f"{folder} is being written by process {_holder(path)}; wait for it, or stop it and rerun the command"
        ) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        log.warning(
            "%s lies on a file system without locks (%s): make sure that no other process writes this folder",
            folder, errno.errorcode.get(error.errno or 0, error),
        )  # fmt: skip
        yield
        return
    try:
        try:
            path.write_text(f"{os.getpid()}\n")
        except OSError as error:
            raise at_path(error, path) from error
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    """Return the process id in a lock file."""
    with contextlib.suppress(OSError):
        return path.read_text().strip() or "unknown"
    return "unknown"
