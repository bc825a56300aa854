"""Zips and shards give whole members or a named reason, whatever is wrong with them."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from spherehead.datasets.camera import Camera
from spherehead.datasets.sample import Drop
from spherehead.datasets.shards.codec import camera_json, encode_grey
from spherehead.datasets.shards.tar import write_shard
from spherehead.datasets.sources.archive import ShardSource, ZipSource
from spherehead.datasets.sources.base import Refused
from spherehead.datasets.sources.open import open_source
from spherehead.datasets.sources.sidecars import load_sidecars

SAMPLES = [
    (f"{index:016x}", {
        "jpg": b"picture %d" % index, "mask.png": encode_grey(np.full((4, 6), 40 * index, np.uint8)),
        "seg.png": encode_grey(np.full((4, 6), index, np.uint8)), "cam.json": camera_json(Camera.look_at(0.1 * index, 0.0)),
        "json": b'{"license":"CC0","identity":"p%d","width":9}' % index,
    })
    for index in range(5)
]  # fmt: skip


@pytest.fixture
def shard(tmp_path):
    write_shard(tmp_path / "train-000000.tar", "train", SAMPLES)
    (tmp_path / "manifest.json").write_text("{}")
    return tmp_path / "train-000000.tar"


def test_a_data_set_is_read_back_sample_by_sample_with_its_sidecars(shard):
    source = pickle.loads(pickle.dumps(open_source(str(shard.parent))))
    entries = list(source.entries())
    assert [entry.sidecar["id"] for entry in entries] == [key for key, _ in SAMPLES]
    assert [entry.path for entry in entries] == [f"{shard.name}/{key}.jpg" for key, _ in SAMPLES]
    for index, (entry, (key, members)) in enumerate(zip(entries, SAMPLES, strict=True)):
        assert source.read(entry) == members["jpg"] and entry.num_bytes == len(members["jpg"])
        assert source.sidecar(entry, "id") == key.encode() and source.sidecar(entry, "record") == members["json"]
        assert (entry.rights.license, entry.rights.identity) == ("CC0", f"p{index}")
        found = load_sidecars(source, entry, (6, 4))
        assert (found["mask"] == 40 * index).all() and (found["parsing"] == index).all()
        assert found["camera"].yaw == pytest.approx(0.1 * index, abs=1e-6)


def test_shards_may_be_named_one_by_one_or_by_a_pattern(shard):
    paths = [[entry.path for entry in open_source(str(place)).entries()] for place in (shard, shard.parent / "train-*.tar")]
    assert paths[0] == paths[1] and len(paths[0]) == 5


@pytest.mark.parametrize("cut", ["inside a member", "between members", "before the end mark"])
def test_a_cut_shard_gives_what_is_whole_and_says_that_the_rest_is_missing(shard, cut):
    data = shard.read_bytes()
    with tarfile.open(shard) as tar:
        third = [info for info in tar if info.name.startswith(SAMPLES[3][0])]
        end = tar.offset
    places = {"inside a member": third[0].offset_data + 3, "between members": third[0].offset, "before the end mark": end - 512}
    shard.write_bytes(data[: places[cut]])
    entries = list(ShardSource("s", (str(shard),)).entries())
    assert isinstance(entries[-1], Refused) and entries[-1].reason == "truncated"
    whole = [entry for entry in entries if not isinstance(entry, Refused)]
    assert [entry.sidecar["id"] for entry in whole[:3]] == [key for key, _ in SAMPLES[:3]]


def test_a_sample_without_a_picture_is_refused_by_name(tmp_path):
    write_shard(tmp_path / "a.tar", "train", [("one", {"json": b"{}"}), ("two", {"png": b"x", "json": b"not json"})])
    first, second = open_source(str(tmp_path / "a.tar")).entries()
    assert (first.path, first.reason) == ("a.tar/one", "not_an_image")
    assert second.path == "a.tar/two.png" and second.rights.license == ""


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


def test_a_zip_bomb_is_refused_by_its_promised_size(tmp_path):
    source = zipped(tmp_path, [("bomb.jpg", b"\xff\xd8\xff" + bytes(3_000_000))])
    source.max_bytes = 1_000_000
    assert reason_of(source, "bomb.jpg").reason == "too_many_bytes"
