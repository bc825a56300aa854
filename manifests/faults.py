"""Faults of disks, mounts and limits in one line: what failed, on which file, and what to do about it.

Which exit code such a line leaves with is left to `cli`; damage inside a file is told by whoever reads the file.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from .terminal import escaped

RESUME = "rerun the same command to resume"
"""What to do after every fault that has passed."""

_REMEDIES = {
    errno.ENOSPC: f"free some space or choose another disk, then {RESUME}",
    errno.EDQUOT: f"your quota there is used up: free some space or choose another disk, then {RESUME}",
    errno.EROFS: "it lies on a read-only file system: choose a place that can be written",
    errno.EACCES: "give this user the right to it, or choose another place",
    errno.EPERM: "give this user the right to it, or choose another place",
    errno.EFBIG: f"the limit on file sizes is too low: raise it (ulimit -f) or use a smaller shard_size, then {RESUME}",
    errno.EIO: f"the disk or network failed: see the system's log, then {RESUME}",
    errno.ESTALE: f"the network file system lost it: mount it again, then {RESUME}",
    errno.ETIMEDOUT: f"the network file system did not answer: when it does, {RESUME}",
    errno.EMFILE: f"too many files are open: raise the limit (ulimit -n), then {RESUME}",
    errno.ENFILE: f"the system has too many files open: close some programs, then {RESUME}",
    errno.ENOMEM: f"memory is used up: use fewer --workers, then {RESUME}",
    errno.EAGAIN: f"the limit on processes is reached: use fewer --workers or raise it (ulimit -u), then {RESUME}",
    errno.ENAMETOOLONG: "use a shorter path",
    errno.ENOTDIR: "a part of this path is a file: move it or choose another place",
    errno.EISDIR: "a folder stands where a file is expected: move it or choose another place",
    errno.EXDEV: "keep this folder on one file system",
    errno.ELOOP: "the path runs in a loop of links, or a link stands where a file is expected",
    errno.ENOENT: "it is not there, or the folder it is to lie in is not: check the path",
    errno.EPIPE: "what read this output has ended",
}


def os_error_line(error: OSError) -> str:
    """Word a system's error: the file, the error's name and text, and the remedy where one is known."""
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    text = error.strerror or str(error) or type(error).__name__
    where = f"{printable(error.filename)}: " if error.filename is not None else ""
    remedy = _REMEDIES.get(error.errno or 0, "")
    return f"{where}{text} ({name})" + (f"; {remedy}" if remedy else "")


def printable(name: Any) -> str:
    """Return a file's name as text that every terminal takes; bytes that are no UTF-8 are shown as \\udcXX."""
    return escaped(os.fsdecode(name) if isinstance(name, str | bytes | Path) else str(name))


def at_path(error: OSError, path: Path) -> OSError:
    """Return the same error with the path that it is about; writes and fsyncs raise theirs without."""
    return OSError(error.errno, error.strerror or str(error), os.fspath(path))
