"""A data set in numbers: inputs by outcome, rows by status and reason, quantiles of scores, views, licences, by pandas.

Pictures of the same things are drawn in datasets/report; whether the numbers are true is checked by datasets/verify.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .frames import OUTCOMES, Tally, column, present_columns
from .store import ORIGINS, require_own_table

QUANTILES = (0.0, 0.01, 0.05, 0.5, 0.95, 0.99, 1.0)
"""Shares of rows at which scores are read."""
SECTORS = 12
"""Azimuth cells of the view table; the first is centred on the back, so that one is centred on the front."""
BANDS = 7
"""Elevation cells of the view table, of equal area on the sphere; the middle one is centred on eye level."""


@dataclass(frozen=True)
class ViewBalance:
    """How evenly directions are covered."""

    cells: int
    """Equal-area cells of the sphere of directions."""
    filled: int
    """Cells with at least one picture."""
    largest: int
    """Pictures in the fullest cell."""
    smallest: int
    """Pictures in the emptiest of the filled cells."""
    effective: float
    """Cells that an even spread with the same entropy would fill: exp of the Shannon entropy of the counts."""
    azimuth_ratio: float
    """Fullest over emptiest degree of azimuth, infinite with an empty one; the notebooks that prepared WildHead show 914."""
    effective_samples: float
    """Kish's effective sample size, (sum w)^2 / sum w^2, under the manifest's weights."""

    @property
    def ratio(self) -> float:
        """Fullest over emptiest filled cell; NaN without pictures."""
        return self.largest / self.smallest if self.smallest else math.nan


@dataclass(frozen=True, eq=False)
class Summary:
    """The numbers of one data set, as tables ready to print."""

    inputs: pd.DataFrame
    """Rows: sources and "all"; columns: the outcomes and "inputs"."""
    rows: pd.DataFrame
    """Rows: statuses; columns: splits and "all"."""
    reasons: pd.DataFrame
    """reason, outcome, files, rows: what was refused, most frequent first."""
    licences: pd.DataFrame
    """source, license, attribution, rows: of kept rows."""
    scores: pd.DataFrame
    """Rows: scores; columns: count, mean and the quantiles, of kept rows."""
    views: pd.DataFrame
    """Rows: elevation bands from the top; columns: azimuth sectors; kept rows in each."""
    balance: ViewBalance
    sources: pd.Series
    """Source of each kept row, "?" where no input has its content; categories."""
    tally: Tally


def summarise(folder: Path) -> Summary:
    """Read a finished data set's tables and count.

    Raises:
        ManifestError: a table is missing or damaged, or not the one that the header beside it speaks of.
    """
    require_own_table(folder)
    tally = Tally.of(folder)
    kept = kept_rows(folder)
    sources = _sources(folder, kept)
    yaw, pitch, weight = (kept_numbers(folder, name, kept) for name in ("yaw_degrees", "pitch_degrees", "weight"))
    scores = [name for name in present_columns(folder) if name.startswith("score_")]
    tables = [score_quantiles(kept_numbers(folder, name, kept).to_frame(name), [name]) for name in scores]
    return Summary(
        inputs=_inputs(tally),
        rows=_rows(tally),
        reasons=_reasons(tally),
        licences=_licences(folder, kept, sources),
        scores=pd.concat(tables) if tables else score_quantiles(pd.DataFrame(), []),
        views=view_table(yaw, pitch),
        balance=view_balance(yaw, pitch, weight),
        sources=sources,
        tally=tally,
    )


def kept_rows(folder: Path) -> pa.ChunkedArray:
    """Return which rows of a set are kept."""
    return pc.equal(column(folder, "status").cast(pa.string()), "kept").fill_null(False)


def kept_numbers(folder: Path, name: str, kept: pa.ChunkedArray) -> pd.Series:
    """Read a column of numbers of the kept rows, in their order.

    Args:
        folder: what `--out` was.
        name: of the column; NaN throughout where the set lacks it.
        kept: which rows are kept, as from `kept_rows`.
    """
    values: pd.Series = column(folder, name).filter(kept).cast(pa.float64()).to_pandas()
    return values


def _sources(folder: Path, kept: pa.ChunkedArray) -> pd.Series:
    """Return the source of each kept row: that of the first input with its content."""
    known = column(folder, "sha256", ORIGINS).combine_chunks()
    place = pc.index_in(column(folder, "sha256").filter(kept), value_set=known)
    del known
    names = column(folder, "source", ORIGINS).fill_null("?").combine_chunks().dictionary_encode()
    found = names.indices.take(place.combine_chunks()).to_numpy(zero_copy_only=False)
    codes = np.where(np.isnan(found), -1, found).astype(np.int32)
    sources = pd.Series(pd.Categorical.from_codes(codes, names.dictionary.to_pylist()))
    if (codes < 0).any():
        sources = sources.cat.add_categories([] if "?" in sources.cat.categories else ["?"]).fillna("?")
    return sources


def _table(counts: Counter[tuple[str, str]], rows: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """Lay counts of pairs out as a table."""
    return pd.DataFrame([[counts[row, name] for name in columns] for row in rows], list(rows), list(columns), dtype=int)


def _inputs(tally: Tally) -> pd.DataFrame:
    counts, totals = Counter[tuple[str, str]](), Counter[str]()
    for (source, outcome, _), count in tally.inputs.items():
        counts[source, outcome] += count
        totals[source] += count
    table = _table(counts, sorted(totals), OUTCOMES)
    table.loc["all"] = table.sum()
    table.index.name, table.columns.name = "source", "outcome"
    return table.assign(inputs=[*(totals[name] for name in sorted(totals)), totals.total()]).astype(int)


def _rows(tally: Tally) -> pd.DataFrame:
    counts, totals, splits = Counter[tuple[str, str]](), Counter[str](), set[str]()
    for (status, split, _), count in tally.rows.items():
        counts[status, split or "no split"] += count
        totals[status] += count
        splits.add(split or "no split")
    statuses = [name for name in OUTCOMES if name in ("kept", "dropped", "failed") or totals[name]]
    table = _table(counts, statuses, sorted(splits))
    table.index.name, table.columns.name = "status", "split"
    return table.assign(all=[totals[name] for name in statuses]).astype(int)


def _reasons(tally: Tally) -> pd.DataFrame:
    """Count refusals in both tables: a file has one reason, a photograph with three heads may have three."""
    files, rows = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for (_, outcome, reason), count in tally.inputs.items():
        files[reason, outcome] += count if reason else 0
    for (status, _, reason), count in tally.rows.items():
        rows[reason, status] += count if reason else 0
    pairs = sorted(pair for pair in {*files, *rows} if pair[0])
    table = pd.DataFrame(
        [(*pair, files[pair], rows[pair]) for pair in pairs], columns=["reason", "outcome", "files", "rows"]
    ).astype({"reason": str, "outcome": str, "files": int, "rows": int})
    return table.sort_values(["rows", "files", "reason"], ascending=[False, False, True], ignore_index=True)


def _licences(folder: Path, kept: pa.ChunkedArray, sources: pd.Series) -> pd.DataFrame:
    texts = {name: column(folder, name).filter(kept).cast(pa.string()).fill_null("") for name in ("license", "attribution")}
    coded = {name: values.combine_chunks().dictionary_encode() for name, values in texts.items()}
    table = pd.DataFrame({"source": sources, **{name: values.to_pandas() for name, values in coded.items()}})
    counted = table.groupby(["source", "license", "attribution"], observed=True).size().rename("rows").reset_index()
    counted = counted.astype({"source": str, "license": str, "attribution": str})
    return counted.sort_values(
        ["rows", "source", "license", "attribution"], ascending=[False, True, True, True], ignore_index=True
    )


def score_quantiles(kept: pd.DataFrame, scores: Sequence[str]) -> pd.DataFrame:
    """Return count, mean and quantiles of score columns, one row a score without its `score_` prefix."""
    numbers = kept[list(scores)].astype(float)
    table = numbers.quantile(list(QUANTILES)).T if len(numbers) else pd.DataFrame(np.nan, list(scores), list(QUANTILES))
    table.columns = pd.Index([quantile_name(share) for share in QUANTILES])
    table.insert(0, "count", numbers.count().astype(int))
    table.insert(1, "mean", numbers.mean())
    return table.rename(index=lambda name: str(name).removeprefix("score_"))


def quantile_name(share: float) -> str:
    """Return the column name of a quantile: min, 1 %, median, max."""
    return {0.0: "min", 0.5: "median", 1.0: "max"}.get(share, f"{100 * share:.0f} %")


def sector_centres() -> list[int]:
    """Return the azimuth in degrees of the middle of each sector, from -180 (the back) up."""
    return [round(-180 + 360 / SECTORS * index) for index in range(SECTORS)]


def band_edges() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the elevations in degrees between bands of equal area, from -90 to 90 (Archimedes: area goes with the sine)."""
    return np.degrees(np.arcsin(np.linspace(-1.0, 1.0, BANDS + 1)))


