"""One writer a folder: a lock that the system frees when its holder dies, so that none is ever stale.

The lock is filelock's, over flock. File systems without locks (some NFS, Lustre and FUSE mounts) are written without one,
after a warning; filelock's own fallback, a marker file, would stay behind after a kill. The folder itself is locked too where
the file system lets it: a lock file may be deleted while it is held.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from .faults import at_path

log = logging.getLogger(__name__)

NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})
"""Errors of file systems that know no locks."""


class BuildLocked(RuntimeError):
    """Another process is writing this folder."""


class FolderReplaced(BuildLocked):
    """The folder that was being written lies elsewhere now, or is gone."""


@contextlib.contextmanager
def writer_lock(path: Path) -> Iterator[Callable[[], None]]:
    """Hold the lock file, and the folder itself, while the block runs.

    Args:
        path: the lock file, two levels below the folder that is written.

    Yields:
        What raises `FolderReplaced` once the folder is not where it was.

    Raises:
        BuildLocked: somebody else holds it; the message has the process id.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _folder_lock(path) as handle, _lock_file(path):
        ours, folder = os.fstat(handle), path.parent.parent

        def check() -> None:
            with contextlib.suppress(OSError):
                found = folder.stat()
                if (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino):
                    return
            raise FolderReplaced(
                f"{folder} was moved or deleted while it was being written; put it back, or rerun the same command to build "
                "it anew"
            )

        yield check


@contextlib.contextmanager
def _folder_lock(path: Path) -> Iterator[int]:
    """Open the folder that is written and lock it, where the file system lets it; yields the descriptor."""
    folder = path.parent.parent
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _locked(path) from error
        except OSError as error:  # EBADF: NFS locks only what is open for writing
            if error.errno not in (*NO_LOCKS, errno.EBADF):
                raise at_path(error, folder) from error
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def _lock_file(path: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise _locked(path) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        log.warning(
            "%s lies on a file system without locks (%s): make sure that no other process writes this folder",
            path.parent.parent, errno.errorcode.get(error.errno or 0, error),
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


def _locked(path: Path) -> BuildLocked:
    return BuildLocked(
        f"{path.parent.parent} is being written by process {_holder(path)}; wait for it, or stop it and rerun the command"
    )


def _holder(path: Path) -> str:
    """Return the process id in a lock file."""
    with contextlib.suppress(OSError):
        return path.read_text().strip() or "unknown"
    return "unknown"
