"""Photographs in a folder, and how one regular file is read whole.

A file is checked against its listing and tried again after passing faults; links, pipes and devices are told, never read.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from typing import BinaryIO

from ...manifests.store import HEADER, MANIFEST
from ..images.headers import sniff
from ..sample import Drop, SourceImage
from .base import Refused, Source
from .names import is_hidden, to_bytes, to_text

RETRY_DELAYS = (0.05, 0.25, 1.0)
"""Seconds to wait before reading again after a passing fault of a disk or network."""
PASSING = frozenset({errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ETIMEDOUT, errno.EINTR, errno.EBUSY, errno.ENETDOWN})
"""Errors that may pass."""
_OF_A_DATA_SET = frozenset({HEADER.encode(), MANIFEST.encode()})
"""Names of files that together lie in finished data sets only, whose report's pictures are no photographs."""


def file_stamp(status: os.stat_result) -> str:
    """Return what tells that a file is still the same: size, modification time in ns, inode."""
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"


def read_file(path: bytes, image: SourceImage, max_bytes: int, follow: bool = False) -> bytes:
    """Read a regular file whole, trying again after passing faults, and make sure that it is the file that was listed.

    Args:
        path: where it is, as the system's bytes.
        image: what the listing said; its size and stamp must still hold.
        max_bytes: larger files are refused unread.
        follow: whether a symbolic link at the path's end is allowed.

    Raises:
        Drop: see `Source.read`.
    """
    for delay in (*RETRY_DELAYS, None):
        try:
            return _read_once(path, image, max_bytes, follow)
        except OSError as error:
            if delay is None or error.errno not in PASSING:
                raise io_error(error) from error
            time.sleep(delay)
    raise AssertionError("unreachable")


def _read_once(path: bytes, image: SourceImage, max_bytes: int, follow: bool) -> bytes:
    # O_NONBLOCK: a pipe put in the file's place must not hold the reader up
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
        before = os.fstat(file.fileno())
        if not stat.S_ISREG(before.st_mode):
            raise Drop("special_file", f"{kind_of(before.st_mode)} stands where a file was listed")
        if image.stamp and file_stamp(before) != image.stamp:
            raise Drop("changed_while_reading", f"listed as {image.stamp}, found {file_stamp(before)} (size-mtime-inode)")
        if before.st_size > max_bytes:
            guard_size(file.read(4096), before.st_size, max_bytes)
        data = file.readall()
        after = os.fstat(file.fileno())
    if len(data) != before.st_size or file_stamp(after) != file_stamp(before):
        raise Drop("changed_while_reading", f"{before.st_size} bytes when opened, {len(data)} read, {after.st_size} at the end")
    return data


def open_regular(path: bytes) -> BinaryIO:
    """Open a regular file, or what a link to one leads to, for reading; a pipe or device in its place never blocks.

    Raises:
        OSError: it cannot be opened or is no regular file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise OSError(errno.EINVAL, f"expected a file, found {kind_of(mode)}")
    return os.fdopen(handle, "rb")


def guard_size(start: bytes, num_bytes: int, max_bytes: int) -> None:
    """Refuse a file that is too large to read, telling films and archives from pictures by their first bytes."""
    sniff(start)
    raise Drop("too_many_bytes", f"{num_bytes} bytes > max_bytes {max_bytes}", float(num_bytes))


def io_error(error: OSError) -> Drop:
    """Word a system's error as a refusal, with its name."""
    name = errno.errorcode.get(error.errno or 0, "unknown error")
    if error.errno == errno.ELOOP:
        return Drop("special_file", "a symbolic link stands where a file was listed")
    return Drop("io_error", f"{name}: {error.strerror or error}")


def kind_of(mode: int) -> str:
    """Name what a thing that is no regular file is."""
    tests: tuple[tuple[str, bool], ...] = (
        ("a symbolic link", stat.S_ISLNK(mode)), ("a named pipe", stat.S_ISFIFO(mode)), ("a socket", stat.S_ISSOCK(mode)),
        ("a character device", stat.S_ISCHR(mode)), ("a block device", stat.S_ISBLK(mode)), ("a folder", stat.S_ISDIR(mode)),
    )  # fmt: skip
    return next((name for name, true in tests if true), "no regular file")


