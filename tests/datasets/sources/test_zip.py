"""Zip archives as sources: names that are only names, damage and bombs that refuse one entry."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest
from spherehead.datasets.sample import Drop
from spherehead.datasets.sources.zips import ZipSource


def zipped(tmp_path, members, patch=None):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    data = file.getvalue() if patch is None else patch(bytearray(file.getvalue()))
    (tmp_path / "a.zip").write_bytes(data)
    return ZipSource("a", str(tmp_path / "a.zip"))


def reason_of(source, path):
    (image,) = [entry for entry in source.entries() if entry.path == path]
    with pytest.raises(Drop) as caught:
        source.read(image)
    return caught.value


def test_names_that_climb_out_of_a_zip_are_only_names(tmp_path):
    source = zipped(tmp_path, [("../../evil.jpg", b"a"), ("/etc/passwd.jpg", b"b"), ("c:\\x.jpg", b"c")])
    assert {source.read(entry) for entry in source.entries()} == {b"a", b"b", b"c"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_one_name_twice_in_a_zip_is_two_files(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        source = zipped(tmp_path, [("same.jpg", b"first"), ("same.jpg", b"second")])
    entries = list(source.entries())
    assert [source.read(entry) for entry in entries] == [b"first", b"second"]
    assert len({entry.stamp for entry in entries}) == 2


def test_damaged_and_encrypted_members_are_refused_and_the_others_read(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8).tobytes()

    def flip(data):
        data[data.index(b"bad.jpg") + 200] ^= 255
        return data

    source = zipped(tmp_path, [("bad.jpg", noise), ("good.jpg", b"fine")], flip)
    assert reason_of(source, "bad.jpg").reason == "io_error"
    assert [source.read(entry) for entry in source.entries() if entry.path == "good.jpg"] == [b"fine"]

    def encrypt(data):
        place = data.index(b"PK\x01\x02") + 8
        struct.pack_into("<H", data, place, 1)
        return data

    assert "encrypted" in reason_of(zipped(tmp_path, [("locked.jpg", b"x")], encrypt), "locked.jpg").detail


def test_a_zip_bomb_is_refused_by_its_announced_size(tmp_path):
    source = zipped(tmp_path, [("bomb.jpg", b"\xff\xd8\xff" + bytes(3_000_000))])
    source.max_bytes = 1_000_000
    assert reason_of(source, "bomb.jpg").reason == "too_many_bytes"
