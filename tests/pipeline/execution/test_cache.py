"""The stage cache keeps whole records, forgets broken ones, and never grows without end."""

from __future__ import annotations

import threading
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from spherehead.pipeline.execution.cache import StageCache

A, B, C = "a" * 16, "b" * 16, "c" * 16


def test_records_come_back_and_later_ones_win(tmp_path: Path) -> None:
    cache = StageCache(tmp_path)
    with cache.open("ab01") as log:
        log.append(A, b"one")
        log.append(B, b"two")
        log.append(A, b"three")
    assert cache.read("ab01", A) == b"three" and cache.read("ab01", B) == b"two"
    assert cache.read("ab01", C) is None and cache.read("ffff", A) is None


@given(st.integers(0, 400))
def test_a_log_cut_anywhere_keeps_its_whole_records_and_takes_new_ones(tmp_path_factory, cut: int) -> None:  # type: ignore[no-untyped-def]
    cache = StageCache(tmp_path_factory.mktemp("cache"))
    with cache.open("ab") as log:
        log.append(A, b"1" * 100)
        log.append(B, b"2" * 200)
    path = cache.path("ab")
    whole = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(min(cut, whole))
    assert cache.read("ab", B) == (b"2" * 200 if cut >= whole else None)
    assert cache.read("ab", A) == (b"1" * 100 if cut >= whole - 232 else None)
    with cache.open("ab") as log:
        log.append(C, b"new")
    assert cache.read("ab", C) == b"new"


def test_a_flipped_byte_is_a_missing_record(tmp_path: Path) -> None:
    cache = StageCache(tmp_path)
    with cache.open("ab") as log:
        log.append(A, b"x" * 1000)
        log.append(B, b"y" * 1000)
    data = bytearray(cache.path("ab").read_bytes())
    data[500] ^= 1
    cache.path("ab").write_bytes(data)
    assert cache.read("ab", A) is None and cache.read("ab", B) == b"y" * 1000


def test_stale_records_go_when_they_outweigh_the_live_ones(tmp_path: Path) -> None:
    cache = StageCache(tmp_path)
    for generation in range(12):
        with cache.open("ab") as log:
            log.append(f"{generation:016d}", bytes([generation]) * (1 << 20))
            log.compact([f"{generation:016d}"])
        assert cache.path("ab").stat().st_size < 8 << 20
    assert cache.read("ab", f"{11:016d}") == b"\x0b" * (1 << 20)


def test_a_second_holder_of_the_same_content_waits(tmp_path: Path) -> None:
    cache = StageCache(tmp_path)
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with cache.open("ab") as log:
            order.append("second")
            assert log.read(A) == b"done"

    thread = threading.Thread(target=second)
    thread.start()
    with cache.open("ab") as log:
        inside.set()
        thread.join(timeout=0.2)
        order.append("first")
        log.append(A, b"done")
    thread.join()
    assert order == ["first", "second"]
