"""Videos: what is written is what plays, equal frames give equal bytes, and a machine without the encoder gets an animation."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from spherehead.model.visualization.video import webm, write_video


def turning(count: int, height: int = 64, width: int = 96) -> list[np.ndarray]:
    """A bright ball that moves over a dark ramp, by a formula."""
    y, x = np.mgrid[0:height, 0:width]
    frames = []
    for index in range(count):
        ball = np.exp(-((x - width * index / count) ** 2 + (y - height / 2) ** 2) / 60.0)
        frames.append(np.stack([60 + 180 * ball, 0.5 * x + 60 * ball, y + 0 * ball], axis=-1).round().astype(np.uint8))
    return frames


def read(path: Path) -> list[np.ndarray]:
    video = cv2.VideoCapture(str(path))
    frames = []
    while (found := video.read())[0]:
        frames.append(found[1][..., ::-1])
    return frames


@pytest.mark.parametrize("codec", ["VP80", "VP90"])
def test_a_video_shows_its_frames_in_order(tmp_path: Path, codec: str, capfd: pytest.CaptureFixture[str]) -> None:
    frames = turning(9)
    path = write_video(tmp_path / "ball.webm", frames, 12, [codec])
    seen = read(path)
    assert path.suffix == ".webm" and path.read_bytes()[:4] == bytes.fromhex("1a45dfa3") and len(seen) == 9
    errors = [[np.abs(a.astype(int) - b.astype(int)).mean() for b in frames] for a in seen]
    assert np.argmin(errors, axis=1).tolist() == list(range(9)) and max(np.min(errors, axis=1)) < 4
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == 12
    assert capfd.readouterr().err == ""
    assert [file.name for file in tmp_path.iterdir()] == ["ball.webm"]


def test_equal_frames_give_equal_bytes() -> None:
    assert webm(turning(5), 10) == webm(turning(5), 10) != webm(turning(6)[:5], 10)


def test_odd_sides_grow_by_a_pixel(tmp_path: Path) -> None:
    assert read(write_video(tmp_path / "odd.webm", turning(2, 33, 47), 12))[0].shape == (34, 48, 3)


def test_without_an_encoder_there_is_an_animation_in_the_right_colours(tmp_path: Path) -> None:
    frames = turning(4)
    path = write_video(tmp_path / "ball.webm", frames, 10, codecs=["none"])
    assert [file.name for file in tmp_path.iterdir()] == ["ball.webp"] == [path.name]
    with Image.open(path) as animation:
        assert (animation.n_frames, animation.info["loop"]) == (4, 0)
        for index, frame in enumerate(frames):
            animation.seek(index)
            animation.load()
            assert animation.info["duration"] == 100
            assert np.abs(np.asarray(animation.convert("RGB")).astype(int) - frame).mean() < 4
    assert path.read_bytes() == write_video(tmp_path / "again.webm", frames, 10, codecs=["none"]).read_bytes()


def test_frames_of_several_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one size"):
        write_video(tmp_path / "x.webm", [*turning(1), *turning(1, 32, 32)], 12)
    with pytest.raises(ValueError, match="one size"):
        write_video(tmp_path / "x.webm", [], 12)
