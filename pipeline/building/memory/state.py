"""What a build remembers between runs: which file has which content, and what came of each content under which settings.

One SQLite file, written by one process; kills lose at most the last moments, which are worked out again. Nothing in it is
needed to read the finished set. Rows are kept small: a million refused pictures are ordinary.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ...execution.database import open_database, reading
from ...execution.work import FileResult
from . import tables
from .input_list import InputList
from .tables import CHOOSE, HAS_DIGEST, NUMBER, KnownShard, begin, commit, fact, key_of, packed_row, row_text, text_of

_CACHE_KIB = 64 << 10
"""Of pages that SQLite holds: tables are walked in other orders than the file's, and a page would be read many times."""
_SORTED_ASIDE = 256 << 20
"""Bytes of all rows of heads up to which they are sorted as a whole; more are looked up in the order of an index."""


class State:
    """The build's memory."""

    def __init__(self, path: Path, trial: bool = False) -> None:
        """Open or create the file; one of an earlier version is taken over.

        Args:
            path: the file.
            trial: work on a copy in memory and leave the file as it is; it need not exist.
        """
        if trial:
            self.db = sqlite3.connect(":memory:", isolation_level=None)
            if path.is_file():
                with reading(path) as file:
                    file.backup(self.db)
        else:
            self.db = open_database(path)
            self.db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        self.db.create_function("row_text", 1, row_text, deterministic=True)
        tables.prepare(self.db)
        self.inputs = InputList(self.db)
        """What is built from, and what came of each file."""

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def begin(self) -> None:
        """Start a transaction, where none is open."""
        begin(self.db)

    def commit(self) -> None:
        """End a transaction, where one is open."""
        commit(self.db)

    def chain_id(self, keys: Sequence[str]) -> int:
        """Return the number of a sequence of cache keys."""
        text = ",".join(keys)
        self.db.execute("INSERT OR IGNORE INTO chains (keys) VALUES (?)", (text,))
        return int(self.db.execute("SELECT id FROM chains WHERE keys=?", (text,)).fetchone()[0])

    def store(self, result: FileResult, chain: int) -> int:
        """Keep a result in place of an older one and return the number of its content."""
        work_key, sha256 = key_of(result.work_key), key_of(result.sha256)
        told = (chain, result.outcome, result.reason, result.detail, result.stage)
        found = self.db.execute(
            "INSERT INTO contents (work_key, sha256, chain, outcome, reason, detail, stage) VALUES (?,?,?,?,?,?,?)"
            " ON CONFLICT (work_key) DO UPDATE SET chain=excluded.chain, outcome=excluded.outcome, reason=excluded.reason,"
            " detail=excluded.detail, stage=excluded.stage RETURNING number",
            (work_key, None if sha256 == work_key else sha256, *told),
        ).fetchone()
        number = int(found[0])
        self.db.execute("DELETE FROM heads WHERE content=?", (number,))
        self.db.executemany(
            "INSERT OR REPLACE INTO heads VALUES (?,?,?,?)",
            [(number, id, status, packed_row(row, id, result.sha256)) for id, status, row in result.heads],
        )
        return number

    def result_of(self, work_key: str, chain: int) -> FileResult | None:
        """Return what came of a content under a sequence of cache keys, or None where that is not known."""
        found = self.db.execute(
            "SELECT number, coalesce(sha256, work_key), outcome, reason, detail, stage FROM contents"
            " WHERE work_key=? AND chain=? AND outcome != ''",
            (key_of(work_key), chain),
        ).fetchone()
        if found is None:
            return None
        number, digest, outcome, reason, detail, stage = found
        rows = self.db.execute("SELECT id, status, row FROM heads WHERE content=? ORDER BY id", (number,))
        sha256 = text_of(digest)
        heads = tuple((id, status, row_text(row, id, sha256)) for id, status, row in rows)
        return FileResult(work_key, sha256, outcome, reason, detail, stage, heads)

    def forget(self, work_keys: Iterable[str]) -> None:
        """Drop what came of contents, so that they are worked on again."""
        for work_key in work_keys:
            for table in ("heads", "looks"):
                self.db.execute(f"DELETE FROM {table} WHERE content={NUMBER}", (key_of(work_key),))
            self.db.execute("UPDATE contents SET chain=0, outcome='' WHERE work_key=?", (key_of(work_key),))
            told = "UPDATE origins SET outcome='', reason='', detail='' WHERE"
            self.db.execute(f"{told} content={NUMBER}", (key_of(work_key),))

    def with_reason(self, reason: str) -> list[str]:
        """Return the work keys of files that ended with a reason, or that have a head that did."""
        rows = self.db.execute(
            "SELECT work_key FROM contents WHERE reason = ? UNION SELECT c.work_key FROM heads h JOIN contents c"
            " ON c.number = h.content WHERE h.status != 'kept' AND json_extract(row_text(h.row), '$.reason') = ?"
            " ORDER BY work_key",
            (reason, reason),
        )
        return [text_of(row[0]) for row in rows]

    def knows_content(self, key: str) -> bool:
        """Tell whether an input has a sha256, or a head an id."""
        found = self.db.execute(
            "SELECT EXISTS (SELECT 1 FROM origins o JOIN contents c ON c.number = o.content"
            " WHERE coalesce(c.sha256, c.work_key) = ?) OR EXISTS (SELECT 1 FROM heads WHERE id = ?)",
            (key_of(key), key),
        )
        return bool(found.fetchone()[0])

    def work_keys(self, sha256: str) -> list[str]:
        """Return the work keys of a file's content."""
        rows = self.db.execute(
            f"SELECT c.work_key FROM contents c WHERE {HAS_DIGEST} ORDER BY c.work_key", {"sha256": key_of(sha256)}
        )
        return [text_of(row[0]) for row in rows]

    def work_keys_with(self, id: str) -> list[str]:
        """Return the work keys whose files hold a head."""
        rows = self.db.execute(
            "SELECT c.work_key FROM heads h JOIN contents c ON c.number = h.content WHERE h.id = ? ORDER BY c.work_key", (id,)
        )
        return [text_of(row[0]) for row in rows]

    def head_ids(self, work_key: str) -> list[str]:
        """Return the ids of a content's heads."""
        rows = self.db.execute(f"SELECT id FROM heads WHERE content={NUMBER} ORDER BY id", (key_of(work_key),))
        return [row[0] for row in rows]

    def parent_of(self, work_key: str, id: str) -> str:
        """Return the id that a head was derived from, or an empty text."""
        row = self.db.execute(
            f"SELECT json_extract(row_text(row), '$.parent') FROM heads WHERE content={NUMBER} AND id=?",
            (key_of(work_key), id),
        ).fetchone()
        return str(row[0] or "") if row else ""

    def empty(self, work_key: str) -> None:
        """Turn a content's result into the one that a file has which was taken down."""
        self._take_down(work_key, "taken down by request", "read")

    def is_taken_down(self, work_key: str) -> bool:
        """Return whether a content has no heads and no other result than that it was taken down."""
        outcome, reason = self.db.execute(
            "SELECT outcome, reason FROM contents WHERE work_key=?", (key_of(work_key),)
        ).fetchone()
        return not self.head_ids(work_key) and (not outcome or reason == "forgotten")

    def remove_heads(self, work_key: str, ids: Sequence[str]) -> None:
        """Remove heads of a content; a file without any other counts as taken down."""
        for table in ("heads", "looks"):
            gone = [(key_of(work_key), id) for id in ids]
            self.db.executemany(f"DELETE FROM {table} WHERE content={NUMBER} AND id=?", gone)
        if not self.head_ids(work_key):
            self._take_down(work_key, "no stage returned a sample", "")

    def _take_down(self, work_key: str, detail: str, stage: str) -> None:
        key = key_of(work_key)
        for table in ("heads", "looks"):
            self.db.execute(f"DELETE FROM {table} WHERE content={NUMBER}", (key,))
        told = ("dropped", "forgotten", detail)
        self.db.execute("UPDATE contents SET outcome=?, reason=?, detail=?, stage=? WHERE work_key=?", (*told, stage, key))
        self.db.execute(f"UPDATE origins SET outcome=?, reason=?, detail=? WHERE content={NUMBER}", (*told, key))

    def fact(self, name: str) -> str:
        """Return a remembered text, empty where there is none."""
        return fact(self.db, name)

    def facts(self, prefix: str) -> dict[str, str]:
        """Return the remembered texts whose names begin with a prefix, by the rest of the name."""
        rows = self.db.execute(
            "SELECT substr(name, ?), value FROM facts WHERE substr(name, 1, ?) = ? ORDER BY name",
            (len(prefix) + 1, len(prefix), prefix),
        )
        return {str(name): str(value) for name, value in rows}

    def set_fact(self, name: str, value: str) -> None:
        """Remember a text."""
        self.db.execute("INSERT OR REPLACE INTO facts VALUES (?,?)", (name, value))

    def appearance(self, work_key: str, id: str, key: str) -> str | None:
        """Return the appearance of a head as it was noted under a cache key, or None."""
        row = self.db.execute(
            f"SELECT look FROM looks WHERE content={NUMBER} AND id=? AND key=?", (key_of(work_key), id, key)
        ).fetchone()
        return str(row[0]) if row else None

    def set_appearance(self, work_key: str, id: str, key: str, appearance: str) -> None:
        """Note the appearance of a head."""
        self.db.execute(f"INSERT OR REPLACE INTO looks VALUES ({NUMBER},?,?,?)", (key_of(work_key), id, key, appearance))

    def choose(self) -> None:
        """Mark all but the first of the inputs with equal bytes as duplicates, and choose one content for each sha256.

        Where equal files carry different rights or sidecars, the smallest in text order counts, so that neither order nor
        place of the files matters. What an earlier decision over the whole set made of an input is taken back first.
        """
        self.begin()
        self.db.execute(
            "UPDATE origins SET outcome=c.outcome, reason=NULL, detail=NULL FROM contents c WHERE c.number = origins.content"
            " AND origins.outcome != '' AND (origins.outcome != c.outcome OR coalesce(origins.reason, origins.detail) NOT NULL)"
        )
        for statement in CHOOSE:
            self.db.execute(statement)
        self.commit()

    def heads(self, status: str = "") -> Iterator[tuple[str, str, str, str, str]]:
        """Yield (id, work key, status, row, rights) of every head whose content is chosen for the set, by id.

        Args:
            status: that stages gave it, of those to yield; empty for all.
        """
        size = self.db.execute("SELECT sum(length(row)) FROM heads").fetchone()[0] or 0
        order = "+h.id" if size <= _SORTED_ASIDE else "h.id"  # "+" keeps SQLite from the index
        for id, work_key, sha256, given, row, rights in self.db.execute(
            "SELECT h.id, c.work_key, coalesce(c.sha256, c.work_key), h.status, h.row, s.rights FROM heads h"
            " JOIN chosen s ON s.content = h.content JOIN contents c ON c.number = h.content WHERE ? IN ('', h.status)"
            f" ORDER BY {order}, c.work_key",
            (status,),
        ):
            key = text_of(work_key)
            yield id, key, given, row_text(row, id, key if sha256 == work_key else text_of(sha256)), rights

    def told_otherwise(self) -> list[str]:
        """Return the work keys of contents whose outcome is not that of each of their heads that a stage refused."""
        rows = self.db.execute(
            "SELECT DISTINCT c.work_key FROM heads h JOIN contents c ON c.number = h.content"
            " WHERE h.status != 'kept' AND h.status != c.outcome"
        )
        return [text_of(row[0]) for row in rows]

    def refused_by(self, work_key: str, id: str) -> tuple[str, str]:
        """Return (status, stage) of a head: what came of it before the whole set was looked at."""
        status, row = self.db.execute(
            f"SELECT status, row FROM heads WHERE content={NUMBER} AND id=?", (key_of(work_key), id)
        ).fetchone()
        return status, str(json.loads(row_text(row)).get("stage", ""))

    def head(self, id: str) -> tuple[str, str, str]:
        """Return (work key, row, rights) of a head that is chosen for the set."""
        work_key, sha256, row, rights = self.db.execute(
            "SELECT c.work_key, coalesce(c.sha256, c.work_key), h.row, s.rights FROM heads h JOIN chosen s"
            " ON s.content = h.content JOIN contents c ON c.number = h.content WHERE h.id = ? ORDER BY c.work_key",
            (id,),
        ).fetchone()
        return text_of(work_key), row_text(row, id, text_of(sha256)), rights

    def shard(self, name: str) -> KnownShard | None:
        """Return what was noted of a shard that was written, or None."""
        row = self.db.execute("SELECT fingerprint, entry, placed FROM shards WHERE name=?", (name,)).fetchone()
        if row is None or not row[0]:
            return None
        with contextlib.suppress(ValueError, zlib.error):
            placed = json.loads(zlib.decompress(row[2]))
            places, stamp = (placed, "") if isinstance(placed, list) else (placed["places"], placed["stamp"])
            return KnownShard(row[0], json.loads(row[1]), places, stamp)
        return None

    def set_shard(self, name: str, fingerprint: str, entry: dict[str, Any], places: list[list[Any]], stamp: str) -> None:
        """Note a shard that was written."""
        placed = zlib.compress(json.dumps({"places": places, "stamp": stamp}).encode())
        self.db.execute("INSERT OR REPLACE INTO shards VALUES (?,?,?,?)", (name, fingerprint, json.dumps(entry), placed))

    def shard_names(self) -> set[str]:
        """Return the names of the shards that this build has written."""
        return {str(row[0]) for row in self.db.execute("SELECT name FROM shards")}

    def forget_shard(self, name: str) -> None:
        """Forget a shard that was removed."""
        self.db.execute("DELETE FROM shards WHERE name=?", (name,))
