"""The stage cache: what the stages of a recipe made of each content, in one SQLite file that one process writes.

A row holds the records of one content, bound to its name by a keyed digest: a row that was damaged, or that holds another
content's records, reads as absent and costs the work to make it again. What is in a record is left to `packing`.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import struct
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from .database import open_database, reading
from .old_cache import OldLogs

_TABLES = """
CREATE TABLE IF NOT EXISTS stages (place INTEGER PRIMARY KEY, payload BLOB);
CREATE TABLE IF NOT EXISTS members (place INTEGER PRIMARY KEY, payload BLOB);
CREATE TABLE IF NOT EXISTS thumbs (id TEXT PRIMARY KEY, reason TEXT, key TEXT, picture BLOB) WITHOUT ROWID;
"""
_ENTRY = struct.Struct("<8sI")
_SLACK = 4 << 20
"""Bytes of records for other settings that a row may hold beyond the size of its live ones."""
_SMALL = 4096
"""Rows of at most this many bytes are deflated; larger ones hold pixels that `packing` has compressed."""
_DICTIONARY = (
    b'{"$map":{"alive":[],"refused":[[0,"upscaled_too_much","enlarged 2.00 > 1.5 times",2.0]]}}{"$class":"PhotoInfo","fields":'
    b'{"width":512,"height":512,"format":"jpeg","orientation":1,"num_frames":1,"bit_depth":8,"flags":{"$tuple":["alpha"]},'
    b'"jpeg_quality":95.0}}{"alive":[],"refused":[[0,"no_head","no head was found",null]]}'
)
"""What small rows are likely to hold, for zlib; part of the format."""


class StageCache:
    """The cache of a data set, by work key."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Args:
            path: the SQLite file; logs that an earlier version kept in the folder `cache` beside it are read where it has
                nothing.
        """
        self.db = open_database(path, page_size=8192)
        try:
            self.db.executescript(_TABLES)
        except sqlite3.Error:
            self.db.close()
            raise
        self._old = OldLogs(path.parent / "cache")

    @classmethod
    @contextlib.contextmanager
    def reading(cls, path: Path) -> Iterator[StageCache]:
        """Open a cache that need not be there, for reading only."""
        with contextlib.ExitStack() as stack:
            cache = cls.__new__(cls)
            cache._old = OldLogs(path.parent / "cache")
            if path.is_file():
                cache.db = stack.enter_context(reading(path))
            else:
                cache.db = stack.enter_context(contextlib.closing(sqlite3.connect(":memory:")))
                cache.db.executescript(_TABLES)
            yield cache

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def begin(self) -> None:
        """Start a transaction, where none is open."""
        if not self.db.in_transaction:
            self.db.execute("BEGIN")

    def commit(self) -> None:
        """End a transaction, where one is open."""
        if self.db.in_transaction:
            self.db.execute("COMMIT")

    def records(self, work_key: str) -> dict[str, bytes]:
        """Return a content's records by stage key; none where they are absent or damaged."""
        found = self._found(work_key)
        return self._old.records(work_key) if found is None else found

    def _found(self, work_key: str) -> dict[str, bytes] | None:
        payload = _opened(self._payload("stages", work_key), work_key, b"stages")
        if payload is None:
            return None
        body = zlib.decompressobj(zdict=_DICTIONARY).decompress(payload[1:]) if payload[:1] == b"z" else payload[1:]
        found: dict[str, bytes] = {}
        at = 0
        while at < len(body):
            key, length = _ENTRY.unpack_from(body, at)
            at += _ENTRY.size
            found[key.hex()] = body[at : at + length]
            at += length
        return found

    def add(self, work_key: str, made: Mapping[str, bytes], live: Collection[str]) -> None:
        """Add records to those of a content; records of other settings go where they outweigh the live ones.

        Args:
            work_key: name of the content.
            made: stage key (16 hex digits) -> record.
            live: stage keys of the present recipe.
        """
        known = self._found(work_key)
        if known is None:
            known = {key: record for key, record in self._old.records(work_key).items() if key in live}
        records = {**known, **made}
        used = sum(len(record) for key, record in records.items() if key in live)
        if sum(map(len, records.values())) - used > used + _SLACK:
            records = {key: record for key, record in records.items() if key in live}
        body = b"".join(_ENTRY.pack(bytes.fromhex(key), len(record)) + record for key, record in sorted(records.items()))
        if len(body) <= _SMALL:
            deflate = zlib.compressobj(zdict=_DICTIONARY)
            payload = b"z" + deflate.compress(body) + deflate.flush()
        else:
            payload = b"r" + body
        self._put("stages", work_key, _sealed(payload, work_key, b"stages"))
        self._old.remove(work_key)

    def members(self, work_key: str, key: str) -> bytes | None:
        """Return the packed members of a content's kept heads as they were encoded under a key, or None."""
        payload = _opened(self._payload("members", work_key), work_key, b"members")
        if payload is None:
            return self._old.members(work_key, key)
        return payload[8:] if payload[:8] == bytes.fromhex(key) else None

    def set_members(self, work_key: str, key: str, packed: bytes) -> None:
        """Keep the packed members of a content's heads in place of earlier ones."""
        self._put("members", work_key, _sealed(bytes.fromhex(key) + packed, work_key, b"members"))

    def drop_members(self, work_key: str) -> None:
        """Forget a content's members: it has no kept head any more."""
        self.db.execute("DELETE FROM members WHERE place=?", (_place(work_key),))

    def remove(self, work_key: str) -> None:
        """Forget a content."""
        for table in ("stages", "members"):
            self.db.execute(f"DELETE FROM {table} WHERE place=?", (_place(work_key),))
        self._old.remove(work_key)

    def thumb(self, id: str, key: str) -> bytes | None:
        """Return the small picture of a head that was refused by the step with a key: empty where it has none, None if lost."""
        found = self.db.execute("SELECT picture FROM thumbs WHERE id=? AND key=?", (id, key)).fetchone()
        return _opened(found[0], id, b"thumb") if found else None

    def set_thumb(self, id: str, reason: str, key: str, picture: bytes) -> None:
        """Keep the small picture of a refused head."""
        self.db.execute("INSERT OR REPLACE INTO thumbs VALUES (?,?,?,?)", (id, reason, key, _sealed(picture, id, b"thumb")))

    def keep_thumbs(self, ids: Iterable[str]) -> None:
        """Forget the small pictures of all but these heads."""
        wanted = set(ids)
        known = [row[0] for row in self.db.execute("SELECT id FROM thumbs")]
        self.db.executemany("DELETE FROM thumbs WHERE id=?", [(id,) for id in known if id not in wanted])

    def remove_thumbs(self, ids: Iterable[str]) -> None:
        """Forget the small pictures of these heads."""
        self.db.executemany("DELETE FROM thumbs WHERE id=?", [(id,) for id in ids])

    def _payload(self, table: str, work_key: str) -> bytes | None:
        found = self.db.execute(f"SELECT payload FROM {table} WHERE place=?", (_place(work_key),)).fetchone()
        return bytes(found[0]) if found else None

    def _put(self, table: str, work_key: str, payload: bytes) -> None:
        self.db.execute(f"INSERT OR REPLACE INTO {table} VALUES (?,?)", (_place(work_key), payload))


def _place(work_key: str) -> int:
    """Return the row of a content: 64 bits of a hash. Two that meet overwrite each other, which the digests tell apart."""
    return int.from_bytes(hashlib.blake2b(work_key.encode(), digest_size=8).digest(), "big", signed=True)


def _digest(payload: bytes, name: str, kind: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=12, key=name.encode()[:64], person=kind).digest()


def _sealed(payload: bytes, name: str, kind: bytes) -> bytes:
    return _digest(payload, name, kind) + payload


def _opened(sealed: bytes | None, name: str, kind: bytes) -> bytes | None:
    """Return a sealed payload, or None where there is none or its digest does not fit."""
    if sealed is None or len(sealed) < 12 or _digest(sealed[12:], name, kind) != sealed[:12]:
        return None
    return sealed[12:]
