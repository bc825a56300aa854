"""The SQLite files of a build: opened so that kills and missing locks do no harm, read where nothing can be written, and their
faults told with file and remedy.

What is in them is left to `cache` and to `building.memory`.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ...manifests.faults import RESUME
from ...manifests.lock import NO_LOCKS

log = logging.getLogger(__name__)

FILES = ("state.sqlite", "cache.sqlite")
"""Databases in a data set's `.state`: what came of each file, and the stage cache."""
_BUSY_SECONDS = 5.0


class StateError(RuntimeError):
    """A database of a build that cannot be used; the message says which, why and what to do."""


class Database(sqlite3.Connection):
    """A connection that says, when it is closed, that its file is no longer where it was opened."""

    _path: Path | None = None
    _file = (0, 0)

    def watch(self, path: Path) -> None:
        """Note which file lies at the path now."""
        self._path, self._file = path, _identity(path)

    def close(self) -> None:
        """Close the file."""
        if self._path is not None and _identity(self._path) != self._file:
            log.warning(
                "%s was deleted or replaced while it was in use: finished shards and tables are not harmed, but the next run "
                "of this command may have to work everything out again", self._path,
            )  # fmt: skip
        self._path = None
        super().close()


def _identity(path: Path) -> tuple[int, int]:
    """Return what tells a file from every other, zeros where there is none."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return 0, 0


def open_database(path: Path, page_size: int = 4096) -> sqlite3.Connection:
    """Open or create a database for writing, in write-ahead mode: a kill loses at most the open transaction.

    Deleted rows are overwritten with zeros, so that what was taken down cannot be read from the file. A file that is deleted
    or replaced meanwhile is told when the connection is closed.

    Args:
        path: the file; its folder is made.
        page_size: bytes of a page, where the file is new.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        db = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS, factory=Database)
        _configured(db, page_size)
    except sqlite3.OperationalError:
        if _has_locks(path):
            raise
        log.warning("%s lies on a file system without locks: make sure that no other process writes it", path)
        address = f"{path.resolve().as_uri()}?vfs=unix-none"
        db = sqlite3.connect(address, uri=True, isolation_level=None, factory=Database)
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        _configured(db, page_size)
    db.watch(path)
    return db


def _configured(db: sqlite3.Connection, page_size: int) -> sqlite3.Connection:
    try:
        db.execute(f"PRAGMA page_size={page_size}")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("PRAGMA secure_delete=ON")
        db.execute("PRAGMA journal_size_limit=16777216")
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        db.close()
        raise
    return db


def _has_locks(path: Path) -> bool:
    """Return whether the file system of a file knows the locks that SQLite takes."""
    try:
        with path.open("ab") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(file, fcntl.LOCK_UN)
    except OSError as error:
        return error.errno not in NO_LOCKS
    return True


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database for reading only; beside a running build, and on media that cannot be written, too.

    Args:
        path: the file, which is there.
    """
    with contextlib.ExitStack() as stack:
        if os.access(path.parent, os.W_OK) and os.access(path, os.W_OK) and _has_locks(path):
            address = f"{path.resolve().as_uri()}?mode=ro"
        else:
            journal = path.with_name(f"{path.name}-wal")
            if journal.is_file() and journal.stat().st_size:  # its content counts, and only a copy can take it in
                copy = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                shutil.copy(journal, copy)
                address = f"{Path(shutil.copy(path, copy)).as_uri()}?mode=rw"
            else:
                address = f"{path.resolve().as_uri()}?immutable=1"
        yield stack.enter_context(contextlib.closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)))


@contextlib.contextmanager
def naming_faults(folder: Path) -> Iterator[None]:
    """Turn errors of SQLite into one line with file and remedy.

    Args:
        folder: the data set's `.state`.

    Raises:
        StateError: instead of any `sqlite3.Error`.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise StateError(_line(error, folder)) from error


def _line(error: sqlite3.Error, folder: Path) -> str:
    """Say what an error of SQLite means for the person before the screen."""
    code = getattr(error, "sqlite_errorcode", None)
    kind = code & 0xFF if code is not None else -1
    if kind == sqlite3.SQLITE_FULL:
        return f"{folder}: no space left on the disk; free some, then {RESUME}"
    if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"{folder}: another program holds a database there ({error}); close it, then {RESUME}"
    if kind in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return f"{folder}: cannot be written ({error}); give this user the right to it, or build into another --out"
    if kind == sqlite3.SQLITE_IOERR:
        return f"{folder}: reading or writing failed ({error}); see free space, file-size limit and disk, then {RESUME}"
    damaged = [str(folder / name) for name in FILES if _is_damaged(folder / name)]
    where = " and ".join(damaged) or str(folder)
    return (
        f"{where}: damaged ({error}); the finished set is untouched. Delete {where} and the -wal and -shm files beside it, "
        f"or the whole of {folder}, and rerun the same command: what they held is worked out again"
    )


def _is_damaged(path: Path) -> bool:
    """Return whether SQLite finds a file damaged."""
    if not path.is_file():
        return False
    try:
        with reading(path) as db:
            return [tuple(row) for row in db.execute("PRAGMA quick_check(1)")] != [("ok",)]
    except (sqlite3.Error, OSError):
        return True
