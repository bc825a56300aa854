"""The tables of a finished data set as pandas frames; pandas is imported when one is read, so that a build starts without it.

Counted here is what a header counts too; further numbers are left to `summary`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from .store import MANIFEST, ORIGINS, ManifestError

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


def recount(frame: pd.DataFrame, origins: pd.DataFrame) -> dict[str, int]:
    """Count inputs by outcome, heads by status and samples by split: what a header's counts must say.

    Args:
        frame: rows with status and split.
        origins: inputs with their outcome.
    """
    outcomes = origins["outcome"].value_counts()
    statuses = frame["status"].astype(str).value_counts().sort_index()
    splits = frame[frame["status"] == "kept"]["split"].astype(str).value_counts().sort_index()
    return {
        "inputs": len(origins),
        **{name: int(outcomes.get(name, 0)) for name in OUTCOMES},
        **{f"heads_{name}": int(count) for name, count in statuses.items()},
        **{f"samples_{name}": int(count) for name, count in splits.items()},
    }
