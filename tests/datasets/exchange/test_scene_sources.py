"""Scenes, rigs and films as sources: cameras come back as they went out, persons stay together, what does not fit is told."""

from __future__ import annotations

import json
import math
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from spherehead.datasets.exchange.colmap import read_colmap
from spherehead.datasets.exchange.scene_source import COLMAP, NERFSTUDIO, open_rig, scene_opener
from spherehead.datasets.exchange.scenes import read_transforms, write_colmap, write_nerfstudio
from spherehead.datasets.exchange.video_source import VideoSource, chosen, open_video
from spherehead.datasets.sample import Drop, SourceImage
from spherehead.datasets.shards.inspect import iterate
from spherehead.datasets.sources.base import Refused, Source, SourceError
from spherehead.datasets.sources.sidecars import load_sidecars
from spherehead.manifests.config import ConfigError
from spherehead.pipeline.building.inputs import open_sources

WRITERS = {NERFSTUDIO: write_nerfstudio, COLMAP: write_colmap}
CAMERAS = b"# comment\n1 PINHOLE 64 64 273 273 32 32\n2 SIMPLE_RADIAL 64 48 100 32 24 0\n"
IMAGES = b"# comment\n7 1 0 0 0 0 0 2.7 1 a b.png\n\n8 0 1 0 0 0 0 2.7 2 c.png\n1 2 -1\n"


def images(source: Source) -> list[SourceImage]:
    return [entry for entry in source.entries() if isinstance(entry, SourceImage)]


def refusals(source: Source) -> dict[str, str]:
    return {entry.path: entry.detail for entry in source.entries() if isinstance(entry, Refused)}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("ending", ["", ".zip"])
def test_an_exported_scene_comes_back_with_its_pixels_masks_and_cameras(
    finished_set: Path, tmp_path: Path, kind: str, ending: str
) -> None:
    out = tmp_path / f"scene{ending}"
    WRITERS[kind](finished_set, out)
    (source,) = open_sources([f"{kind}{out}"])
    source = pickle.loads(pickle.dumps(source))
    truth = {sample.image.tobytes(): sample for sample in iterate(finished_set)}
    found = images(source)
    assert len(found) == len(truth) and not refusals(source)
    assert {entry.rights.group for entry in found} == {f"scene {out.name}"}
    for entry in found:
        pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(source.read(entry), np.uint8), 1), cv2.COLOR_BGR2RGB)
        sample = truth[pixels.tobytes()]
        data, mask = source.sidecar(entry, "camera"), source.sidecar(entry, "mask")
        assert data is not None and mask is not None and sample.camera is not None and sample.mask is not None
        label = np.array(json.loads(data))
        assert np.abs(label - sample.camera.label()).max() < 1e-6  # less than a hundredth of a pixel at any size
        assert np.array_equal(cv2.imdecode(np.frombuffer(mask, np.uint8), 0), sample.mask)
        assert source.sidecar(entry, "parsing") is None


def test_colmaps_text_is_read_by_its_definition() -> None:
    """A world point X lies at R X + t in the camera: the identity pose with t = (0, 0, 2.7) sees the origin 2.7 ahead."""
    first, second = read_colmap(CAMERAS, IMAGES)
    assert (first.name, first.size, second.name, second.size) == ("a b.png", (64, 64), "c.png", (64, 48))
    assert np.allclose(first.camera.position, (0, 0, -2.7)) and np.allclose(first.camera.cam2world[:3, :3], np.eye(3))
    assert np.allclose(second.camera.cam2world[:3, :3], np.diag([1, -1, -1]))  # half a turn about x
    assert np.allclose(second.camera.project(np.zeros((1, 3)))[0], 0.5)
    for cameras, pictures, text in (
        (CAMERAS.replace(b"24 0", b"24 0.1"), IMAGES, "line 3: lens distortion"),
        (CAMERAS.replace(b"PINHOLE 64 64", b"FULL_OPENCV 64 64"), IMAGES, "line 2: expected one of SIMPLE_PINHOLE"),
        (CAMERAS, IMAGES.replace(b"2.7 2", b"2.7 9"), "line 4: expected a camera of cameras.txt, got 9"),
        (CAMERAS, b"7 1 0 0\n\n", "line 1: expected IMAGE_ID"),
        (CAMERAS, IMAGES.replace(b"7 1 0", b"7 0 0"), "line 2"),
        (b"\xff\xfe\x00", IMAGES, "model_converter"),
    ):
        with pytest.raises(ConfigError, match=text):
            read_colmap(cameras, pictures)


