"""Prove a finished data set: header, tables and shards against each other, and every label against the camera contract.

`verify_manifest` looks at header, tables and file sizes; what lies inside the shards is judged by `verify_shards`. Nothing is
mended: the same build-dataset command rebuilds what is missing or damaged.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...manifests import store
from ...manifests.frames import OUTCOMES, Tally, column, pages, present_columns
from ...manifests.identity import derived_id, sample_id
from ...manifests.parsing import parse_json
from ...manifests.schema import COLUMNS
from ...manifests.store import HEADER, MANIFEST, ORIGINS, Header, ManifestError, ShardEntry, file_sha256
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
    counts = Counter[tuple[str, str]]()
    for problem in problems:
        key = problem.file, problem.kind
        counts[key] += 1
        groups.setdefault(key, []).append(problem)
        if len(groups[key]) > 1000:
            groups[key] = heapq.nsmallest(LIMIT, groups[key])
    found: list[Problem] = []
    for (file, kind), group in sorted(groups.items()):
        found += sorted(group)[:LIMIT]
        if (more := counts[file, kind] - LIMIT) > 0:
            found.append(Problem(kind, file, "", "none of these", f"{more:,} more of this kind"))
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
        present = present_columns(folder)
        missing = [name for name in COLUMNS if name not in present]
        if missing:
            yield Problem("columns", MANIFEST, "", "every column of this schema version", f"no {', '.join(missing)}")
            return
        yield from _check_tables(folder, header)
    except ManifestError as error:
        yield Problem("manifest", MANIFEST, "", "a readable table", str(error))


def _check_tables(folder: Path, header: Header) -> Iterator[Problem]:
    """Check the tables in pages of rows, and column by column where rows are compared with one another."""
    yield from _check_rows(folder, header)
    yield from _check_cameras(folder, free_intrinsics(header))
    kept = pc.equal(_texts(folder, "status"), "kept")
    try:
        yield from _check_counts(header, Tally.of(folder))
        yield from _check_origins(folder, kept)
    except ManifestError as error:
        yield Problem("origin", ORIGINS, "", "a readable table of inputs", str(error))
    yield from _check_weights(folder, kept)
    yield from _check_leakage(folder, kept)
    yield from _check_placement(folder, header, kept)


def _texts(folder: Path, name: str, table: str = MANIFEST) -> pa.ChunkedArray:
    """Read a column of texts; nulls are empty ones."""
    return column(folder, name, table).cast(pa.string()).fill_null("")


def _frames(folder: Path, names: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Read rows in pages; texts that are not there are empty ones."""
    for page in pages(folder, names):
        texts = {name: page[name].cast(pa.string()).fill_null("") for name in names if _is_text(name)}
        yield pa.table({name: texts.get(name, page[name]) for name in names}).to_pandas()


def free_intrinsics(header: Header) -> bool:
    """Return whether a set's recipe allows labels with other than the canonical intrinsics."""
    stages = header.recipe.get("stages")
    return any(isinstance(s, dict) and s.get("policy") == "free-k" for s in (stages if isinstance(stages, list) else []))


def _is_text(name: str) -> bool:
    return bool(pa.types.is_string(COLUMNS[name][0]))


def _check_counts(header: Header, tally: Tally) -> Iterator[Problem]:
    """Check the accounting identity, and the header's numbers against the tables."""
    strange = sorted({outcome for _, outcome, _ in tally.inputs} - set(OUTCOMES))
    if strange:
        yield Problem("counts", ORIGINS, "", f"outcomes {', '.join(OUTCOMES)}", ", ".join(map(repr, strange)))
    told = sum(header.counts.get(name, 0) for name in OUTCOMES)
    if told != header.counts.get("inputs"):
        yield Problem("counts", HEADER, "", "inputs = " + " + ".join(OUTCOMES), f"{header.counts.get('inputs')} != {told}")
    counts, reasons = tally.counts(), Counter[str]()
    for name in sorted({*counts, *header.counts}):
        if counts.get(name, 0) != header.counts.get(name, 0):
            yield Problem(
                "counts", HEADER, "", f"{name} {counts.get(name, 0):,} as in the tables", f"{header.counts.get(name, 0):,}"
            )
    for (_, _, reason), count in tally.rows.items():
        reasons[reason] += count if reason else 0
    for name in sorted({*filter(None, reasons), *header.reasons}):
        if reasons[name] != header.reasons.get(name, 0):
            found = f"{header.reasons.get(name, 0):,}"
            yield Problem("reasons", HEADER, "", f"{reasons[name]:,} rows with reason {name}", found)


