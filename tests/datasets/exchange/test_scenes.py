"""Scenes for nerfstudio and COLMAP: what a plain reading of their conventions projects lies where the label puts it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera
from spherehead.datasets.exchange import kept
from spherehead.datasets.exchange.cameras import from_opengl, normalised, pinhole, quaternion, to_opengl
from spherehead.datasets.exchange.eg3d import write_eg3d
from spherehead.datasets.exchange.scenes import read_transforms, write_colmap, write_nerfstudio
from spherehead.datasets.shards.inspect import iterate
from spherehead.manifests.config import ConfigError

POINTS = np.array([(0.0, 0, 0), (0.1, 0.2, 0.15), (-0.2, -0.1, 0.1), (0.05, -0.25, -0.2)])
cameras = st.builds(Camera.look_at, st.floats(-3.1, 3.1), st.floats(-1.3, 1.3), st.floats(-1, 1), st.floats(1.5, 5))


def rotated(q: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Rotate points by a quaternion (w, x, y, z), by Rodrigues' formula."""
    w, v = q[0], q[1:]
    return points + 2 * np.cross(v, np.cross(v, points) + w * points)


def seen_by_nerfstudio(frame: dict, points: np.ndarray) -> np.ndarray:
    """Pixels of points: the camera looks along -z, y is up, pixel centres lie at i + 0.5."""
    matrix = np.array(frame["transform_matrix"])
    local = (points - matrix[:3, 3]) @ matrix[:3, :3]
    x = frame["fl_x"] * local[:, 0] / -local[:, 2] + frame["cx"]
    y = frame["fl_y"] * -local[:, 1] / -local[:, 2] + frame["cy"]
    return np.stack([x, y], axis=1)


@given(cameras, st.integers(16, 1024), st.floats(0.8, 1.2), st.floats(0.3, 0.7))
def test_axes_quaternions_and_pixels_project_as_the_label_does(
    camera: Camera, side: int, stretch: float, centre: float
) -> None:
    intrinsics = camera.intrinsics * np.array([[stretch, 1, 1], [1, 1, 1], [1, 1, 1]])
    intrinsics[0, 2] = centre
    camera = Camera(camera.cam2world, intrinsics)
    truth = camera.project(POINTS)[0] * side
    lens = pinhole(camera, side, side)
    frame = {"transform_matrix": to_opengl(camera.cam2world), "fl_x": lens.fx, "fl_y": lens.fy, "cx": lens.cx, "cy": lens.cy}
    assert np.abs(seen_by_nerfstudio(frame, POINTS) - truth).max() < 1e-6
    turn, shift = quaternion(camera)
    local = rotated(turn, POINTS) + shift
    found = local[:, :2] / local[:, 2:] * (lens.fx, lens.fy) + (lens.cx, lens.cy)
    assert np.abs(found - truth).max() < 1e-6
    assert turn[0] >= 0
    assert np.allclose(from_opengl(to_opengl(camera.cam2world)), camera.cam2world)
    assert np.allclose(normalised(lens, side, side), camera.intrinsics)


def test_a_front_camera_in_both_conventions_by_hand() -> None:
    """In front of the face: OpenCV's x is the world's x, its y points down and z into the scene; OpenGL's y points up."""
    opencv = Camera.look_at(0, 0).cam2world
    assert np.allclose(opencv[:3, :3], np.diag([1, -1, -1]), atol=1e-12)
    assert np.allclose(to_opengl(opencv)[:3, :3], np.eye(3), atol=1e-12)
    assert np.allclose(opencv[:3, 3], (0, 0, 2.7))


def test_skew_is_refused() -> None:
    camera = Camera.look_at(0, 0)
    camera.intrinsics[0, 1] = 0.1
    with pytest.raises(ConfigError, match="skew"):
        pinhole(camera, 512, 512)


def test_a_set_reprojects_from_transforms_json_within_a_hundredth_of_a_pixel(finished_set: Path, tmp_path: Path) -> None:
    done = write_nerfstudio(finished_set, tmp_path / "scene")
    samples = {sample.image.tobytes(): sample for sample in iterate(finished_set)}
    document = json.loads((tmp_path / "scene" / "transforms.json").read_text())
    assert done.pictures == done.masks == len(document["frames"]) == len(samples)
    from spherehead.datasets.shards.codec import decode_image

    for frame, read in zip(document["frames"], read_transforms(json.dumps(document).encode()), strict=True):
        name, camera, size = read.name, read.camera, read.size
        sample = samples[decode_image((tmp_path / "scene" / frame["file_path"]).read_bytes()).tobytes()]
        truth = sample.camera.project(POINTS)[0] * frame["w"]
        assert np.abs(seen_by_nerfstudio(frame, POINTS) - truth).max() < 0.01
        assert (name, size) == (frame["file_path"], (frame["w"], frame["h"]))
        assert np.allclose(camera.label(), sample.camera.label(), atol=1e-6)
        assert (tmp_path / "scene" / frame["mask_path"]).is_file()


