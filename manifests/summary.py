"""A data set in numbers: inputs by outcome, rows by status and reason, quantiles of scores, views, licences, by pandas.

Pictures of the same things are drawn in datasets/report; whether the numbers are true is checked by datasets/verify.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .frames import OUTCOMES, present_columns, read_frame, read_origins
from .store import require_own_table

QUANTILES = (0.0, 0.01, 0.05, 0.5, 0.95, 0.99, 1.0)
"""Shares of rows at which scores are read."""
SECTORS = 12
"""Azimuth cells of the view table; the first is centred on the back, so that one is centred on the front."""
BANDS = 7
"""Elevation cells of the view table, of equal area on the sphere; the middle one is centred on eye level."""

COLUMNS = ("status", "reason", "split", "license", "attribution", "sha256", "yaw_degrees", "pitch_degrees", "weight")
"""Columns of the manifest that a summary reads, beside the scores."""


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


def summarise(folder: Path) -> Summary:
    """Read a finished data set's tables and count.

    Raises:
        ManifestError: a table is missing or damaged, or not the one that the header beside it speaks of.
    """
    require_own_table(folder)
    scores = [name for name in present_columns(folder) if name.startswith("score_")]
    return summarise_frames(read_frame(folder, [*COLUMNS, *scores]), read_origins(folder))


def summarise_frames(frame: pd.DataFrame, origins: pd.DataFrame) -> Summary:
    """Count what is in memory already.

    Args:
        frame: rows with `COLUMNS` and any scores, as from `read_frame`.
        origins: inputs, as from `read_origins`.
    """
    kept = frame[frame["status"] == "kept"]
    return Summary(
        inputs=_inputs(origins),
        rows=_rows(frame),
        reasons=_reasons(frame, origins),
        licences=_licences(kept, origins),
        scores=score_quantiles(kept, [name for name in frame.columns if name.startswith("score_")]),
        views=view_table(kept["yaw_degrees"], kept["pitch_degrees"]),
        balance=view_balance(kept["yaw_degrees"], kept["pitch_degrees"], kept["weight"]),
    )


def _inputs(origins: pd.DataFrame) -> pd.DataFrame:
    table = pd.crosstab(origins["source"], origins["outcome"]).reindex(columns=list(OUTCOMES), fill_value=0)
    table = table.sort_index()
    table.loc["all"] = table.sum()
    return table.assign(inputs=[*origins.groupby("source").size().sort_index(), len(origins)]).astype(int)


def _rows(frame: pd.DataFrame) -> pd.DataFrame:
    splits = frame["split"].fillna("").astype(str).replace("", "no split")
    statuses = [name for name in OUTCOMES if name in ("kept", "dropped", "failed") or (frame["status"] == name).any()]
    table = pd.crosstab(frame["status"], splits).reindex(index=statuses, fill_value=0)
    return table.assign(all=frame["status"].value_counts().reindex(statuses, fill_value=0)).astype(int)


def _reasons(frame: pd.DataFrame, origins: pd.DataFrame) -> pd.DataFrame:
    """Count refusals in both tables: a file has one reason, a photograph with three heads may have three."""
    files = origins[origins["reason"].fillna("") != ""].groupby(["reason", "outcome"]).size().rename("files")
    refused = frame[frame["reason"].fillna("") != ""]
    rows = refused.groupby(["reason", "status"]).size().rename("rows")
    rows.index = rows.index.set_names(["reason", "outcome"])
    table = pd.concat([files, rows], axis=1).fillna(0).astype(int).reset_index()
    return table.sort_values(["rows", "files", "reason"], ascending=[False, False, True], ignore_index=True)


def _licences(kept: pd.DataFrame, origins: pd.DataFrame) -> pd.DataFrame:
    sources = origins.drop_duplicates("sha256").set_index("sha256")["source"]
    table = pd.DataFrame(
        {
            "source": kept["sha256"].map(sources).fillna("?").astype(str),
            "license": kept["license"].fillna("").astype(str),
            "attribution": kept["attribution"].fillna("").astype(str),
        }
    )
    counted = table.groupby(["source", "license", "attribution"]).size().rename("rows").reset_index()
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
