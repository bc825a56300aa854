"""Overlays lie where the camera says, sheets hold the pictures that were asked for, and both come out the same each time."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import get_args

import cv2
import numpy as np
import pytest
from spherehead.datasets.camera import FOCAL, RADIUS, Camera
from spherehead.datasets.canonical_face import canonical_vertices
from spherehead.datasets.report import overlay
from spherehead.datasets.report.sheets import Kind, SheetSettings, contact_sheet, view_sheet, write_sheet
from spherehead.datasets.report.tiles import degrees, grid
from spherehead.datasets.shards.codec import Decoded
from spherehead.manifests.summary import SECTORS

GREY = np.full((200, 200, 3), 128, np.uint8)


def sample(camera: Camera | None = None, **values: object) -> Decoded:
    fields = {"image": GREY, "mask": None, "parsing": None, "record": {}, **values}
    return Decoded("0" * 16, camera=camera, **fields)  # type: ignore[arg-type]


def near(panel: np.ndarray, colour: tuple[int, int, int], tolerance: int = 40) -> np.ndarray:
    """Return the (N, 2) continuous x, y of pixels of about this colour."""
    rows, columns = np.nonzero(np.abs(panel.astype(int) - colour).max(axis=2) < tolerance)
    return np.stack([columns + 0.5, rows + 0.5], axis=1)


@pytest.mark.parametrize("yaw", [-120, -40, 0, 75, 165])
def test_axes_end_where_a_pinhole_puts_them(yaw: float) -> None:
    """The ends by the textbook: turn by yaw and pitch, divide by depth; x to the subject's left, y up, z out of the nose."""
    pitch = 0.4  # keeps the three from hiding one another
    panel = overlay.label_panel(sample(Camera.look_at(math.radians(yaw), pitch)), overlay.Style(side=400, points=False))
    c, s, cp, sp = math.cos(math.radians(yaw)), math.sin(math.radians(yaw)), math.cos(pitch), math.sin(pitch)
    for index, colour in enumerate(overlay.AXIS_COLOURS):
        x, y, z = overlay.AXES[index]
        ahead = s * x + c * z
        right, up, towards = c * x - s * z, cp * y - sp * ahead, sp * y + cp * ahead
        end = 400 * np.array([0.5 + FOCAL * right / (RADIUS - towards), 0.5 - FOCAL * up / (RADIUS - towards)])
        painted = near(panel, colour)
        if np.hypot(*(end - 200)) < 15:
            continue  # points at the camera or away from it
        reach = np.hypot(*(painted - 200).T)
        tip = painted[reach.argmax()]
        assert np.hypot(*(tip - end)) < 4, (yaw, index)


def test_only_points_that_face_the_camera_are_drawn() -> None:
    count = {yaw: len(overlay.facing_points(Camera.look_at(math.radians(yaw), 0.0))) for yaw in (0, 60, -60, 90, 180)}
    assert count[0] > 0.9 * len(canonical_vertices()) and count[180] == 0
    assert count[60] == count[-60] and count[0] > count[60] > count[90] > 0


def test_points_of_a_frontal_face_are_symmetric_and_inside_the_picture() -> None:
    points = overlay.facing_points(Camera.look_at(0.0, 0.0))
    assert points.min() > 0.1 and points.max() < 0.95
    mirrored = np.stack([1 - points[:, 0], points[:, 1]], axis=1)
    assert max(np.abs(points - point).sum(axis=1).min() for point in mirrored) < 1e-6


def test_landmarks_are_drawn_at_their_pixels() -> None:
    marks = np.full((68, 2), 50.0)
    marks[1] = (150.0, 20.0)
    panel = overlay.label_panel(sample(record={"landmarks": marks.ravel().tolist()}), overlay.Style(side=400))
    painted = near(panel, overlay.LANDMARK_COLOUR)
    for x, y in ((100, 100), (300, 40)):  # twice the pixels of the 200 px crop
        close = painted[np.hypot(*(painted - (x, y)).T) < 5]
        np.testing.assert_allclose(close.mean(axis=0), (x, y), atol=0.3)
    distances = [np.hypot(*(painted - place).T) for place in ((100, 100), (300, 40))]
    assert np.minimum(*distances).max() < 5


