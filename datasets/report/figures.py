"""The report's charts as PNG bytes, each for light and for dark ground: sphere of directions, histograms, class areas.

The numbers come ready from `manifests.summary`; captions, tables and pictures of heads are left to `report` and `sheets`.
Colours are Okabe and Ito's (2008) and cividis (Nuñez et al. 2018), which colour-blind readers can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...manifests.summary import SECTORS, band_edges, sector_centres
from ..arrays import Array
from ..classes import CLASSES, PALETTE
from .canvas import SERIES, Theme, any_script, new_figure, plain_axes, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def mollweide(longitude: Array, latitude: Array) -> tuple[Array, Array]:
    """Project directions onto the equal-area ellipse with half axes 2 and 1 (Snyder 1987, p. 249, scaled by 1 / sqrt 2).

    Args:
        longitude: radians, -pi to pi; the map's right is positive.
        latitude: radians, -pi/2 to pi/2.

    Returns:
        x in [-2, 2] and y in [-1, 1].
    """
    sine = np.pi * np.sin(latitude)
    # the equation 2 t + sin 2 t = pi sin(latitude) is monotonic in t: bisection is exact even at the poles
    low, high = np.full(np.shape(sine), -np.pi / 2), np.full(np.shape(sine), np.pi / 2)
    for _ in range(40):
        middle = (low + high) / 2
        below = 2 * middle + np.sin(2 * middle) < sine
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    angle = (low + high) / 2
    return 2 / np.pi * longitude * np.cos(angle), np.sin(angle)


def sphere_map(views: pd.DataFrame, theme: Theme) -> bytes:
    """Draw the counts of a view table on the sphere of directions, in Mollweide's equal-area projection.

    Args:
        views: (BANDS, SECTORS) counts as from `summary.view_table`.
        theme: light or dark.
    """
    import matplotlib as mpl
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import LogNorm

    largest = max(1, int(views.to_numpy().max(initial=0)))
    norm = LogNorm(1, max(2, largest))
    colours = mpl.colormaps["cividis"]
    figure = new_figure(9.2, 4.9)
    axes = figure.add_axes((0.02, 0.16, 0.96, 0.82), aspect="equal", xlim=(-2.1, 2.1), ylim=(-1.03, 1.03))
    axes.set_axis_off()
    cells = _cells(views)
    faces = [colours(norm(count)) if count else theme.hole for *_, count in cells]
    outlines = [_cell_outline(*cell[:4]) for cell in cells]
    axes.add_collection(PolyCollection(outlines, facecolors=faces, edgecolors=theme.line, linewidths=0.6))
    for (west, east, south, north, count), face in zip(cells, faces, strict=True):
        if count:
            x, y = mollweide(np.array((west + east) / 2), np.arcsin((np.sin(south) + np.sin(north)) / 2))
            dark = float(np.dot(face[:3], (0.299, 0.587, 0.114))) < 0.5
            size = 7.5 if east - west < 0.9 * 2 * math.pi / SECTORS else 9
            axes.text(
                float(x),
                float(y),
                _short_count(count),
                ha="center",
                va="center",
                fontsize=size,
                color="white" if dark else "black",
            )
    for place, text in ((0.03, "back"), (0.265, "right profile"), (0.5, "front"), (0.735, "left profile"), (0.97, "back")):
        align = "left" if place < 0.1 else "right" if place > 0.9 else "center"
        figure.text(place, 0.125, text, ha=align, color=theme.ink, fontsize=9)
    _count_scale(figure, colours, norm, theme, largest)
    return png(figure)


def _cells(views: pd.DataFrame) -> list[tuple[float, float, float, float, int]]:
    """Return west, east, south, north in radians and the count of every cell; that of the back comes as its two halves."""
    edges, width = np.radians(band_edges()), 2 * math.pi / SECTORS
    return [
        (west, east, float(edges[band]), float(edges[band + 1]), int(count))
        for band, row in enumerate(views.to_numpy()[::-1])  # bands from below
        for centre, count in zip(np.radians(sector_centres()), row, strict=True)
        for west, east in _halves(float(centre) - width / 2, float(centre) + width / 2)
    ]


def stacked_histogram(values: Sequence[Array], names: Sequence[str], bins: Array, unit: str, theme: Theme) -> bytes:
    """Draw a histogram of several series stacked on one another.

    Args:
        values: one array a series; more than five series are summed up as "others".
        names: names of the series; any text.
        bins: edges.
        unit: what stands under the axis.
        theme: light or dark.
    """
    if len(values) > len(SERIES):
        rest = np.concatenate(list(values[len(SERIES) - 1 :]))
        values, names = [*values[: len(SERIES) - 1], rest], [*names[: len(SERIES) - 1], "others"]
    figure = new_figure(5.4, 2.7)
    axes = figure.add_axes((0.1, 0.19, 0.88, 0.68))
    heights = np.zeros(len(bins) - 1)
    for index, series in enumerate(values):
        counts = np.histogram(np.clip(series, bins[0], bins[-1]), bins=bins)[0]
        _bars(axes, bins, heights, heights + counts, SERIES[index])
        heights = heights + counts
    plain_axes(axes, theme, unit)
    axes.set_xlim(bins[0], bins[-1])
    axes.set_ylim(0, max(1.0, float(heights.max(initial=0))) * 1.05)
    axes.locator_params(axis="y", nbins=6, integer=True)
    if bins[-1] - bins[0] >= 180:
        axes.set_xticks(np.arange(math.ceil(bins[0] / 45) * 45, bins[-1] + 1, 45))
    _legend(figure, names, theme)
    return png(figure)


def score_histograms(scores: Mapping[str, pd.Series] | pd.DataFrame, theme: Theme, columns: int = 4) -> bytes:
    """Draw one small histogram a score, its median marked; the outer half per cent at each end is put into the last bars.

    Args:
        scores: one series a score, without its prefix; each is asked for once.
        theme: light or dark.
        columns: charts in a row.
    """
    names = list(scores.keys())
    rows = max(1, -(-len(names) // columns))
    figure = new_figure(9.2, 1.62 * rows)
    for index, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, index + 1)
        values = scores[name].dropna().to_numpy(dtype=np.float64)
        low, high = np.quantile(values, [0.005, 0.995])
        bins = np.linspace(low, high, 31) if high > low else np.linspace(low - 0.5, low + 0.5, 12)
        counts = np.histogram(np.clip(values, bins[0], bins[-1]), bins=bins)[0]
        _bars(axes, bins, np.zeros(len(counts)), counts, theme.bar)
        axes.set_xlim(bins[0], bins[-1])
        axes.set_ylim(0, 1.05 * max(1, int(counts.max())))
        median = float(np.median(values))
        axes.axvline(median, color=SERIES[5], linewidth=1.2)
        plain_axes(axes, theme, "")
        axes.set_yticks([])
        axes.locator_params(axis="x", nbins=3)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_title(f"{name}  {median:.3g}", fontsize=8.5, color=theme.ink, loc="left", pad=3, parse_math=False)
    figure.subplots_adjust(
        left=0.015, right=0.985, top=1 - 0.24 / (1.62 * rows), bottom=0.26 / (1.62 * rows), hspace=0.62, wspace=0.16
    )
    return png(figure)


def class_areas(areas: Mapping[str, pd.Series] | pd.DataFrame, theme: Theme) -> bytes:
    """Draw for each parsing class the share of the crop it covers: 5 % to 95 % of pictures as a bar, the median as a dot.

    Args:
        areas: one series a class, shares 0 to 1; pictures without the class count in the note at the right, not in the bar.
        theme: light or dark.
    """
    names = [name for name in CLASSES if name in areas]
    figure = new_figure(9.2, 0.5 + 0.235 * len(names))
    axes = figure.add_axes((0.125, 0.42 / (0.5 + 0.235 * len(names)), 0.72, 1 - 0.46 / (0.5 + 0.235 * len(names))))
    for row, name in enumerate(reversed(names)):
        values = areas[name].dropna().to_numpy(dtype=np.float64)
        seen = values[values > 0]
        share = len(seen) / len(values) if len(values) else 0.0
        axes.text(1.3, row, f"in {100 * share:.0f} %", va="center", fontsize=8, color=theme.faint)
        if not len(seen):
            continue
        low, middle, high = np.quantile(seen, [0.05, 0.5, 0.95])
        colour = np.array(PALETTE[CLASSES.index(name)]) / 255 if name != "background" else theme.faint
        axes.barh(row, high - low, 0.62, low, color=colour, edgecolor=theme.faint, linewidth=0.5, zorder=2)
        axes.plot(
            [middle],
            [row],
            "o",
            markersize=4.2,
            markerfacecolor="white",
            markeredgecolor="black",
            markeredgewidth=0.9,
            zorder=3,
        )
    axes.set_xscale("log")
    axes.set_xlim(1e-4, 1.0)
    plain_axes(axes, theme, "share of the crop")
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=theme.line, linewidth=0.6)
    axes.set_xticks([1e-4, 1e-3, 1e-2, 1e-1, 1.0], ["0.01 %", "0.1 %", "1 %", "10 %", "100 %"])
    axes.minorticks_off()
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in reversed(names)])
    axes.set_ylim(-0.6, len(names) - 0.4)
    return png(figure)


def _bars(axes: Axes, bins: Array, bottom: Array, top: Array, colour: str) -> None:
    """Draw the bars of a histogram as one collection, which takes a tenth of the time of single patches."""
    from matplotlib.collections import PolyCollection

    west, east = bins[:-1] + 0.03 * np.diff(bins), bins[1:] - 0.03 * np.diff(bins)
    seen = top > bottom
    corners = np.stack([west, bottom, west, top, east, top, east, bottom], axis=1)[seen].reshape(-1, 4, 2)
    axes.add_collection(PolyCollection(list(corners), facecolors=colour, linewidths=0), autolim=False)


def _legend(figure: Figure, names: Sequence[str], theme: Theme) -> None:
    """Write coloured squares and names along the top; names are foreign text, so no mathematics is read into them."""
    x = 0.1
    for index, name in enumerate(names):
        text = name if len(name) <= 18 else name[:17] + "…"
        figure.text(x, 0.93, "■", color=SERIES[index], fontsize=9)
        label = figure.text(x + 0.028, 0.933, text, color=theme.ink, fontsize=8.5, parse_math=False)
        with any_script():
            box: Any = label.get_window_extent(figure.canvas.get_renderer())  # type: ignore[attr-defined]
        x += 0.055 + box.width / (figure.get_figwidth() * figure.dpi)


def _count_scale(figure: Figure, colours: Any, norm: Any, theme: Theme, largest: int) -> None:
    from matplotlib.cm import ScalarMappable

    if largest < 3:
        return
    axes = figure.add_axes((0.33, 0.055, 0.34, 0.022))
    bar = figure.colorbar(ScalarMappable(norm, colours), cax=axes, orientation="horizontal")
    bar.outline.set_visible(False)
    ticks = [tick for power in range(7) for tick in (10**power, 3 * 10**power) if tick < largest * 0.72] + [largest]
    bar.set_ticks(ticks, labels=[_short_count(tick) for tick in ticks])
    axes.minorticks_off()
    axes.tick_params(colors=theme.faint, labelsize=7.5, length=0, pad=2)
    figure.text(0.32, 0.052, "pictures in a cell", ha="right", fontsize=8, color=theme.faint)


def _halves(west: float, east: float) -> list[tuple[float, float]]:
    """Cut a cell that crosses the map's edge into its two halves."""
    if west >= -math.pi - 1e-9:
        return [(west, east)]
    return [(-math.pi, east), (west + 2 * math.pi, math.pi)]


def _cell_outline(west: float, east: float, south: float, north: float) -> Array:
    """Return the (N, 2) outline of a cell on the map, dense enough for curved edges."""
    along, up = np.linspace(west, east, 8), np.linspace(south, north, 12)
    longitude = np.concatenate([along, np.full(12, east), along[::-1], np.full(12, west)])
    latitude = np.concatenate([np.full(8, south), up, np.full(8, north), up[::-1]])
    return np.stack(mollweide(longitude, latitude), axis=1)


def _short_count(count: int) -> str:
    """Word a count in at most five characters: 914, 4.6k, 23k, 1.2M."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 10 * size else f"{count / size:.0f}{unit}"
    return str(count)
