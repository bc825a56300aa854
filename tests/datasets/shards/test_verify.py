"""Verification finds each kind of damage, names its file and sample, and says nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from spherehead.datasets.camera import Camera
from spherehead.datasets.shards.codec import Encoding, camera_json, encode_grey, encode_image
from spherehead.datasets.shards.tar import ShardReader, write_shard
from spherehead.datasets.shards.verify import LIMIT, Problem, limited, verify, verify_manifest
from spherehead.manifests.store import HEADER, MANIFEST, ORIGINS, file_sha256, parse_header, read, write_json, write_table


@pytest.fixture
def folder(finished_set: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(finished_set, tmp_path / "set"))


def kinds(folder: Path, deep: bool = False) -> list[tuple[str, str, str]]:
    return [(problem.kind, problem.file, problem.id) for problem in verify(folder, deep)]


def edit_header(folder: Path, change: Callable[[dict[str, Any]], None], sealed: bool = True) -> None:
    """Change the header, and where `sealed` make its digest agree, so that only what was changed is at fault."""
    plain = json.loads((folder / HEADER).read_bytes())
    change(plain)
    write_json(folder / HEADER, parse_header(plain, HEADER).sealed() if sealed else plain)


def edit_rows(folder: Path, change: Callable[[list[dict[str, Any]]], None], name: str = MANIFEST) -> None:
    """Change rows of a table, and make the header agree with the new file, so that only the rows are at fault."""
    table = pq.read_table(folder / name)
    rows = table.to_pylist()
    change(rows)
    digest = write_table(folder / name, [pa.Table.from_pylist(rows, schema=table.schema)], table.schema)
    if name == MANIFEST:
        edit_header(folder, lambda header: header.update(manifest_sha256=digest))


def repack(folder: Path, shard: str, change: Callable[[dict[str, dict[str, bytes]]], None]) -> None:
    """Change a shard's members, and make header and places agree, so that only the members are at fault."""
    rows = [row for row in pq.read_table(folder / MANIFEST).to_pylist() if row["shard"] == shard]
    with ShardReader(folder) as reader:
        samples = dict(reader.members(shard, row["offset"], row["num_bytes"]) for row in rows)
    change(samples)
    entry, placed = write_shard(folder / shard, rows[0]["split"], samples.items())
    places = {place.id: place for place in placed}

    def place(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["id"] in places:
                row.update(offset=places[row["id"]].offset, num_bytes=places[row["id"]].num_bytes)

    edit_rows(folder, place)

    def enter(header: dict[str, Any]) -> None:
        for item in header["shards"]:
            if item["name"] == shard:
                item.update(sha256=entry.sha256, num_bytes=entry.num_bytes)

    edit_header(folder, enter)


def kept(folder: Path, shard: str = "train-000000.tar") -> list[dict[str, Any]]:
    rows = [row for row in pq.read_table(folder / MANIFEST).to_pylist() if row["shard"] == shard]
    return sorted(rows, key=lambda row: row["index_in_shard"])


def row_number(folder: Path, key: str) -> int:
    ids: list[str] = pq.read_table(folder / MANIFEST)["id"].to_pylist()
    return ids.index(key)


def test_sound_set_has_no_problems(finished_set: Path) -> None:
    assert verify(finished_set, deep=True) == [] and verify_manifest(finished_set) == []


def test_repacking_alone_changes_nothing(folder: Path) -> None:
    repack(folder, "train-000000.tar", lambda samples: None)
    assert verify(folder, deep=True) == []


def test_empty_set_is_sound(finished_sets: ModuleType, tmp_path: Path) -> None:
    assert verify(finished_sets.build(tmp_path / "none", views=(), lost=()), deep=True) == []


def test_missing_set_is_said(tmp_path: Path) -> None:
    assert kinds(tmp_path) == [("header", HEADER, "")]


def test_flipped_byte_is_found_with_the_sample_it_hit(folder: Path) -> None:
    row = kept(folder)[2]
    path = folder / "train-000000.tar"
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        picture = tar.getmember(f"{row['id']}.jpg")
    data[picture.offset_data + picture.size // 2] ^= 0x10
    path.write_bytes(data)
    assert kinds(folder) == [("image", "train-000000.tar", row["id"]), ("shard", "train-000000.tar", "")]
    assert verify_manifest(folder) == []


def test_shard_cut_at_a_member_boundary_is_found(folder: Path) -> None:
    rows = kept(folder)
    path = folder / "train-000000.tar"
    path.write_bytes(path.read_bytes()[: rows[3]["offset"]])
    lost = [("member", "train-000000.tar", row["id"]) for row in rows[3:]]
    assert kinds(folder) == [*lost, ("shard", "train-000000.tar", "")]
    assert [problem.kind for problem in verify_manifest(folder)] == ["shard"]


def test_shard_cut_inside_a_member_is_found(folder: Path) -> None:
    path = folder / "val-000000.tar"
    path.write_bytes(path.read_bytes()[: kept(folder, path.name)[1]["offset"] + 700])
    assert {kind for kind, _, _ in kinds(folder)} == {"shard", "member", "placement"}


def test_missing_shard_is_found(folder: Path) -> None:
    (folder / "val-000000.tar").unlink()
    problems = verify(folder)
    assert [(p.kind, p.file, p.found) for p in problems] == [("shard", "val-000000.tar", "no file")]


def test_shard_that_the_header_does_not_list_is_found(folder: Path) -> None:
    shutil.copy(folder / "val-000000.tar", folder / "val-000009.tar")
    assert kinds(folder) == [("stray", "val-000009.tar", "")]


def test_edited_manifest_is_found_by_its_hash(folder: Path) -> None:
    before = read(folder).header.manifest_sha256
    edit_rows(folder, lambda rows: rows[0].update(width=1))
    edit_header(folder, lambda header: header.update(manifest_sha256=before))
    (problem,) = (p for p in verify(folder) if p.kind == "manifest")
    assert problem.file == MANIFEST and before in problem.expected and file_sha256(folder / MANIFEST) == problem.found


def test_row_that_differs_from_its_record_is_found(folder: Path) -> None:
    row = kept(folder)[1]
    at = row_number(folder, row["id"])
    edit_rows(folder, lambda rows: rows[at].update(license="CC-BY-NC-4.0", score_head_px=1.0))
    problems = verify(folder)
    assert [(p.kind, p.file, p.id) for p in problems] == [("record", "train-000000.tar", row["id"])] * 2
    assert "license 'CC-BY-NC-4.0'" in problems[0].expected and "score_head_px" in problems[1].expected


def test_swapped_labels_are_found(folder: Path) -> None:
    first, second = (row["id"] for row in kept(folder)[:2])

    def swap(samples: dict[str, dict[str, bytes]]) -> None:
        a, b = samples[first], samples[second]
        a["cam.json"], b["cam.json"] = b["cam.json"], a["cam.json"]

    repack(folder, "train-000000.tar", swap)
    assert kinds(folder) == [("label", "train-000000.tar", first), ("label", "train-000000.tar", second)]


def test_swapped_pictures_are_found(folder: Path) -> None:
    first, second = (row["id"] for row in kept(folder)[:2])

    def swap(samples: dict[str, dict[str, bytes]]) -> None:
        a, b = samples[first], samples[second]
        a["jpg"], b["jpg"] = b["jpg"], a["jpg"]

    repack(folder, "train-000000.tar", swap)
    assert kinds(folder) == [("image", "train-000000.tar", first), ("image", "train-000000.tar", second)]


def test_samples_in_another_order_are_found(folder: Path) -> None:
    def turn(samples: dict[str, dict[str, bytes]]) -> None:
        turned = dict(reversed(samples.items()))
        samples.clear()
        samples.update(turned)

    repack(folder, "val-000000.tar", turn)
    assert {(kind, file) for kind, file, _ in kinds(folder)} == {("member", "val-000000.tar"), ("placement", "val-000000.tar")}


def test_sample_without_a_row_is_found(folder: Path) -> None:
    def add(samples: dict[str, dict[str, bytes]]) -> None:
        samples["f" * 16] = next(iter(samples.values()))

    repack(folder, "val-000000.tar", add)
    assert kinds(folder) == [("member", "val-000000.tar", "f" * 16)]


def test_offset_that_points_elsewhere_is_found(folder: Path) -> None:
    row = kept(folder)[1]
    at = row_number(folder, row["id"])
    edit_rows(folder, lambda rows: rows[at].update(offset=row["offset"] + 512))
    assert kinds(folder) == [("placement", "train-000000.tar", ""), ("placement", "train-000000.tar", row["id"])]


def bad_cameras() -> dict[str, np.ndarray]:
    """Labels with the usual mistakes."""
    good = Camera.look_at(0.3, 0.1)
    far, pixels, opengl, shifted = (good.label().astype(np.float64) for _ in range(4))
    far[[3, 7, 11]] *= 1.1
    pixels[16:22] *= 512
    opengl[[1, 5, 9, 2, 6, 10]] *= -1
    shifted[18] = 0.43
    return {"radius": far, "pixels": pixels, "OpenGL": opengl, "intrinsics": shifted}


@pytest.mark.parametrize("name", list(bad_cameras()))
def test_label_outside_the_contract_is_found(folder: Path, name: str) -> None:
    label = bad_cameras()[name].astype(np.float32)
    row = kept(folder)[0]
    at = row_number(folder, row["id"])
    edit_rows(folder, lambda rows: rows[at].update(camera=label.tolist()))
    problems = [problem for problem in verify_manifest(folder) if problem.kind == "camera"]
    assert [problem.id for problem in problems] == [row["id"]] and name in problems[0].found
    assert {p.kind for p in verify(folder)} == {"camera", "label", "record"}


def test_free_intrinsics_are_judged_by_the_recipe(folder: Path) -> None:
    row = kept(folder)[0]
    at = row_number(folder, row["id"])
    camera = Camera.from_label(np.array(row["camera"])).cropped(0.05, 0.02, 0.9)
    angles = dict(zip(("yaw_degrees", "pitch_degrees", "roll_degrees"), np.degrees([camera.yaw, camera.pitch, camera.roll]),
                      strict=True))  # fmt: skip
    edit_rows(folder, lambda rows: rows[at].update(camera=camera.label().tolist(), **angles))
    assert [problem.kind for problem in verify_manifest(folder)] == ["camera"]
    edit_header(folder, lambda header: header["recipe"]["stages"].append({"stage": "augment", "policy": "free-k"}))
    assert verify_manifest(folder) == []


def test_angles_that_are_not_the_labels_are_found(folder: Path) -> None:
    row = kept(folder)[0]
    at = row_number(folder, row["id"])
    edit_rows(folder, lambda rows: rows[at].update(yaw_degrees=row["yaw_degrees"] + 1))
    assert [(p.kind, p.id) for p in verify_manifest(folder)] == [("angles", row["id"])]
    edit_rows(folder, lambda rows: rows[at].update(yaw_degrees=row["yaw_degrees"] + 360))
    assert verify_manifest(folder) == []


def test_wrong_count_in_the_header_is_found(folder: Path) -> None:
    edit_header(folder, lambda header: header["counts"].update(samples_train=13))
    (problem,) = verify(folder)
    assert (problem.kind, problem.file, problem.expected, problem.found) == (
        "counts", HEADER, "samples_train 12 as in the tables", "13")  # fmt: skip


def test_inputs_that_do_not_add_up_are_found(folder: Path) -> None:
    edit_header(folder, lambda header: header["counts"].update(inputs=21))
    assert [(p.kind, p.found) for p in verify(folder)] == [("counts", "21"), ("counts", "21 != 20")]


def test_lost_input_is_found(folder: Path) -> None:
    edit_rows(folder, lambda rows: rows.remove(next(row for row in rows if row["reason"] == "no_head")), ORIGINS)
    assert [(p.kind, p.expected) for p in verify(folder)] == [
        ("counts", "dropped 3 as in the tables"), ("counts", "inputs 19 as in the tables")]  # fmt: skip


def test_kept_row_without_its_input_is_found(folder: Path) -> None:
    row = kept(folder)[0]
    edit_rows(folder, lambda rows: next(r for r in rows if r["sha256"] == row["sha256"]).update(sha256="0" * 64), ORIGINS)
    found = verify(folder)
    assert row["id"] in {p.id for p in found} and {p.kind for p in found} == {"origin"}


def test_wrong_reasons_are_found(folder: Path) -> None:
    edit_header(folder, lambda header: header["reasons"].update(blurred=2))
    assert kinds(folder) == [("reasons", HEADER, "")]
    edit_header(folder, lambda header: header["reasons"].update(blurred=1))
    at = next(k for k, row in enumerate(pq.read_table(folder / MANIFEST).to_pylist()) if row["reason"] == "blurred")
    edit_rows(folder, lambda rows: rows[at].update(reason=""))
    assert {kind for kind, _, _ in kinds(folder)} == {"reasons", "status"}


def test_id_that_is_not_its_contents_is_found(folder: Path) -> None:
    row = kept(folder)[0]
    at = row_number(folder, row["id"])
    edit_rows(folder, lambda rows: rows[at].update(head_index=1))
    problems = verify_manifest(folder)
    assert [(p.kind, p.id) for p in problems] == [("id", row["id"])]


def test_id_of_a_derived_row_is_checked_by_its_parent(folder: Path) -> None:
    rows = pq.read_table(folder / MANIFEST).to_pylist()
    at = next(k for k, row in enumerate(rows) if row["parent"])
    edit_rows(folder, lambda rows: rows[at].update(derivation='{"copy":1,"mirror":true,"step":"augment"}'))
    assert [(p.kind, p.id) for p in verify_manifest(folder)] == [("id", rows[at]["id"])]


def test_id_that_stands_twice_is_found(folder: Path) -> None:
    rows = pq.read_table(folder / MANIFEST).to_pylist()
    at = next(k for k, row in enumerate(rows) if row["reason"] == "no_head")

    edit_rows(folder, lambda rows: rows.insert(at, dict(rows[at])))
    assert ("id", MANIFEST, rows[at]["id"]) in [(p.kind, p.file, p.id) for p in verify_manifest(folder)]


def test_sample_that_was_taken_down_is_found(folder: Path) -> None:
    key = kept(folder)[0]["id"]
    edit_header(folder, lambda header: header.update(tombstones=[key]))
    assert kinds(folder) == [("forgotten", MANIFEST, key)]


@pytest.mark.parametrize("column", ["component", "identity", "group", "sha256"])
def test_leakage_between_splits_is_found(folder: Path, column: str) -> None:
    pair = [row_number(folder, kept(folder, shard)[0]["id"]) for shard in ("train-000000.tar", "val-000000.tar")]

    def link(rows: list[dict[str, Any]]) -> None:
        for at in pair:
            rows[at][column] = "e" * 64

    edit_rows(folder, link)
    (problem,) = (p for p in verify_manifest(folder) if p.kind == "leakage")
    assert problem.expected.startswith(f"one split for {column}") and problem.found == "train, val"


def test_child_in_another_split_than_its_parent_is_found(folder: Path) -> None:
    parent = kept(folder, "val-000000.tar")[0]["id"]
    rows = pq.read_table(folder / MANIFEST).to_pylist()
    at = next(k for k, row in enumerate(rows) if row["parent"])
    edit_rows(folder, lambda rows: rows[at].update(parent=parent))
    assert "leakage" in {p.kind for p in verify_manifest(folder)}


@pytest.mark.parametrize("weight", [2.0, 0.0, -1.0])
def test_weights_that_do_not_average_one_are_found(folder: Path, weight: float) -> None:
    at = row_number(folder, kept(folder)[0]["id"])
    edit_rows(folder, lambda rows: rows[at].update(weight=weight))
    assert [(p.kind, p.file) for p in verify_manifest(folder)] == [("weight", MANIFEST)]


def test_class_that_does_not_exist_is_found(folder: Path) -> None:
    key = kept(folder)[0]["id"]
    strange = np.full((96, 96), 19, dtype=np.uint8)
    repack(folder, "train-000000.tar", lambda samples: samples[key].update({"seg.png": encode_grey(strange)}))
    (problem,) = verify(folder)
    assert (problem.kind, problem.id, problem.found) == ("classes", key, "[19]")


def test_mask_of_another_size_is_found(folder: Path) -> None:
    key = kept(folder)[0]["id"]
    repack(folder, "train-000000.tar", lambda s: s[key].update({"mask.png": encode_grey(np.zeros((96, 95), np.uint8))}))
    (problem,) = verify(folder)
    assert (problem.kind, problem.id, problem.found) == ("size", key, ".mask.png 95 x 96, .seg.png 96 x 96")


def test_picture_of_another_size_is_found_deep(folder: Path) -> None:
    key = kept(folder)[0]["id"]
    data = bytes(cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1])
    at = row_number(folder, key)
    repack(folder, "train-000000.tar", lambda samples: samples[key].update({"jpg": data}))
    digest = hashlib.sha256(data).hexdigest()
    repack(folder, "train-000000.tar",
           lambda samples: samples[key].update(json=samples[key]["json"].replace(kept(folder)[0]["image_sha256"].encode(),
                                                                                 digest.encode())))  # fmt: skip
    edit_rows(folder, lambda rows: rows[at].update(image_sha256=digest))
    assert kinds(folder) == []
    assert kinds(folder, deep=True) == [("size", "train-000000.tar", key)]


def test_damaged_members_are_found(folder: Path) -> None:
    keys = [row["id"] for row in kept(folder)]

    def damage(samples: dict[str, dict[str, bytes]]) -> None:
        samples[keys[0]]["seg.png"] = b"no picture"
        samples[keys[1]]["cam.json"] = b"[1, 2, 3]"
        samples[keys[2]]["json"] = b"{"
        del samples[keys[3]]["json"]
        del samples[keys[4]]["cam.json"]

    repack(folder, "train-000000.tar", damage)
    assert sorted((key, kind) for kind, _, key in kinds(folder)) == sorted(
        zip(keys, ("decode", "label", "record", "member", "label"), strict=True)
    )


def test_pixels_of_lossless_pictures_are_compared_deep(finished_sets: ModuleType, tmp_path: Path) -> None:
    folder = finished_sets.build(tmp_path / "set", views=finished_sets.VIEWS[:1], encoding=Encoding("png"))
    assert verify(folder, deep=True) == []
    row = kept(folder)[0]
    other = np.zeros((96, 96, 3), np.uint8)
    data = encode_image(other, Encoding("png"))
    digest = hashlib.sha256(data).hexdigest()

    def put(samples: dict[str, dict[str, bytes]]) -> None:
        sample = samples[row["id"]]
        sample.update(png=data, json=sample["json"].replace(row["image_sha256"].encode(), digest.encode()))

    repack(folder, "train-000000.tar", put)
    edit_rows(folder, lambda rows: next(r for r in rows if r["id"] == row["id"]).update(image_sha256=digest))
    assert kinds(folder) == []
    assert [(p.kind, p.found) for p in verify(folder, deep=True)] == [("image", hashlib.sha256(other.tobytes()).hexdigest())]


def test_mask_that_does_not_decode_is_found_deep(folder: Path) -> None:
    key = kept(folder)[0]["id"]

    def cut(samples: dict[str, dict[str, bytes]]) -> None:
        samples[key]["mask.png"] = samples[key]["mask.png"][:40]

    repack(folder, "train-000000.tar", cut)
    assert kinds(folder) == []
    assert kinds(folder, deep=True) == [("decode", "train-000000.tar", key)]


def test_label_is_compared_as_numbers_not_as_text(folder: Path) -> None:
    row = kept(folder)[0]
    spaced = json.dumps(json.loads(camera_json(Camera.from_label(np.array(row["camera"]))))).encode()
    repack(folder, "train-000000.tar", lambda samples: samples[row["id"]].update({"cam.json": spaced}))
    assert verify(folder) == []


def test_missing_column_is_found(folder: Path) -> None:
    table = pq.read_table(folder / MANIFEST).drop_columns(["weight"])
    digest = write_table(folder / MANIFEST, [table], table.schema)
    edit_header(folder, lambda header: header.update(manifest_sha256=digest))
    (problem,) = verify(folder)
    assert (problem.kind, problem.found) == ("columns", "no weight")


def test_unreadable_tables_are_found(folder: Path) -> None:
    (folder / ORIGINS).write_bytes(b"PAR1")
    assert kinds(folder) == [("origin", ORIGINS, "")]
    (folder / MANIFEST).unlink()
    assert kinds(folder) == [("manifest", MANIFEST, "")] * 2


def test_outcome_that_does_not_exist_is_found(folder: Path) -> None:
    edit_rows(folder, lambda rows: next(row for row in rows if row["outcome"] == "failed").update(outcome="lost"), ORIGINS)
    problems = verify(folder)
    assert [(p.file, p.found) for p in problems] == [(HEADER, "1"), (ORIGINS, "'lost'")]


def test_rows_in_another_order_are_found(folder: Path) -> None:
    edit_rows(folder, lambda rows: rows.reverse())
    assert kinds(folder) == [("id", MANIFEST, "")]


def test_reason_that_does_not_exist_is_found(folder: Path) -> None:
    rows = pq.read_table(folder / MANIFEST).to_pylist()
    at = next(k for k, row in enumerate(rows) if row["reason"] == "blurred")
    edit_rows(folder, lambda rows: rows[at].update(reason="ugly"))
    edit_header(folder, lambda header: header["reasons"].update(blurred=0, ugly=1))
    assert [(p.kind, p.id, p.found) for p in verify(folder)] == [("status", rows[at]["id"], "'ugly'")]


def test_kept_input_without_a_row_is_found(folder: Path) -> None:
    def keep(rows: list[dict[str, Any]]) -> None:
        rows[0]["outcome"], dropped = "kept", rows[0]["outcome"]
        next(row for row in rows[1:] if row["outcome"] == "kept")["outcome"] = dropped

    edit_rows(folder, lambda rows: rows.sort(key=lambda row: row["outcome"] != "dropped"), ORIGINS)
    edit_rows(folder, keep, ORIGINS)
    assert sorted((p.kind, p.file) for p in verify(folder)) == [("origin", MANIFEST), ("origin", ORIGINS)]


def test_row_in_an_unknown_shard_is_found(folder: Path) -> None:
    row = kept(folder)[4]
    at = row_number(folder, row["id"])
    edit_rows(folder, lambda rows: rows[at].update(shard="train-000007.tar"))
    assert kinds(folder) == [
        ("placement", MANIFEST, row["id"]), ("member", "train-000000.tar", row["id"]), ("placement", "train-000000.tar", ""),
    ]  # fmt: skip


def test_row_of_another_split_than_its_shard_is_found(folder: Path) -> None:
    row = next(row for row in kept(folder) if not row["parent"])
    at = row_number(folder, row["id"])
    before = read(folder).header.counts
    edit_rows(folder, lambda rows: rows[at].update(split="val"))
    counts = {"samples_train": before["samples_train"] - 1, "samples_val": before["samples_val"] + 1}
    edit_header(folder, lambda header: header["counts"].update(counts))
    (problem,) = (p for p in verify(folder) if p.kind == "placement")
    assert (problem.file, problem.expected, problem.found) == ("train-000000.tar", "rows of split train", "train, val")


def test_positions_that_do_not_follow_the_ids_are_found(folder: Path) -> None:
    pair = [row_number(folder, row["id"]) for row in kept(folder)[:2]]

    def swap(rows: list[dict[str, Any]]) -> None:
        first, second = (rows[at] for at in pair)
        first["index_in_shard"], second["index_in_shard"] = second["index_in_shard"], first["index_in_shard"]

    edit_rows(folder, swap)
    assert {(p.kind, p.expected[:9]) for p in verify_manifest(folder)} == {
        ("placement", "positions"),
        ("placement", "offsets t"),
    }


def test_shard_that_is_no_tar_is_found(folder: Path) -> None:
    path = folder / "val-000000.tar"
    path.write_bytes(b"\x01" * path.stat().st_size)
    found = [(p.kind, p.expected[:6]) for p in verify(folder) if p.kind == "shard"]
    assert found == [("shard", "a whole"[:6]), ("shard", "sha256")]


def test_labels_and_records_of_another_form_are_found(folder: Path) -> None:
    first, second = kept(folder)[:2]
    repack(folder, "train-000000.tar", lambda samples: samples[first["id"]].update(json=b"[1]"))
    at = row_number(folder, second["id"])
    edit_rows(folder, lambda rows: rows[at].update(camera=second["camera"][:24]))
    found = {(p.id, p.kind) for p in verify(folder) if p.file == "train-000000.tar"}
    assert found == {(first["id"], "record"), (second["id"], "label"), (second["id"], "record")}
    assert {p.kind for p in verify_manifest(folder)} == {"camera"}


def test_many_problems_of_a_kind_are_cut_with_a_count() -> None:
    problems = limited([Problem("member", "a.tar", f"{k:03d}", "x", "y") for k in range(LIMIT + 7)])
    assert len(problems) == LIMIT + 1 and problems[-1].found == "7 more of this kind"


def test_problem_reads_as_a_sentence() -> None:
    text = str(Problem("shard", "a.tar", "", "5 bytes", "no file"))
    assert text == "a.tar: shard: expected 5 bytes, found no file"
    assert str(Problem("label", "a.tar", "0f", "p", "q")) == "a.tar, sample 0f: label: expected p, found q"


FORGERIES: dict[str, Callable[[dict[str, Any]], None]] = {
    "another seed": lambda header: header["recipe"].update(seed=1),
    "other packages": lambda header: header["environment"].update(numpy="1.0"),
    "no chains": lambda header: header.update(chains={}),
    "a tombstone more": lambda header: header["tombstones"].append("0" * 16),
    "a shard twice": lambda header: header["shards"].append(header["shards"][0]),
    "another tool": lambda header: header.update(tool_version="9"),
    "no digest": lambda header: header.update(digest=""),
}


@pytest.mark.parametrize("name", list(FORGERIES))
def test_a_header_that_was_changed_is_found_by_its_digest(folder: Path, name: str) -> None:
    edit_header(folder, FORGERIES[name], sealed=False)
    assert "digest" in {problem.kind for problem in verify_manifest(folder)}


@pytest.mark.parametrize(("name", "kind"), [("no chains", "chain"), ("a shard twice", "shard")])
def test_a_header_that_agrees_with_itself_must_agree_with_its_rows(folder: Path, name: str, kind: str) -> None:
    edit_header(folder, FORGERIES[name])
    assert kind in {problem.kind for problem in verify_manifest(folder)}


def test_a_header_of_version_1_is_read_without_a_digest(folder: Path) -> None:
    def older(header: dict[str, Any]) -> None:
        header["schema_version"] = 1
        del header["digest"]

    edit_header(folder, older, sealed=False)
    assert verify(folder, deep=True) == []


DEPTH = 100_000


@pytest.mark.parametrize("depth", [200, 900, DEPTH])
def test_a_deeply_nested_header_is_a_named_problem(folder: Path, depth: int) -> None:
    text = (folder / HEADER).read_text().replace('"recipe": {', '"recipe": {"deep": ' + "[" * depth + "]" * depth + ",", 1)
    (folder / HEADER).write_text(text)
    assert {problem.file for problem in verify_manifest(folder)} == {HEADER}


@pytest.mark.parametrize("member", ["json", "cam.json"])
@pytest.mark.parametrize("depth", [900, DEPTH])
def test_a_deeply_nested_member_is_a_named_problem(folder: Path, member: str, depth: int) -> None:
    row = kept(folder)[0]

    def nest(samples: dict[str, dict[str, bytes]]) -> None:
        samples[row["id"]][member] = (
            b'{"notes": ' * (member == "json") + b"[" * depth + b"]" * depth + b"}" * (member == "json")
        )

    repack(folder, "train-000000.tar", nest)
    problems = verify(folder)
    assert {problem.kind for problem in problems} == {"record" if member == "json" else "label"}
    assert row["id"] in {problem.id for problem in problems}
