"""The tables of a build's memory: how values are stored in them, and how a memory of an earlier version is taken over."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import zlib
from dataclasses import dataclass
from typing import Any

VERSION = 3
"""Of the tables: 3 left id and digest out of the rows of heads, and what is said of a content out of its inputs."""
_TABLES = """
CREATE TABLE format (version INTEGER);
CREATE TABLE stamps (mark BLOB PRIMARY KEY, content INTEGER) WITHOUT ROWID;
CREATE TABLE chains (id INTEGER PRIMARY KEY, keys TEXT UNIQUE);
CREATE TABLE contents (
    number INTEGER PRIMARY KEY, work_key BLOB UNIQUE, sha256 BLOB, chain INTEGER, outcome TEXT, reason TEXT, detail TEXT,
    stage TEXT
);
CREATE INDEX contents_by_sha256 ON contents (sha256) WHERE sha256 IS NOT NULL;
CREATE TABLE heads (content INTEGER, id TEXT, status TEXT, row BLOB, PRIMARY KEY (content, id)) WITHOUT ROWID;
CREATE INDEX heads_by_id ON heads (id);
CREATE TABLE shards (name TEXT PRIMARY KEY, fingerprint TEXT, entry TEXT, placed BLOB);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE origins (
    number INTEGER PRIMARY KEY, source INTEGER, label BLOB, path BLOB, mark BLOB, num_bytes INTEGER, stamp TEXT,
    rights TEXT, sidecar TEXT, content INTEGER, outcome TEXT, reason TEXT, detail TEXT
);
CREATE INDEX origins_by_content ON origins (content);
CREATE TABLE looks (content INTEGER, id TEXT, key TEXT, look TEXT, PRIMARY KEY (content, id, key)) WITHOUT ROWID;
CREATE TABLE chosen (content INTEGER PRIMARY KEY, rights TEXT);
"""
"""A content is a file's bytes and what stands beside them; `sha256` is null where it is the work key. `chain` 0 is none."""
HAS_DIGEST = "(c.sha256 = :sha256 OR (c.work_key = :sha256 AND c.sha256 IS NULL))"
"""Whether a content `c` is one of the file with a digest."""
NUMBER = "(SELECT number FROM contents WHERE work_key=?)"
"""The number of the content with a work key."""
_SEEN = "o.outcome IN ('kept','dropped','failed','duplicate')"
CHOOSE = (
    "CREATE TEMP TABLE IF NOT EXISTS shared (content INTEGER PRIMARY KEY)",
    "DELETE FROM shared",
    "INSERT INTO shared SELECT content FROM origins WHERE content NOT NULL GROUP BY content HAVING count(*) > 1",
    "INSERT OR IGNORE INTO shared SELECT number FROM contents WHERE sha256 NOT NULL",
    "INSERT OR IGNORE INTO shared SELECT c.number FROM contents d JOIN contents c ON c.work_key = d.sha256",
    "DELETE FROM chosen",
    "INSERT INTO chosen SELECT o.content, coalesce(o.rights, '') FROM origins o"
    f" WHERE {_SEEN} AND o.content NOT NULL AND o.content NOT IN (SELECT content FROM shared)",
    "INSERT INTO chosen SELECT number, rights FROM (SELECT c.number AS number,"
    " row_number() OVER (PARTITION BY coalesce(c.sha256, c.work_key) ORDER BY c.work_key) AS place,"
    " coalesce(min(nullif(o.rights, '')) OVER (PARTITION BY coalesce(c.sha256, c.work_key)), '') AS rights"
    " FROM shared s JOIN contents c ON c.number = s.content JOIN origins o ON o.content = c.number"
    f" WHERE {_SEEN}) WHERE place = 1",
    "UPDATE origins SET outcome='duplicate', reason='exact_duplicate', detail='' WHERE content IN (SELECT content FROM shared)"
    " AND outcome IN ('kept','dropped','failed') AND number NOT IN ("
    " SELECT first_value(o.number) OVER (PARTITION BY coalesce(c.sha256, c.work_key) ORDER BY c.work_key, o.label, o.path)"
    " FROM shared s JOIN contents c ON c.number = s.content JOIN origins o ON o.content = c.number"
    " WHERE o.outcome IN ('kept','dropped','failed'))",
)
"""Statements that choose one content for each sha256 and mark all other inputs of it; only what several share is compared."""
_DICTIONARY = (
    b'"area_hair":0.12,"blur_px":0.9,"camera":[1.0,0.0,0.0,0.0,0.0,-1.0,0.0,0.0,0.0,0.0,-1.0,2.7,0.0,0.0,0.0,1.0,4.2647,0.0,0.5,'
    b'0.0,4.2647,0.5,0.0,0.0,1.0],"crop":[1.0,0.0,0.0,0.0,1.0,0.0,0.0,0.0,1.0],"head_box":[],"head_confidence":0.9,'
    b'"head_kind":"mesh","image_sha256":"","landmarks":[],"num_heads":1,"pad_ratio":0.0,"pitch_degrees":,"pixel_sha256":"",'
    b'"quad":[],"roll_degrees":,"upscale":1.0,"yaw_degrees":,{"bit_depth":8,"derivation":"","detail":"enlarged 2.00 > 1.5 '
    b'times","flags":"alpha","format":"jpeg","format":"png","head_index":-1,"height":512,"id":"","notes":{},"num_frames":1,'
    b'"orientation":1,"parent":"","reason":"upscaled_too_much","scores":{},"sha256":"","stage":"frame","status":"dropped",'
    b'"synthetic":false,"value":1.0,"width":512}"reason":"no_head","stage":"detect","status":"failed","value":null,'
)
"""What rows are likely to hold, for zlib; part of the format."""
_BARE = b"\1"
"""Begins a packed row without its id and digest; rows of earlier programs hold them and begin as zlib's do."""
SETTLED = "settled"
"""Fact that says what the finished set was made from; any change of contents, heads or origins takes it back."""
_TRIGGERS = [
    f"CREATE TRIGGER IF NOT EXISTS {table}_{change.lower()} AFTER {change} ON {table}"
    f" BEGIN DELETE FROM facts WHERE name = '{SETTLED}'; END"
    for table in ("contents", "heads", "origins")
    for change in ("INSERT", "UPDATE", "DELETE")
]
_HEX = re.compile(r"(?:[0-9a-f]{2})+")


