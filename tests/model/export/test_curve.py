"""A run looked back on: every metric on its chart, every tile cut from its place, kind refusals."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from spherehead.datasets.report.tiles import write_png
from spherehead.model.export.curve import CHARTS, charts_of, cut_grid, write_curve, write_over_time
from spherehead.model.visualization.pictures import heads_sheet
from spherehead.model.visualization.views import View


def view(level: int) -> View:
    """A view all of one grey, with a mask."""
    small = np.full((8, 8), 2.7, np.float32)
    image = np.full((64, 64, 3), level, np.uint8)
    return View(image, image[:8, :8], np.ones_like(small), small, np.zeros((8, 8), np.uint8))


def grid(path: Path, base: int, heads: int = 4, views: int = 8) -> None:
    """A grid whose picture of head h from view v is of level base + 8 h + v."""
    rows = [[view(base + 8 * head + number) for number in range(views)] for head in range(heads)]
    write_png(path, heads_sheet(rows, [f"head {head}" for head in range(heads)], 128))


def test_every_picture_is_cut_from_its_own_place(tmp_path: Path) -> None:
    grid(tmp_path / "grid.png", 10)
    tiles = cut_grid(tmp_path / "grid.png", 3, (0, 4), 8)
    assert [int(tile[64, 64, 0]) for tile in tiles] == [10, 14, 18, 22, 26, 30]
    assert all(tile.shape == (128, 128, 3) and np.ptp(tile) == 0 for tile in tiles)


def test_heads_over_time_show_first_and_last_grid(tmp_path: Path) -> None:
    for number in range(9):
        grid(tmp_path / f"grid-{1000 * number:08d}.png", 10 * number, heads=2)
    assert write_over_time(tmp_path / "time.png", tmp_path, heads=3, moments=4) == 4
    picture = cv2.imread(str(tmp_path / "time.png"))
    assert picture.shape[0] == 28 + 4 * 132  # two heads, each from front and behind
    levels = [int(picture[28 + 64, 76 + 132 * column + 64, 0]) for column in range(4)]
    assert levels[0] == 0 and levels[-1] == 80 and levels == sorted(levels)
    assert int(picture[28 + 132 + 64, 76 + 64, 0]) == 4  # from behind


def test_metrics_come_onto_their_charts(tmp_path: Path) -> None:
    rows = [
        {"images": 1000 * i, "vico": 1 / i, "r1": 0.0 if i == 2 else 0.1, "real_score": math.nan, "odd": 3.0} for i in (1, 2, 3)
    ]
    rows.append({"images": 4000, "frechet_all": 7.0})
    charts = {chart.title: chart for chart in charts_of(rows)}
    assert set(charts) == {"ViCo: score of pictures under other cameras", "regularisers", "Frechet distance to the data"}
    x, y = charts["ViCo: score of pictures under other cameras"].series["vico"]
    assert x.tolist() == [1, 2, 3] and y == pytest.approx([1, 1 / 2, 1 / 3])
    assert charts["regularisers"].series["r1"][0].tolist() == [1, 3] and charts["regularisers"].log
    write_curve(tmp_path / "curve.png", rows)
    assert cv2.imread(str(tmp_path / "curve.png"), cv2.IMREAD_UNCHANGED).shape[2] == 3


def test_no_metric_is_on_two_charts() -> None:
    names = [name for chart in CHARTS.values() for name in chart]
    assert len(names) == len(set(names))


def test_nothing_to_look_back_on_is_told(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=r"no grid-\*\.png"):
        write_over_time(tmp_path / "x.png", tmp_path)
    with pytest.raises(LookupError, match="nothing to draw"):
        write_curve(tmp_path / "x.png", [{"images": 1}])
    (tmp_path / "grid-00000001.png").write_text("no picture")
    with pytest.raises(LookupError, match="no picture"):
        write_over_time(tmp_path / "x.png", tmp_path)
