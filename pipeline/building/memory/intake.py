"""Takes what another build's memory and stage cache know of contents into a build's own.

Both follow the same recipe. What is known already stays, but for failures that the other build does not share.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from ....manifests.config import ConfigError
from ...execution.cache import StageCache
from ...execution.database import reading
from .state import State
from .tables import VERSION, text_of

_PAGE = 500
Row = tuple[Any, ...]


def take_in(
    state: State, cache: StageCache, part: Path, keys: Sequence[str], forgotten: Collection[str], check: Callable[[], None]
) -> int:
    """Take in what a finished part has worked on, and return the number of contents that were new.

    A kill in the middle leaves contents that are known whole, and others that the next call takes in.

    Args:
        state: the build's own memory.
        cache: its stage cache.
        part: folder `.state` of the part.
        keys: cache keys of the recipe.
        forgotten: sha256 of files and ids of heads that were taken down.
        check: called now and then; may raise to stop.

    Raises:
        ConfigError: the part was made by another version of this program, or its memory is gone.
    """
    if not (part / "state.sqlite").is_file():
        raise ConfigError(f"{part} holds no state.sqlite any more; rerun that job")
    ours, new = state.chain_id(keys), 0
    with reading(part / "state.sqlite") as theirs, StageCache.reading(part / "cache.sqlite") as their_cache:
        if theirs.execute("SELECT version FROM format").fetchone() != (VERSION,):
            raise ConfigError(f"{part} was made by another version of this program; rerun that job with this one")
        found = theirs.execute("SELECT id FROM chains WHERE keys=?", (",".join(keys),)).fetchone()
        chain = found[0] if found else 0
        for page in _pages(theirs, chain):
            check()
            wanted = [row for row in page if _is_wanted(state.db, ours, row, forgotten)]
            new += len(wanted)
            _copy_cache(cache, their_cache, [text_of(row[1]) for row in wanted], keys)
            state.begin()
            for row in wanted:
                _copy_content(state.db, theirs, ours, row)
            state.commit()
        check()
        _copy_thumbs(cache, their_cache, forgotten)
        _copy_stamps(state, theirs, chain)
    return new


def _pages(theirs: sqlite3.Connection, chain: int) -> Iterator[list[Row]]:
    """Yield (number, work key, sha256, outcome, reason, detail, stage) of contents that were worked on under a chain."""
    cursor = theirs.execute(
        "SELECT number, work_key, sha256, outcome, reason, detail, stage FROM contents WHERE chain = ? AND chain != 0"
        " AND outcome != '' ORDER BY number",
        (chain,),
    )
    while page := cursor.fetchmany(_PAGE):
        yield page


def _is_wanted(db: sqlite3.Connection, chain: int, row: Row, forgotten: Collection[str]) -> bool:
    """Return whether a content is new here, or failed here and not there."""
    _, work_key, sha256, outcome, reason, *_ = row
    if text_of(sha256 or work_key) in forgotten and reason != "forgotten":
        return False
    known = db.execute("SELECT chain, outcome FROM contents WHERE work_key=?", (work_key,)).fetchone()
    if known is None or known[0] != chain or not known[1]:
        return True
    return bool(known[1] == "failed" and outcome != "failed")


def _copy_cache(cache: StageCache, theirs: StageCache, wanted: Sequence[str], keys: Sequence[str]) -> None:
    """Copy the records and members of contents."""
    cache.begin()
    for work_key in wanted:
        cache.add(work_key, theirs.records(work_key), keys[:-1])
        members = theirs.members(work_key, keys[-1])
        if members is None:
            cache.drop_members(work_key)
        else:
            cache.set_members(work_key, keys[-1], members)
    cache.commit()


def _copy_thumbs(cache: StageCache, theirs: StageCache, forgotten: Collection[str]) -> None:
    """Copy the small pictures of refused heads, but for those that were taken down."""
    cache.begin()
    for row in theirs.db.execute("SELECT id, reason, key, picture FROM thumbs ORDER BY id"):
        if row[0] not in forgotten:
            cache.db.execute("INSERT OR IGNORE INTO thumbs VALUES (?,?,?,?)", row)
    cache.commit()


def _copy_content(db: sqlite3.Connection, theirs: sqlite3.Connection, chain: int, row: Row) -> None:
    """Copy what came of a content, in place of what is known of it."""
    number, work_key, *told = row
    sha256, *outcome = told
    ours = db.execute(
        "INSERT INTO contents (work_key, sha256, chain, outcome, reason, detail, stage) VALUES (?,?,?,?,?,?,?)"
        " ON CONFLICT (work_key) DO UPDATE SET chain=excluded.chain, outcome=excluded.outcome, reason=excluded.reason,"
        " detail=excluded.detail, stage=excluded.stage RETURNING number",
        (work_key, sha256, chain, *outcome),
    ).fetchone()[0]
    db.execute("DELETE FROM heads WHERE content=?", (ours,))
    heads = theirs.execute("SELECT id, status, row FROM heads WHERE content=?", (number,))
    db.executemany("INSERT OR REPLACE INTO heads VALUES (?,?,?,?)", [(ours, *head) for head in heads])


def _copy_stamps(state: State, theirs: sqlite3.Connection, chain: int) -> None:
    """Note which files have which content, those of contents too that were known already."""
    state.begin()
    rows = theirs.execute(
        "SELECT s.mark, p.work_key FROM stamps s JOIN contents p ON p.number = s.content WHERE p.chain = ?", (chain,)
    )
    state.db.executemany("INSERT OR REPLACE INTO stamps SELECT ?, number FROM contents WHERE work_key = ?", rows)
    state.commit()
