"""The walk over a tar's headers agrees with tarfile on sound archives, resumes behind damage, and survives any bytes."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.reasons import REASONS
from spherehead.datasets.tar_members import Member, walk_bytes, walk_file

NAMES = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0/"), min_size=1, max_size=180)
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def archive(members: list[tuple[str, bytes]], kind: int = tarfile.PAX_FORMAT, **changes: object) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in changes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def checked(header: bytearray) -> bytes:
    """Put the right checksum into a header."""
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def with_size(data: bytes, at: int, field: bytes) -> bytes:
    """Change the size field of the header at a byte."""
    header = bytearray(data[at : at + 512])
    header[124:136] = field
    return data[:at] + checked(header) + data[at + 512 :]


def base256(value: int) -> bytes:
    return value.to_bytes(12, "big", signed=True) if value < 0 else b"\x80" + value.to_bytes(11, "big")


def names(data: bytes) -> list[tuple[str, str]]:
    return [(member.name, member.problem[0] if member.problem else "") for member in walk_bytes(data)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=6), st.sampled_from(FORMATS[1:]))
def test_members_lie_where_tarfile_finds_them(members: list[tuple[str, bytes]], kind: int) -> None:
    data = archive(members, kind)
    found = list(walk_bytes(data))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        truth = [(info.name, info.offset_data, info.size) for info in tar]
    assert [(member.name.rstrip("/"), member.offset, member.size) for member in found] == [
        (name.rstrip("/"), offset, size) for name, offset, size in truth
    ]
    assert [data[member.offset : member.offset + member.size] for member in found] == [content for _, content in members]
    assert all(member.problem is None for member in found)


def test_every_kind_of_member_is_named() -> None:
    file = io.BytesIO()
    kinds = {
        "hard link": tarfile.LNKTYPE, "symbolic link": tarfile.SYMTYPE, "character device": tarfile.CHRTYPE,
        "block device": tarfile.BLKTYPE, "folder": tarfile.DIRTYPE, "named pipe": tarfile.FIFOTYPE, "unknown": b"Z",
    }  # fmt: skip
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, kind in kinds.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "t" * 200
            tar.addfile(info)
    assert [(member.name.rstrip("/"), member.kind) for member in walk_bytes(file.getvalue())] == [
        (kind, kind) for kind in kinds
    ]


BAD_SIZES = {
    "base 256, negative": base256(-5), "base 256, huge": base256(10**25), "no digits": b"9z9z9z9z9z9\0",
    "past the end": b"77777777777\0",
}  # fmt: skip


@pytest.mark.parametrize("field", BAD_SIZES.values(), ids=BAD_SIZES.keys())
def test_a_bad_size_costs_its_own_member_and_no_other(field: bytes) -> None:
    data = archive([("a.jpg", b"a" * 700), ("b.jpg", b"b" * 700), ("c.jpg", b"c" * 700)], tarfile.USTAR_FORMAT)
    found = names(with_size(data, 512 + 1024, field))
    assert [name for name, problem in found if not problem] == ["a.jpg", "c.jpg"]
    assert [name for name, problem in found if problem] == ["b.jpg"]


@pytest.mark.parametrize("size", ["-5", "1" + "0" * 30, "1e3", "\u0663", "", "9" * 19])
def test_a_bad_size_in_an_extended_header_costs_its_own_member_and_no_other(size: str) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            info = tarfile.TarInfo(name)
            info.size = 700
            info.pax_headers = {"size": size} if name == "b.jpg" else {}
            tar.addfile(info, io.BytesIO(bytes(700)))
    assert names(file.getvalue()) == [("a.jpg", ""), ("b.jpg", "io_error"), ("c.jpg", "")]


def test_sparse_members_are_refused_and_stepped_over() -> None:
    old = archive([("a.jpg", b"a" * 700), ("b.jpg", b"b" * 700), ("c.jpg", b"c")], tarfile.GNU_FORMAT)
    header = bytearray(old[1536:2048])
    header[156:157] = b"S"
    header[482] = 1  # one more block of the map
    old = old[:1536] + checked(header) + bytes(512) + old[2048:]
    assert names(old) == [("a.jpg", ""), ("b.jpg", "io_error"), ("c.jpg", "")]
    new = archive([("b.jpg", b"b" * 700)], pax_headers={"GNU.sparse.major": "1", "GNU.sparse.name": "real.jpg"})
    assert names(new) == [("real.jpg", "io_error")]


def test_members_behind_a_damaged_stretch_and_in_a_second_archive_are_found() -> None:
    data = archive([("a.jpg", b"a"), ("b.jpg", b"b"), ("c.jpg", b"c")], tarfile.GNU_FORMAT)
    hurt = data[:1024] + b"\xff" * 512 + data[1536:]
    assert names(hurt) == [("a.jpg", ""), ("", "truncated"), ("c.jpg", "")]
    assert names(data + data) == [("a.jpg", ""), ("b.jpg", ""), ("c.jpg", "")] * 2
    assert names(data.rstrip(b"\0") + bytes(511)) == [("a.jpg", ""), ("b.jpg", ""), ("c.jpg", ""), ("", "truncated")]
    assert names(data[: 512 + 1024 + 600])[-1][1] == "truncated"


def test_a_checksum_of_signed_bytes_is_taken_and_a_wrong_one_is_not() -> None:
    data = bytearray(archive([("\u00fc" * 3, b"a")], tarfile.GNU_FORMAT))
    data[148:156] = b" " * 8
    right = sum(data[:512])
    signed = right - 256 * sum(byte > 127 for byte in data[:512])
    for total, problems in ((right, [""]), (signed, [""]), (right + 1, ["truncated"]), (signed - 1, ["truncated"])):
        data[148:156] = b"%06o\0 " % total
        assert [problem for _, problem in names(bytes(data))] == problems


def test_an_extended_header_without_end_is_never_read_into_memory(tmp_path: pytest.TempPathFactory) -> None:
    path = tmp_path / "a.tar"  # type: ignore[operator]
    data = archive([("a.jpg", b"a")], pax_headers={"comment": "x"})
    path.write_bytes(with_size(data, 0, b"%011o\0" % (2 << 30)))
    with path.open("r+b") as file:
        file.truncate(3 << 30)  # a hole: takes no disk
        asked: list[int] = []

        class Watched:
            def seek(self, *to: int) -> int:
                return file.seek(*to)

            def read(self, count: int) -> bytes:
                asked.append(count)
                return file.read(count)

        found = next(iter(walk_file(Watched())))  # type: ignore[arg-type]
    assert found.problem is not None and max(asked) <= 1 << 20


def mutations(data: bytes) -> st.SearchStrategy[bytes]:
    """Archives with bytes changed, blocks moved, or cut."""

    def change(edits: list[tuple[int, bytes]], cut: int, repair: bool) -> bytes:
        made = bytearray(data)
        for at, new in edits:
            at %= len(made)
            made[at : at + len(new)] = new
            block = at // 512 * 512
            if repair and len(made) >= block + 512:
                made[block : block + 512] = checked(made[block : block + 512])
        return bytes(made[: len(made) - cut])

    pieces = st.sampled_from([b"\xff" * 12, b"\x80" + bytes(11), b"77777777777\0", b"S", b"x", b"L", b"g", b"K", b"1", b"-5"])
    edits = st.lists(st.tuples(st.integers(0, len(data)), pieces | st.binary(min_size=1, max_size=20)), max_size=6)
    return st.builds(change, edits, st.integers(0, 2000), st.booleans())


SEED = archive([("a.jpg", b"a" * 600), ("y" * 120 + ".jpg", b"b" * 30), ("\u00fc.json", b"{}")]) + archive(
    [("c.jpg", b"c"), ("z" * 140, b"d")], tarfile.GNU_FORMAT
)


def survives(data: bytes) -> None:
    found: list[Member] = list(walk_bytes(data))
    assert len(found) <= len(data) // 512 + 2
    last = -1
    for member in found:
        assert member.start > last and 0 <= member.offset <= len(data) + 512
        last = member.start
        if member.problem is None:
            assert member.offset + member.size <= len(data)
        else:
            assert member.problem[0] in REASONS and "object at" not in member.problem[1]


@settings(max_examples=300, deadline=None)
@given(mutations(SEED) | st.binary(max_size=3000))
def test_any_bytes_give_members_inside_the_file_or_named_problems(data: bytes) -> None:
    survives(data)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(mutations(SEED) | st.binary(max_size=3000))
def test_ten_thousand_archives_give_members_inside_the_file_or_named_problems(data: bytes) -> None:
    survives(data)
