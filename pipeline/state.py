"""What a build remembers between runs: which file has which content, and what came of each content under which settings.

One SQLite file in write-ahead mode, written by one process; kills lose at most the last moments, which are worked out again
from the stage cache. Nothing in it is needed to read the finished set.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TABLES = """
CREATE TABLE IF NOT EXISTS format (version INTEGER);
CREATE TABLE IF NOT EXISTS stamps (place TEXT PRIMARY KEY, stamp TEXT, work_key TEXT, sha256 TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chains (id INTEGER PRIMARY KEY, keys TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS results (
    work_key TEXT PRIMARY KEY, sha256 TEXT, chain INTEGER, outcome TEXT, reason TEXT, detail TEXT, stage TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heads (work_key TEXT, id TEXT, status TEXT, row TEXT, PRIMARY KEY (work_key, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS heads_by_id ON heads (id);
CREATE TABLE IF NOT EXISTS shards (name TEXT PRIMARY KEY, fingerprint TEXT, entry TEXT, placed TEXT);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS origins (
    source TEXT, path TEXT, work_key TEXT, sha256 TEXT, outcome TEXT, reason TEXT, detail TEXT, rights TEXT
);
CREATE INDEX IF NOT EXISTS origins_by_key ON origins (work_key);
"""
_VERSION = 1


@dataclass(frozen=True)
class FileResult:
    """What came of one file: the message from a worker to the build."""

    work_key: str
    """Names the content and its sidecars; empty where the file could not be read."""
    sha256: str
    outcome: str
    """kept | dropped | failed | not_image, before the whole set is looked at."""
    reason: str = ""
    detail: str = ""
    stage: str = ""
    heads: tuple[tuple[str, str, str], ...] = ()
    """(id, status, row as JSON) of every head."""
    seconds: tuple[tuple[str, float], ...] = ()
    """(stage, time spent) of the steps that really ran."""
    rss: int = 0
    """Bytes of memory of the process afterwards."""


class State:
    """The build's memory."""

    def __init__(self, path: Path) -> None:
        """Open or create the file; one of another version is emptied, since all of it can be worked out again."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.executescript(_TABLES)
        version = self.db.execute("SELECT version FROM format").fetchone()
        if version is None:
            self.db.execute("INSERT INTO format VALUES (?)", (_VERSION,))
        elif version[0] != _VERSION:
            for (name,) in self.db.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall():
                self.db.execute(f"DROP TABLE {name}")
            self.db.executescript(_TABLES)
            self.db.execute("INSERT INTO format VALUES (?)", (_VERSION,))

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def begin(self) -> None:
        """Start a transaction."""
        self.db.execute("BEGIN")

    def commit(self) -> None:
        """End a transaction, where one is open."""
        if self.db.in_transaction:
            self.db.execute("COMMIT")

    def chain_id(self, keys: Sequence[str]) -> int:
        """Return the number of a sequence of cache keys."""
        text = ",".join(keys)
        self.db.execute("INSERT OR IGNORE INTO chains (keys) VALUES (?)", (text,))
        return int(self.db.execute("SELECT id FROM chains WHERE keys=?", (text,)).fetchone()[0])

    def chain_keys(self, chain: int) -> list[str]:
        """Return the cache keys of a chain's number."""
        found = self.db.execute("SELECT keys FROM chains WHERE id=?", (chain,)).fetchone()
        return found[0].split(",") if found else []

    def known(self, place: str, stamp: str) -> tuple[str, str] | None:
        """Return (work key, sha256) of a file that has not changed since it was last read, or None."""
        if not stamp:
            return None
        row = self.db.execute("SELECT work_key, sha256, stamp FROM stamps WHERE place=?", (place,)).fetchone()
        return (row[0], row[1]) if row and row[2] == stamp else None

    def remember(self, place: str, stamp: str, work_key: str, sha256: str) -> None:
        """Note what a file contained."""
        if stamp and work_key:
            self.db.execute("INSERT OR REPLACE INTO stamps VALUES (?,?,?,?)", (place, stamp, work_key, sha256))

    def result(self, work_key: str) -> tuple[int, str, str, str, str] | None:
        """Return (chain, outcome, reason, detail, stage) of a content, or None."""
        row: tuple[int, str, str, str, str] | None = self.db.execute(
            "SELECT chain, outcome, reason, detail, stage FROM results WHERE work_key=?", (work_key,)
        ).fetchone()
        return row

    def store(self, result: FileResult, chain: int) -> None:
        """Keep a result in place of an older one."""
        self.db.execute("DELETE FROM heads WHERE work_key=?", (result.work_key,))
        self.db.execute(
            "INSERT OR REPLACE INTO results VALUES (?,?,?,?,?,?,?)",
            (result.work_key, result.sha256, chain, result.outcome, result.reason, result.detail, result.stage),
        )
        self.db.executemany(
            "INSERT OR REPLACE INTO heads VALUES (?,?,?,?)", [(result.work_key, *head) for head in result.heads]
        )

    def forget(self, work_key: str) -> None:
        """Remove a content's results, heads and stamps."""
        for table in ("results", "heads", "stamps"):
            self.db.execute(f"DELETE FROM {table} WHERE work_key=?", (work_key,))

    def fact(self, name: str) -> str:
        """Return a remembered text, empty where there is none."""
        row = self.db.execute("SELECT value FROM facts WHERE name=?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def set_fact(self, name: str, value: str) -> None:
        """Remember a text."""
        self.db.execute("INSERT OR REPLACE INTO facts VALUES (?,?)", (name, value))

    def start_origins(self) -> None:
        """Begin a new list of this run's inputs."""
        self.db.execute("DELETE FROM origins")

    def add_origins(self, rows: Iterable[tuple[str, str, str, str, str, str, str, str]]) -> None:
        """Add inputs: (source, path, work key, sha256, outcome, reason, detail, rights as JSON)."""
        self.db.executemany("INSERT INTO origins VALUES (?,?,?,?,?,?,?,?)", rows)

    def heads(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield (id, work key, status, row) of every head whose content is chosen for the set, by id."""
        yield from self.db.execute(
            "SELECT h.id, h.work_key, h.status, h.row FROM heads h JOIN chosen c ON h.work_key = c.work_key ORDER BY h.id"
        )

    def shard(self, name: str) -> tuple[str, dict[str, Any], list[list[Any]]] | None:
        """Return (fingerprint, entry, places of the samples) of a shard that was written, or None."""
        row = self.db.execute("SELECT fingerprint, entry, placed FROM shards WHERE name=?", (name,)).fetchone()
        return (row[0], json.loads(row[1]), json.loads(row[2])) if row else None

    def set_shard(self, name: str, fingerprint: str, entry: dict[str, Any], placed: list[list[Any]]) -> None:
        """Remember a shard that was written."""
        self.db.execute(
            "INSERT OR REPLACE INTO shards VALUES (?,?,?,?)", (name, fingerprint, json.dumps(entry), json.dumps(placed))
        )
