"""Charts: cells are coloured where their directions lie, bars have the heights of the counts, hostile names stay text."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest
from spherehead.datasets.report import charts, figures
from spherehead.datasets.report.canvas import DARK, LIGHT, SERIES
from spherehead.manifests.summary import view_table


def pixels(png: bytes) -> np.ndarray:
    """Return (H, W, 4) BGRA pixels."""
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None and image.shape[2] == 4
    return image


def of_colour(png: bytes, colour: str, tolerance: int = 2) -> np.ndarray:
    """Return the (N, 2) x, y of pixels that have a colour given as #rrggbb."""
    wanted = [int(colour[at : at + 2], 16) for at in (5, 3, 1)]
    image = pixels(png)
    rows, columns = np.nonzero((np.abs(image[..., :3].astype(int) - wanted).max(axis=2) <= tolerance) & (image[..., 3] > 250))
    return np.stack([columns, rows], axis=1)


@pytest.fixture(scope="module")
def empty() -> np.ndarray:
    """The map without pictures."""
    return pixels(figures.sphere_map(views(0, 0, 0), LIGHT)).astype(np.int16)


def painted(empty: np.ndarray, yaw: float, pitch: float) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the pixels by which a map with one picture differs from the empty one."""
    filled = pixels(figures.sphere_map(views(yaw, pitch), LIGHT)).astype(np.int16)
    rows, columns = np.nonzero((np.abs(empty - filled) > 60).any(axis=2))
    return rows, columns


def views(yaw: float, pitch: float, count: int = 1) -> pd.DataFrame:
    return view_table(pd.Series([yaw] * count), pd.Series([pitch] * count))


@pytest.mark.parametrize(
    ("yaw", "pitch", "x", "y"), [(0, 0, 0, 0), (90, 0, 0.5, 0), (-90, 0, -0.5, 0), (0, 50, 0, 1), (60, -50, 1, -1)]
)
def test_filled_cell_is_coloured_where_its_direction_lies(
    empty: np.ndarray, yaw: float, pitch: float, x: float, y: float
) -> None:
    rows, columns = painted(empty, yaw, pitch)
    globe = of_colour(figures.sphere_map(views(0, 0, 0), LIGHT), LIGHT.hole)
    middle, half = (globe.max(axis=0) + globe.min(axis=0)) / 2, (globe.max(axis=0) - globe.min(axis=0)) / 2
    place = (np.array([columns.mean(), rows.mean()]) - middle) / half * (1, -1)
    if abs(x) in (0, 0.5) and y == 0:  # on the equator the projection is linear in azimuth
        np.testing.assert_allclose(place, (x, y), atol=0.02)
    else:
        assert np.sign(np.round(place, 1)).tolist() == [np.sign(x), np.sign(y)]


def test_projection_keeps_areas() -> None:
    """By the shoelace formula: a cell's share of the ellipse is its share of the sphere."""
    generator = np.random.default_rng(1)
    for _ in range(20):
        west, east = np.sort(generator.uniform(-np.pi, np.pi, 2))
        south, north = np.sort(generator.uniform(-np.pi / 2, np.pi / 2, 2))
        up = np.linspace(south, north, 800)
        longitude = np.concatenate([np.full(800, west), np.full(800, east)])
        x, y = figures.mollweide(longitude, np.concatenate([up, up[::-1]]))
        area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
        share = (east - west) / (2 * np.pi) * (np.sin(north) - np.sin(south)) / 2
        assert area / (2 * np.pi) == pytest.approx(share, abs=1e-4)
    np.testing.assert_allclose(figures.mollweide(np.array([np.pi, -np.pi, 0, 1]), np.array([0, 0, np.pi / 2, -np.pi / 2])),
                               ([2, -2, 0, 0], [0, 0, 1, -1]), atol=1e-6)  # fmt: skip


def test_back_is_drawn_at_both_edges(empty: np.ndarray) -> None:
    columns = painted(empty, 180, 0)[1]
    width = empty.shape[1]
    assert (columns < 0.2 * width).sum() == pytest.approx((columns > 0.8 * width).sum(), rel=0.05)
    assert not ((columns > 0.2 * width) & (columns < 0.8 * width)).any()


def test_cells_of_equal_count_cover_equal_area(empty: np.ndarray) -> None:
    """Mollweide is an equal-area projection, so a cell at the front covers what one high up at the side does."""
    areas = [len(painted(empty, yaw, pitch)[0]) for yaw, pitch in ((0, 0), (90, 0), (60, 30))]
    np.testing.assert_allclose(areas, np.mean(areas), rtol=0.03)


