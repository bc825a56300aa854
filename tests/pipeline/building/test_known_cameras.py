"""Every key of a file of cameras is accounted for before any work, and a label never reaches another photograph."""

from __future__ import annotations

import io
import json
import math
import tarfile
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from spherehead.datasets.camera import Camera
from spherehead.datasets.sample import SourceImage
from spherehead.datasets.sources.base import Refused
from spherehead.datasets.sources.camera_sidecar import LABEL, SidecarError, read_cameras
from spherehead.datasets.sources.folder import FolderSource
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.known_cameras import KnownCameras
from spherehead.pipeline.building.plan import make_plan
from spherehead.pipeline.building.request import BuildRequest
from spherehead.pipeline.execution.work import work_key_of
from spherehead.pipeline.presets import preset
from spherehead.pipeline.stages.camera_checks import crop_turn

ONE, OTHER = ([float(value) for value in Camera.look_at(yaw, 0.1).label()] for yaw in (0.3, -0.3))


def known(folder: Path, keys: dict[str, list[float]]) -> KnownCameras:
    path = folder / "cameras.json"
    path.write_text(json.dumps(keys))
    return KnownCameras(read_cameras(str(path)))


def photo(source: str, path: str, **sidecar: str) -> SourceImage:
    return SourceImage(source, path, 1, "stamp", sidecar=sidecar)


def given(cameras: KnownCameras, entries: list[SourceImage | Refused]) -> dict[str, float]:
    """source/path -> yaw of the label that it got."""
    found = {}
    for entry in cameras.attach(entries):
        if isinstance(entry, SourceImage) and LABEL in entry.sidecar:
            found[f"{entry.source}/{entry.path}"] = Camera.from_label(np.array(json.loads(entry.sidecar[LABEL]))).yaw
    return found


def test_a_key_with_its_source_names_that_photograph_alone(tmp_path: Path) -> None:
    cameras = known(tmp_path, {"a/1.jpg": ONE, "b/1.jpg": OTHER})
    found = given(cameras, [photo("a", "1.jpg"), photo("b", "1.jpg"), photo("c", "1.jpg")])
    assert found == pytest.approx({"a/1.jpg": 0.3, "b/1.jpg": -0.3})
    assert cameras.check_listed() == ["cameras.json: 2 of 2 keys matched by path"]


def test_a_key_that_means_two_photographs_is_refused_with_both(tmp_path: Path) -> None:
    cameras = known(tmp_path, {"1.jpg": ONE})
    given(cameras, [photo("a", "1.jpg"), photo("b", "1.jpg")])
    with pytest.raises(SidecarError, match=r"means 2 photographs: a/1.jpg, b/1.jpg; write the source"):
        cameras.check_listed()
    twice = known(tmp_path, {"a/b.jpg": ONE})  # b.jpg in a, or a/b.jpg in s?
    given(twice, [photo("a", "b.jpg"), photo("s", "a/b.jpg")])
    with pytest.raises(SidecarError, match="means 2 photographs"):
        twice.check_listed()


def test_two_keys_for_one_photograph_must_agree(tmp_path: Path) -> None:
    assert given(known(tmp_path, {"1.jpg": ONE, "a/1.jpg": ONE}), [photo("a", "1.jpg")]) == pytest.approx({"a/1.jpg": 0.3})
    with pytest.raises(SidecarError, match="name one photograph"):
        given(known(tmp_path, {"1.jpg": ONE, "a/1.jpg": OTHER}), [photo("a", "1.jpg")])