def view_cells(yaw_degrees: pd.Series, pitch_degrees: pd.Series) -> pd.DataFrame:
    """Return the sector and band of each direction; rows without a direction are left out."""
    angles = pd.DataFrame({"yaw": yaw_degrees.astype(float), "pitch": pitch_degrees.astype(float)}).dropna()
    width = 360 / SECTORS
    sector = np.floor((angles["yaw"] + 180 + width / 2) / width).astype(int) % SECTORS
    band = np.floor((np.sin(np.radians(angles["pitch"])) + 1) / 2 * BANDS).clip(0, BANDS - 1).astype(int)
    return pd.DataFrame({"sector": sector, "band": band})


def view_table(yaw_degrees: pd.Series, pitch_degrees: pd.Series) -> pd.DataFrame:
    """Count directions in equal-area cells.

    Args:
        yaw_degrees, pitch_degrees: azimuth and elevation of the cameras, degrees.

    Returns:
        (BANDS, SECTORS) counts; bands run from the top, named by their middle elevation, sectors from the back.
    """
    cells = view_cells(yaw_degrees, pitch_degrees)
    table = pd.crosstab(cells["band"], cells["sector"])
    table = table.reindex(index=range(BANDS), columns=range(SECTORS), fill_value=0).iloc[::-1].astype(int)
    middles = np.degrees(np.arcsin((np.arange(BANDS) + 0.5) * 2 / BANDS - 1)).round().astype(int)
    table.index = pd.Index(middles[::-1].tolist(), name="elevation")
    table.columns = pd.Index(sector_centres(), name="azimuth")
    return table


def view_balance(yaw_degrees: pd.Series, pitch_degrees: pd.Series, weight: pd.Series) -> ViewBalance:
    """Measure how evenly directions are covered, see `ViewBalance`."""
    counts = view_table(yaw_degrees, pitch_degrees).to_numpy().ravel()
    filled = counts[counts > 0]
    shares = filled / max(1, filled.sum())
    degrees = np.histogram(yaw_degrees.dropna().astype(float), bins=np.arange(-180, 181))[0]
    weights = weight.dropna().astype(float)
    return ViewBalance(
        cells=counts.size,
        filled=int(filled.size),
        largest=int(filled.max(initial=0)),
        smallest=int(filled.min()) if filled.size else 0,
        effective=float(np.exp(-(shares * np.log(shares)).sum())) if filled.size else 0.0,
        azimuth_ratio=float(degrees.max() / degrees.min()) if degrees.min() else (math.inf if filled.size else math.nan),
        effective_samples=float(weights.sum() ** 2 / (weights**2).sum()) if (weights**2).sum() > 0 else 0.0,
    )