def test_bars_are_stacked_to_the_counts() -> None:
    bins = np.array([0.0, 1.0, 2.0, 3.0])
    png = figures.stacked_histogram([np.array([0.5] * 8 + [1.5] * 4), np.array([0.5] * 4)], ["a", "b"], bins, "", LIGHT)
    first, second = (of_colour(png, colour) for colour in SERIES[:2])
    legend = pixels(png).shape[0] * 0.12
    first, second = first[first[:, 1] > legend], second[second[:, 1] > legend]
    middle = pixels(png).shape[1] / 2
    heights = {
        "tall": np.ptp(first[first[:, 0] < middle * 0.7][:, 1]),
        "half": np.ptp(first[np.abs(first[:, 0] - middle * 1.08) < 20][:, 1]),
        "top": np.ptp(second[:, 1]),
    }
    assert heights["half"] == pytest.approx(heights["tall"] / 2, rel=0.03)
    assert heights["top"] == pytest.approx(heights["tall"] / 2, rel=0.03)
    assert second[:, 1].max() <= first[first[:, 0] < middle * 0.7][:, 1].min() + 2


def test_more_series_than_colours_are_summed_up() -> None:
    many = [np.array([0.5])] * 9
    png = figures.stacked_histogram(many, [f"source {k}" for k in range(9)], np.array([0.0, 1.0]), "", LIGHT)
    assert len(of_colour(png, SERIES[5])) > 3 * len(of_colour(png, SERIES[4]))


@pytest.mark.parametrize("name", ["$x^{$", "_hidden", r"\frac{", "日本", "", "%s {0}"])
def test_hostile_names_are_drawn_as_text(name: str) -> None:
    values = np.array([0.2, 0.4])
    assert figures.stacked_histogram([values], [name], np.array([0.0, 1.0]), name, DARK)[:4] == b"\x89PNG"
    assert figures.score_histograms(pd.DataFrame({name: values}), DARK)[:4] == b"\x89PNG"


def test_constant_and_single_scores_have_a_chart() -> None:
    frame = pd.DataFrame({"same": [3.0] * 4, "one": [1.0, np.nan, np.nan, np.nan], "huge": [1e-300, 1e300, 0, -1e300]})
    assert len(figures.score_histograms(frame, LIGHT)) > 1000


def test_class_that_is_never_seen_has_no_bar() -> None:
    areas = pd.DataFrame({"area_hair": [0.2, 0.3], "hair": [0.2, 0.3], "hat": [0.0, 0.0]})
    png = figures.class_areas(areas[["hair", "hat"]], LIGHT)
    assert len(of_colour(png, "#6e46aa")) > 100 and len(of_colour(png, "#f05a14")) == 0


def test_charts_come_out_the_same() -> None:
    table = views(30, 10, 5)
    assert figures.sphere_map(table, DARK) == figures.sphere_map(table, DARK)


def test_lines_go_where_their_values_are() -> None:
    x = np.linspace(0, 10, 20)
    png = charts.line_charts([charts.Chart("up and down", {"up": (x, x), "down": (x, 10 - x)})], "steps", LIGHT, 1)
    for colour, sign in zip(SERIES, (-1, 1), strict=False):  # rows count downwards
        points = of_colour(png, colour)
        points = points[points[:, 1] > 60]  # below the legend
        assert np.sign(np.corrcoef(points.T)[0, 1]) == sign and np.ptp(points[:, 0]) > 500


def test_a_long_noisy_line_is_smoothed_and_charts_stand_in_rows() -> None:
    x = np.arange(900.0)
    y = np.random.default_rng(0).standard_normal(900)
    chart = charts.Chart("noise $x_1$", {"a_b": (x, y)})
    small = [chart, chart, charts.Chart("log", {"e": (x, np.exp(x / 99))}, log=True)]
    png = charts.line_charts(small, "n", DARK)
    assert pixels(png).shape[:2] == (960, 1766)
    strong = of_colour(png, SERIES[0])
    strong = strong[(strong[:, 0] < 880) & (strong[:, 1] < 440)]
    faint = np.argwhere(pixels(png)[80:440, 150:850, 3] > 30)
    assert np.ptp(strong[:, 1]) < 0.5 * np.ptp(faint[:, 0])
    assert png == charts.line_charts([chart, chart, charts.Chart("log", {"e": (x, np.exp(x / 99))}, log=True)], "n", DARK)
