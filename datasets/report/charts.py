"""Line charts of a run: values over pictures shown, several small charts on one PNG.

The charts of a data set are in `figures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..arrays import Array
from .canvas import SERIES, Theme, new_figure, plain_axes, png


@dataclass(frozen=True, eq=False)
class Chart:
    """Lines of one kind over a common axis."""

    title: str
    series: Mapping[str, tuple[Array, Array]]
    """Name of a line -> its x and y; values that are no numbers leave gaps."""
    log: bool = False
    """Logarithmic upwards."""


def line_charts(charts: Sequence[Chart], unit: str, theme: Theme, columns: int = 2) -> bytes:
    """Draw lines, one small chart each kind; a long line is drawn faintly, with its running mean over a thirtieth above it.

    Args:
        charts: what to draw; up to six lines each.
        unit: what stands under the axes.
        theme: light or dark.
        columns: charts in a row.
    """
    rows = max(1, -(-len(charts) // columns))
    figure = new_figure(4.6 * columns, 2.5 * rows)
    for index, chart in enumerate(charts):
        axes = figure.add_subplot(rows, columns, index + 1)
        for colour, (name, (x, y)) in zip(SERIES, chart.series.items(), strict=False):
            window = len(y) // 30
            if window > 1:
                axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.25)
                mean = pd.Series(np.asarray(y, dtype=np.float64)).rolling(window, center=True, min_periods=1).mean()
                axes.plot(x, mean, color=colour, linewidth=1.6, label=name)
            else:
                axes.plot(x, y, color=colour, linewidth=1.6, marker="o" if len(y) < 30 else "", markersize=3, label=name)
        plain_axes(axes, theme, unit if index >= len(charts) - columns else "")
        if chart.log:
            axes.set_yscale("log")
            axes.tick_params(axis="y", which="minor", colors=theme.faint, labelsize=6.5, length=0)
        axes.set_title(chart.title, fontsize=9.5, color=theme.ink, loc="left", pad=6, parse_math=False)
        if len(chart.series) > 1:
            legend = axes.legend(fontsize=7.5, frameon=False, labelcolor=theme.ink, loc="best", handlelength=1.2)
            for text in legend.get_texts():
                text.set_parse_math(False)
    figure.subplots_adjust(
        left=0.32 / columns * 0.45, right=0.985, top=1 - 0.3 / (2.5 * rows), bottom=0.45 / (2.5 * rows), hspace=0.36, wspace=0.2
    )
    return png(figure)