def _check_rows(folder: Path, header: Header) -> Iterator[Problem]:
    """Check each row by itself: its id, its status and reason, its stages, and that it was not taken down."""
    names = ("id", "status", "reason", "sha256", "head_index", "parent", "derivation", "chain")
    gone, chains, last, is_sorted, is_single = frozenset(header.tombstones), Counter[str](), "", True, True
    for frame in _frames(folder, names):
        for key, status, reason, sha256, index, parent, derivation, chain in zip(
            *(frame[name].tolist() for name in names), strict=True
        ):
            if reason not in REASONS and reason != "":
                yield Problem("status", MANIFEST, key, "a reason of datasets/reasons.py", repr(reason))
            if (status == "kept") == (reason != ""):
                expected = "a reason for what is not kept, and none for what is"
                yield Problem("status", MANIFEST, key, expected, f"{status} {reason!r}")
            if status == "kept" and key in gone:
                yield Problem("forgotten", MANIFEST, key, "no kept row, it was taken down", "one")
            expected = expected_id(sha256, index, parent, derivation)
            if key != expected:
                yield Problem("id", MANIFEST, key, f"{expected} by its content", key)
            is_sorted, is_single, last = is_sorted and key >= last, is_single and key != last, key
            chains[chain] += 1
    if not is_sorted:
        yield Problem("id", MANIFEST, "", "rows sorted by id", "another order")
    if not (is_sorted and is_single):
        times = pc.value_counts(_texts(folder, "id"))
        for row in times.filter(pc.greater(times.field("counts"), 1)).to_pylist():
            yield Problem("id", MANIFEST, row["values"], "one row an id", f"{row['counts']} rows")
    for name, count in sorted(chains.items()):
        if name and name not in header.chains:
            expected = f"the stages of chain {name}, which {count:,} rows name"
            yield Problem("chain", HEADER, "", expected, "none of that name")


def expected_id(sha256: str, head_index: float, parent: str, derivation: str) -> str:
    """Return the id that a row's content gives; what says that it is a copy is derived from its parent."""
    try:
        made = parse_json(derivation) if derivation else {}
        if isinstance(made, dict) and parent and "copy" in made:
            return derived_id(parent, str(made.get("step")), int(made["copy"]))
        return sample_id(sha256, max(0, int(head_index)))
    except (ValueError, TypeError) as error:
        return f"an id (none follows: {error})"


def _check_origins(folder: Path, kept: pa.ChunkedArray) -> Iterator[Problem]:
    """Check that kept inputs and kept rows speak of the same contents."""
    known = _texts(folder, "sha256", ORIGINS).filter(pc.equal(_texts(folder, "outcome", ORIGINS), "kept"))
    sha256 = _texts(folder, "sha256").filter(kept)
    unknown = pc.and_(  # null is not synthetic
        pc.invert(pc.is_in(sha256, value_set=known)), pc.invert(column(folder, "synthetic").filter(kept).fill_null(False))
    )
    if pc.any(unknown).as_py():
        ids = _texts(folder, "id").filter(kept).filter(unknown).to_pylist()
        for key, digest in zip(ids, sha256.filter(unknown).to_pylist(), strict=True):
            yield Problem("origin", ORIGINS, key, f"a kept input with sha256 {digest[:16]}", "none")
    for digest in sorted(set(known.filter(pc.invert(pc.is_in(known, value_set=sha256))).to_pylist())):
        yield Problem("origin", MANIFEST, "", f"a kept row of the kept input {digest[:16]}", "none")


def _check_cameras(folder: Path, free_k: bool) -> Iterator[Problem]:
    """Check every label against the contract, and the stored angles against the label."""
    names = ("id", "status", "camera", "yaw_degrees", "pitch_degrees", "roll_degrees")
    for frame in _frames(folder, names):
        yield from _check_labels(frame[(frame["status"] == "kept") & frame["camera"].notna()], free_k)


def _check_labels(labelled: pd.DataFrame, free_k: bool) -> Iterator[Problem]:
    """Check the labels of kept rows that have one."""
    names = ("id", "camera", "yaw_degrees", "pitch_degrees", "roll_degrees")
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


def _kept_frame(folder: Path, names: Sequence[str], kept: pa.ChunkedArray) -> pd.DataFrame:
    """Read columns of the kept rows, texts of which few differ as categories."""
    found = {name: (_texts(folder, name) if _is_text(name) else column(folder, name)).filter(kept) for name in names}
    coded = {name: values.dictionary_encode() if name in ("split", "shard") else values for name, values in found.items()}
    frame: pd.DataFrame = pa.table(coded).to_pandas(split_blocks=True)
    return frame


def _check_weights(folder: Path, kept: pa.ChunkedArray) -> Iterator[Problem]:
    """Check that weights are positive and have mean 1 in each split."""
    frame = _kept_frame(folder, ("split", "weight"), kept).dropna(subset=["weight"])
    for split, weights in frame.groupby("split", observed=True)["weight"]:
        if not (np.isfinite(weights) & (weights > 0)).all():
            yield Problem("weight", MANIFEST, "", f"positive weights in split {split}", f"{weights.min()}")
        elif abs(weights.mean() - 1) > 1e-6:
            yield Problem("weight", MANIFEST, "", f"weights of mean 1 in split {split}", f"{weights.mean():.9g}")


