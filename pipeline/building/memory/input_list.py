"""The list of a build's inputs in its memory: which files there are, which are still to be worked on, and what came of each.

A list that is equal to the last one is left as it is. What came of a file's content, whichever files have it, is `state`'s.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from ....datasets.sources.names import comparable, printable
from ...execution.work import FileResult
from .tables import SETTLED, begin, commit, fact, key_of, named, raw, text_of

_COLUMNS = "source, label, path, mark, num_bytes, stamp, rights, sidecar"
_SOURCED = len(_COLUMNS.split(","))
Row = tuple[Any, ...]


class InputList:
    """The inputs of the present run.

    Columns `reason` and `detail` are null where they are those of the input's content.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        """Work on the tables of a build's memory."""
        self.db = db

    def fill(self, inputs: Iterable[Row], chain: int, more: bool = False) -> None:
        """Begin a new list of inputs and fill in at once what earlier runs found out under the same settings.

        Args:
            inputs: rows of the origins table from `source` to `sidecar`, then outcome, reason, detail (empty where open).
            chain: number of the recipe's keys.
            more: add to the present list instead.
        """
        begin(self.db)
        listed = ((row[0], raw(row[1]), raw(row[2]), *row[3:]) for row in inputs)
        rows: Iterator[Row] | None = listed if more else self._behind_last_list(listed, chain)
        if rows is not None:
            self.db.executemany(
                f"INSERT INTO origins ({_COLUMNS}, outcome, reason, detail) VALUES (?,?,?,?,?,?,?,?,?,?,?)", rows
            )
            self.db.execute(
                "UPDATE origins SET content=c.number, outcome=c.outcome, reason=NULL, detail=NULL"
                " FROM stamps s JOIN contents c ON c.number = s.content"
                " WHERE s.mark = origins.mark AND origins.mark != x'' AND c.chain = ? AND origins.outcome = ''",
                (chain,),
            )
        commit(self.db)

    def _behind_last_list(self, rows: Iterator[Row], chain: int) -> Iterator[Row] | None:
        """Compare inputs with those of the last run, keep the beginning that is equal, and return the rest.

        Returns:
            None where all are equal and the set that they make is settled: nothing is to be done to the list.
        """
        last, refused, open = 0, list[tuple[int]](), False
        known = self.db.execute(f"SELECT number, content, outcome, reason, detail, {_COLUMNS} FROM origins ORDER BY number")
        for row in rows:
            number, *told, place = _parted(known.fetchone())
            if place != row[:_SOURCED] or (row[_SOURCED] and told != [None, *row[_SOURCED:]]):
                rows = itertools.chain([row], rows)
                break
            if row[_SOURCED]:
                refused.append((number,))
            elif told[0] is None or not row[3]:
                open = True
            last = number
        else:
            settled = fact(self.db, SETTLED).startswith(f"{chain}:")
            if known.fetchone() is None and settled and not open:
                return None
        known.close()
        self._forget_outcomes(last, refused)
        return rows

    def _forget_outcomes(self, last: int, refused: list[tuple[int]]) -> None:
        """Open the inputs up to a number again, but for those that are no files, and remove all behind it."""
        self.db.execute("DELETE FROM origins WHERE number > ?", (last,))
        self.db.execute("CREATE TEMP TABLE IF NOT EXISTS no_files (number INTEGER PRIMARY KEY)")
        self.db.execute("DELETE FROM no_files")
        self.db.executemany("INSERT INTO no_files VALUES (?)", refused)
        self.db.execute(
            "UPDATE origins SET content=NULL, outcome='', reason='', detail=''"
            " WHERE number NOT IN (SELECT number FROM no_files)"
        )

    def count(self) -> tuple[int, int]:
        """Return (inputs, inputs still open)."""
        total, todo = self.db.execute("SELECT count(*), count(*) FILTER (WHERE outcome = '') FROM origins").fetchone()
        return int(total), int(todo)

    def still_open(self) -> Iterator[tuple[int, int, str, str, int, str, str, str]]:
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
        content = self.db.execute("SELECT number FROM contents WHERE work_key=?", (key_of(result.work_key),)).fetchone()
        told = (None, None) if content else (result.reason, result.detail)
        self.db.execute(
            "UPDATE origins SET content=?, outcome=?, reason=?, detail=? WHERE number=?",
            (content[0] if content else None, result.outcome, *told, number),
        )
        self.db.execute(
            "INSERT OR REPLACE INTO stamps SELECT mark, content FROM origins"
            " WHERE number=? AND mark != x'' AND content IS NOT NULL",
            (number,),
        )

    def settle_files(self, decided: Iterable[tuple[str, str, str, str]]) -> None:
        """Write down outcomes of files: (outcome, reason, detail, work key); those that `choose` has left are not repeated."""
        begin(self.db)
        for outcome, reason, detail, work_key in decided:
            number, *told = self.db.execute(
                "SELECT number, outcome, reason, detail FROM contents WHERE work_key=?", (key_of(work_key),)
            ).fetchone()
            if told != [outcome, reason, detail]:
                self.db.execute(
                    "UPDATE origins SET outcome=?, reason=?, detail=? WHERE content=?"
                    " AND outcome IN ('kept','dropped','failed')",
                    (outcome, reason, detail, number),
                )
        commit(self.db)

    def outcomes(self) -> list[tuple[str, int]]:
        """Return (outcome, inputs) of this run."""
        return self.db.execute("SELECT outcome, count(*) FROM origins GROUP BY outcome ORDER BY outcome").fetchall()

    def pages(self, size: int) -> Iterator[list[tuple[str, str, str, str, str, str]]]:
        """Yield (label, path, sha256, outcome, reason, detail) of every input in pages, by label and path."""
        cursor = self.db.execute(
            "SELECT o.label, o.path, coalesce(c.sha256, c.work_key, x''), o.outcome, coalesce(o.reason, c.reason, ''),"
            " coalesce(o.detail, c.detail, '') FROM origins o"
            " LEFT JOIN contents c ON c.number = o.content ORDER BY o.label, o.path, o.sidecar, o.number"
        )
        while page := cursor.fetchmany(size):
            yield [(named(label), named(path), text_of(sha256), *rest) for label, path, sha256, *rest in page]

    def matching(self, what: str) -> list[tuple[str, str, str]]:
        """Return (source label, path, sha256) of inputs named by sha256, by path, or by source label and path.

        A name that is no input's is looked for once more as people may write it: in another Unicode form, with Windows'
        slashes, or with the escapes that tables have for bytes that are no text.
        """
        known = (
            "SELECT DISTINCT o.label, o.path, coalesce(c.sha256, c.work_key) FROM origins o JOIN contents c"
            " ON c.number = o.content"
        )
        rows = self.db.execute(
            f"{known} WHERE coalesce(c.sha256, c.work_key) = ? OR o.path = ? OR CAST(o.label || '/' || o.path AS BLOB) = ?"
            " ORDER BY 1, 2, 3",
            (key_of(printable(what)), raw(what), raw(what)),
        ).fetchall()
        if not rows:
            forms = {what, comparable(what)}
            rows = [
                row
                for row in self.db.execute(f"{known} ORDER BY 1, 2, 3")
                for path in (named(row[1]), f"{named(row[0])}/{named(row[1])}")
                if printable(path) in forms or comparable(path) in forms
            ]
        return [(named(label), named(path), text_of(sha256)) for label, path, sha256 in dict.fromkeys(rows)]


def _parted(row: Row | None) -> Row:
    """Return number, content, outcome, reason, detail of an input, and its other columns as one tuple; empty for None."""
    return (0, None, "", "", "", ()) if row is None else (*row[:5], row[5:])
