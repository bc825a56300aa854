"""The parts of the data-set report: tables and thumbnails as the plain lists that its template shows.

Which parts there are and how they look is decided by `report` and its template; escaping is the template's business, making
foreign text visible is done here (`visible`).
"""

from __future__ import annotations

import base64
import heapq
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ...manifests.frames import OUTCOMES, pages
from ...manifests.store import ORIGINS, Header
from ...manifests.terminal import escaped
from ..reasons import REASONS
from ..shards.codec import Decoded
from ..shards.inspect import PLACE, WORST_IS_LOW, angles, pick_worst, read
from ..shards.tar import ShardError
from .overlay import Style, panels
from .tiles import degrees, fit, jpeg

log = logging.getLogger(__name__)

COLOURS = {"kept": "#009E73", "dropped": "#E69F00", "failed": "#D55E00", "duplicate": "#56B4E9", "not_image": "#8c8c8c"}
"""One colour an outcome (Okabe and Ito 2008)."""
WORDS = {
    "kept": ("kept", "kept"), "dropped": ("dropped", "dropped"), "failed": ("failed", "failed"),
    "duplicate": ("duplicate", "duplicates"), "not_image": ("not an image", "not images"),
}  # fmt: skip
"""How outcomes are called in sentences, one and several."""
ROW = 6
"""Pictures in a row of a wide page."""
WORST = (
    "pose_confidence",
    "pose_residual_canonical",
    "mirror_error_degrees",
    "blur_px",
    "head_px",
    "parse_confidence",
    "blockiness",
    "halo",
)
"""Scores whose worst pictures are shown, in this order, where the set has them."""


def visible(text: str) -> str:
    """Return a text with everything that cannot be seen (control characters, direction marks, lone surrogates) escaped."""
    return escaped(text)


def data_uri(data: bytes, kind: str) -> str:
    """Return an encoded picture as text that HTML can hold; `kind` is "png" or "jpeg"."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


class Pictures:
    """Thumbnails and overlay panels of kept samples by id, each read once; what cannot be read is counted, not raised."""

    def __init__(self, folder: Path, frame: pd.DataFrame, side: int = 208) -> None:
        """Read from the data set in `folder`, whose rows are in `frame`; thumbnails have `side` pixels."""
        self.folder, self.side = folder, side
        kept = frame.loc[(frame["status"] == "kept") & frame["shard"].notna() & frame["offset"].notna(), list(PLACE)]
        self._places = kept.drop_duplicates("id").set_index("id", drop=False)
        self._tiles: dict[str, dict[str, Any]] = {}
        self.unreadable: set[str] = set()

    def sample(self, key: str) -> Decoded | None:
        """Return a decoded sample, or None where it cannot be read."""
        if key not in self._places.index:
            return None
        try:
            return next(read(self.folder, [key], self._places.loc[[key]]))
        except (ShardError, ValueError, OSError, LookupError) as error:
            log.warning("cannot show %s: %s", key, error)
            self.unreadable.add(key)
            return None

    def tile(self, key: str, *extra: str) -> dict[str, Any]:
        """Return a picture with its caption lines; the picture is missing where it cannot be read."""
        if key not in self._tiles:
            sample = self.sample(key)
            found = None if sample is None else angles(sample.camera)
            source = "" if sample is None else data_uri(jpeg(fit(sample.image, self.side), 86), "jpeg")
            lines = [] if found is None else [f"yaw {_degrees(found[0])}, pitch {_degrees(found[1])}"]
            self._tiles[key] = {"id": key, "src": source, "lines": lines}
        return {**self._tiles[key], "lines": [*self._tiles[key]["lines"], *extra]}

    def overlay(self, key: str, side: int) -> dict[str, Any] | None:
        """Return the four panels of a sample, or None where it cannot be read."""
        sample = self.sample(key)
        if sample is None:
            return None
        found = angles(sample.camera)
        return {
            "id": key,
            "direction": "no camera"
            if found is None
            else ", ".join(f"{name} {_degrees(value)}" for name, value in zip(("yaw", "pitch", "roll"), found, strict=True)),
            "panels": [data_uri(jpeg(panel), "jpeg") for panel in panels(sample, Style(side=side))],
        }


def _degrees(value: float) -> str:
    return degrees(value).replace("-", "−")


def identity(counts: Mapping[str, int]) -> dict[str, Any]:
    """Return the accounting identity: inputs, and what they came to."""
    parts = [
        {"label": WORDS[name][counts.get(name, 0) != 1], "count": counts.get(name, 0), "colour": COLOURS[name]}
        for name in OUTCOMES
    ]
    total = sum(counts.get(name, 0) for name in OUTCOMES)
    return {"inputs": counts.get("inputs", 0), "parts": parts, "total": total, "adds_up": total == counts.get("inputs", 0)}


def inputs(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one row a source; none where there is but one source."""
    if len(table) <= 2:
        return []
    return [
        {"source": str(name), "inputs": int(row["inputs"]), "counts": [int(row[outcome]) for outcome in OUTCOMES]}
        for name, row in table.iterrows()
    ]