@dataclass(frozen=True)
class KnownShard:
    """What a build noted of a shard that it wrote."""

    fingerprint: str
    """What decided its bytes."""
    entry: dict[str, Any]
    places: list[list[Any]]
    """[id, index, offset, bytes] of its samples."""
    stamp: str
    """Size, times and inode of the file then; empty where an earlier version did not note it."""


def begin(db: sqlite3.Connection) -> None:
    """Start a transaction, where none is open."""
    if not db.in_transaction:
        db.execute("BEGIN")


def commit(db: sqlite3.Connection) -> None:
    """End a transaction, where one is open."""
    if db.in_transaction:
        db.execute("COMMIT")


def fact(db: sqlite3.Connection, name: str) -> str:
    """Return a remembered text, empty where there is none."""
    row = db.execute("SELECT value FROM facts WHERE name=?", (name,)).fetchone()
    return str(row[0]) if row else ""


def raw(text: str) -> bytes:
    """Return a name as SQLite stores it: its bytes, since names of files need not be UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def named(data: bytes) -> str:
    """Return the text of a stored name, undecodable bytes surrogate-escaped."""
    return data.decode("utf-8", "surrogateescape")


def mark_of(place: str, stamp: str) -> bytes:
    """Return what a file is recognised by in later runs: a hash of where it lies and of its stamp; empty without a stamp."""
    return hashlib.blake2b(raw(f"{place}\0{stamp}"), digest_size=16).digest() if stamp else b""


def key_of(digest: str) -> bytes:
    """Return hex digits as bytes; what is none is stored as text behind a zero byte."""
    return bytes.fromhex(digest) if _HEX.fullmatch(digest) else b"\0" + raw(digest) if digest else b""


def text_of(key: bytes) -> str:
    """Undo `key_of` for digests."""
    return key.hex()


def packed_row(text: str, id: str = "", sha256: str = "") -> bytes:
    """Return a row's JSON, deflated, without the id and digest that the tables hold in columns of their own.

    Args:
        text: canonical JSON.
        id: of the row.
        sha256: of the row's file.
    """
    bare = text
    for name, value in (("id", id), ("sha256", sha256)):
        bare = bare.replace(f'"{name}":"{value}"', f'"{name}":""', 1)
    is_bare = bare != text and _filled(bare, id, sha256) == text
    deflate = zlib.compressobj(zdict=_DICTIONARY)
    return _BARE * is_bare + deflate.compress((bare if is_bare else text).encode()) + deflate.flush()


def _filled(bare: str, id: str, sha256: str) -> str:
    """Put id and digest where `packed_row` left them out."""
    return bare.replace('"id":""', f'"id":"{id}"', 1).replace('"sha256":""', f'"sha256":"{sha256}"', 1)


def row_text(packed: bytes, id: str = "", sha256: str = "") -> str:
    """Undo `packed_row`; without id and sha256, they may be empty in the row.

    Raises:
        sqlite3.DatabaseError: the row is damaged.
    """
    try:
        inflate = zlib.decompressobj(zdict=_DICTIONARY)
        is_bare = packed[:1] == _BARE
        text = inflate.decompress(packed[1:] if is_bare else packed).decode()
        if not inflate.eof:
            raise sqlite3.DatabaseError("a row of the table of heads is cut short")
        return _filled(text, id, sha256) if is_bare else text
    except (zlib.error, UnicodeDecodeError, TypeError) as error:
        raise sqlite3.DatabaseError(f"a row of the table of heads is damaged ({error})") from error


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables where there are none, or close the database where that fails."""
    try:
        _prepare(db)
    except sqlite3.Error:
        db.close()
        raise