FRAME = {"file_path": "a.png", "fl_x": 400, "w": 96, "h": 96, "transform_matrix": np.eye(4).tolist()}


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"frames": 5}, "a list of frames"),
        ({"frames": {"a": FRAME}}, "a list of frames"),
        ({"frames": [FRAME, 5]}, "frame 1: expected a mapping"),
        ({"frames": [{**FRAME, "w": 0}]}, "frame 0: expected a width and height of 1 or more, got 0 x 96"),
        ({"frames": [{**FRAME, "h": -1}]}, "frame 0: expected a width and height of 1 or more"),
        ({"frames": [{**FRAME, "w": float("inf")}]}, "frame 0: "),
        ({"frames": [{**FRAME, "w": float("nan")}]}, "frame 0: "),
        ({"frames": [{**FRAME, "w": 10**400}]}, "frame 0: "),
        ({"frames": [{**FRAME, "fl_x": "wide"}]}, "frame 0: "),
        ({"frames": [{"file_path": "a.png", "w": 9, "h": 9, "camera_angle_x": 0.0}]}, "frame 0: "),
        ({"frames": [{**FRAME, "transform_matrix": [[1, 2], [3]]}]}, "frame 0: "),
    ],
)
def test_numbers_that_no_camera_has_are_told_by_frame(document: object, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        read_transforms(json.dumps(document).encode())


def test_sizes_that_no_colmap_camera_has_are_told_by_line() -> None:
    for size in (b"9" * 400 + b" 64", b"64 -1", b"0 64"):
        with pytest.raises(ConfigError, match=r"(cameras|images).txt, line 2: "):
            read_colmap(CAMERAS.replace(b"64 64", size), IMAGES)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_camera_that_is_no_number_costs_its_own_picture(finished_set: Path, tmp_path: Path, number: float) -> None:
    write_nerfstudio(finished_set, tmp_path / "scene")
    path = tmp_path / "scene" / "transforms.json"
    document = json.loads(path.read_text())
    document["frames"][0]["transform_matrix"][0][3] = document["frames"][1]["fl_x"] = number
    path.write_text(json.dumps(document))
    source = scene_opener(NERFSTUDIO)(f"{NERFSTUDIO}{path}")
    bad = {frame["file_path"] for frame in document["frames"][:2]}
    side = document["frames"][0]["w"]
    for entry in images(source):
        if entry.path in bad:
            with pytest.raises(Drop) as refused:
                load_sidecars(source, entry, (side, side))
            assert refused.value.reason == "camera_invalid" and "finite" in refused.value.detail
        else:
            assert set(load_sidecars(source, entry, (side, side))) == {"camera", "mask"}


def test_what_a_scene_does_not_fit_is_told_by_name(finished_set: Path, tmp_path: Path) -> None:
    write_nerfstudio(finished_set, tmp_path / "scene")
    path = tmp_path / "scene" / "transforms.json"
    document = json.loads(path.read_text())
    names = [frame["file_path"] for frame in document["frames"]]
    (tmp_path / "scene" / names[0]).unlink()
    document["frames"][1]["h"] = 2 * document["frames"][1]["w"]
    document["frames"][2]["file_path"] = "./" + names[2].rpartition(".")[0]  # as Blender's scenes name them
    document["frames"].append(dict(document["frames"][3]))
    path.write_text(json.dumps(document))
    (tmp_path / "scene" / "images" / "stray.png").write_bytes(b"")
    source = scene_opener(NERFSTUDIO)(f"{NERFSTUDIO}{path}")
    told = refusals(source)
    assert "no such picture" in told[names[0]]
    assert "a square picture" in told[names[1]]
    assert "has no camera of it" in told["images/stray.png"]
    assert "twice" in told[names[3]]
    assert names[2] in {entry.path for entry in images(source)}
    for text, what in (
        (f"{NERFSTUDIO}{tmp_path}", "transforms.json"),
        (NERFSTUDIO, "PATH"),
        (f"{COLMAP}{tmp_path}/no", "nothing"),
    ):
        with pytest.raises(SourceError, match=what):
            scene_opener(text.split(":")[0] + ":")(text)


def test_a_rig_keeps_every_person_together(finished_set: Path, tmp_path: Path) -> None:
    write_nerfstudio(finished_set, tmp_path / "rig" / "ann")
    (tmp_path / "rig" / "bob").mkdir()
    picture = next(path for path in (tmp_path / "rig" / "ann" / "images").rglob("*") if path.is_file())
    shutil.copy(picture, tmp_path / "rig" / "bob" / "one.png")
    shutil.copy(picture, tmp_path / "rig" / "loose.png")
    source = pickle.loads(pickle.dumps(open_rig(f"rig:{tmp_path / 'rig'}")))
    found = images(source)
    assert {entry.rights.identity for entry in found} == {"rig/ann", "rig/bob"}
    assert {entry.rights.group for entry in found} == {"rig rig/ann", "rig rig/bob"}
    for entry in found:
        assert source.read(entry)
        assert (source.sidecar(entry, "camera") is not None) == (entry.rights.identity == "rig/ann")
    assert set(refusals(source)) == {"loose.png"}
    with pytest.raises(SourceError, match="folder for each person"):
        open_rig(f"rig:{tmp_path / 'rig' / 'bob' / 'one.png'}")


def turntable(path: Path, count: int = 60) -> list[np.ndarray]:
    """Write a film of a disc that goes round; every third frame is blurred, and the last third stands still."""
    frames = []
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 24, (128, 128))
    texture = cv2.resize(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8), (128, 128))
    for number in range(count):
        angle = 2 * np.pi * min(number, 2 * count // 3) / count
        frame = texture // 2
        cv2.circle(frame, (int(64 + 40 * np.cos(angle)), int(64 + 40 * np.sin(angle))), 22, (255, 255, 255), -1)
        frames.append(cv2.GaussianBlur(frame, (0, 0), 3) if number % 3 == 1 else frame)
        writer.write(frames[-1])
    writer.release()
    return frames


def test_frames_are_sharp_and_none_shows_what_another_shows(tmp_path: Path) -> None:
    frames = turntable(tmp_path / "turn.avi")
    numbers = chosen(iter(frames), 8)
    assert len(numbers) == 8 and numbers == sorted(numbers)
    assert all(number % 3 != 1 for number in numbers)
    assert sum(number >= 40 for number in numbers) <= 1  # the film stands still from there
    assert chosen(iter([frames[0]] * 30), 8) == chosen(iter([frames[0]] * 30), 4) != []
    assert len(chosen(iter([frames[0]] * 30), 8)) == 1
    assert chosen(iter([]), 8) == []


def test_a_film_is_one_person_in_one_split(tmp_path: Path) -> None:
    turntable(tmp_path / "turn.avi")
    source = pickle.loads(pickle.dumps(open_video(f"video:{tmp_path / 'turn.avi'},frames=6")))
    found = images(source)
    assert len(found) == 6
    assert {(entry.rights.identity, entry.rights.group) for entry in found} == {("film turn.avi", "film turn.avi")}
    forwards = [source.read(entry) for entry in found]
    backwards = [source.read(entry) for entry in reversed(found)]
    assert forwards == backwards[::-1] and len(set(forwards)) == 6
    assert VideoSource(tmp_path / "turn.avi", 6).count == 6
    (tmp_path / "no.avi").write_bytes(b"no film")
    for text, what in (("turn.avi,frames=0", "1 to"), ("turn.avi,every=2", "frames=COUNT"), ("none.avi", "no file")):
        with pytest.raises(SourceError, match=what):
            open_video(f"video:{tmp_path}/{text}")
    with pytest.raises(SourceError, match="a film that OpenCV reads"):
        images(open_video(f"video:{tmp_path}/no.avi"))
