"""Caches of data sets that were built before all contents shared one SQLite file: a log a photograph, read where it still lies.

A log goes when its content is worked on again. Nothing writes new ones.
"""

from __future__ import annotations

import contextlib
import json
import struct
import zlib
from pathlib import Path

from .packing import pack, unpack

_HEADER = struct.Struct("<4s16sQI")
_MAGIC = b"SHR1"


class OldLogs:
    """The logs of a data set, by work key."""

    def __init__(self, folder: Path) -> None:
        """Read logs under `folder`, which need not exist."""
        self._folder = folder
        self._there = folder.is_dir()

    def _path(self, work_key: str) -> Path:
        return self._folder / work_key[:2] / f"{work_key}.log"

    def records(self, work_key: str) -> dict[str, bytes]:
        """Return the whole records of a log by key, a later one in place of an earlier one with its key."""
        if not self._there:
            return {}
        try:
            data = self._path(work_key).read_bytes()
        except OSError:
            return {}
        found: dict[str, bytes] = {}
        at = 0
        while at + _HEADER.size <= len(data):
            magic, key, length, checksum = _HEADER.unpack_from(data, at)
            at += _HEADER.size
            payload = data[at : at + length]
            if magic != _MAGIC or len(payload) != length:
                break
            if zlib.crc32(payload) == checksum:
                found[key.decode("ascii", "replace")] = payload
            at += length
        return {key: record for key, record in found.items() if set(key) <= set("0123456789abcdef")}

    def members(self, work_key: str, key: str) -> bytes | None:
        """Return the packed members of a log's finished record, or None; rows of another content are no use."""
        record = self.records(work_key).get(key)
        if record is None:
            return None
        with contextlib.suppress(ValueError, KeyError, TypeError, struct.error):
            finished = unpack(record)
            json.loads(finished["rows"])
            return pack(finished["members"])
        return None

    def remove(self, work_key: str) -> None:
        """Delete a log."""
        if self._there:
            self._path(work_key).unlink(missing_ok=True)
