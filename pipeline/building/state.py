"""What a build remembers between runs: which file has which content, and what came of each content under which settings.

One SQLite file in write-ahead mode, written by one process; kills lose at most the last moments, which are worked out again
from the stage cache. Nothing in it is needed to read the finished set.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ...datasets.sources.names import comparable, printable
from ..execution.work import FileResult

_TABLES = """
CREATE TABLE IF NOT EXISTS format (version INTEGER);
CREATE TABLE IF NOT EXISTS stamps (place BLOB PRIMARY KEY, stamp TEXT, work_key TEXT, sha256 TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chains (id INTEGER PRIMARY KEY, keys TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS results (
    work_key TEXT PRIMARY KEY, sha256 TEXT, chain INTEGER, outcome TEXT, reason TEXT, detail TEXT, stage TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heads (work_key TEXT, id TEXT, status TEXT, row TEXT, PRIMARY KEY (work_key, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS heads_by_id ON heads (id);
CREATE TABLE IF NOT EXISTS shards (name TEXT PRIMARY KEY, fingerprint TEXT, entry TEXT, placed TEXT);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS origins (
    number INTEGER PRIMARY KEY, source INTEGER, label BLOB, path BLOB, place BLOB, num_bytes INTEGER, stamp TEXT,
    rights TEXT, sidecar TEXT, work_key TEXT, sha256 TEXT, outcome TEXT, reason TEXT, detail TEXT
);
CREATE INDEX IF NOT EXISTS origins_by_content ON origins (sha256);
CREATE INDEX IF NOT EXISTS origins_by_key ON origins (work_key);
CREATE TABLE IF NOT EXISTS looks (
    work_key TEXT, id TEXT, key TEXT, look TEXT, PRIMARY KEY (work_key, id, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chosen (work_key TEXT PRIMARY KEY, rights TEXT) WITHOUT ROWID;
"""
_VERSION = 1


def raw(text: str) -> bytes:
    """Return a name as SQLite stores it: its bytes, since names of files need not be UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def named(data: bytes) -> str:
    """Return the text of a stored name, undecodable bytes surrogate-escaped."""
    return data.decode("utf-8", "surrogateescape")


class State:
    """The build's memory."""

    def __init__(self, path: Path, trial: bool = False) -> None:
        """Open or create the file; one of another version is emptied, since all of it can be worked out again.

        Args:
            path: the file.
            trial: work on a copy in memory and leave the file as it is; it need not exist.
        """
        if trial:
            self.db = sqlite3.connect(":memory:", isolation_level=None)
            if path.is_file():
                with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
                    file.backup(self.db)
        else:
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
        """Remove a content's results, heads, looks and stamps."""
        for table in ("results", "heads", "looks", "stamps"):
            self.db.execute(f"DELETE FROM {table} WHERE work_key=?", (work_key,))

    def with_reason(self, reason: str) -> list[str]:
        """Return the work keys of files that ended with a reason, or that have a head that did."""
        rows = self.db.execute(
            "SELECT work_key FROM results WHERE reason = ? UNION SELECT work_key FROM heads"
            " WHERE status != 'kept' AND json_extract(row, '$.reason') = ? ORDER BY work_key",
            (reason, reason),
        )
        return [row[0] for row in rows]

    def inputs_named(self, what: str) -> list[tuple[str, str, str]]:
        """Return (source label, path, sha256) of inputs named by sha256, by path, or by source label and path.

        A name that is no input's is looked for once more as people may write it: in another Unicode form, with Windows'
        slashes, or with the escapes that tables have for bytes that are no text.
        """
        rows = self.db.execute(
            "SELECT DISTINCT label, path, sha256 FROM origins WHERE sha256 != '' AND (sha256 = ? OR path = ? OR"
            " CAST(label || '/' || path AS BLOB) = ?) ORDER BY label, path, sha256",
            (printable(what), raw(what), raw(what)),
        ).fetchall()
        if not rows:
            forms = {what, comparable(what)}
            rows = [
                row
                for row in self.db.execute(
                    "SELECT DISTINCT label, path, sha256 FROM origins WHERE sha256 != '' ORDER BY 1, 2, 3"
                )
                for path in (named(row[1]), f"{named(row[0])}/{named(row[1])}")
                if printable(path) in forms or comparable(path) in forms
            ]
        return [(named(label), named(path), sha256) for label, path, sha256 in dict.fromkeys(rows)]

    def knows_content(self, key: str) -> bool:
        """Tell whether an input has a sha256, or a head an id."""
        found = self.db.execute(
            "SELECT EXISTS (SELECT 1 FROM origins WHERE sha256 = ?) OR EXISTS (SELECT 1 FROM heads WHERE id = ?)", (key, key)
        )
        return bool(found.fetchone()[0])

    def work_keys(self, sha256: str) -> list[str]:
        """Return the work keys of a file's content."""
        rows = self.db.execute("SELECT work_key FROM results WHERE sha256 = ? ORDER BY work_key", (sha256,))
        return [row[0] for row in rows]

    def work_keys_with(self, id: str) -> list[str]:
        """Return the work keys whose files hold a head."""
        return [row[0] for row in self.db.execute("SELECT work_key FROM heads WHERE id = ? ORDER BY work_key", (id,))]

    def head_ids(self, work_key: str) -> list[str]:
        """Return the ids of a content's heads."""
        return [row[0] for row in self.db.execute("SELECT id FROM heads WHERE work_key = ? ORDER BY id", (work_key,))]

    def parent_of(self, work_key: str, id: str) -> str:
        """Return the id that a head was derived from, or an empty text."""
        row = self.db.execute(
            "SELECT json_extract(row, '$.parent') FROM heads WHERE work_key=? AND id=?", (work_key, id)
        ).fetchone()
        return str(row[0] or "") if row else ""

    def empty(self, work_key: str, sha256: str) -> None:
        """Turn a content's result into the one that a file has which was taken down."""
        for table in ("heads", "looks"):
            self.db.execute(f"DELETE FROM {table} WHERE work_key=?", (work_key,))
        told = ("dropped", "forgotten", "taken down by request")
        self.db.execute("UPDATE results SET outcome=?, reason=?, detail=?, stage='read' WHERE work_key=?", (*told, work_key))
        self.db.execute("UPDATE origins SET outcome=?, reason=?, detail=? WHERE sha256=?", (*told, sha256))

    def remove_heads(self, work_key: str, ids: Sequence[str]) -> None:
        """Remove heads of a content; a file without any other counts as taken down."""
        for table in ("heads", "looks"):
            self.db.executemany(f"DELETE FROM {table} WHERE work_key=? AND id=?", [(work_key, id) for id in ids])
        if not self.head_ids(work_key):
            told = ("dropped", "forgotten", "no stage returned a sample", work_key)
            self.db.execute("UPDATE results SET outcome=?, reason=?, detail=?, stage='' WHERE work_key=?", told)
            self.db.execute("UPDATE origins SET outcome=?, reason=?, detail=? WHERE work_key=?", told)

    def fact(self, name: str) -> str:
        """Return a remembered text, empty where there is none."""
        row = self.db.execute("SELECT value FROM facts WHERE name=?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def set_fact(self, name: str, value: str) -> None:
        """Remember a text."""
        self.db.execute("INSERT OR REPLACE INTO facts VALUES (?,?)", (name, value))

    def look(self, work_key: str, id: str, key: str) -> str | None:
        """Return the look of a head as it was noted under a cache key, or None."""
        row = self.db.execute("SELECT look FROM looks WHERE work_key=? AND id=? AND key=?", (work_key, id, key)).fetchone()
        return str(row[0]) if row else None

    def set_look(self, work_key: str, id: str, key: str, look: str) -> None:
        """Note the look of a head."""
        self.db.execute("INSERT OR REPLACE INTO looks VALUES (?,?,?,?)", (work_key, id, key, look))

    def list_inputs(self, inputs: Iterable[tuple[Any, ...]], chain: int, more: bool = False) -> None:
        """Begin a new list of inputs and fill in at once what earlier runs found out under the same settings.

        Args:
            inputs: rows of the origins table from `source` to `sidecar`, then outcome, reason, detail (empty where open).
            chain: number of the recipe's keys.
            more: add to the present list instead.
        """
        self.begin()
        if not more:
            self.db.execute("DELETE FROM origins")
        self.db.executemany(
            "INSERT INTO origins (source, label, path, place, num_bytes, stamp, rights, sidecar, outcome, reason, detail,"
            " work_key, sha256) VALUES (?,?,?,?,?,?,?,?,?,?,?,'','')",
            ((row[0], raw(row[1]), raw(row[2]), raw(row[3]), *row[4:]) for row in inputs),
        )
        self.db.execute(
            "UPDATE origins SET work_key=s.work_key, sha256=s.sha256, outcome=r.outcome, reason=r.reason, detail=r.detail"
            " FROM stamps s JOIN results r ON r.work_key = s.work_key"
            " WHERE s.place = origins.place AND s.stamp = origins.stamp AND origins.stamp != ''"
            " AND r.chain = ? AND origins.outcome = ''",
            (chain,),
        )
        self.commit()

    def count_inputs(self) -> tuple[int, int]:
        """Return (inputs, inputs still open)."""
        total, todo = self.db.execute("SELECT count(*), count(*) FILTER (WHERE outcome = '') FROM origins").fetchone()
        return int(total), int(todo)

    def open_inputs(self) -> Iterator[tuple[int, int, str, str, int, str, str, str]]:
        """Yield (number, source, label, path, num_bytes, stamp, rights, sidecar) of inputs still open, in source order.

        Read in pages, so that results may be stored in between.
        """
        last = -1
        while page := self.db.execute(
            "SELECT number, source, label, path, num_bytes, stamp, rights, sidecar FROM origins"
            " WHERE outcome = '' AND number > ? ORDER BY number LIMIT 1000",
            (last,),
        ).fetchall():
            last = page[-1][0]
            for number, source, label, path, *rest in page:
                yield (number, source, named(label), named(path), *rest)

    def settle(self, number: int, result: FileResult) -> None:
        """Write down what came of an input and which content its file had."""
        self.db.execute(
            "UPDATE origins SET work_key=?, sha256=?, outcome=?, reason=?, detail=? WHERE number=?",
            (result.work_key, result.sha256, result.outcome, result.reason, result.detail, number),
        )
        self.db.execute(
            "INSERT OR REPLACE INTO stamps SELECT place, stamp, work_key, sha256 FROM origins"
            " WHERE number=? AND stamp != '' AND work_key != ''",
            (number,),
        )

    def choose(self) -> None:
        """Mark all but the first of the inputs with equal bytes as duplicates, and choose one content for each sha256.

        Where equal files carry different rights or sidecars, the smallest in text order counts, so that neither order nor
        place of the files matters.
        """
        self.begin()
        self.db.execute("DELETE FROM chosen")
        self.db.execute(
            "INSERT INTO chosen SELECT min(work_key), coalesce(min(nullif(rights, '')), '') FROM origins"
            " WHERE sha256 != '' AND work_key != '' AND outcome IN ('kept','dropped','failed','duplicate') GROUP BY sha256"
        )
        self.db.execute(
            "UPDATE origins SET outcome='duplicate', reason='exact_duplicate', detail='' WHERE sha256 != ''"
            " AND outcome IN ('kept','dropped','failed') AND number NOT IN ("
            " SELECT first_value(number) OVER (PARTITION BY sha256 ORDER BY work_key, label, path) FROM origins"
            " WHERE sha256 != '' AND outcome IN ('kept','dropped','failed'))"
        )
        self.commit()

    def tell_conflicts(self) -> int:
        """Write to the inputs of one content what they say otherwise than the set does of it; returns how many contents.

        Told are rights that differ from the chosen ones, and cameras, masks or maps that are not used.
        """
        rows = self.db.execute(
            "SELECT o.number, o.sha256, o.rights, c.rights, o.work_key = c.work_key FROM origins o"
            " JOIN results r ON r.work_key = o.work_key JOIN chosen c"
            " ON c.work_key = (SELECT min(p.work_key) FROM origins p WHERE p.sha256 = o.sha256 AND p.work_key != ''"
            " AND p.outcome IN ('kept','dropped','failed','duplicate'))"
            " WHERE o.sha256 IN (SELECT sha256 FROM origins WHERE sha256 != '' AND outcome IN ('kept','duplicate')"
            " GROUP BY sha256 HAVING count(DISTINCT nullif(rights, '')) > 1 OR count(DISTINCT work_key) > 1)"
            " AND o.outcome IN ('kept','duplicate') AND o.detail = '' ORDER BY o.number"
        ).fetchall()
        told: dict[int, str] = {}
        contents: set[str] = set()
        for number, sha256, text, chosen, same in rows:
            words = [] if same else ["another camera, mask or map than the one that is used"]
            mine, ours = (dict(json.loads(value)) if value else {} for value in (text, chosen))
            words += [f"{name} {mine[name]!r}, taken is {ours.get(name)!r}" for name in mine if mine[name] != ours.get(name)]
            if words:
                told[number] = "listed here with " + "; ".join(words)
                contents.add(sha256)
        self.begin()
        self.db.executemany("UPDATE origins SET detail=? WHERE number=?", [(text, number) for number, text in told.items()])
        self.commit()
        return len(contents)

    def heads(self) -> Iterator[tuple[str, str, str, str, str]]:
        """Yield (id, work key, status, row, rights) of every head whose content is chosen for the set, by id."""
        yield from self.db.execute(
            "SELECT h.id, h.work_key, h.status, h.row, c.rights FROM heads h JOIN chosen c ON h.work_key = c.work_key"
            " ORDER BY h.id, h.work_key"
        )

    def head(self, id: str) -> tuple[str, str, str]:
        """Return (work key, row, rights) of a head that is chosen for the set."""
        row: tuple[str, str, str] = self.db.execute(
            "SELECT h.work_key, h.row, c.rights FROM heads h JOIN chosen c ON h.work_key = c.work_key WHERE h.id = ?"
            " ORDER BY h.work_key",
            (id,),
        ).fetchone()
        return row

    def settle_files(self, decided: Iterable[tuple[str, str, str, str]]) -> None:
        """Write down outcomes that only the whole set decided: (outcome, reason, detail, work key) of files."""
        self.begin()
        self.db.executemany(
            "UPDATE origins SET outcome=?, reason=?, detail=? WHERE work_key=? AND outcome IN ('kept','dropped','failed')",
            decided,
        )
        self.commit()

    def outcomes(self) -> list[tuple[str, int]]:
        """Return (outcome, inputs) of this run."""
        return self.db.execute("SELECT outcome, count(*) FROM origins GROUP BY outcome ORDER BY outcome").fetchall()

    def origin_pages(self, size: int) -> Iterator[list[tuple[str, str, str, str, str, str]]]:
        """Yield (label, path, sha256, outcome, reason, detail) of every input in pages, by label and path."""
        cursor = self.db.execute(
            "SELECT label, path, sha256, outcome, reason, detail FROM origins ORDER BY label, path, sidecar, number"
        )
        while page := cursor.fetchmany(size):
            yield [(named(label), named(path), *rest) for label, path, *rest in page]

    def shard(self, name: str) -> tuple[str, dict[str, Any], list[list[Any]]] | None:
        """Return (fingerprint, entry, places of the samples) of a shard that was written, or None."""
        row = self.db.execute("SELECT fingerprint, entry, placed FROM shards WHERE name=?", (name,)).fetchone()
        return (row[0], json.loads(row[1]), json.loads(row[2])) if row else None

    def set_shard(self, name: str, fingerprint: str, entry: dict[str, Any], placed: list[list[Any]]) -> None:
        """Remember a shard that was written."""
        self.db.execute(
            "INSERT OR REPLACE INTO shards VALUES (?,?,?,?)", (name, fingerprint, json.dumps(entry), json.dumps(placed))
        )
