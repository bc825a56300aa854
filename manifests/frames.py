"""The tables of a finished data set: as pandas frames, in pages of rows where a set may be large, and counted.

Counted here is what a header counts too; further numbers are left to `summary`. pandas is imported when a frame is read, so
that a build starts without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from .store import MANIFEST, ORIGINS, ROW_GROUP, ManifestError

if TYPE_CHECKING:
    import pandas as pd

OUTCOMES = ("kept", "dropped", "failed", "duplicate", "not_image")
"""What can become of an input; the counts of these add up to the inputs."""


def read_origins(folder: Path) -> pd.DataFrame:
    """Read the table of inputs of a data set: source, path, sha256, outcome, reason, detail.

    Raises:
        ManifestError: it is missing or damaged.
    """
    path = folder / ORIGINS
    try:
        frame: pd.DataFrame = pq.read_table(path).to_pandas()
    except (OSError, pa.ArrowInvalid) as error:
        raise ManifestError(f"cannot read {path} ({error}); rerun its build-dataset command") from error
    return frame


def present_columns(folder: Path) -> list[str]:
    """Return the names of the manifest's columns without reading rows.

    Raises:
        ManifestError: it is missing or damaged.
    """
    try:
        return list(pq.read_schema(folder / MANIFEST).names)
    except (OSError, pa.ArrowInvalid) as error:
        raise ManifestError(f"cannot read {folder / MANIFEST} ({error}); rerun its build-dataset command") from error


def read_frame(folder: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read columns of the manifest into pandas; those that the file lacks come back empty.

    Raises:
        ManifestError: the manifest is missing or damaged.
    """
    present = set(present_columns(folder))
    try:
        table = pq.read_table(folder / MANIFEST, columns=[name for name in columns if name in present])
    except (OSError, pa.ArrowInvalid) as error:
        raise ManifestError(f"cannot read {folder / MANIFEST} ({error}); rerun its build-dataset command") from error
    frame: pd.DataFrame = table.to_pandas()
    for name in frame.columns:
        if frame[name].dtype.name == "category":
            frame[name] = frame[name].astype(object)
    return frame.reindex(columns=list(columns))


def pages(folder: Path, columns: Sequence[str] | None = None, table: str = MANIFEST) -> Iterator[pa.Table]:
    """Read a table of a data set in pages of rows, so that the memory does not grow with the set.

    Args:
        folder: what `--out` was.
        columns: read only these; those that the file lacks are left out. None reads all.
        table: name of the file.

    Raises:
        ManifestError: it is missing or damaged.
    """
    path = folder / table
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            chosen = names if columns is None else [name for name in columns if name in names]
            for number in range(file.num_row_groups):
                group = file.read_row_group(number, chosen, use_threads=False)
                yield from (group.slice(start, ROW_GROUP) for start in range(0, len(group), ROW_GROUP))
    except (OSError, pa.ArrowInvalid) as error:
        raise ManifestError(f"cannot read {path} ({error}); rerun its build-dataset command") from error


def column(folder: Path, name: str, table: str = MANIFEST) -> pa.ChunkedArray:
    """Read one column of a table of a data set; nulls where the file lacks it.

    Raises:
        ManifestError: the table is missing or damaged.
    """
    path = folder / table
    try:
        file = pq.ParquetFile(path)
        if name not in file.schema_arrow.names:
            return pa.chunked_array([pa.nulls(file.metadata.num_rows)])
        return file.read([name], use_threads=False)[name]
    except (OSError, pa.ArrowInvalid) as error:
        raise ManifestError(f"cannot read {path} ({error}); rerun its build-dataset command") from error


@dataclass
class Tally:
    """Rows and inputs of a set by what they came to; few different ones, however large the set."""

    rows: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(status, split, reason) of the manifest's rows."""
    inputs: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(source, outcome, reason) of the inputs."""

    @staticmethod
    def of(folder: Path) -> Tally:
        """Count a data set's tables.

        Raises:
            ManifestError: one is missing or damaged.
        """
        tally = Tally()
        for page in pages(folder, ("status", "split", "reason")):
            tally.rows.update(_distinct(page, ("status", "split", "reason")))
        for page in pages(folder, ("source", "outcome", "reason"), ORIGINS):
            tally.inputs.update(_distinct(page, ("source", "outcome", "reason")))
        return tally

    def counts(self) -> dict[str, int]:
        """Return inputs by outcome, heads by status and samples by split: what a header's counts must say."""
        statuses, splits, outcomes = Counter[str](), Counter[str](), Counter[str]()
        for (status, split, _), count in self.rows.items():
            statuses[status] += count
            if status == "kept":
                splits[split] += count
        for (_, outcome, _), count in self.inputs.items():
            outcomes[outcome] += count
        return {
            "inputs": outcomes.total(),
            **{name: outcomes[name] for name in OUTCOMES},
            **{f"heads_{name}": count for name, count in sorted(statuses.items())},
            **{f"samples_{name}": count for name, count in sorted(splits.items())},
        }


def _distinct(page: pa.Table, names: tuple[str, str, str]) -> dict[tuple[str, str, str], int]:
    """Count the different combinations of text columns; nulls and columns that are not there count as empty texts."""
    empty = pa.array([""] * len(page), pa.string())
    present = page.column_names
    texts = [page[name].cast(pa.string()).fill_null("") if name in present else empty for name in names]
    counted = pa.table(texts, names=list(names)).group_by(list(names)).aggregate([([], "count_all")])
    first, second, third, counts = (counted[name].to_pylist() for name in (*names, "count_all"))
    return dict(zip(zip(first, second, third, strict=True), counts, strict=True))


def recount(frame: pd.DataFrame, origins: pd.DataFrame) -> dict[str, int]:
    """Count inputs by outcome, heads by status and samples by split, as `Tally.counts`, of frames in memory.

    Args:
        frame: rows with status and split.
        origins: inputs with their outcome.
    """
    statuses, splits, outcomes = (
        values.astype(object).fillna("").astype(str) for values in (frame["status"], frame["split"], origins["outcome"])
    )
    rows = Counter((status, split, "") for status, split in zip(statuses, splits, strict=True))
    return Tally(rows, Counter(("", outcome, "") for outcome in outcomes)).counts()
