"""Finished sets that are changed so that one thing alone is at fault: header, rows of tables, members of shards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from spherehead.datasets.shards.tar import ShardReader, write_shard
from spherehead.datasets.shards.verify import verify
from spherehead.manifests.store import HEADER, MANIFEST, parse_header, write_json, write_table


def kinds(folder: Path, deep: bool = False) -> list[tuple[str, str, str]]:
    return [(problem.kind, problem.file, problem.id) for problem in verify(folder, deep)]


def edit_header(folder: Path, change: Callable[[dict[str, Any]], None], sealed: bool = True) -> None:
    """Change the header, and where `sealed` make its digest agree, so that only what was changed is at fault."""
    plain = json.loads((folder / HEADER).read_bytes())
    change(plain)
    write_json(folder / HEADER, parse_header(plain, HEADER).sealed() if sealed else plain)


def edit_rows(folder: Path, change: Callable[[list[dict[str, Any]]], None], name: str = MANIFEST) -> None:
    """Change rows of a table, and make the header agree with the new file, so that only the rows are at fault."""
    table = pq.read_table(folder / name)
    rows = table.to_pylist()
    change(rows)
    digest = write_table(folder / name, [pa.Table.from_pylist(rows, schema=table.schema)], table.schema)
    if name == MANIFEST:
        edit_header(folder, lambda header: header.update(manifest_sha256=digest))


def repack(folder: Path, shard: str, change: Callable[[dict[str, dict[str, bytes]]], None]) -> None:
    """Change a shard's members, and make header and places agree, so that only the members are at fault."""
    rows = [row for row in pq.read_table(folder / MANIFEST).to_pylist() if row["shard"] == shard]
    with ShardReader(folder) as reader:
        samples = dict(reader.members(shard, row["offset"], row["num_bytes"]) for row in rows)
    change(samples)
    entry, placed = write_shard(folder / shard, rows[0]["split"], samples.items())
    places = {place.id: place for place in placed}

    def place(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["id"] in places:
                row.update(offset=places[row["id"]].offset, num_bytes=places[row["id"]].num_bytes)

    edit_rows(folder, place)

    def enter(header: dict[str, Any]) -> None:
        for item in header["shards"]:
            if item["name"] == shard:
                item.update(sha256=entry.sha256, num_bytes=entry.num_bytes)

    edit_header(folder, enter)


def kept(folder: Path, shard: str = "train-000000.tar") -> list[dict[str, Any]]:
    rows = [row for row in pq.read_table(folder / MANIFEST).to_pylist() if row["shard"] == shard]
    return sorted(rows, key=lambda row: row["index_in_shard"])


def row_number(folder: Path, key: str) -> int:
    ids: list[str] = pq.read_table(folder / MANIFEST)["id"].to_pylist()
    return ids.index(key)
