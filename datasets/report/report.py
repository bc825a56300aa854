"""The report of a finished data set: one self-contained HTML file, with its sheets and charts as PNGs beside it.

It shows what is there and judges nothing: `verify` says whether files and labels are whole. Numbers come from
`manifests.summary`, charts from `figures`, tables and thumbnails from `parts`, the looks from the template.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...manifests import summary as counting
from ...manifests.frames import OUTCOMES, read_frame
from ...manifests.parsing import read_json
from ...manifests.store import Header, require_own_table, write_bytes
from ..arrays import Array
from ..shards.inspect import PLACE, pick_by_view, pick_random, refused_pictures
from ..shards.tar import ShardError
from . import canvas, figures, parts
from .overlay import PANELS
from .parts import Pictures, data_uri, visible
from .sheets import SheetSettings, view_sheet, write_sheet
from .tiles import jpeg

log = logging.getLogger(__name__)

COLUMNS = (
    *PLACE,
    "reason",
    "yaw_degrees",
    "pitch_degrees",
    "roll_degrees",
    "cluster",
    *(f"score_{name}" for name in parts.WORST),
)
"""Columns that a report holds in memory; any may be missing. All others are read one at a time."""
SECTIONS = (
    ("accounting", "Accounting"), ("views", "Views"), ("labels", "Labels"), ("quality", "Quality"), ("pictures", "Pictures"),
    ("refused", "Refused"), ("duplicates", "Duplicates"), ("timing", "Time"), ("rights", "Rights"), ("made", "Provenance"),
)  # fmt: skip
"""Anchors and names of the page's sections."""


@dataclass(frozen=True)
class ReportSettings:
    """How much a report shows."""

    random: int = 24
    """Pictures of the random look."""
    overlays: int = 8
    """Samples whose label, matte and parsing are drawn."""
    worst: int = 6
    """Pictures a score."""
    worst_scores: int = 4
    """Scores whose worst pictures are shown."""
    refused: int = 8
    """Thumbnails a reason."""
    clusters: int = 4
    """Clusters of near duplicates."""
    rows: int = 40
    """Lines of tables that could grow with the set: shards, licences, copies."""
    seed: int = 0
    """Another seed picks other random pictures."""
    charts: bool = True
    """Draw the charts, which take most of a report's time."""
    sheets: bool = True
    """Write the sheets and charts as PNGs beside the page."""


@dataclass(frozen=True, eq=False)
class _Set:
    """What is read of a data set."""

    folder: Path
    header: Header
    frame: pd.DataFrame
    kept: pd.DataFrame
    summary: counting.Summary
    run: dict[str, Any]


def write_report(folder: Path, out: Path | None = None, settings: ReportSettings = ReportSettings()) -> Path:
    """Write the report of a finished data set.

    Args:
        folder: what `--out` was.
        out: folder for the page and its PNGs, or the page itself where it ends in .html; `folder/report` by default.
        settings: how much is shown.

    Returns:
        The page.

    Raises:
        ManifestError: there is no finished set, or its tables are damaged.
    """
    found = _read(folder)
    out = folder / "report" if out is None else out
    page = out if out.suffix == ".html" else out / "report.html"
    pictures = Pictures(folder, found.frame)
    charts = _charts(found) if settings.charts else {}
    context = _context(found, pictures, settings)
    context["charts"] = {name: _embedded(*pair, name) for name, pair in charts.items()}
    for name in ("sphere", "yaw_split", "yaw_source", "roll_split", "roll_source", "scores", "areas"):
        context["charts"].setdefault(name, None)
    if pictures.unreadable:
        count = len(pictures.unreadable)
        context["warnings"].append(
            f"{count} {'picture' if count == 1 else 'pictures'} could not be read; run verify to see why."
        )
    write_bytes(page, _render(context).encode("utf-8"))
    if settings.sheets:
        for name, (light, _) in charts.items():
            write_bytes(page.parent / f"chart_{name}.png", light)
        _write_sheets(found, page.parent, settings)
    return page


def _read(folder: Path) -> _Set:
    header = require_own_table(folder)
    run: Any = {}
    path = folder / "run.json"
    if path.is_file():
        try:
            run = read_json(path)
        except ValueError as error:
            log.warning("leaving out timing: %s is no JSON (%s)", path, error)
    summary = counting.summarise(folder)
    frame = read_frame(folder, COLUMNS)
    frame = frame.drop(columns=[name for name in frame if str(name).startswith("score_") and frame[name].isna().all()])
    mask = frame["status"] == "kept"
    kept = frame if mask.all() else frame[mask]
    return _Set(folder, header, frame, kept, summary, run if isinstance(run, dict) else {})


