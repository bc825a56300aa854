"""Verification of shards and their members: each kind of damage is found with its file and sample, and nothing else is said."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from changed_sets import edit_header, edit_rows, kept, kinds, repack, row_number
from spherehead.datasets.camera import Camera
from spherehead.datasets.shards.codec import Encoding, camera_json, encode_grey, encode_image
from spherehead.datasets.shards.verify import LIMIT, Problem, limited, verify, verify_manifest
from spherehead.manifests.store import HEADER


@pytest.fixture
def folder(finished_set: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(finished_set, tmp_path / "set"))


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


@pytest.mark.parametrize(("side", "kinds"), [(96, []), (95, ["size"])])
def test_a_map_of_beards_belongs_to_a_sample_and_has_its_size(folder: Path, side: int, kinds: list[str]) -> None:
    key = kept(folder)[0]["id"]
    repack(folder, "train-000000.tar", lambda s: s[key].update({"beard.png": encode_grey(np.zeros((96, side), np.uint8))}))
    assert [problem.kind for problem in verify(folder)] == kinds


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


DEPTH = 100_000


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
