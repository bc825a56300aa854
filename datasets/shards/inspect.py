"""Look into a finished data set: its shards, one sample by id, samples in order, and which rows a sheet should show.

Everything here returns data; the command line prints it, `sheets` draws it, and `verify` judges it.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...manifests.config import ConfigError, unknown
from ...manifests.frames import read_frame
from ...manifests.identity import unit_interval
from ...manifests.store import MANIFEST, ShardEntry, file_sha256, read_header
from ...manifests.terminal import printable_json
from ..arrays import Array
from ..camera import Camera
from .codec import Decoded, decode_members
from .mirror import shard_file, shard_sizes
from .tar import ShardReader

if TYPE_CHECKING:
    import pandas as pd

PLACE = ("id", "status", "split", "shard", "offset", "num_bytes")
"""Columns that say where a sample lies."""

WORST_IS_LOW = (
    "head_px", "pose_confidence", "head_confidence", "parse_confidence", "skin_texture", "face_luma", "face_highlights",
    "foreground", "matte_share", "quality",
)  # fmt: skip
"""Scores of which low values are the bad ones; of all others high values are."""


@dataclass(frozen=True)
class ShardState:
    """One shard: what the header says and what lies in the folder."""

    entry: ShardEntry
    found_bytes: int | None
    """Size of the file, None where it is missing."""
    sha256_matches: bool | None
    """Whether the content has the header's sha256; None where it was not read."""

    @property
    def sound(self) -> bool:
        """Whether nothing that was looked at differs."""
        return self.found_bytes == self.entry.num_bytes and self.sha256_matches is not False


@dataclass(frozen=True, eq=False)
class Shown:
    """One sample with everything that is known of it."""

    row: dict[str, Any]
    """The manifest's row, without empty values."""
    members: tuple[tuple[str, int], ...]
    """(member, bytes) in the shard's order; none where the row is not kept."""
    decoded: Decoded | None
    """The decoded sample, None where the row is not kept."""
    angles: tuple[float, float, float] | None
    """Yaw, pitch and roll of the stored label in degrees."""


def list_shards(folder: Path, check: bool = False) -> list[ShardState]:
    """Return the shards of a data set in the header's order.

    Args:
        folder: what `--out` was.
        check: read every shard and compare its sha256.

    Raises:
        ManifestError: there is no finished set.
    """
    states, sizes = [], shard_sizes(folder)
    for entry in read_header(folder).shards:
        same = None
        if check and entry.name in sizes:
            with shard_file(folder, entry.name) as path:
                same = path is not None and file_sha256(path) == entry.sha256
        states.append(ShardState(entry, sizes.get(entry.name), same))
    return states


def find(folder: Path, prefix: str) -> list[str]:
    """Return the ids that start with `prefix`, sorted; all for an empty one."""
    ids = pq.read_table(folder / MANIFEST, columns=["id"])["id"]
    return sorted(ids.filter(pc.starts_with(ids, prefix)).to_pylist())


def show(folder: Path, prefix: str) -> Shown:
    """Return one sample by its id or an unmistakable beginning of it.

    Raises:
        LookupError: no row, or several, begin so; the message names some.
        ShardError: the shard is not what the manifest says.
    """
    ids = find(folder, prefix)
    if len(ids) != 1 and prefix not in ids:
        some = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
        raise LookupError(f"expected one id that starts with {prefix!r}, found {len(ids)}" + (f": {some}" if ids else ""))
    key = prefix if prefix in ids else ids[0]
    row = pq.read_table(folder / MANIFEST, filters=[("id", "=", key)]).to_pylist()[0]
    row = {name: value for name, value in row.items() if value not in (None, "", [])}
    if row.get("status") != "kept" or "shard" not in row:
        return Shown(row, (), None, None)
    with ShardReader(folder) as reader:
        found, members = reader.members(row["shard"], row["offset"], row["num_bytes"])
    decoded = decode_members(found, members)
    return Shown(row, tuple((name, len(data)) for name, data in members.items()), decoded, angles(decoded.camera))


def angles(camera: Camera | None) -> tuple[float, float, float] | None:
    """Return yaw, pitch and roll of a camera in degrees."""
    return None if camera is None else (math.degrees(camera.yaw), math.degrees(camera.pitch), math.degrees(camera.roll))


def landmarks(sample: Decoded) -> Array | None:
    """Return the (68, 2) landmarks in crop pixels that the record holds, or None."""
    points = np.asarray(sample.record.get("landmarks") or [], dtype=np.float64)
    return points.reshape(68, 2) if points.size == 136 else None


def iterate(folder: Path, split: str = "") -> Iterator[Decoded]:
    """Read the kept samples in the order of shards and positions.

    Args:
        folder: what `--out` was.
        split: only this one, where given; none of its samples need be there.

    Raises:
        ConfigError: the set has no such split.
        ManifestError: there is no finished set, or its tables are damaged.
    """
    splits = read_header(folder).recipe.get("splits", {}).get("fractions", {})
    frame = read_frame(folder, PLACE)
    frame = frame[frame["status"] == "kept"]
    known = {*splits, *frame["split"].dropna()}
    if split and split not in known:
        raise ConfigError(unknown(split, sorted(known), f"the splits of {folder}"))
    frame = frame[(frame["split"] == split) | (not split)]
    return read(folder, frame.sort_values(["shard", "offset"])["id"].tolist(), frame)