def reasons(
    table: pd.DataFrame, folder: Path, thumbnails: Mapping[str, Sequence[Path]], examples: int = 3
) -> list[dict[str, Any]]:
    """Return one row a reason, with a few details as examples and thumbnails where the set keeps them."""
    rows, first = [], _first_refused(folder, examples) if len(table) else {}
    for values in table.to_dict("records"):
        row = {str(name): value for name, value in values.items()}
        rows.append(
            {
                **row,
                "outcome": WORDS.get(row["outcome"], (row["outcome"],))[0],
                "colour": COLOURS.get(row["outcome"], "#8c8c8c"),
                "meaning": REASONS.get(row["reason"], ("", "not in the table of reasons"))[1],
                "examples": [_example(path, detail) for _, path, detail in first.get(row["reason"], ())],
                "tiles": list(_thumbnails(thumbnails.get(str(row["reason"]), ()))),
            }
        )
    return rows


def _first_refused(folder: Path, count: int) -> dict[str, list[tuple[str, str, str]]]:
    """Return the first (source, path, detail) of inputs by the reason that they were refused for, by source and path."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    names = ("reason", "source", "path", "detail")
    for page in pages(folder, names, ORIGINS):
        refused = page.filter(pc.not_equal(page["reason"].fill_null(""), ""))
        columns = [refused[name].cast(pa.string()).fill_null("").to_pylist() for name in names]
        for reason, *place in zip(*columns, strict=True):
            found.setdefault(reason, []).append((place[0], place[1], place[2]))
        found = {reason: heapq.nsmallest(count, places, key=lambda place: place[:2]) for reason, places in found.items()}
    return found


def _example(path: Any, detail: Any) -> str:
    texts = [str(value) for value in (path, detail) if value]
    words = [text if len(text) <= 90 else f"{text[:40]}…{text[-40:]}" for text in texts]
    return ": ".join(words)


def _thumbnails(paths: Iterable[Path]) -> Iterable[dict[str, Any]]:
    for path in paths:
        try:
            yield {"id": path.stem, "src": data_uri(path.read_bytes(), "jpeg"), "lines": []}
        except OSError as error:
            log.warning("cannot show %s: %s", path, error)


def clusters(frame: pd.DataFrame, pictures: Pictures, folder: Path, count: int, per_cluster: int = 6) -> list[dict[str, Any]]:
    """Return the largest clusters of near duplicates, the kept picture first."""
    grouped = frame[frame["cluster"].fillna("") != ""]
    sizes = grouped.groupby("cluster").size()
    order = sizes.sort_index().sort_values(ascending=False, kind="stable").index[:count]
    found = []
    for name in order:
        rows = grouped[grouped["cluster"] == name]
        rows = rows.assign(first=rows["status"] != "kept").sort_values(["first", "id"]).head(per_cluster)
        tiles = [
            pictures.tile(key, "kept") if status == "kept" else _refused_tile(folder, key, reason)
            for key, status, reason in zip(rows["id"], rows["status"], rows["reason"].fillna(""), strict=True)
        ]
        found.append({"size": int(sizes[name]), "tiles": tiles})
    return found


def _refused_tile(folder: Path, key: str, reason: str) -> dict[str, Any]:
    path = folder / "quarantine" / reason / f"{key}.jpg"
    inside = (folder / "quarantine").resolve() in path.resolve().parents  # a damaged table must not name files elsewhere
    tiles = list(_thumbnails([path])) if inside and path.is_file() else []
    return {**(tiles[0] if tiles else {"id": key, "src": ""}), "lines": ["gave way"]}


def copies(folder: Path, count: int, per_copy: int = 6) -> list[dict[str, Any]]:
    """Return contents that came in several places, those in most places first."""
    marked = set[str]()
    for page in pages(folder, ("sha256", "outcome"), ORIGINS):
        marked.update(page.filter(pc.equal(page["outcome"], "duplicate"))["sha256"].to_pylist())
    values, places = pa.array(sorted(filter(None, marked)), pa.string()), list[tuple[str, str, str]]()
    for page in pages(folder, ("sha256", "source", "path"), ORIGINS) if marked else ():
        same = page.filter(pc.is_in(page["sha256"], value_set=values))
        places += zip(*(same[name].to_pylist() for name in ("sha256", "source", "path")), strict=True)
    sizes = Counter(digest for digest, _, _ in places)
    shown = dict.fromkeys(sorted(sizes, key=lambda digest: (-sizes[digest], digest))[:count])
    found: dict[str, list[str]] = {digest: [] for digest in shown}
    for digest, source, path in sorted(places, key=lambda place: place[1:]):
        if digest in found and len(found[digest]) < per_copy:
            found[digest].append(f"{source}: {path}")
    return [
        {"sha256": digest[:12], "places": lines, "more": max(0, sizes[digest] - per_copy)} for digest, lines in found.items()
    ]


def worst_scores(frame: pd.DataFrame, count: int) -> list[str]:
    """Return which of the `WORST` scores the set has and that differ between its pictures, at most `count`.

    None for a set so small that its random look shows every picture already.
    """
    if len(frame) <= 2 * ROW:
        return []
    return [name for name in WORST if f"score_{name}" in frame and frame[f"score_{name}"].nunique() > 1][:count]


def worst(frame: pd.DataFrame, pictures: Pictures, count: int, num_scores: int) -> list[dict[str, Any]]:
    """Return the worst pictures by each of up to `num_scores` scores."""
    blocks = []
    for name in worst_scores(frame, num_scores):
        values = frame.set_index("id")[f"score_{name}"]
        tiles = [pictures.tile(key, f"{values[key]:.4g}") for key in pick_worst(frame, name, count)]
        blocks.append({"title": f"{'Lowest' if name in WORST_IS_LOW else 'Highest'} {name}", "tiles": tiles})
    return blocks


def timing(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return seconds by stage from run.json, the slowest first; empty where there are none."""
    stages = run.get("stages")
    pairs = stages.items() if isinstance(stages, Mapping) else []
    rows: list[dict[str, Any]] = [
        {"name": str(name), "seconds": _number(value.get("seconds")), "count": int(_number(value.get("count")))}
        for name, value in pairs
        if isinstance(value, Mapping)
    ]
    total = sum(row["seconds"] for row in rows)
    for row in rows:
        row["each"] = 1000 * row["seconds"] / row["count"] if row["count"] else math.nan
        row["share"] = row["seconds"] / total if total else 0.0
    return {"stages": sorted(rows, key=lambda row: (-row["seconds"], row["name"])), "sentence": _sentence(run)}