def test_matte_shows_the_picture_inside_and_a_checkerboard_outside() -> None:
    mask = np.zeros((200, 200), np.uint8)
    mask[50:150, 50:150] = 255
    panel = overlay.matte_panel(sample(mask=mask), overlay.Style(side=200))
    assert (panel[60:140, 60:140] == 128).all()
    assert set(np.unique(panel[:45])) == {205, 240}
    outline = near(panel, overlay.OUTLINE_COLOUR)
    assert len(outline) > 380 and np.abs(np.abs(outline - 100).max(axis=1) - 50).max() < 2


def test_parsing_colours_classes_and_leaves_the_background() -> None:
    parsing = np.zeros((200, 200), np.uint8)
    parsing[100:] = 17
    panel = overlay.parsing_panel(sample(parsing=parsing), overlay.Style(side=200))
    assert (panel[:98] == 128).all()
    np.testing.assert_allclose(panel[150, 100], 0.42 * 128 + 0.58 * np.array([110, 70, 170]), atol=1)


def test_missing_parts_are_said_not_drawn() -> None:
    panels = overlay.panels(sample(), overlay.Style(side=120))
    assert [panel.shape for panel in panels] == [(120, 120, 3)] * 4
    assert (panels[1] == 128).all() and (panels[2] != 128).any() and (panels[3] != 128).any()


def test_fit_keeps_the_shape_of_a_picture() -> None:
    wide = np.zeros((50, 100, 3), np.uint8)
    fitted = overlay.fit(wide, 80)
    assert (fitted[20:60] == 0).all() and (fitted[:19] == 128).all() and (fitted[61:] == 128).all()


def test_grid_puts_tiles_in_rows() -> None:
    tiles = [np.full((10, 10, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = grid(tiles, [("a",), ("b",), ("c",)], columns=2, side=40)
    places = [(28, 28), (28, 76), (28 + 48 + 19, 28)]
    assert [int(sheet[y, x, 0]) for y, x in places] == [10, 20, 30]
    assert sheet.shape[1] == 2 * 48 + 8


def test_view_sheet_keeps_azimuth_to_the_right_and_elevation_upwards() -> None:
    front, left, above = (np.full((8, 8, 3), value, np.uint8) for value in (10, 20, 30))
    sheet = view_sheet({(3, 6): front, (3, 7): left, (4, 6): above}, 40)
    spots = {value: np.argwhere((sheet == value).all(axis=2)).mean(axis=0) for value in (10, 20, 30)}
    assert spots[20][1] - spots[10][1] == 43 and spots[20][0] == spots[10][0]
    assert spots[10][0] - spots[30][0] == 43 and spots[30][1] == spots[10][1]
    assert sheet.shape[1] == 64 + SECTORS * 43 + 3


def test_captions_are_drawn(finished_set: Path) -> None:
    plain = contact_sheet([sample()], SheetSettings(columns=1))
    assert plain.shape[0] > 160 + 2 * 15 and (plain[170:] < 100).any()


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_of_sheet_is_written_and_comes_out_the_same(finished_set: Path, tmp_path: Path, kind: Kind) -> None:
    settings = SheetSettings(kind, count=5, side=64, score="head_px" if kind == "worst" else "")
    counts = [write_sheet(finished_set, tmp_path / name, settings) for name in ("a.png", "b.png")]
    assert counts[0] == counts[1] == {"view": 11, "refused": 3}.get(kind, 5)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert picture is not None and min(picture.shape[:2]) > 64


def test_split_narrows_a_sheet(finished_set: Path, tmp_path: Path) -> None:
    assert write_sheet(finished_set, tmp_path / "a.png", SheetSettings(split="val")) == 2
    with pytest.raises(LookupError, match="split 'test'"):
        write_sheet(finished_set, tmp_path / "a.png", SheetSettings(split="test"))


def test_nothing_to_show_is_said(finished_sets: ModuleType, tmp_path: Path) -> None:
    folder = finished_sets.build(tmp_path / "none", views=(), lost=())
    for kind in ("random", "refused"):
        with pytest.raises(LookupError, match="nothing to show"):
            write_sheet(folder, tmp_path / "a.png", SheetSettings(kind))
    assert not (tmp_path / "a.png").exists()


def test_angles_are_worded_without_negative_zero() -> None:
    assert [degrees(value) for value in (-0.3, 12.5, -89.7)] == ["0°", "12°", "-90°"]
