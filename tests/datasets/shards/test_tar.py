"""Shards hold what was put in, the same bytes each time, and say so when they do not."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st
from spherehead.datasets.shards.tar import ShardError, ShardReader, iterate, write_shard

SAMPLES = [(f"{i:016x}", {"jpg": bytes([i]) * (700 * i), "json": b"{}", "seg.png": b"s" * 512}) for i in range(5)]


def test_two_writes_give_equal_bytes_and_the_entry_tells_the_truth(tmp_path: Path) -> None:
    import hashlib

    entry, _ = write_shard(tmp_path / "a.tar", "train", SAMPLES)
    write_shard(tmp_path / "b.tar", "train", SAMPLES)
    data = (tmp_path / "a.tar").read_bytes()
    assert data == (tmp_path / "b.tar").read_bytes()
    assert (entry.count, entry.num_bytes, entry.sha256) == (5, len(data), hashlib.sha256(data).hexdigest())


def test_webdataset_reads_it(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", "train", SAMPLES)
    read = list(webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False))
    assert [(item["__key__"], item["jpg"], item["seg.png"]) for item in read] == [
        (key, members["jpg"], members["seg.png"]) for key, members in SAMPLES
    ]


@given(st.dictionaries(st.text("abcdefgh", min_size=1, max_size=120), st.binary(max_size=1500), min_size=1, max_size=6))
def test_the_bytes_are_those_of_a_plain_tar(tmp_path_factory: pytest.TempPathFactory, data: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("shards")
    samples = [(key, {"seg.png": value[::-1], "jpg": value, "json": b"{}"}) for key, value in sorted(data.items())]
    write_shard(folder / "a.tar", "train", samples)
    with tarfile.open(folder / "b.tar", "w") as tar:
        for key, members in samples:
            for suffix, value in sorted(members.items()):
                header = tarfile.TarInfo(f"{key}.{suffix}")
                header.size, header.mode = len(value), 0o444
                tar.addfile(header, io.BytesIO(value))
    assert (folder / "a.tar").read_bytes() == (folder / "b.tar").read_bytes()


@given(st.dictionaries(st.text("abcdef0123456789", min_size=1, max_size=16), st.binary(max_size=1500), min_size=1, max_size=6))
def test_every_sample_is_found_at_its_offset(tmp_path_factory: pytest.TempPathFactory, data: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("shards")
    samples = [(key, {"jpg": value, "json": b"{}"}) for key, value in sorted(data.items())]
    _, placed = write_shard(folder / "s.tar", "train", samples)
    with ShardReader(folder) as reader:
        assert [reader.members("s.tar", place.offset, place.num_bytes) for place in placed] == samples
    with (folder / "s.tar").open("rb") as file:
        assert list(iterate(file)) == samples


def test_headers_hold_no_time_and_no_owner(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", "train", SAMPLES)
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar} == {(0, 0, 0, "", "", 0o444)}


def test_an_exception_leaves_no_shard(tmp_path: Path) -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield SAMPLES[0]
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_shard(tmp_path / "a.tar", "train", broken())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sample", [("a.b", {"jpg": b""}), ("", {"jpg": b""}), ("ab", {})])
def test_keys_that_webdataset_would_cut_are_refused(tmp_path: Path, sample: tuple[str, dict[str, bytes]]) -> None:
    with pytest.raises(ValueError, match="expected a key without dots"):
        write_shard(tmp_path / "a.tar", "train", [sample])


def _tar(*members: tuple[str, bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    file.seek(0)
    return file


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (_tar(("a.jpg", b"1"), ("b.jpg", b"2"), ("a.json", b"3")), "stands in two places"),
        (_tar(("a.jpg", b"1"), ("a.jpg", b"2")), "two members"),
        (_tar(("readme", b"1")), "has no suffix"),
        (io.BytesIO(_tar(("a.jpg", b"1" * 5000)).getvalue()[:2000]), "damaged tar|ends early"),
    ],
)
def test_a_malformed_shard_is_named(file: io.BytesIO, message: str) -> None:
    with pytest.raises(ShardError, match=message):
        list(iterate(file, "x.tar"))