class _Scores(Mapping[str, pd.Series]):
    """Scores of the kept rows by the name that is shown, each read when it is asked for: a set may have many."""

    def __init__(self, folder: Path, columns: Mapping[str, str]) -> None:
        self._folder, self._columns, self._kept = folder, columns, counting.kept_rows(folder)

    def __getitem__(self, name: str) -> pd.Series:
        return counting.kept_numbers(self._folder, self._columns[name], self._kept)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def _charts(found: _Set) -> dict[str, tuple[bytes, bytes]]:
    """Draw every chart for which there are numbers, for light and for dark ground."""
    kept = found.kept
    sources = found.summary.sources.set_axis(kept.index)
    told = found.summary.scores[found.summary.scores["count"] > 0]
    areas = {name.removeprefix("area_"): f"score_{name}" for name in map(str, told.index) if name.startswith("area_")}
    elsewhere = {"yaw_degrees", "pitch_degrees", "roll_degrees"}
    differing = map(str, told.index[told["min"] != told["max"]])
    others = {visible(name): f"score_{name}" for name in differing if not name.startswith("area_") and name not in elsewhere}
    charts: dict[str, tuple[bytes, bytes]] = {}

    def draw(name: str, function: Any, *values: Any) -> None:
        light, dark = (function(*values, theme) for theme in canvas.THEMES)
        charts[name] = (light, dark)

    if kept["yaw_degrees"].notna().any():
        draw("sphere", figures.sphere_map, found.summary.views)
        yaw_bins = np.arange(-180.0, 181.0, 10.0)
        for group, labels in (("split", kept["split"].fillna("?")), ("source", sources)):
            if group == "source" and labels.nunique() < 2:
                continue
            draw(f"yaw_{group}", figures.stacked_histogram, *_series(kept["yaw_degrees"], labels), yaw_bins, "azimuth, degrees")
            if kept["roll_degrees"].notna().any():
                bins = _roll_bins(kept["roll_degrees"])
                draw(f"roll_{group}", figures.stacked_histogram, *_series(kept["roll_degrees"], labels), bins, "roll, degrees")
    if others:
        draw("scores", figures.score_histograms, _Scores(found.folder, others))
    if areas:
        draw("areas", figures.class_areas, _Scores(found.folder, areas))
    return charts


def _series(values: pd.Series, labels: pd.Series) -> tuple[list[Array], list[str]]:
    """Split values by label, the most frequent label first."""
    order = labels.value_counts().sort_index().sort_values(ascending=False, kind="stable").index
    return [values[labels == name].dropna().to_numpy(dtype=np.float64) for name in order], [
        visible(str(name)) for name in order
    ]


def _roll_bins(roll: pd.Series) -> Array:
    reach = max(15.0, 15.0 * math.ceil(float(roll.abs().quantile(0.995)) / 15.0))
    return np.linspace(-reach, reach, 31)


def _context(found: _Set, pictures: Pictures, settings: ReportSettings) -> dict[str, Any]:
    """Put together what the template shows, charts apart."""
    header, kept, summary, folder = found.header, found.kept, found.summary, found.folder
    counts = summary.tally.counts()
    overlays = [pictures.overlay(key, 320) for key in pick_random(kept, settings.overlays, settings.seed + 1)]
    clustered = found.frame["cluster"].fillna("")
    quantiles = summary.scores
    return {
        "title": folder.resolve().name or "data set",
        "subtitle": f"Recipe {header.recipe.get('name', '?')}, built by spherehead {header.tool_version}",
        "sections": SECTIONS, "cards": _cards(found), "warnings": _warnings(header, counts),
        "identity": parts.identity(counts), "inputs": parts.inputs(summary.inputs), "heads_kept": len(kept),
        "heads_with_camera": int(kept["yaw_degrees"].notna().sum()), "balance": summary.balance,
        "constant_scores": _constants(quantiles),
        "sector_degrees": 360 // counting.SECTORS, "atlas": _atlas(kept, pictures, settings.seed),
        "overlays": [row for row in overlays if row], "panel_names": PANELS,
        "outcomes": [parts.WORDS[name][1] for name in OUTCOMES],
        "scores": [{"name": str(name), "numbers": row.tolist()} for name, row in quantiles.iterrows()],
        "score_columns": list(quantiles.columns),
        "worst": parts.worst(kept, pictures, settings.worst, settings.worst_scores),
        "random": [pictures.tile(key) for key in pick_random(kept, settings.random, settings.seed)],
        "reasons": parts.reasons(summary.reasons, folder, refused_pictures(folder, settings.refused)),
        "clusters": parts.clusters(found.frame, pictures, folder, settings.clusters),
        "num_clusters": int(clustered[clustered != ""].nunique()), "copies": parts.copies(folder, settings.rows),
        "timing": parts.timing(found.run), "licences": summary.licences.head(settings.rows).to_dict("records"),
        "more_licences": max(0, len(summary.licences) - settings.rows), "chains": parts.chains(header),
        "shards": header.shards[: settings.rows], "more_shards": max(0, len(header.shards) - settings.rows),
        "environment": sorted(header.environment.items()),
        "recipe": json.dumps(header.recipe, indent=2, sort_keys=True, ensure_ascii=False).splitlines(),
    }  # fmt: skip