def test_a_set_reprojects_from_colmaps_text(finished_set: Path, tmp_path: Path) -> None:
    write_colmap(finished_set, tmp_path / "scene")
    root = tmp_path / "scene" / "sparse" / "0"
    lenses = {}
    for line in (root / "cameras.txt").read_text().splitlines()[1:]:
        number, model, width, height, *values = line.split()
        assert (model, width) == ("PINHOLE", height)
        lenses[number] = [float(value) for value in values]
    lines = (root / "images.txt").read_text().splitlines()[1:]
    truths = {tuple(np.round(sample.camera.position, 4)): sample for sample in iterate(finished_set)}
    assert len(lines[::2]) == len(list(iterate(finished_set)))
    for line in lines[::2]:
        _, *numbers, lens, name = line.split()
        pose = np.array(numbers, dtype=float)
        local = rotated(pose[:4], POINTS) + pose[4:]
        fx, fy, cx, cy = lenses[lens]
        position = -rotated(pose[:4] * (1, -1, -1, -1), pose[4:][None])[0]
        sample = truths[tuple(np.round(position, 4))]
        truth = sample.camera.project(POINTS)[0] * sample.image.shape[0]
        assert np.abs(local[:, :2] / local[:, 2:] * (fx, fy) + (cx, cy) - truth).max() < 0.01
        assert (tmp_path / "scene" / "images" / name).is_file()
        assert (tmp_path / "scene" / "masks" / f"{name}.png").is_file()


def test_transforms_of_others_are_read_and_mistakes_named() -> None:
    matrix = to_opengl(Camera.look_at(0.5, 0.1).cam2world).tolist()
    plain = {"camera_angle_x": 2 * math.atan(0.5 / 4.2647), "w": 512, "h": 512, "frames": [
        {"file_path": "a.png", "transform_matrix": matrix}]}  # fmt: skip
    (read,) = read_transforms(json.dumps(plain).encode())
    name, camera, size = read.name, read.camera, read.size
    assert (name, size) == ("a.png", (512, 512))
    assert np.allclose(camera.label(), Camera.look_at(0.5, 0.1).label(), atol=1e-6)
    for change, text in (
        ({"k1": 0.1}, "distortion"),
        ({"camera_model": "OPENCV_FISHEYE"}, "frame 0: expected a pinhole's camera_model .* got 'OPENCV_FISHEYE'"),
        ({"camera_model": "EQUIRECTANGULAR", "fl_x": 512.0}, "got 'EQUIRECTANGULAR'"),
        ({"is_fisheye": True}, "got is_fisheye"),
        ({"frames": [{"file_path": "a.png", "transform_matrix": [1]}]}, "frame 0: expected a transform_matrix"),
        ({"w": None}, "frame 0"),
        ({"frames": [{"file_path": "a.png"}]}, "no 'transform_matrix'"),
    ):
        with pytest.raises(ConfigError, match=text):
            read_transforms(json.dumps({**plain, **change}).encode())
    with pytest.raises(ConfigError, match=r"expected a transforms\.json"):
        read_transforms(b"[]")


def test_colmap_gets_no_name_that_its_readers_would_cut(
    finished_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_original", lambda frame: [f"my photo {number}" for number in range(len(frame))])
    with pytest.raises(ConfigError, match=r"'my photo 0\.\w+' has a space, .* take numbered names"):
        write_colmap(finished_set, tmp_path / "scene", "original")
    assert write_nerfstudio(finished_set, tmp_path / "other", "original").pictures


@pytest.mark.parametrize("name", ["set", "set.zip"])
def test_masks_are_not_written_over_the_pictures(finished_set: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is to hold the pictures; give the masks a folder or zip of their own"):
        write_eg3d(finished_set, tmp_path / name, tmp_path / "." / name)
    assert not (tmp_path / name).exists()