class FolderSource(Source):
    """Every regular file under a folder, in the byte order of names, folders in their place among files."""

    def __init__(self, label: str, root: str, follow_links: bool = False, only: str = "") -> None:
        """Read from `root`.

        Args:
            label: name in manifests.
            root: the folder; it may itself be a link.
            follow_links: whether links are followed, wherever they lead; otherwise each is reported.
            only: name of the single file to read, which may be a link; empty for all.
        """
        self.label, self.follow_links, self.only = label, follow_links or bool(only), only
        self.root = os.path.abspath(root)  # noqa: PTH100 - Path would normalise bytes that are no text
        self.skipped: tuple[int, int] | None = None
        """Device and inode of a folder that is not read, by whichever link it is reached."""

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Walk the folder depth first; one folder's names are in memory at a time (and those of the folders above it)."""
        root = os.fsencode(self.root) + b"/"
        visited: dict[tuple[int, int], str] = {}
        names = [os.fsencode(self.only)] if self.only else self._names(root, b"", visited)
        if isinstance(names, Refused):
            yield names
            return
        pending = [(b"", iter(names))]
        while pending:
            prefix, rest = pending[-1]
            name = next(rest, None)
            if name is None:
                pending.pop()
                continue
            found = self._look(root + prefix + name, prefix + name, name)
            if found is None:
                inner = self._names(root + prefix + name, prefix + name, visited)
                if isinstance(inner, Refused):
                    yield inner
                else:
                    pending.append((prefix + name + b"/", iter(inner)))
            else:
                yield found

    def _names(self, path: bytes, relative: bytes, visited: dict[tuple[int, int], str]) -> list[bytes] | Refused:
        """List a folder's names in order, once: every folder is read under the first of its names."""
        text = to_text(relative) + "/"
        try:
            status = os.stat(path)  # noqa: PTH116 - bytes path
            place = (status.st_dev, status.st_ino)
            if place == self.skipped:
                return []
            if place in visited:
                first = visited[place]
                what = "a loop: this leads back to" if text.startswith(first) or first == "/" else "the same folder as"
                return Refused(self.label, text, "special_file", f"{what} {first}, which is read already")
            visited[place] = text
            names = sorted(os.listdir(path))  # noqa: PTH208 - bytes path
        except OSError as error:
            drop = io_error(error)
            return Refused(self.label, text, drop.reason, drop.detail)
        if relative and not _OF_A_DATA_SET.difference(names):
            return Refused(self.label, text, "special_file", "a finished data set, not entered; it can be a source of its own")
        return names

    def _look(self, path: bytes, relative: bytes, name: bytes) -> SourceImage | Refused | None:
        """Tell what one name is: a file, a thing to refuse, or None for a folder to walk."""
        try:
            status = os.lstat(path)
        except OSError as error:
            drop = io_error(error)
            return Refused(self.label, to_text(relative), drop.reason, drop.detail)
        mode, text = status.st_mode, to_text(relative)
        if is_hidden(to_text(name)):
            folder = stat.S_ISDIR(mode)
            return Refused(self.label, text + "/" * folder, "hidden_file", "a folder, not entered" if folder else "")
        if stat.S_ISREG(mode):
            return SourceImage(self.label, text, status.st_size, file_stamp(status))
        if stat.S_ISLNK(mode):
            return self._follow(path, text)
        return None if stat.S_ISDIR(mode) else Refused(self.label, text, "special_file", kind_of(mode))

    def _follow(self, path: bytes, text: str) -> SourceImage | Refused | None:
        """Report a symbolic link, or go where it leads if that is wanted."""
        if not self.follow_links:
            detail = "a symbolic link; pass --follow-links to read what it leads to"
            return Refused(self.label, text, "special_file", detail)
        try:
            status = os.stat(path)  # noqa: PTH116 - bytes path
        except OSError as error:
            what = "a loop of symbolic links" if error.errno == errno.ELOOP else "a broken symbolic link"
            return Refused(self.label, text, "special_file", f"{what} ({error.strerror})")
        if stat.S_ISREG(status.st_mode):
            return SourceImage(self.label, text, status.st_size, file_stamp(status))
        if stat.S_ISDIR(status.st_mode):
            return None
        return Refused(self.label, text, "special_file", f"a symbolic link to {kind_of(status.st_mode)}")

    def read(self, image: SourceImage) -> bytes:
        """Read one file; see `Source.read`."""
        return read_file(os.fsencode(self.root) + b"/" + to_bytes(image.path), image, self.max_bytes, self.follow_links)