def _constants(quantiles: pd.DataFrame) -> list[str]:
    """Word the scores that have one value for all pictures, which need no chart; class areas are in their own."""
    same = quantiles[(quantiles["min"] == quantiles["max"]) & ~quantiles.index.str.startswith("area_")]
    return [f"{name} {_short(value)}" for name, value in same["min"].items()]


def _cards(found: _Set) -> list[dict[str, str]]:
    shards, balance = found.header.shards, found.summary.balance
    splits = found.kept["split"].dropna().astype(str).value_counts()
    words = ", ".join(f"{name} {count:,}" for name, count in splits.head(4).items())
    return [
        {"value": f"{found.summary.tally.inputs.total():,}", "label": "inputs"},
        {"value": f"{len(found.kept):,}", "label": f"heads kept: {visible(words)}" if words else "heads kept"},
        {"value": _size(sum(entry.num_bytes for entry in shards)),
         "label": f"in {len(shards):,} {'shard' if len(shards) == 1 else 'shards'}"},
        {"value": f"{balance.filled} of {balance.cells}", "label": "directions have pictures"},
        {"value": _ratio(balance.ratio), "label": "fullest over emptiest filled direction"},
    ]  # fmt: skip


def _warnings(header: Header, counts: dict[str, int]) -> list[str]:
    """Say where the header does not agree with the tables."""
    wrong = [name for name in sorted({*header.counts, *counts}) if header.counts.get(name, 0) != counts.get(name, 0)]
    told = ", ".join(f"{name}: header {header.counts.get(name, 0):,}, tables {counts.get(name, 0):,}" for name in wrong)
    return [f"The header does not agree with the tables ({told}); run verify."] if wrong else []


def _atlas(kept: pd.DataFrame, pictures: Pictures, seed: int) -> str:
    """Return the sheet with one picture for each filled direction, or an empty text."""
    cells = {cell: pictures.sample(key) for cell, key in pick_by_view(kept, seed).items()}
    images = {cell: sample.image for cell, sample in cells.items() if sample is not None}
    return data_uri(jpeg(view_sheet(images, 128)), "jpeg") if images else ""


def _embedded(light: bytes, dark: bytes, name: str) -> dict[str, Any]:
    height, width = (int.from_bytes(light[at : at + 4], "big") for at in (20, 16))  # as the PNG header says
    return {
        "light": data_uri(light, "png"), "dark": data_uri(dark, "png"), "alt": f"chart: {name.replace('_', ' by ')}",
        "width": width // 2, "height": height // 2,
    }  # fmt: skip


def _write_sheets(found: _Set, out: Path, settings: ReportSettings) -> None:
    """Write the sheets as PNGs; one that has nothing to show, or whose shard is damaged, is left out."""
    wanted = {
        "sheet_random": SheetSettings("random", settings.random, seed=settings.seed),
        "sheet_views": SheetSettings("view", side=128, seed=settings.seed),
        "sheet_overlay": SheetSettings("overlay", settings.overlays, seed=settings.seed + 1),
        "sheet_refused": SheetSettings("refused", settings.refused),
    }
    for name in parts.worst_scores(found.kept, settings.worst_scores):
        wanted[f"sheet_worst_{re.sub('[^a-z0-9]+', '_', name)}"] = SheetSettings("worst", settings.worst, score=name)
    for name, sheet in wanted.items():
        try:
            write_sheet(found.folder, out / f"{name}.png", sheet)
        except (LookupError, ShardError, ValueError, OSError) as error:
            log.info("no %s: %s", name, error)


def _render(context: dict[str, Any]) -> str:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters.update(num=_grouped, short=_short, ratio=_ratio, size=_size)
    source = resources.files(__package__).joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(context)


def _grouped(value: float) -> str:
    return f"{int(value):,}"


def _short(value: float) -> str:
    """Word a number in about four digits; a dash where there is none."""
    number = float(value)
    if not math.isfinite(number):
        return "–"
    return f"{number:,.0f}" if abs(number) >= 1000 or number == int(number) else f"{number:.4g}"


def _ratio(value: float) -> str:
    if math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:,.0f}×" if value >= 10 else f"{value:.1f}×"


def _size(num_bytes: float) -> str:
    """Word a number of bytes: 512 B, 1.5 KiB, 2.0 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.1f} TiB"