def _prepare(db: sqlite3.Connection) -> None:
    """Make tables; take over those of versions 1 and 2, and empty what is of another version."""
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    found = db.execute("SELECT version FROM format").fetchone() if "format" in tables else None
    version = found[0] if found else None
    if version == VERSION:
        return
    db.execute("BEGIN")
    if version == 2:
        db.execute("UPDATE format SET version = ?", (VERSION,))
    elif version == 1:
        for name in tables:
            db.execute(f"ALTER TABLE {name} RENAME TO old_{name}")
        for name in ("heads_by_id", "origins_by_content", "origins_by_key"):
            db.execute(f"DROP INDEX IF EXISTS {name}")
    else:
        for name in tables:
            db.execute(f"DROP TABLE {name}")
    if version != 2:
        for statement in _TABLES.split(";"):
            db.execute(statement)
        db.execute("INSERT INTO format VALUES (?)", (VERSION,))
    if version == 1:
        _take_over(db)
        for name in tables:
            db.execute(f"DROP TABLE old_{name}")
    for statement in _TRIGGERS:
        db.execute(statement)
    db.execute("COMMIT")


def _take_over(db: sqlite3.Connection) -> None:
    """Copy what a memory of version 1 knows of contents and shards; the list of inputs is made anew by every run."""
    db.create_function("key_of", 1, key_of, deterministic=True)
    db.create_function("packed_row", 3, packed_row, deterministic=True)
    db.create_function("mark_of_old", 2, _mark_of_old, deterministic=True)
    db.create_function("deflated", 1, lambda text: zlib.compress(text.encode()), deterministic=True)
    db.execute("INSERT INTO chains SELECT id, keys FROM old_chains")
    db.execute(
        "INSERT INTO contents (work_key, sha256, chain, outcome, reason, detail, stage) SELECT key_of(work_key),"
        " nullif(key_of(sha256), key_of(work_key)), chain, outcome, reason, detail, stage FROM old_results"
    )
    number = "(SELECT number FROM contents c WHERE c.work_key = key_of(old.work_key))"
    db.execute(f"INSERT INTO heads SELECT {number}, id, status, packed_row(row, '', '') FROM old_heads old")
    db.execute(f"INSERT OR IGNORE INTO looks SELECT {number}, id, key, look FROM old_looks old")
    db.execute(f"INSERT OR IGNORE INTO stamps SELECT mark_of_old(place, stamp), {number} FROM old_stamps old")
    db.execute("DELETE FROM stamps WHERE content IS NULL")
    db.execute("INSERT INTO shards SELECT name, fingerprint, entry, deflated(placed) FROM old_shards")
    db.execute("INSERT INTO facts SELECT name, value FROM old_facts")


def _mark_of_old(place: bytes, stamp: str) -> bytes:
    return hashlib.blake2b(place + b"\0" + raw(stamp), digest_size=16).digest()
