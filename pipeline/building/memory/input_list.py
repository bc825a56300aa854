"""The list of a build's inputs in its memory: which files there are, which are still to be worked on, and what came of each.

Of a list that changed since the last run, only the inputs that were added or are gone are written. What came of a file's
content, whichever files have it, is `state`'s.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

from ....datasets.sources.names import comparable, printable
from ...execution.work import FileResult
from .alignment import Alignment, Known, Row, enumerate_from
from .tables import SETTLED, begin, commit, fact, key_of, named, raw, text_of

_COLUMNS = "source, label, path, mark, num_bytes, stamp, rights, sidecar"
_OPEN = "content=NULL, outcome='', reason='', detail=''"


class InputList:
    """The inputs of the present run.

    Columns `reason` and `detail` are null where they are those of the input's content.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        """Work on the tables of a build's memory."""
        self.db = db

    def fill(self, inputs: Iterable[Row], chain: int, more: bool = False) -> None:
        """Bring the list to the present inputs and fill in at once what earlier runs found out under the same settings.

        Args:
            inputs: rows of the origins table from `source` to `sidecar`, then outcome, reason, detail (empty where open).
            chain: number of the recipe's keys.
            more: add to the present list instead.
        """
        begin(self.db)
        rows = ((row[0], raw(row[1]), raw(row[2]), *row[3:]) for row in inputs)
        if more:
            last = self.db.execute("SELECT max(number) FROM origins").fetchone()[0] or 0
            self._insert(enumerate_from(last, rows))
        elif not self._follow(Alignment(self._known(), rows)) and fact(self.db, SETTLED).startswith(f"{chain}:"):
            commit(self.db)
            return
        self.db.execute(f"UPDATE origins SET {_OPEN} WHERE content IN (SELECT number FROM contents WHERE chain != ?)", (chain,))
        self.db.execute(
            "UPDATE origins SET content=c.number, outcome=c.outcome, reason=NULL, detail=NULL"
            " FROM stamps s JOIN contents c ON c.number = s.content"
            " WHERE s.mark = origins.mark AND origins.mark != x'' AND c.chain = ? AND origins.outcome = ''",
            (chain,),
        )
        commit(self.db)

    def _known(self) -> Iterator[Known]:
        """Yield the inputs of the last run."""
        for row in self.db.execute(
            f"SELECT number, content IS NULL, outcome, reason, detail, {_COLUMNS} FROM origins ORDER BY number"
        ):
            yield Known(row[0], bool(row[1]), row[2:5], row[5:])

    def _follow(self, alignment: Alignment) -> bool:
        """Change the list of the last run into the present one; returns whether anything is to be done."""
        changes = alignment.changes()
        self.db.executemany("DELETE FROM origins WHERE number = ?", ((number,) for number in changes.gone))
        self.db.executemany(f"UPDATE origins SET {_OPEN} WHERE number = ?", ((number,) for number in changes.again))
        self._insert(changes.new)
        if changes.rest is not None:
            self.db.execute("DELETE FROM origins WHERE number > ?", (changes.last,))
            self._insert(enumerate_from(changes.last, changes.rest))
        return changes.any

    def _insert(self, rows: Iterable[tuple[int, Row]]) -> None:
        self.db.executemany(
            f"INSERT INTO origins (number, {_COLUMNS}, outcome, reason, detail) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            ((number, *row) for number, row in rows),
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

    def unread_with(self, reason: str) -> int:
        """Return the number of files that ended with a reason before their content was known: each run reads them again."""
        found = self.db.execute(
            "SELECT count(*) FROM origins WHERE content IS NULL AND outcome != '' AND mark != x'' AND reason = ?", (reason,)
        )
        return int(found.fetchone()[0])

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
