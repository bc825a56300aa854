"""Zips and shards give whole members or a named reason, whatever is wrong with them."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera
from spherehead.datasets.sample import Drop, SourceImage
from spherehead.datasets.shards.codec import camera_json, encode_grey
from spherehead.datasets.shards.tar import write_shard
from spherehead.datasets.sources.base import Refused, SourceError
from spherehead.datasets.sources.open import open_source
from spherehead.datasets.sources.sidecars import load_sidecars
from spherehead.datasets.sources.tars import TarSource

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
    return tmp_path / "train-000000.tar"


def test_an_archive_is_read_sample_by_sample_with_what_lies_beside_each_picture(shard):
    source = pickle.loads(pickle.dumps(open_source(str(shard))))
    entries = list(source.entries())
    assert not any("id" in entry.sidecar for entry in entries)
    assert [entry.path for entry in entries] == [f"{shard.name}/{key}.jpg" for key, _ in SAMPLES]
    for index, (entry, (_, members)) in enumerate(zip(entries, SAMPLES, strict=True)):
        assert source.read(entry) == members["jpg"] and entry.num_bytes == len(members["jpg"])
        assert source.sidecar(entry, "id") is None and source.sidecar(entry, "record") == members["json"]
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
    places = {"inside a member": third[0].offset_data + 3, "between members": third[0].offset, "before the end mark": end}
    shard.write_bytes(data[: places[cut]])
    entries = list(TarSource("s", (str(shard),)).entries())
    assert isinstance(entries[-1], Refused) and entries[-1].reason == "truncated"
    whole = [entry for entry in entries if not isinstance(entry, Refused)]
    assert [entry.path for entry in whole[:3]] == [f"{shard.name}/{key}.jpg" for key, _ in SAMPLES[:3]]


def test_a_sample_without_a_picture_is_refused_by_name(tmp_path):
    write_shard(tmp_path / "a.tar", "train", [("one", {"json": b"{}"}), ("two", {"png": b"x", "json": b"not json"})])
    first, second = open_source(str(tmp_path / "a.tar")).entries()
    assert (first.path, first.reason) == ("a.tar/one.json", "not_an_image")
    assert (second.path, second.reason) == ("a.tar/two.png", "sidecar_mismatch") and "JSON" in second.detail


def packed(folder, members, name="a.tar"):
    """Write a tar of (name, bytes) or (name, type, target) and open it."""
    with tarfile.open(folder / name, "w") as tar:
        for item in members:
            info = tarfile.TarInfo(item[0])
            if len(item) == 2:
                info.size = len(item[1])
                tar.addfile(info, io.BytesIO(item[1]))
            else:
                info.type, info.linkname = item[1], item[2]
                tar.addfile(info)
    return open_source(str(folder / name))


def told(source):
    """Path within the archive -> what was read, or the reason; a list where a path comes again."""
    found = {}
    for entry in source.entries():
        what = entry.reason if isinstance(entry, Refused) else source.read(entry)
        found.setdefault(entry.path.removeprefix("a.tar/"), []).append(what)
    return {path: what[0] if len(what) == 1 else what for path, what in found.items()}


LABEL = camera_json(Camera.look_at(0.1, 0.0))


def test_every_format_and_every_name_of_a_picture_is_read_from_a_tar(tmp_path):
    names = (
        "a.jfif",
        "b.gif",
        "c.tif",
        "d.avif",
        "0001.input.jpg",
        "0001.output.png",
        "john.smith.jpg",
        "bare",
        "E.JPG",
        "./f/g.jpg",
    )
    found = told(packed(tmp_path, [(name, name.encode()) for name in names]))
    assert found == {name.removeprefix("./"): name.encode() for name in names}


def test_names_with_dots_and_several_pictures_of_a_key_keep_their_own_labels(tmp_path):
    source = packed(tmp_path, [
        ("john.smith.jpg", b"1"), ("john.smith.cam.json", LABEL), ("john.doe.jpg", b"2"), ("john.json", b'{"license":"CC0"}'),
        ("k.input.jpg", b"3"), ("k.cam.json", LABEL), ("k.txt", b"words"),
        ("two.jpg", b"4"), ("two.png", b"5"), ("two.cam.json", LABEL), ("mask.mask.png", b"6"),
    ])  # fmt: skip
    entries = {entry.path.removeprefix("a.tar/"): entry for entry in source.entries()}
    with_label = {path for path, entry in entries.items() if isinstance(entry, SourceImage) and "camera" in entry.sidecar}
    assert with_label == {"john.smith.jpg", "k.input.jpg"}
    assert [entries[name].rights.license for name in ("john.smith.jpg", "john.doe.jpg")] == ["CC0", "CC0"]
    assert [entries[name].reason for name in ("two.jpg", "two.png")] == ["sidecar_mismatch"] * 2
    assert entries["mask.mask.png"].reason == "not_an_image" and isinstance(entries["k.txt"], SourceImage)


def test_links_devices_hidden_and_nameless_members_are_each_counted(tmp_path):
    source = packed(tmp_path, [
        ("a.jpg", b"1"), ("b.jpg", tarfile.LNKTYPE, "a.jpg"), ("c.jpg", tarfile.SYMTYPE, "a.jpg"), ("d", tarfile.CHRTYPE, ""),
        ("e", tarfile.FIFOTYPE, ""), ("folder", tarfile.DIRTYPE, ""), ("", b"2"), (".jpg", b"3"), ("__MACOSX/._a.jpg", b"4"),
        ("__MACOSX/._b.jpg", b"5"),
    ])  # fmt: skip
    found = told(source)
    nameless = next(path for path in found if path.startswith("byte "))
    assert found == {
        "a.jpg": b"1", "b.jpg": "special_file", "c.jpg": "special_file", "d": "special_file", "e": "special_file",
        nameless: "not_an_image", ".jpg": "hidden_file", "__MACOSX/": "hidden_file",
    }  # fmt: skip


def test_repeated_members_are_told_apart_or_refused_and_never_given_each_others_label(tmp_path):
    one, other = b"one picture", b"another one"
    assert told(packed(tmp_path, [("a.jpg", one), ("a.cam.json", LABEL), ("a.jpg", other), ("b.jpg", b"b")])) == {
        "a.jpg": ["sidecar_mismatch"] * 2, "b.jpg": b"b",
    }  # fmt: skip
    assert told(packed(tmp_path, [("a.jpg", one), ("a.jpg", other)])) == {"a.jpg": [one, other]}
    assert told(packed(tmp_path, [("a.jpg", one), ("a.jpg", one), ("a.cam.json", LABEL)])) == {
        "a.jpg": [one, "exact_duplicate"]
    }
    same = [("a.jpg", one), ("a.cam.json", LABEL), ("a.cam.json", LABEL)]
    assert told(packed(tmp_path, same)) == {"a.jpg": one}
    assert told(packed(tmp_path, [*same, ("a.cam.json", b"[1]")])) == {"a.jpg": "sidecar_mismatch"}


def test_members_of_a_sample_that_lie_apart_find_each_other(tmp_path):
    source = packed(tmp_path, [
        ("a.jpg", b"a"), ("b.jpg", b"b"), ("a.cam.json", LABEL), ("c.jpg", b"c"), ("b.json", b'{"license":"CC0"}'),
    ])  # fmt: skip
    entries = {entry.path.removeprefix("a.tar/"): entry for entry in source.entries()}
    assert set(entries) == {"a.jpg", "b.jpg", "c.jpg"}
    assert source.sidecar(entries["a.jpg"], "camera") == LABEL and entries["b.jpg"].rights.license == "CC0"
    assert source.read(entries["b.jpg"]) == b"b"


@pytest.mark.parametrize(
    "record",
    [b'{"license":"\\ud800"}', b"[" * 100_000, b"\xff\xfe{", b'{"a": ' + b"9" * 5000 + b"}", b"", b'{"license":'],
    ids=["surrogate", "nested", "no text", "digits", "empty", "cut"],
)
def test_a_bad_record_refuses_its_own_picture_and_no_other(tmp_path, record):
    found = told(packed(tmp_path, [("a.jpg", b"a"), ("a.json", record), ("b.jpg", b"b"), ("b.json", b"{}")]))
    assert found["b.jpg"] == b"b" and found["a.jpg"] in ("sidecar_mismatch", *([b"a"] if b"999" in record else []))


@pytest.mark.parametrize("camera", [b"[" * 100_000, b"[" + b",".join([b"9" * 400] * 25) + b"]", b'["a"]', b"", b"[[1],[[2]]]"])
def test_a_bad_camera_is_a_named_refusal(tmp_path, camera):
    source = packed(tmp_path, [("a.jpg", b"a"), ("a.cam.json", camera)])
    (entry,) = source.entries()
    with pytest.raises(Drop, match="camera_invalid"):
        load_sidecars(source, entry, (6, 4))


def test_only_what_a_manifest_lists_is_taken_for_a_finished_head(finished_set, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(finished_set, folder)
    packed(folder, [("cup.jpg", b"cup")], "train-000099.tar")
    source = open_source(str(folder))
    entries = list(source.entries())
    heads = [entry for entry in entries if isinstance(entry, SourceImage)]
    assert len(heads) == 14 and all(len(entry.sidecar["id"]) == 16 for entry in heads)
    assert [(entry.path, entry.reason) for entry in entries if isinstance(entry, Refused)] == [
        ("train-000099.tar", "not_an_image")
    ]
    (cup,) = open_source(str(folder / "train-000099.tar")).entries()
    assert "id" not in cup.sidecar
    shard = next(folder.glob("train-000000.tar"))
    packed(folder, [("cup.jpg", b"cup")], shard.name)  # under a name that the manifest lists
    assert {type(entry) for entry in open_source(str(shard)).entries()} == {Refused}
    shutil.copy(finished_set / shard.name, tmp_path)  # far from its manifest, it is any archive
    assert not any("id" in entry.sidecar for entry in open_source(str(tmp_path / shard.name)).entries())


def test_a_finished_picture_that_was_changed_in_place_is_refused(finished_set, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(finished_set, folder)
    source = open_source(str(folder))
    first = next(iter(source.entries()))
    index, offset, size = map(int, first.sidecar["picture"].split(":"))
    with Path(source.tars[index]).open("r+b") as file:
        file.seek(offset + size // 2)
        file.write(b"?")
    with pytest.raises(Drop, match="not the one that the data set's manifest lists"):
        source.read(first)


def test_a_manifest_that_leads_elsewhere_or_lacks_its_table_is_refused(finished_set, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(finished_set, folder)
    header = json.loads((folder / "manifest.json").read_text())
    pq.write_table(pa.table({"id": ["x"], "status": ["kept"]}), folder / "manifest.parquet")
    (folder / "manifest.json").write_text(json.dumps({**header, "manifest_sha256": "0" * 64}))
    with pytest.raises(SourceError, match="finished heads"):
        list(open_source(str(folder)).entries())
    header["shards"][0]["name"] = "../secret.tar"
    (folder / "manifest.json").write_text(json.dumps(header))
    with pytest.raises(SourceError, match="file name of a shard"):
        open_source(str(folder))


MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "x/a", "./a"]),
        st.sampled_from(
            [".jpg", ".png", ".JPG", ".one.jpg", ".two.jpg", ".txt", "", ".cam.json", ".one.cam.json", ".json", ".mask.png"]
        ),
        st.sampled_from([b"0", b"1"]),
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(MEMBERS)
def test_every_member_is_a_file_a_label_in_use_or_refused_and_no_label_is_ever_guessed(tmp_path_factory, members):
    folder = tmp_path_factory.getbasetemp()
    written = [(key + ending, ending.encode() + content) for key, ending, content in members if key + ending != "./a"]
    source = packed(folder, written)
    entries = list(source.entries())
    plain = [(name.removeprefix("./"), data) for name, data in written]
    labels = [(name, data) for name, data in plain if name.lower().endswith((".json", ".mask.png"))]
    files = sorted(name for name, _ in plain if (name, _) not in labels)
    seen = [entry.path.removeprefix("a.tar/") for entry in entries]
    assert sorted(path for path in seen if not path.lower().endswith((".json", ".mask.png"))) == files
    used = set()
    for entry in entries:
        path = entry.path.removeprefix("a.tar/")
        if isinstance(entry, Refused):
            used.add(path)
            continue
        key, stem = path.partition(".")[0], path.rpartition(".")[0]
        for kind, ending in (("camera", ".cam.json"), ("mask", ".mask.png")):
            data = source.sidecar(entry, kind)
            named = {name: {other for twin, other in labels if twin == name} for name in (stem + ending, key + ending)}
            name = next((name for name, found in named.items() if found), "")
            if data is not None:
                assert named[name] == {data}, "a label that is not the only one of its name"
                used.add(name)
                same = [
                    other for other in set(files) if other.partition(".")[0] == key and other.lower().endswith(("jpg", "png"))
                ]
                mine = [other for other in same if other.rpartition(".")[0] == name.removesuffix(ending)]
                claimants = mine if name == stem + ending else same
                assert len(claimants) <= 1, "a label that several pictures could claim"
    lost = {name for name, _ in labels if name.endswith((".cam.json", ".mask.png"))} - used
    claimed = {path.partition(".")[0] for path in seen if path not in used or not path.endswith((".json", ".mask.png"))}
    assert all(name.partition(".")[0] in claimed for name in lost), "a label that nobody speaks of"


def test_a_compressed_tar_says_how_to_unpack_it(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"\x1f\x8b\x08\x00" + bytes(500))
    with pytest.raises(SourceError, match="gunzip it first"):
        open_source(str(tmp_path / "a.tar"))
