"""Prove a finished data set: header, tables and shards against each other, and every label against the camera contract.

`verify_manifest` looks at header, tables and file sizes; what lies inside the shards is judged by `verify_shards`. Nothing is
mended: the same build-dataset command rebuilds what is missing or damaged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ...manifests import store
from ...manifests.frames import OUTCOMES, read_frame, read_origins, recount
from ...manifests.identity import derived_id, sample_id
from ...manifests.parsing import parse_json
from ...manifests.schema import COLUMNS
from ...manifests.store import HEADER, MANIFEST, ORIGINS, Header, ManifestError, file_sha256
from ..arrays import Array
from ..camera import Camera, CameraError
from ..labels import label_angles, surely_sound
from ..reasons import REASONS
from .mirror import shard_sizes
from .verify_shards import Problem, check_shards

if TYPE_CHECKING:
    import pandas as pd

LIMIT = 20
"""Problems of one kind named for one file; further ones are counted."""
_ANGLE_TOLERANCE = 2e-3
"""Degrees by which stored angles may differ from the label's: both are rounded."""
_ROLL_TOLERANCE = 0.05
"""The same for roll, which float32 labels near the poles give less exactly."""


def verify(folder: Path, deep: bool = False) -> list[Problem]:
    """Prove a whole data set, reading every byte of it.

    Args:
        folder: what `--out` was.
        deep: decode every picture too, and compare sizes and, for lossless pictures, pixels.

    Returns:
        Problems by file, at most `LIMIT` of a kind each; none for a sound set.
    """
    problems = list(_check_manifest(folder))
    if not any(problem.kind in ("header", "manifest", "columns") for problem in problems):
        manifest = store.read(folder)
        problems += check_shards(folder, manifest.header, manifest.kept, deep)
    return limited(problems)


def verify_manifest(folder: Path) -> list[Problem]:
    """Prove header, manifest, origins and the sizes of shards against each other, without reading what is in the shards."""
    return limited(_check_manifest(folder))


