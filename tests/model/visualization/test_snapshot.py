"""Snapshots: a sheet, a video and a film strip of fixed heads, with equal bytes for equal heads and every tile in its place."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from spherehead.manifests.config import ConfigError, override
from spherehead.model.generator import Generator
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.presets import preset
from spherehead.model.visualization.orbit import OrbitSettings, film_strip, orbit_frames
from spherehead.model.visualization.pictures import GAP, MARGIN, card, depth_colours, heads_sheet, mask_grey, sheet, yaw_name
from spherehead.model.visualization.snapshot import SnapshotSettings, snapshot_pictures
from spherehead.model.visualization.views import RenderSettings, View, seeded_latents

QUICK = SnapshotSettings(views=2, heads_in_orbit=1, smallest=64, orbit=OrbitSettings(frames=4, strip=2))


@pytest.fixture(scope="module")
def generator() -> Generator:
    settings = override(
        preset("tiny-64"),
        [
            "generator.z_dim=16",
            "generator.w_dim=16",
            "generator.renderer.coarse_samples=6",
            "generator.renderer.fine_samples=6",
        ],
    ).generator
    torch.manual_seed(0)
    return Generator(dataclasses.replace(settings, backbone=SynthesisSettings(channel_base=256, channel_max=8)))


def plain(colour: tuple[int, int, int], parsing: bool = True, side: int = 32) -> View:
    """A view that is one colour all over."""
    small = np.full((8, 8), 2.7, np.float32)
    image = np.full((side, side, 3), colour, np.uint8)
    return View(image, image[:8, :8], np.ones_like(small), small, np.full((8, 8), 17, np.uint8) if parsing else None)


def test_a_snapshot_is_whole_and_the_same_twice(generator: Generator, tmp_path: Path) -> None:
    latents = seeded_latents([0, 1], 16)
    written = [
        snapshot_pictures(
            generator, tmp_path / name, latents, step=42, settings=QUICK, rendering=RenderSettings(image_resolution=32)
        )
        for name in "ab"
    ]
    assert [path.name for path in written[0]] == ["grid-00000042.png", "orbit-00000042.webm", "strip-00000042.png"]
    assert {path.name for path in (tmp_path / "a").iterdir()} == {path.name for path in written[0]}
    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_heads_that_do_not_turn_are_seen_from_the_same_cameras(generator: Generator, tmp_path: Path) -> None:
    latents = seeded_latents([4, 4], 16)  # one head twice: only the first is taken out of an orbit
    grid = cv2.imread(str(snapshot_pictures(generator, tmp_path, latents, step=0, settings=QUICK)[0]))
    body = grid[28:, MARGIN:]
    first, second = body[: (len(body) // 2)], body[len(body) // 2 :]
    assert np.abs(first.astype(int) - second.astype(int)).max() <= 2


def test_every_card_of_the_sheet_stands_in_its_row_and_column() -> None:
    colours = [[(250, 0, 0), (0, 250, 0), (0, 0, 250)], [(99, 0, 0), (0, 99, 0), (0, 0, 99)]]
    picture = heads_sheet([[plain(colour) for colour in row] for row in colours], ["one", "two"], 64, title="title")
    tall = len(card(plain((0, 0, 0)), 64))
    for row in range(2):
        for column in range(3):
            y, x = 56 + row * (tall + GAP) + 32, MARGIN + column * (64 + GAP) + 32
            assert tuple(picture[y, x]) == colours[row][column]
    assert picture.shape == (56 + 2 * (tall + GAP), MARGIN + 3 * (64 + GAP), 3)


def test_a_long_name_is_read_whole_and_moves_the_pictures() -> None:
    """The name's last letters come with ink of their own, before the first picture."""
    tiles = [np.zeros((32, 32, 3), np.uint8)]
    margins = []
    for name in ("SphereHead without ViCo", "SphereHead without ViCo I"):
        picture = sheet([tiles], [name], ["front"])
        margins.append(picture.shape[1] - 32 - GAP)
        ink = np.flatnonzero((picture[28:60, : margins[-1]] < 128).any(axis=(0, 2)))
        assert margins[-1] - 16 < ink[-1] + 8 <= margins[-1]
    assert MARGIN < margins[0] < margins[1]


def test_a_card_without_parsing_is_as_large() -> None:
    assert card(plain((9, 9, 9), parsing=False), 64).shape == card(plain((9, 9, 9)), 64).shape


def test_near_is_brighter_than_far_and_nothing_is_black() -> None:
    depth, mask = np.array([[2.4, 2.7, 3.0, 2.4]], np.float32), np.array([[1.0, 1.0, 1.0, 0.0]], np.float32)
    levels = depth_colours(depth, mask).sum(axis=2)[0].tolist()
    assert levels[0] > levels[1] > levels[2] > levels[3] == 0
    assert mask_grey(np.array([[0.0, 0.5, 1.0, np.nan]], np.float32))[0, :, 0].tolist() == [0, 128, 255, 0]


def test_cameras_are_named_by_their_yaw() -> None:
    assert [yaw_name(index, 8) for index in range(8)] == ["0°", "45°", "90°", "135°", "180°", "-135°", "-90°", "-45°"]


def test_orbit_frames_hold_each_head_at_its_place() -> None:
    heads = [[np.full((8, 8, 3), 10 * head + moment, np.uint8) for moment in range(3)] for head in range(5)]
    frames = orbit_frames(heads, columns=4)
    assert len(frames) == 3 and frames[0].shape == (16, 32, 3)
    assert [int(frames[2][y, x, 0]) for y, x in ((0, 0), (0, 31), (15, 0), (15, 31))] == [2, 32, 42, 0]


def test_a_film_strip_takes_evenly_spaced_pictures() -> None:
    turn = [np.full((16, 16, 3), moment, np.uint8) for moment in range(12)]
    strip = film_strip([turn], ["a"], 4)
    assert [int(strip[36, MARGIN + 20 * column + 8, 0]) for column in range(4)] == [0, 3, 6, 9]


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of 8 views"):
        SnapshotSettings(orbit=OrbitSettings(frames=42))
    with pytest.raises(ConfigError, match="1 or more"):
        OrbitSettings(fps=0)