def read(folder: Path, ids: Sequence[str], frame: pd.DataFrame | None = None) -> Iterator[Decoded]:
    """Read kept samples in the order of `ids`.

    Args:
        folder: what `--out` was.
        ids: which.
        frame: a table with the columns of `PLACE`, where the caller has one already.

    Raises:
        LookupError: an id is not among the kept rows.
        ShardError: a shard is not what the manifest says.
    """
    rows = read_frame(folder, PLACE) if frame is None else frame
    rows = rows[rows["id"].isin(list(ids)) & rows["shard"].notna() & rows["offset"].notna() & (rows["status"] == "kept")]
    columns = (rows[name].tolist() for name in ("id", "shard", "offset", "num_bytes"))
    places = {str(key): (str(shard), int(offset), int(size)) for key, shard, offset, size in zip(*columns, strict=True)}
    with ShardReader(folder) as reader:
        for key in ids:
            if key not in places:
                raise LookupError(f"expected the id of a kept row, got {key!r}")
            yield reader.sample(*places[key])


def pick_random(frame: pd.DataFrame, count: int, seed: int = 0) -> list[str]:
    """Return up to `count` ids of a table with column id, chosen by a hash of (seed, id): the same whatever the order."""
    return heapq.nsmallest(count, frame["id"].tolist(), key=lambda key: (unit_interval(f"sheet/{seed}/{key}"), key))


def pick_worst(frame: pd.DataFrame, score: str, count: int) -> list[str]:
    """Return up to `count` ids with the worst values of a score, the worst first; ties by id.

    Args:
        frame: needs id and `score_<score>`.
        score: without the prefix; see `WORST_IS_LOW` for which end is the bad one.
        count: maximum number.

    Raises:
        LookupError: the set has no such score; the message names those that it has.
    """
    column = f"score_{score}"
    if column not in frame or not frame[column].notna().any():
        scores = [str(name) for name in frame.columns if str(name).startswith("score_")]
        known = sorted(name.removeprefix("score_") for name in scores if frame[name].notna().any())
        raise LookupError(f"no score {score!r} in this set; it has {', '.join(known) or 'none'}")
    is_low = score in WORST_IS_LOW
    values = frame[column] if is_low else -frame[column]
    rows = frame[values <= values.nsmallest(count).max()].sort_values([column, "id"], ascending=[is_low, True])
    return [str(key) for key in rows["id"].head(count)]


def pick_by_view(frame: pd.DataFrame, seed: int = 0) -> dict[tuple[int, int], str]:
    """Return one id for each filled (band, sector) of the view table, chosen by hash; needs id, yaw and pitch in degrees."""
    from ...manifests.summary import view_cells

    cells = view_cells(frame["yaw_degrees"], frame["pitch_degrees"])
    if cells.empty:  # a set without cameras
        return {}
    cells = cells.assign(id=frame["id"])
    keyed = cells.assign(draw=[unit_interval(f"view/{seed}/{key}") for key in cells["id"].tolist()])
    least = keyed[keyed["draw"] == keyed.groupby(["band", "sector"])["draw"].transform("min")]
    first = least.sort_values(["draw", "id"]).drop_duplicates(["band", "sector"])
    cell = zip(first["band"].tolist(), first["sector"].tolist(), first["id"].tolist(), strict=True)
    return {(int(band), int(sector)): str(key) for band, sector, key in cell}


def refused_pictures(folder: Path, per_reason: int = 8) -> dict[str, list[Path]]:
    """Return thumbnails of refused pictures by reason, at most `per_reason` each, by name."""
    root = folder / "quarantine"
    if not root.is_dir():
        return {}
    found = {path.name: sorted(path.glob("*.jpg"))[:per_reason] for path in sorted(root.iterdir()) if path.is_dir()}
    return {reason: pictures for reason, pictures in found.items() if pictures}


def record_text(record: Any, margin: str = "") -> str:
    """Return plain data as JSON for reading: keys sorted, one a line, and lists of numbers on one line."""
    inner = margin + " "
    if isinstance(record, dict) and record:
        items = [
            f"{inner}{printable_json(json.dumps(str(key)))}: {record_text(record[key], inner)}"
            for key in sorted(record, key=str)
        ]
        return "{\n" + ",\n".join(items) + f"\n{margin}}}"
    if isinstance(record, list | tuple) and any(isinstance(item, dict | list | tuple) for item in record):
        return "[\n" + ",\n".join(inner + record_text(item, inner) for item in record) + f"\n{margin}]"
    return printable_json(json.dumps(record, ensure_ascii=False))
