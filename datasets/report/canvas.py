"""What every chart shares: themes for light and dark ground, figures without a window system, axes, and PNG bytes.

Colours are Okabe and Ito's (2008), which colour-blind readers can tell apart.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Colours of up to six series; what is beyond five of them is summed up as the sixth."""
DPI = 192
"""Twice the 96 dots an inch of a screen, for dense screens and paper."""


@dataclass(frozen=True)
class Theme:
    """Colours of what is not data."""

    name: str
    ink: str
    """Text."""
    faint: str
    """Axes and secondary text."""
    line: str
    """Grid."""
    hole: str
    """Cells without a picture."""
    bar: str
    """Bars of a single series."""


LIGHT = Theme("light", "#1f2328", "#59636e", "#d8dbdf", "#f0f0ee", "#3b7bb5")
DARK = Theme("dark", "#e8eaed", "#a2abb5", "#3a4048", "#22262b", "#6ba7dc")
THEMES = (LIGHT, DARK)


def new_figure(width: float, height: float) -> Figure:
    """Return a transparent figure of this size in inches at 96 dots that belongs to no window system."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI)
    figure.patch.set_alpha(0)
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    stream = io.BytesIO()
    with any_script():
        figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


@contextlib.contextmanager
def any_script() -> Iterator[None]:
    """Let names in scripts that the font lacks be drawn as boxes, without a warning for each sign."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def plain_axes(axes: Axes, theme: Theme, unit: str) -> None:
    """Give axes the report's plain look, with a unit under them."""
    axes.patch.set_alpha(0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.line)
    axes.tick_params(colors=theme.faint, labelsize=8, length=0, pad=4)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=theme.line, linewidth=0.6)
    axes.set_xlabel(unit, fontsize=8.5, color=theme.faint, parse_math=False)