def test_keys_in_another_unicode_form_or_with_windows_slashes_are_found(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFD", "bücher/ä.jpg")
    keys = {"photos\\1.jpg": ONE, unicodedata.normalize("NFC", name): OTHER, "./2.jpg": ONE}
    cameras = known(tmp_path, keys)
    found = given(cameras, [photo("s", "photos/1.jpg"), photo("s", name), photo("s", "2.jpg")])
    assert found == pytest.approx({"s/photos/1.jpg": 0.3, f"s/{name}": -0.3, "s/2.jpg": 0.3})


def test_unmatched_keys_are_told_and_no_match_at_all_is_an_error(tmp_path: Path) -> None:
    cameras = known(tmp_path, {"1.jpg": ONE, "gone.jpg": ONE, "lost.jpg": OTHER})
    given(cameras, [photo("a", "1.jpg")])
    assert cameras.check_listed()[1] == "cameras.json: 2 keys match no photograph, such as 'gone.jpg', 'lost.jpg'"
    none = known(tmp_path, {"gone.jpg": ONE})
    given(none, [photo("a", "1.jpg")])
    with pytest.raises(SidecarError, match=r"0 of 1 keys matched; the first key is 'gone.jpg', the first photograph 'a/1.jpg'"):
        none.check_listed()


def test_a_photograph_with_a_camera_of_its_own_keeps_it_and_that_is_told(tmp_path: Path) -> None:
    cameras = known(tmp_path, {"1.jpg": ONE})
    assert given(cameras, [photo("a", "1.jpg", camera="[]")]) == {}
    assert "have a camera of their own source" in cameras.check_listed()[-1]


def test_a_label_is_part_of_what_results_are_remembered_by(tmp_path: Path) -> None:
    source = FolderSource("a", str(tmp_path))
    keys = {work_key_of(source, photo("a", "1.jpg", **labels), "0" * 64) for labels in ({}, {LABEL: "[1]"}, {LABEL: "[2]"})}
    assert len(keys) == 3


@pytest.mark.parametrize("content", ["{", json.dumps({"gone.jpg": ONE}), "[1, 2]"])
def test_a_file_that_is_of_no_use_stops_plan_and_build_before_any_work(tmp_path: Path, bad_inputs, content: str) -> None:
    import picture_files as files

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(files.jpeg(files.portrait()))
    (tmp_path / "c.json").write_text(content)
    recipe = preset("heads").override([f"estimate_camera.sidecar={tmp_path / 'c.json'}"])
    request = BuildRequest((str(tmp_path / "photos"),), tmp_path / "out", recipe, engine="inline")
    for run in (make_plan, build):
        with pytest.raises(SidecarError, match=r"c\.json"):
            run(request)
    assert not list((tmp_path / "out").rglob("*.tar"))


def test_ids_and_digests_are_matched_with_what_was_worked_on(tmp_path: Path, bad_inputs) -> None:
    import picture_files as files

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.png").write_bytes(files.saved(np.zeros((300, 300, 3), np.uint8), "PNG"))
    (tmp_path / "c.json").write_text(json.dumps({"ab" * 32: ONE}))
    recipe = preset("heads").override([f"estimate_camera.sidecar={tmp_path / 'c.json'}"])
    with pytest.raises(SidecarError, match="0 of 1 keys matched"):
        build(BuildRequest((str(tmp_path / "photos"),), tmp_path / "out", recipe, engine="inline"))


@pytest.mark.parametrize("way", ["sidecar", "list", "tar"])
def test_every_way_of_giving_a_photograph_its_camera_gives_the_same_label(
    tmp_path: Path, astronaut: np.ndarray, way: str
) -> None:
    side = astronaut.shape[0]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), -20.0, 0.8)  # clockwise
    tilted = cv2.warpAffine(astronaut, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)
    truth = Camera.look_at(0.0, -0.08, math.radians(20.0))
    picture, label = cv2.imencode(".png", tilted[..., ::-1])[1].tobytes(), json.dumps(truth.to_list())
    recipe, source = preset("heads"), tmp_path / "photos"
    source.mkdir()
    (source / "a.png").write_bytes(picture)
    if way == "sidecar":
        (tmp_path / "c.json").write_text(json.dumps({"photos/a.png": truth.to_list()}))
        recipe = recipe.override([f"estimate_camera.sidecar={tmp_path / 'c.json'}"])
    elif way == "list":
        source = source / "list.csv"
        source.write_text(f"path;camera\na.png;{label}\n")
    else:
        source = tmp_path / "a.tar"
        with tarfile.open(source, "w") as tar:
            for name, data in (("a.png", picture), ("a.cam.json", label.encode())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    build(BuildRequest((str(source),), tmp_path / "out", recipe, engine="inline"))
    (row,) = pq.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
    crop = np.array(row["crop"]).reshape(3, 3)
    assert (row["status"], row["note_pose_source"]) == ("kept", "sidecar")
    assert (
        row["roll_degrees"] == pytest.approx(20.0 + math.degrees(crop_turn(crop)), abs=1e-3) and abs(row["roll_degrees"]) < 5.0
    )
    assert [row["yaw_degrees"], row["pitch_degrees"]] == pytest.approx([0.0, math.degrees(-0.08)], abs=1e-3)
