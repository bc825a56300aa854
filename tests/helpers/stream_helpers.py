"""Small sets for the tests of streams, and ways to change and compare them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from spherehead.datasets.compiled import compiled
from spherehead.datasets.images.grey_png import unfilter
from spherehead.datasets.streaming.batch import Batch
from spherehead.datasets.streaming.loader import DataError, ShardStream
from spherehead.manifests.store import HEADER, MANIFEST, write_json, write_table


def build(sets: ModuleType, folder: Path, count: int = 40, size: int = 32, shard_size: int = 9, **options: Any) -> Path:
    """Write a set of `count` ball heads all round, the last two being mirrored copies of the first two."""
    from spherehead.datasets.shards.codec import Encoding

    views = [sets.View((k * 137.5) % 360 - 180, 30 * ((k % 5) - 2) / 2, (k % 7) - 3.0) for k in range(count - 2)]
    views += [sets.View(0, mirror_of=0), sets.View(0, mirror_of=1)]
    options.setdefault("encoding", Encoding("png"))
    return Path(sets.build(folder, tuple(views), lost=(), size=size, shard_size=shard_size, **options))


def edit_header(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the header."""
    plain = json.loads((folder / HEADER).read_bytes())
    change(plain)
    write_json(folder / HEADER, plain)


def edit_rows(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change rows of the manifest, and make the header agree with the new file."""
    table = pq.read_table(folder / MANIFEST)
    rows = table.to_pylist()
    change(rows)
    digest = write_table(folder / MANIFEST, [pa.Table.from_pylist(rows, schema=table.schema)], table.schema)
    edit_header(folder, lambda header: header.update(manifest_sha256=digest))


def digest(batch: Batch) -> str:
    """Return a hash of all that is in a batch."""
    found = hashlib.sha256(repr((batch.ids, batch.number, batch.skipped)).encode())
    for part in (batch.image, batch.camera, batch.mask, batch.parsing, batch.subject, batch.synthetic, batch.mirrored):
        found.update(b"none" if part is None else part.numpy().tobytes())
    return found.hexdigest()


def spoil(folder: Path, row: dict[str, Any], member: str, how: Callable[[bytearray, int, int], None]) -> None:
    """Damage one member of one sample in its shard: `how` gets the sample's bytes and where the member's content lies."""
    import io
    import tarfile

    path = folder / row["shard"]
    data = bytearray(path.read_bytes())
    sample = bytearray(data[row["offset"] : row["offset"] + row["num_bytes"]])
    with tarfile.open(fileobj=io.BytesIO(bytes(sample))) as tar:
        info = tar.getmember(f"{row['id']}.{member}")
    how(sample, info.offset_data, info.size)
    data[row["offset"] : row["offset"] + row["num_bytes"]] = sample
    path.write_bytes(data)


def healed(folder: Path, key: str) -> Path:
    """Return a copy of a set whose table does not speak of sample `key`, so that every sample in it decodes."""
    import shutil

    copy = folder.with_name("healed")
    shutil.copytree(folder, copy)
    edit_rows(copy, lambda rows: rows.pop([row["id"] for row in rows].index(key)))
    return copy


def rename(folder: Path, prefix: str, keep: tuple[str, ...]) -> None:
    """Pack a set anew with other ids and only the members in `keep`."""
    from spherehead.datasets.shards.tar import ShardReader, write_shard

    rows = pq.read_table(folder / MANIFEST).to_pylist()
    entries: dict[str, Any] = {}
    with ShardReader(folder) as reader:
        for shard in sorted({row["shard"] for row in rows}):
            here = sorted((row for row in rows if row["shard"] == shard), key=lambda row: row["index_in_shard"])
            samples = []
            for row in here:
                _, members = reader.members(shard, row["offset"], row["num_bytes"])
                row["id"] = prefix + row["id"][len(prefix) :]
                samples.append((row["id"], {name: data for name, data in members.items() if name in keep}))
            entries[shard], placed = write_shard(folder / shard, "train", samples)
            for row, place in zip(here, placed, strict=True):
                row.update(offset=place.offset, num_bytes=place.num_bytes)

    def change(table: list[dict[str, Any]]) -> None:
        table[:] = sorted(rows, key=lambda row: str(row["id"]))

    def enter(header: dict[str, Any]) -> None:
        for item in header["shards"]:
            item.update(sha256=entries[item["name"]].sha256, num_bytes=entries[item["name"]].num_bytes)

    edit_rows(folder, change)
    edit_header(folder, enter)


class Stuck(ShardStream):
    """A stream whose fifth batch never comes."""

    def make(self, number: int, memory: torch.Tensor) -> Batch:
        while number == 5:
            time.sleep(1)
        return super().make(number, memory)


class Prepared(ShardStream):
    """A stream whose batches are an error that tells for how many kinds of arrays the loop behind masks is compiled."""

    def make(self, number: int, memory: torch.Tensor) -> Batch:
        before = len(compiled(unfilter).signatures)
        super().make(number, memory)
        raise DataError(f"compiled for {before} before and {len(compiled(unfilter).signatures)} after")


class Broken(ShardStream):
    """A stream with a mistake in its code."""

    def make(self, number: int, memory: torch.Tensor) -> Batch:
        raise KeyError("a mistake")