def limited(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems by file, and word all but the first `LIMIT` of a kind and file as one."""
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        groups.setdefault((problem.file, problem.kind), []).append(problem)
    found: list[Problem] = []
    for (file, kind), group in sorted(groups.items()):
        found += sorted(group)[:LIMIT]
        if len(group) > LIMIT:
            found.append(Problem(kind, file, "", "none of these", f"{len(group) - LIMIT:,} more of this kind"))
    return found


def _check_manifest(folder: Path) -> Iterator[Problem]:
    try:
        header = store.read_header(folder)
    except ManifestError as error:
        yield Problem("header", HEADER, "", "the header of a finished set", str(error))
        return
    if not header.is_genuine:
        yield Problem("digest", HEADER, "", f"digest {header.content_digest()} of its content", header.digest or "none")
    digest = file_sha256(folder / MANIFEST) if (folder / MANIFEST).is_file() else "no file"
    if digest != header.manifest_sha256:
        yield Problem("manifest", MANIFEST, "", f"sha256 {header.manifest_sha256}", digest)
    try:
        table = store.read(folder).table
        frame = read_frame(folder, [name for name in COLUMNS if name not in ("head_box", "crop", "quad")])
    except ManifestError as error:
        yield Problem("manifest", MANIFEST, "", "a readable table", str(error))
        return
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        yield Problem("columns", MANIFEST, "", "every column of this schema version", f"no {', '.join(missing)}")
        return
    frame = frame.assign(**{name: frame[name].fillna("") for name in frame.columns if _is_text(name)})
    kept = frame[frame["status"] == "kept"]
    try:
        origins = read_origins(folder)
        yield from _check_counts(header, frame, origins)
        yield from _check_origins(kept, origins)
    except ManifestError as error:
        yield Problem("origin", ORIGINS, "", "a readable table of inputs", str(error))
    yield from _check_rows(frame, header)
    yield from _check_chains(frame, header)
    yield from _check_cameras(kept, free_intrinsics(header))
    yield from _check_weights(kept)
    yield from _check_leakage(kept)
    yield from _check_placement(folder, header, kept)


def free_intrinsics(header: Header) -> bool:
    """Return whether a set's recipe allows labels with other than the canonical intrinsics."""
    stages = header.recipe.get("stages")
    return any(isinstance(s, dict) and s.get("policy") == "free-k" for s in (stages if isinstance(stages, list) else []))


def _is_text(name: str) -> bool:
    return bool(pa.types.is_string(COLUMNS[name][0]))


def _check_counts(header: Header, frame: pd.DataFrame, origins: pd.DataFrame) -> Iterator[Problem]:
    """Check the accounting identity, and the header's numbers against the tables."""
    strange = sorted(set(origins["outcome"].astype(str)) - set(OUTCOMES))
    if strange:
        yield Problem("counts", ORIGINS, "", f"outcomes {', '.join(OUTCOMES)}", ", ".join(map(repr, strange)))
    told = sum(header.counts.get(name, 0) for name in OUTCOMES)
    if told != header.counts.get("inputs"):
        yield Problem("counts", HEADER, "", "inputs = " + " + ".join(OUTCOMES), f"{header.counts.get('inputs')} != {told}")
    counts = recount(frame, origins)
    for name in sorted({*counts, *header.counts}):
        if counts.get(name, 0) != header.counts.get(name, 0):
            yield Problem(
                "counts", HEADER, "", f"{name} {counts.get(name, 0):,} as in the tables", f"{header.counts.get(name, 0):,}"
            )
    reasons = frame["reason"][frame["reason"] != ""].value_counts().to_dict()
    for name in sorted({*map(str, reasons), *header.reasons}):
        if reasons.get(name, 0) != header.reasons.get(name, 0):
            found = f"{header.reasons.get(name, 0):,}"
            yield Problem("reasons", HEADER, "", f"{reasons.get(name, 0):,} rows with reason {name}", found)


def _check_rows(frame: pd.DataFrame, header: Header) -> Iterator[Problem]:
    """Check each row by itself: its id, its status and reason, and that it was not taken down."""
    for key in frame["id"][frame["id"].duplicated()].unique():
        yield Problem("id", MANIFEST, key, "one row an id", f"{int((frame['id'] == key).sum())} rows")
    if not frame["id"].is_monotonic_increasing:
        yield Problem("id", MANIFEST, "", "rows sorted by id", "another order")
    gone = frozenset(header.tombstones)
    names = ("id", "status", "reason", "sha256", "head_index", "parent", "derivation")
    for key, status, reason, sha256, index, parent, derivation in zip(*(frame[name] for name in names), strict=True):
        if reason not in REASONS and reason != "":
            yield Problem("status", MANIFEST, key, "a reason of datasets/reasons.py", repr(reason))
        if (status == "kept") == (reason != ""):
            yield Problem(
                "status", MANIFEST, key, "a reason for what is not kept, and none for what is", f"{status} {reason!r}"
            )
        if status == "kept" and key in gone:
            yield Problem("forgotten", MANIFEST, key, "no kept row, it was taken down", "one")
        expected = expected_id(sha256, index, parent, derivation)
        if key != expected:
            yield Problem("id", MANIFEST, key, f"{expected} by its content", key)


def _check_chains(frame: pd.DataFrame, header: Header) -> Iterator[Problem]:
    """Check that the header tells of every chain of stages that rows point to."""
    for name, count in frame["chain"][frame["chain"] != ""].value_counts().sort_index().items():
        if name not in header.chains:
            yield Problem(
                "chain", HEADER, "", f"the stages of chain {name}, which {int(count):,} rows name", "none of that name"
            )


def expected_id(sha256: str, head_index: float, parent: str, derivation: str) -> str:
    """Return the id that a row's content gives; what says that it is a copy is derived from its parent."""
    try:
        made = parse_json(derivation) if derivation else {}
        if isinstance(made, dict) and parent and "copy" in made:
            return derived_id(parent, str(made.get("step")), int(made["copy"]))
        return sample_id(sha256, max(0, int(head_index)))
    except (ValueError, TypeError) as error:
        return f"an id (none follows: {error})"


def _check_origins(kept: pd.DataFrame, origins: pd.DataFrame) -> Iterator[Problem]:
    """Check that kept inputs and kept rows speak of the same contents."""
    photographed = kept[kept["synthetic"] != True]  # noqa: E712  (null is not synthetic)
    known = set(origins["sha256"][origins["outcome"] == "kept"])
    for key, sha256 in zip(photographed["id"], photographed["sha256"], strict=True):
        if sha256 not in known:
            yield Problem("origin", ORIGINS, key, f"a kept input with sha256 {sha256[:16]}", "none")
    for sha256 in sorted(known - set(kept["sha256"])):
        yield Problem("origin", MANIFEST, "", f"a kept row of the kept input {str(sha256)[:16]}", "none")


def _check_cameras(kept: pd.DataFrame, free_k: bool) -> Iterator[Problem]:
    """Check every label against the contract, and the stored angles against the label."""
    names = ("id", "camera", "yaw_degrees", "pitch_degrees", "roll_degrees")
    labelled = kept.loc[kept["camera"].notna(), list(names)]
    doubtful = labelled[~_surely_right(labelled, free_k)]
    for key, label, *stored in zip(*(doubtful[name] for name in names), strict=True):
        try:
            camera = Camera.from_label(label)
            camera.check(free_k=free_k)
        except CameraError as error:
            yield Problem("camera", MANIFEST, key, "a label within the contract", str(error))
            continue
        angles = np.degrees([camera.yaw, camera.pitch, camera.roll])
        miss = np.abs((np.array(stored, dtype=np.float64) - angles + 180) % 360 - 180)
        near_pole = abs(angles[1]) > 85  # azimuth and roll are one there
        if miss[1] > _ANGLE_TOLERANCE or (not near_pole and (miss[0] > _ANGLE_TOLERANCE or miss[2] > _ROLL_TOLERANCE)):
            yield Problem("angles", MANIFEST, key, f"yaw, pitch, roll {_degrees(angles)} of its label", _degrees(stored))


def _surely_right(labelled: pd.DataFrame, free_k: bool) -> Array:
    """Return (N,) bool: rows whose label and angles hold beyond doubt; the others are looked at one by one."""
    sure = np.array([len(label) == 25 for label in labelled["camera"]], dtype=bool)
    if sure.any():
        labels = np.stack(labelled["camera"][sure].tolist())
        stored = labelled.loc[sure, ["yaw_degrees", "pitch_degrees", "roll_degrees"]].to_numpy(dtype=np.float64)
        with np.errstate(invalid="ignore"):  # labels that are not finite are doubtful by themselves
            miss = np.abs((stored - label_angles(labels) + 180) % 360 - 180)
            close = (miss < 0.99 * np.array([_ANGLE_TOLERANCE, _ANGLE_TOLERANCE, _ROLL_TOLERANCE])).all(axis=1)
        sure[sure] = surely_sound(labels, free_k) & close
    return sure


def _degrees(values: Array | list[Any]) -> str:
    return " ".join(f"{float(value):.3f}" for value in values)


def _check_weights(kept: pd.DataFrame) -> Iterator[Problem]:
    """Check that weights are positive and have mean 1 in each split."""
    for split, weights in kept.dropna(subset=["weight"]).groupby("split")["weight"]:
        if not (np.isfinite(weights) & (weights > 0)).all():
            yield Problem("weight", MANIFEST, "", f"positive weights in split {split}", f"{weights.min()}")
        elif abs(weights.mean() - 1) > 1e-6:
            yield Problem("weight", MANIFEST, "", f"weights of mean 1 in split {split}", f"{weights.mean():.9g}")


def _check_leakage(kept: pd.DataFrame) -> Iterator[Problem]:
    """Check that nothing that belongs together lies in two splits."""
    split_of = dict(zip(kept["id"], kept["split"], strict=True))
    for name in ("component", "sha256", "identity", "group", "cluster"):
        rows = kept[kept[name] != ""]
        splits = rows.groupby(name)["split"].unique()
        for value, several in splits[splits.map(len) > 1].items():
            key = str(rows["id"][rows[name] == value].min())
            yield Problem(
                "leakage", MANIFEST, key, f"one split for {name} {str(value)!r}", ", ".join(sorted(map(str, several)))
            )
    children = kept[kept["parent"].isin(split_of)]
    for key, parent, split in zip(children["id"], children["parent"], children["split"], strict=True):
        if split_of[parent] != split:
            yield Problem("leakage", MANIFEST, key, f"the split of its parent {parent}, {split_of[parent]}", split)


def _check_placement(folder: Path, header: Header, kept: pd.DataFrame) -> Iterator[Problem]:
    """Check that rows and the header's shards cover each other, and that files of the right sizes are there."""
    entries = {entry.name: entry for entry in header.shards}
    for name, count in Counter(entry.name for entry in header.shards).items():
        if count > 1:
            yield Problem("shard", HEADER, "", f"{name} listed once", f"{count} times")
    sizes = shard_sizes(folder)
    for name in sorted(set(sizes) - set(entries)):
        yield Problem("stray", name, "", "no shard that the header does not list", f"{sizes[name]:,} bytes")
    for key, shard in zip(kept["id"], kept["shard"], strict=True):
        if shard not in entries:
            yield Problem("placement", MANIFEST, key, "a shard that the header lists", repr(shard))
    for entry in header.shards:
        size = sizes.get(entry.name)
        if size != entry.num_bytes:
            yield Problem(
                "shard", entry.name, "", f"{entry.num_bytes:,} bytes", "no file" if size is None else f"{size:,} bytes"
            )
        rows = kept[kept["shard"] == entry.name].sort_values("index_in_shard")
        if len(rows) != entry.count:
            yield Problem("placement", entry.name, "", f"{entry.count:,} rows in the manifest", f"{len(rows):,}")
            continue
        if not (rows["split"] == entry.split).all():
            yield Problem(
                "placement", entry.name, "", f"rows of split {entry.split}", ", ".join(sorted(rows["split"].unique()))
            )
        if rows["index_in_shard"].tolist() != list(range(len(rows))) or not rows["id"].is_monotonic_increasing:
            yield Problem("placement", entry.name, "", "positions from 0 in the order of ids", "another order")
        ends = (rows["offset"] + rows["num_bytes"]).tolist()
        if rows["offset"].tolist() != [0, *ends[:-1]][: len(rows)]:
            yield Problem("placement", entry.name, "", "offsets that follow one another from 0", "gaps or overlaps")
