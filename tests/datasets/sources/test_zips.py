"""Zip files: every entry is a file or a named refusal, whatever is wrong with the others, and content equals zipfile's."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.reasons import REASONS
from spherehead.datasets.sample import Drop, SourceImage
from spherehead.datasets.sources.base import Refused, SourceError
from spherehead.datasets.sources.open import open_source
from spherehead.datasets.sources.zips import ZipSource

NOISE = np.random.default_rng(0).integers(0, 256, 3000, dtype=np.uint8).tobytes()
TEXT = b"the same words again and again, " * 300
METHODS = {"stored": zipfile.ZIP_STORED, "deflate": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}


def zipped(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(file, "w", method) as archive:
            for name, data in members:
                archive.writestr(name, data)
            archive.comment = comment
    return file.getvalue()


def told(path) -> dict[str, bytes | str]:
    """Path -> what was read, or the reason."""
    source, found = ZipSource("a", str(path)), {}
    for entry in source.entries():
        if isinstance(entry, Refused):
            found[entry.path] = entry.reason
            continue
        try:
            found[entry.path] = source.read(entry)
        except Drop as drop:
            found[entry.path] = drop.reason
    return found


@pytest.fixture
def place(tmp_path):
    return tmp_path / "a.zip"


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
@settings(max_examples=20, deadline=None)
@given(
    contents=st.lists(st.binary(max_size=3000) | st.sampled_from([TEXT, NOISE, b""]), max_size=4), before=st.binary(max_size=40)
)
def test_what_zipfile_packs_is_read_back(tmp_path_factory, method, contents, before) -> None:
    members = [(f"{index}/ü{index}.jpg", data) for index, data in enumerate(contents)]
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    path.write_bytes(before + zipped(members, method, b"a comment" * len(before)))
    assert told(path) == dict(members)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_a_damaged_member_is_refused_and_the_others_read(place, method) -> None:
    data = bytearray(zipped([("bad.jpg", NOISE + TEXT), ("good.jpg", TEXT)], method))
    for at in range(60, 900, 60):
        data[at] ^= 255
    place.write_bytes(data)
    assert told(place) == {"bad.jpg": "io_error", "good.jpg": TEXT}


def test_a_name_that_is_no_utf8_is_found_by_its_bytes_and_refuses_nothing(place) -> None:
    data = zipped([("aü.jpg", b"1"), ("b.jpg", b"2")]).replace("aü".encode(), b"a\xff\xfe")
    place.write_bytes(data)
    assert told(place) == {"a\udcff\udcfe.jpg": b"1", "b.jpg": b"2"}


def test_a_member_without_a_name_or_from_the_future_is_one_refusal(place) -> None:
    data = bytearray(zipped([("x", b"1"), ("b.jpg", b"2"), ("c.jpg", b"3")]))
    first = data.index(b"PK\x01\x02")
    struct.pack_into("<H", data, data.index(b"PK\x01\x02", first + 4) + 6, 990)  # version needed to read it
    place.write_bytes(data.replace(b"x", b"\0"))
    assert told(place) == {"member 1": "not_an_image", "b.jpg": b"2", "c.jpg": b"3"}


def test_a_broken_extra_field_costs_only_what_needs_it(place) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("a.jpg", "b.jpg"):
            info = zipfile.ZipInfo(name)
            info.extra = b"\x01\x00\xff\xff" if name == "a.jpg" else b""
            archive.writestr(info, name)
    place.write_bytes(file.getvalue())
    assert told(place) == {"a.jpg": b"a.jpg", "b.jpg": b"b.jpg"}


def test_a_large_zip64_archive_is_read(place) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("a.jpg", "b.jpg"):
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(name.encode())
    data = bytearray(file.getvalue())
    # the end record says "see the zip64 record", as in archives of more than 65,535 members
    end = data.index(b"PK\x05\x06")
    count, size, start = struct.unpack_from("<HLL", data, end + 10)
    wide = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    struct.pack_into("<HHLL", data, end + 8, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    place.write_bytes(data[:end] + wide + locator + data[end:])
    assert told(place) == {"a.jpg": b"a.jpg", "b.jpg": b"b.jpg"}


def test_entries_that_claim_the_same_bytes_are_refused_but_for_the_first(place) -> None:
    data = zipped([("a.jpg", TEXT)])
    start = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    many = bytearray(data[:start] + data[start:end] * 500 + data[end:])
    place_of_end = many.rindex(b"PK\x05\x06")
    struct.pack_into("<HHL", many, place_of_end + 8, 500, 500, (end - start) * 500)
    place.write_bytes(many)
    entries = list(ZipSource("a", str(place)).entries())
    assert len(entries) == 500 and sum(isinstance(entry, SourceImage) for entry in entries) == 1
    assert {entry.reason for entry in entries if isinstance(entry, Refused)} == {"io_error"}


def test_a_table_of_contents_that_breaks_off_gives_what_it_has(place) -> None:
    data = bytearray(zipped([("a.jpg", b"1"), ("b.jpg", b"2")]))
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    data[second : second + 4] = b"????"
    place.write_bytes(data)
    assert told(place) == {"a.jpg": b"1", "a.zip": "truncated"}
    place.write_bytes(data[:second])
    with pytest.raises(SourceError, match="no table of contents at its end"):
        open_source(str(place))


SEED = zipped([("a.jpg", TEXT), ("ü.jpg", NOISE)], zipfile.ZIP_LZMA) + zipped([("b.jpg", TEXT), ("c", b"")], zipfile.ZIP_BZIP2)
SMALL = zipped([("a.jpg", b"1" * 99), ("b/c.jpg", b"2")])


def survives(folder, seed: bytes, edits: list[tuple[int, bytes]]) -> None:
    made = bytearray(seed)
    for at, new in edits:
        made[at % len(made) : at % len(made) + len(new)] = new
    path = folder / "a.zip"
    path.write_bytes(made)
    try:
        source = open_source(str(path))
        source.max_bytes = 1 << 20
        for entry in source.entries():
            if isinstance(entry, Refused):
                assert entry.reason in REASONS
                continue
            try:
                assert len(source.read(entry)) == entry.num_bytes
            except Drop as drop:
                assert "object at" not in drop.detail
    except SourceError as error:
        assert "object at" not in str(error)


PIECES = st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x0e\0", b"\x0c\0", b"\x09\0", b"PK"])
EDITS = st.lists(st.tuples(st.integers(0, 20_000), PIECES | st.binary(min_size=1, max_size=8)), max_size=8)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([SEED, SMALL]), EDITS)
def test_any_bytes_give_members_or_named_problems(tmp_path_factory, seed, edits) -> None:
    survives(tmp_path_factory.getbasetemp(), seed, edits)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(st.sampled_from([SEED, SMALL]), EDITS)
def test_ten_thousand_archives_give_members_or_named_problems(tmp_path_factory, seed, edits) -> None:
    survives(tmp_path_factory.getbasetemp(), seed, edits)