def _sentence(run: Mapping[str, Any]) -> str:
    """Word the run as a whole, as far as it is known."""
    wall, workers = _number(run.get("wall_seconds")), int(_number(run.get("workers")))
    worked, peak = int(_number(run.get("worked", run.get("inputs")))), _number(run.get("peak_rss_bytes"))
    words = [f"{worked:,} inputs worked on in {wall:,.1f} s"] if wall else []
    words += [f"by {workers} {'worker' if workers == 1 else 'workers'}"] if workers and words else []
    words += [f"({worked / wall:.1f} a second)"] if wall and worked else []
    text = " ".join(words)
    return f"{text}; at most {peak / 2**20:,.0f} MiB a worker." if peak and text else f"{text}." if text else ""


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def chains(header: Header) -> list[dict[str, Any]]:
    """Return the stages of each chain with what really ran behind them."""
    found = []
    for _, chain in sorted(header.chains.items()):
        steps = chain if isinstance(chain, list) else []
        found.append({"steps": [_step(step) for step in steps if isinstance(step, Mapping)]})
    return found


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    weights = step.get("weights") or {}
    pairs = sorted(weights.items()) if isinstance(weights, Mapping) else [tuple(item) for item in weights]
    version = str(step.get("backend_version") or "")
    return {
        "stage": str(step.get("stage", "?")), "backend": str(step.get("backend", "?")),
        "version": version or f"stage version {step.get('version', '?')}",
        "weights": [{"name": str(name), "sha256": str(digest)[:12]} for name, digest in pairs],
    }  # fmt: skip