def _check_leakage(folder: Path, kept: pa.ChunkedArray) -> Iterator[Problem]:
    """Check that nothing that belongs together lies in two splits."""
    split = _texts(folder, "split").filter(kept).combine_chunks().dictionary_encode()
    for name in ("component", "sha256", "identity", "group", "cluster"):
        named = _texts(folder, name).filter(kept).combine_chunks()
        told = pa.table({"name": named, "split": split.indices}).filter(pc.not_equal(named, ""))
        ends = told.group_by("name").aggregate([("split", "min"), ("split", "max")])
        several = ends.filter(pc.not_equal(ends["split_min"], ends["split_max"]))["name"]
        del told, ends
        if not len(several):
            continue
        rows = pc.is_in(named, value_set=several)
        ids = _texts(folder, "id").filter(kept).combine_chunks().filter(rows)
        found = pa.table({"name": named.filter(rows), "split": split.filter(rows), "id": ids}).to_pandas()
        for value, group in found.groupby("name"):
            splits = ", ".join(sorted(map(str, group["split"].unique())))
            yield Problem("leakage", MANIFEST, str(group["id"].min()), f"one split for {name} {str(value)!r}", splits)
    yield from _check_children(folder, kept, split)


def _check_children(folder: Path, kept: pa.ChunkedArray, split: pa.DictionaryArray) -> Iterator[Problem]:
    """Check that what was derived from a kept row lies in its split."""
    parents = _texts(folder, "parent").filter(kept).combine_chunks()
    derived = pc.not_equal(parents, "")
    if not pc.any(derived).as_py():
        return
    ids = _texts(folder, "id").filter(kept).combine_chunks()
    theirs = pc.index_in(parents.filter(derived), value_set=ids)
    rows = zip(*(values.filter(derived).to_pylist() for values in (ids, parents, split)), theirs.to_pylist(), strict=True)
    for key, parent, mine, place in rows:
        expected = None if place is None else split[place].as_py()
        if expected is not None and expected != mine:
            yield Problem("leakage", MANIFEST, key, f"the split of its parent {parent}, {expected}", mine)


def _check_placement(folder: Path, header: Header, kept: pa.ChunkedArray) -> Iterator[Problem]:
    """Check that rows and the header's shards cover each other, and that files of the right sizes are there."""
    entries = {entry.name: entry for entry in header.shards}
    for name, count in Counter(entry.name for entry in header.shards).items():
        if count > 1:
            yield Problem("shard", HEADER, "", f"{name} listed once", f"{count} times")
    sizes = shard_sizes(folder)
    for name in sorted(set(sizes) - set(entries)):
        yield Problem("stray", name, "", "no shard that the header does not list", f"{sizes[name]:,} bytes")
    frame = _kept_frame(folder, ("id", "split", "shard", "index_in_shard", "offset", "num_bytes"), kept)
    groups = frame.groupby("shard", observed=True, sort=False).indices
    for name in sorted({str(name) for name in groups} - set(entries)):
        for key in frame["id"].iloc[groups[name]]:
            yield Problem("placement", MANIFEST, key, "a shard that the header lists", repr(name))
    for entry in header.shards:
        size = sizes.get(entry.name)
        if size != entry.num_bytes:
            found = "no file" if size is None else f"{size:,} bytes"
            yield Problem("shard", entry.name, "", f"{entry.num_bytes:,} bytes", found)
        yield from _check_entry(entry, frame.iloc[groups.get(entry.name, [])].sort_values("index_in_shard"))


def _check_entry(entry: ShardEntry, rows: pd.DataFrame) -> Iterator[Problem]:
    """Check the rows of one shard, in the order of their positions, against what the header says of it."""
    if len(rows) != entry.count:
        yield Problem("placement", entry.name, "", f"{entry.count:,} rows in the manifest", f"{len(rows):,}")
        return
    if not (rows["split"] == entry.split).all():
        yield Problem("placement", entry.name, "", f"rows of split {entry.split}", ", ".join(sorted(rows["split"].unique())))
    if rows["index_in_shard"].tolist() != list(range(len(rows))) or not rows["id"].is_monotonic_increasing:
        yield Problem("placement", entry.name, "", "positions from 0 in the order of ids", "another order")
    ends = (rows["offset"] + rows["num_bytes"]).tolist()
    if rows["offset"].tolist() != [0, *ends[:-1]][: len(rows)]:
        yield Problem("placement", entry.name, "", "offsets that follow one another from 0", "gaps or overlaps")
