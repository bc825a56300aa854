"""The stage cache: one append-only log a photograph, a record a stage, each with its key and a checksum.

A record that a kill cut short fails its checksum and is overwritten; nothing here needs fsync, because a lost record only
costs the work to make it again. What is in a record is left to `packing`.
"""

from __future__ import annotations

import contextlib
import fcntl
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

_HEADER = struct.Struct("<4s16sQI")
_MAGIC = b"SHR1"
_SLACK = 4 << 20
"""Bytes of records for other settings that a log may hold beyond the size of its live ones."""


class Log:
    """The open, locked log of one photograph."""

    def __init__(self, file: BinaryIO) -> None:
        """Index the records of an open file; a damaged tail is ignored and overwritten by the next record."""
        self._file = file
        self._records: dict[str, tuple[int, int]] = {}
        self._end = 0
        self._scan()

    def _scan(self) -> None:
        self._file.seek(0, 2)
        size = self._file.tell()
        position = 0
        while position + _HEADER.size <= size:
            self._file.seek(position)
            magic, key, length, _ = _HEADER.unpack(self._file.read(_HEADER.size))
            if magic != _MAGIC or position + _HEADER.size + length > size:
                break
            self._records[key.decode("ascii", "replace")] = (position, length)
            position += _HEADER.size + length
            self._end = position

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def read(self, key: str) -> bytes | None:
        """Return a record's payload, or None where it is absent or damaged."""
        if key not in self._records:
            return None
        position, length = self._records[key]
        self._file.seek(position)
        _, _, _, checksum = _HEADER.unpack(self._file.read(_HEADER.size))
        payload = self._file.read(length)
        if len(payload) != length or zlib.crc32(payload) != checksum:
            del self._records[key]
            return None
        return payload

    def append(self, key: str, payload: bytes) -> None:
        """Add a record; a later one with the same key replaces an earlier one.

        Args:
            key: 16 ASCII characters.
            payload: any bytes.
        """
        self._file.seek(self._end)
        self._file.write(_HEADER.pack(_MAGIC, key.encode("ascii"), len(payload), zlib.crc32(payload)) + payload)
        self._file.truncate()
        self._file.flush()
        self._records[key] = (self._end, len(payload))
        self._end = self._file.tell()

    def compact(self, live: Collection[str]) -> None:
        """Drop records of other settings where they outweigh the live ones."""
        used = sum(length for key, (_, length) in self._records.items() if key in live)
        if self._end - used <= used + _SLACK:
            return
        kept = [(key, payload) for key in self._records if key in live and (payload := self.read(key)) is not None]
        self._records, self._end = {}, 0
        for key, payload in kept:
            self.append(key, payload)


class StageCache:
    """The logs of a data set, by work key."""

    def __init__(self, folder: Path) -> None:
        """Keep logs under `folder`."""
        self._folder = folder

    def path(self, work_key: str) -> Path:
        """Return the place of a photograph's log."""
        return self._folder / work_key[:2] / f"{work_key}.log"

    @contextlib.contextmanager
    def open(self, work_key: str) -> Iterator[Log]:
        """Open a photograph's log; a second worker that holds the same content waits here."""
        path = self.path(work_key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            with path.open("r+b") as file:
                yield Log(file)

    def read(self, work_key: str, key: str) -> bytes | None:
        """Return one record without keeping the log open, or None."""
        path = self.path(work_key)
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return Log(file).read(key)

    def remove(self, work_key: str) -> None:
        """Forget a photograph."""
        self.path(work_key).unlink(missing_ok=True)
