"""Time and memory of the commands that read a whole data set, for one whose rows are all kept: verify, diff and report.

python tests/bench/kept_rows.py LIKE [--rows 1000000] [--scratch DIR]

LIKE is a finished data set. Its kept rows are repeated under new digests, ids and places, with scores that differ a little,
and written with the writers of the package; the shards are sparse files of the right sizes, so that no picture can be drawn.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scale import measured
from spherehead.manifests import store
from spherehead.manifests.identity import sample_id
from spherehead.manifests.store import HEADER, MANIFEST, ORIGINS, ROW_GROUP, Header, Manifest, ShardEntry

SHARD, BYTES = 1000, 40_960
"""Samples per shard, and bytes per sample."""
EMPTY = ("parent", "derivation", "cluster", "duplicate_of", "identity", "group", "reason", "detail", "stage")
"""Columns that would link the repeated rows or refuse them."""


def pages(like: Manifest, names: list[tuple[str, str]], changed: bool) -> Iterator[pa.Table]:
    """Yield the rows of the set in order of ids; where `changed`, one score of every row is another."""
    kept, schema, random = like.kept, like.table.schema, np.random.default_rng(0)
    template = kept.take(pa.array(np.arange(ROW_GROUP) % len(kept))).combine_chunks()
    for start in range(0, len(names), ROW_GROUP):
        part = names[start : start + ROW_GROUP]
        place = np.arange(start, start + len(part))
        table = template.slice(0, len(part))
        text = lambda values: pa.array(values, pa.string())  # noqa: E731
        new = {
            "id": text([id for id, _ in part]), "sha256": text([sha256 for _, sha256 in part]),
            "component": text([id for id, _ in part]), "head_index": pa.array(np.zeros(len(part), np.int32)),
            "image_sha256": text([sha256[::-1] for _, sha256 in part]),
            "pixel_sha256": text([sha256[1:] + sha256[0] for _, sha256 in part]),
            "shard": text([f"train-{at // SHARD:06d}.tar" for at in place]), "split": text(["train"] * len(part)),
            "index_in_shard": pa.array((place % SHARD).astype(np.int32)), "offset": pa.array(place % SHARD * BYTES),
            "num_bytes": pa.array(np.full(len(part), BYTES)), "weight": pa.array(np.ones(len(part))),
            "synthetic": pa.array([False] * len(part)), **{name: text([""] * len(part)) for name in EMPTY},
        }  # fmt: skip
        for name in schema.names:
            if name.startswith("score_"):
                noise = 1 + 1e-3 * random.standard_normal(len(part)) + changed * (name == "score_head_px")
                new[name] = pc.multiply(table[name], pa.array(noise))
        columns = [new.get(field.name, table[field.name]) for field in schema]
        yield pa.table([column.cast(field.type) for column, field in zip(columns, schema, strict=True)], schema=schema)


def write_set(out: Path, like: Manifest, rows: int, changed: bool = False, shards: bool = True) -> None:
    """Write a finished set of kept rows, its shards only where they are asked for."""
    out.mkdir(parents=True, exist_ok=True)
    digests = (hashlib.sha256(f"photograph {number}".encode()).hexdigest() for number in range(rows))
    names = sorted((sample_id(digest), digest) for digest in digests)
    entries = []
    for start in range(0, rows, SHARD):
        count = min(SHARD, rows - start)
        entries.append(ShardEntry(f"train-{start // SHARD:06d}.tar", "train", count, count * BYTES, "0" * 64))
        if shards:
            with (out / entries[-1].name).open("wb") as file:
                file.truncate(count * BYTES)
    sha256 = store.write_table(out / MANIFEST, pages(like, names, changed), like.table.schema)
    columns = ("source", "path", "sha256", "outcome", "reason", "detail")
    tables = (
        pa.table([pa.array(column, pa.string()) for column in zip(*part, strict=True)], names=columns)
        for start in range(0, rows, ROW_GROUP)
        if (part := [
            ("photographs", f"{at // 1000:05d}/portrait {at:08d}.jpg", names[at][1], "kept", "", "")
            for at in range(start, min(rows, start + ROW_GROUP))
        ])
    )  # fmt: skip
    store.write_table(out / ORIGINS, tables, pa.schema([(name, pa.string()) for name in columns]))
    counts = {"inputs": rows, "kept": rows, "dropped": 0, "failed": 0, "duplicate": 0, "not_image": 0}
    counts |= {"heads_kept": rows, "samples_train": rows}
    header: Header = dataclasses.replace(
        like.header, counts=counts, reasons={}, shards=tuple(entries), manifest_sha256=sha256, tombstones=()
    )
    store.write_json(out / HEADER, header.sealed())


def main() -> None:
    """Write and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("like", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--scratch", type=Path, default=None, help="folder to work in; what is there is used again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = arguments.scratch or Path(name)
        like = store.read(arguments.like)
        sets = {kind: scratch / f"kept-{kind}-{arguments.rows}" for kind in ("first", "same", "other")}
        for kind, out in sets.items():
            if not (out / HEADER).is_file():
                write_set(out, like, arguments.rows, kind == "other", shards=kind == "first")
        print(f"Python {platform.python_version()}; {arguments.rows:,} kept rows, {len(like.table.schema)} columns", flush=True)
        first = str(sets["first"])
        commands = {
            "verify": ("manifest", "verify", first),
            "diff, equal": ("manifest", "diff", first, str(sets["same"])),
            "diff, every row": ("manifest", "diff", first, str(sets["other"])),
            "summary": ("manifest", "summary", first),
            "report": ("report", first),
        }
        for what, words in commands.items():
            seconds, spent, peak = measured("-m", "spherehead", *words)
            print(f"{what}: {seconds:.1f} s, {spent:.1f} s of CPU, {peak:.0f} MiB", flush=True)


if __name__ == "__main__":
    sys.exit(main())
