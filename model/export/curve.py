"""A run looked back on: its losses and distances as charts, and its heads from front and back as they came to be.

Metrics are written by `train.progress`, grids by `snapshot`; lines are drawn by `datasets.report.charts`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from ...datasets.arrays import Pixels
from ...datasets.report.canvas import LIGHT
from ...datasets.report.charts import Chart, line_charts
from ...datasets.report.tiles import PAPER, write_png
from ..visualization.pictures import GAP, MARGIN, sheet

CHARTS: Mapping[str, tuple[str, ...]] = {
    "adversarial loss": ("generator_adversarial", "discriminator_adversarial"),
    "discriminator's mean score": ("real_score", "fake_score"),
    "ViCo: score of pictures under other cameras": ("vico",),
    "Frechet distance to the data": ("frechet_all", "frechet_front", "frechet_back"),
    "parsing": ("parsing",),
    "regularisers": ("r1", "density", "camera_shift"),
    "length of the gradient": ("generator_gradient", "discriminator_gradient"),
    "seconds per picture": ("seconds_picture",),
}
"""Charts in order, and the metrics on each; metrics that a run does not have are left out."""
LOGARITHMIC = ("Frechet distance to the data", "regularisers", "length of the gradient")
"""Charts with a logarithmic axis; what is not above zero is left out of them."""
HEADER = 28
"""Pixels of a grid above its first row."""


def charts_of(rows: Sequence[Mapping[str, float]]) -> list[Chart]:
    """Sort the lines of `metrics.jsonl` into charts over thousands of pictures.

    Args:
        rows: lines, each with `images`; a metric may be on some of them only.
    """
    found = []
    for title, names in CHARTS.items():
        series = {}
        for name in names:
            known = [row for row in rows if isinstance(row.get(name), int | float) and math.isfinite(row[name])]
            known = [row for row in known if row[name] > 0 or title not in LOGARITHMIC]
            if known:
                x, y = (np.array([row[key] for row in known], dtype=np.float64) for key in ("images", name))
                series[name.replace("_", " ")] = (x / 1000, y)
        if series:
            found.append(Chart(title, series, title in LOGARITHMIC))
    return found


def write_curve(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Draw a run's metrics as PNG on light ground.

    Raises:
        LookupError: there is nothing to draw.
    """
    charts = charts_of(rows)
    if not charts:
        raise LookupError("nothing to draw: expected lines of metrics as training writes them")
    drawn = cv2.imdecode(np.frombuffer(line_charts(charts, "thousand pictures", LIGHT), np.uint8), cv2.IMREAD_UNCHANGED)
    assert drawn is not None
    share = drawn[..., 3:] / 255.0
    write_png(path, np.round(drawn[..., 2::-1] * share + np.array(PAPER) * (1 - share)).astype(np.uint8))


def write_over_time(path: Path, pictures: Path, heads: int = 3, moments: int = 7, views: int = 8) -> int:
    """Lay out the first heads of a run's grids as they were over time, each from the front and, below that, from behind.

    Args:
        path: PNG to write.
        pictures: the run's folder with `grid-<step>.png`.
        heads: rows of pairs.
        moments: grids at most, evenly chosen; the first and the last are among them.
        views: cameras around each head on the grids.

    Returns:
        How many moments it shows.

    Raises:
        LookupError: there are no grids.
    """
    grids = sorted(pictures.glob("grid-*.png"))
    if not grids:
        raise LookupError(f"no grid-*.png in {pictures}; training writes one at each save")
    places = np.unique(np.linspace(0, len(grids) - 1, min(moments, len(grids))).round().astype(int))
    chosen = [grids[place] for place in places]
    columns = [cut_grid(grid, heads, (0, views // 2), views) for grid in chosen]
    rows = [[column[row] for column in columns] for row in range(len(columns[0]))]
    names = [f"head {row // 2}" if row % 2 == 0 else "behind" for row in range(len(rows))]
    write_png(path, sheet(rows, names, [f"{int(grid.stem.partition('-')[2]):,}" for grid in chosen]))
    return len(chosen)


def cut_grid(path: Path, heads: int, columns: Sequence[int], views: int) -> list[Pixels]:
    """Return the pictures of some columns for the first heads of a grid, head after head."""
    grid = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if grid is None:
        raise LookupError(f"{path} is no picture")
    side = (grid.shape[1] - MARGIN) // views - GAP
    step = side + GAP // 2 + (side - 2 * (GAP // 2)) // 3 + GAP
    count = min(heads, (grid.shape[0] - HEADER) // step)
    corners = [(HEADER + head * step, MARGIN + column * (side + GAP)) for head in range(count) for column in columns]
    return [np.asarray(grid[y : y + side, x : x + side], dtype=np.uint8) for y, x in corners]
