"""The stage cache gives back whole records of the content asked for, forgets all others, and never grows without end."""

from __future__ import annotations

import shutil
import sqlite3
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.pipeline.execution.cache import StageCache
from spherehead.pipeline.execution.packing import pack

A, B, C = "a" * 16, "b" * 16, "c" * 16
ONE, TWO = "1" * 64, "2" * 64
TABLES = ("stages", "members")


@pytest.fixture
def cache(tmp_path: Path) -> StageCache:
    return StageCache(tmp_path / "cache.sqlite")


def payload(cache: StageCache, table: str) -> bytes:
    return bytes(cache.db.execute(f"SELECT payload FROM {table}").fetchone()[0])


def test_records_come_back_and_later_ones_win(cache: StageCache) -> None:
    cache.add(ONE, {A: b"one", B: b"two" * 5000}, [A, B])
    cache.add(ONE, {A: b"three"}, [A, B])
    assert cache.records(ONE) == {A: b"three", B: b"two" * 5000}
    assert cache.records(TWO) == {}


def test_members_belong_to_one_encoding(cache: StageCache) -> None:
    cache.set_members(ONE, A, b"jpeg")
    assert cache.members(ONE, A) == b"jpeg" and cache.members(ONE, B) is None and cache.members(TWO, A) is None
    cache.drop_members(ONE)
    assert cache.members(ONE, A) is None


@given(st.data())
@settings(max_examples=60)
def test_any_flipped_bit_is_a_missing_record(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    cache = StageCache(tmp_path_factory.mktemp("cache") / "cache.sqlite")
    cache.add(ONE, {A: b"x" * 40, B: bytes(range(200))}, [A, B])
    cache.set_members(ONE, A, b"picture")
    table = data.draw(st.sampled_from(TABLES))
    changed = bytearray(payload(cache, table))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cache.db.execute(f"UPDATE {table} SET payload=?", (bytes(changed),))
    assert (cache.records(ONE) if table == "stages" else cache.members(ONE, A)) in ({}, None)


@given(st.integers(0, 200))
@settings(max_examples=30)
def test_a_record_cut_anywhere_is_a_missing_record(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    cache = StageCache(tmp_path_factory.mktemp("cache") / "cache.sqlite")
    cache.add(ONE, {A: bytes(range(256)) * 2}, [A])
    whole = payload(cache, "stages")
    cache.db.execute("UPDATE stages SET payload=?", (whole[: min(cut, len(whole) - 1)],))
    assert cache.records(ONE) == {}


def test_one_pictures_records_copied_over_anothers_are_not_taken(cache: StageCache) -> None:
    for name, record in ((ONE, b"first"), (TWO, b"second")):
        cache.add(name, {A: record}, [A])
        cache.set_members(name, A, record)
    for table in TABLES:
        first, second = (row[0] for row in cache.db.execute(f"SELECT place FROM {table} ORDER BY place").fetchall())
        cache.db.execute(
            f"UPDATE {table} SET payload=(SELECT payload FROM {table} WHERE place=?) WHERE place=?", (first, second)
        )
    assert sorted((cache.records(ONE), cache.records(TWO)), key=len)[0] == {}
    assert None in (cache.members(ONE, A), cache.members(TWO, A))


def test_stale_records_go_when_they_outweigh_the_live_ones(cache: StageCache, tmp_path: Path) -> None:
    for generation in range(12):
        key = f"{generation:016d}"
        cache.add(ONE, {key: bytes([generation]) * (1 << 20)}, [key])
        assert sum(map(len, cache.records(ONE).values())) <= 6 << 20
    assert cache.records(ONE)[f"{11:016d}"] == b"\x0b" * (1 << 20)
    cache.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert (tmp_path / "cache.sqlite").stat().st_size < 16 << 20


def test_what_was_removed_is_not_left_in_the_file(cache: StageCache, tmp_path: Path) -> None:
    cache.add(ONE, {A: b"confidential" * 1000}, [A])
    cache.add(TWO, {A: b"harmless" * 1000}, [A])
    cache.remove(ONE)
    cache.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = b"".join(path.read_bytes() for path in tmp_path.glob("cache.sqlite*"))
    assert b"confidential" not in data and b"harmless" in data


def test_thumbs_are_known_by_head_and_stage(cache: StageCache) -> None:
    cache.set_thumb("01", "no_head", A, b"jpeg")
    cache.set_thumb("02", "no_head", A, b"")
    assert (cache.thumb("01", A), cache.thumb("01", B), cache.thumb("02", A), cache.thumb("03", A)) == (
        b"jpeg",
        None,
        b"",
        None,
    )
    cache.keep_thumbs(["02"])
    assert cache.thumb("01", A) is None and cache.thumb("02", A) == b""


def test_records_in_logs_of_an_earlier_version_are_found_and_go_with_the_first_change(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / ONE[:2]
    folder.mkdir(parents=True)
    finished = pack({"rows": "[]", "members": {"id": {"jpg": b"picture"}}, "thumbs": {}})
    header = struct.Struct("<4s16sQI")
    entries = [(A, b"old"), (B, b"damaged"), (C, finished)]
    data = b"".join(header.pack(b"SHR1", key.encode(), len(part), zlib.crc32(part)) + part for key, part in entries)
    (folder / f"{ONE}.log").write_bytes(data.replace(b"damaged", b"changed") + b"SHR1")
    cache = StageCache(tmp_path / "cache.sqlite")
    assert cache.records(ONE) == {A: b"old", C: finished}
    assert cache.members(ONE, C) == pack({"id": {"jpg": b"picture"}}) and cache.members(ONE, A) is None
    cache.add(ONE, {B: b"new"}, [A, B])
    assert cache.records(ONE) == {A: b"old", B: b"new"} and not (folder / f"{ONE}.log").exists()


def test_a_cache_is_read_where_nothing_can_be_written_and_where_there_is_none(tmp_path: Path) -> None:
    cache = StageCache(tmp_path / "cache.sqlite")
    cache.add(ONE, {A: b"one"}, [A])
    cache.close()
    with StageCache.reading(tmp_path / "cache.sqlite") as readable:
        assert readable.records(ONE) == {A: b"one"}
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            readable.remove(ONE)
    shutil.rmtree(tmp_path)
    with StageCache.reading(tmp_path / "cache.sqlite") as absent:
        assert absent.records(ONE) == {} and not tmp_path.exists()
