"""What a stream knows of its data sets before it reads a picture: places, weights, labels and people, all checked.

Only the header, some columns of the manifest and one sample of each set are read; the order is left to `order`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...manifests.parsing import parse_json
from ...manifests.store import HEADER, MANIFEST, Header, ManifestError, parse_header
from ..arrays import Array
from ..labels import label_problems
from ..shards.storage import DataError, Source
from ..shards.verify import free_intrinsics

_COLUMNS = (
    "id", "status", "split", "shard", "offset", "num_bytes", "image_sha256", "camera", "weight", "synthetic", "identity",
    "parent",
)  # fmt: skip

_PIECE = 1 << 20
"""Bytes that are hashed at once."""
_SMALL = 1 << 25
"""Bytes up to which a remote table is fetched whole; of larger ones only the needed columns are."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The samples of one split of one or several sets, by set, shard and place in the shard."""

    ids: Array
    """(N,) bytes: the ids."""
    shard: Array
    """(N,) int32 index into `shards`."""
    shards: tuple[tuple[int, str], ...]
    """(number of the set, file name) of each shard."""
    offset: Array
    """(N,) int64 byte of the first tar header."""
    num_bytes: Array
    """(N,) int64 bytes of the sample."""
    digest: Array
    """(N,) uint64 first 64 bits of the picture member's sha256; 0 where the manifest does not know it."""
    camera: Array
    """(N, 25) float32 labels."""
    weight: Array
    """(N,) float64 weights of the manifest."""
    synthetic: Array
    """(N,) bool."""
    subject: Array
    """(N,) int64 number of the person."""
    manifests: tuple[str, ...]
    """sha256 of each set's manifest, as its header says."""


def read_rows(sources: Sequence[Source], split: str) -> Rows:
    """Read and check the rows of a split.

    Raises:
        DataError: a set is unfinished, damaged or empty, or has labels outside the contract.
    """
    if not sources:
        raise DataError("no data sets: expected at least one folder or URL that build-dataset finished")
    parts = [_read_set(number, source, split) for number, source in enumerate(sources)]
    base = np.cumsum([0, *(len(part.shards) for part in parts)])
    together = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("ids", "offset", "num_bytes", "digest", "camera", "weight", "synthetic", "subject")
    }
    shard = np.concatenate([part.shard + start for part, start in zip(parts, base, strict=False)]).astype(np.int32)
    values, counts = np.unique(together["ids"], return_counts=True)
    if (counts > 1).any():
        raise DataError(
            f"sample {values[counts > 1][0].decode()} stands in two of the sets ({int((counts > 1).sum()):,} such); "
            "give each set once"
        )
    shards = tuple(entry for part in parts for entry in part.shards)
    return Rows(shard=shard, shards=shards, manifests=tuple(digest for part in parts for digest in part.manifests), **together)


def read_header(source: Source) -> Header:
    """Read a set's header wherever it lies.

    Raises:
        DataError: there is none, or it is of another version.
    """
    size = source.size(HEADER)
    if size is None:
        raise DataError(f"no {HEADER} in {source.place}; expected a folder or URL of a set that build-dataset finished")
    try:
        return parse_header(parse_json(source.read(HEADER, 0, size)), f"{source.place}/{HEADER}")
    except (ManifestError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{source.place}/{HEADER} is damaged or of another version ({error}); rebuild the set") from error


def _read_set(number: int, source: Source, split: str) -> Rows:
    """Read the rows of one set."""
    header = read_header(source)
    entries = [entry for entry in header.shards if entry.split == split]
    if not entries:
        splits = ", ".join(sorted({entry.split for entry in header.shards})) or "no shards at all"
        raise DataError(f"{source.place}: no shards of split {split!r}; the set has {splits}")
    for entry in entries:
        size = source.size(entry.name)
        if size != entry.num_bytes:
            found = "is missing" if size is None else f"has {size:,} bytes"
            raise DataError(
                f"{source.place}: shard {entry.name} {found}, its manifest says {entry.num_bytes:,}; "
                "rerun its build-dataset command, or copy the set again"
            )
    table = _read_table(source, header, split)
    index_of = {entry.name: index for index, entry in enumerate(entries)}
    names = table["shard"].to_pylist()
    strange = sorted({str(name) for name in names if name not in index_of})
    if strange:
        raise DataError(f"{source.place}: the manifest places samples in {strange[0]}, which its header does not list")
    shard = np.array([index_of[name] for name in names], dtype=np.int32)
    offset, num_bytes = (_numbers(table, name, np.int64) for name in ("offset", "num_bytes"))
    counts = np.bincount(shard, minlength=len(entries))
    for entry, count in zip(entries, counts.tolist(), strict=True):
        if count != entry.count:
            raise DataError(
                f"{source.place}: shard {entry.name} has {count:,} rows in the manifest, its header says {entry.count:,}"
            )
    if ((offset < 0) | (offset + num_bytes > np.array([entry.num_bytes for entry in entries])[shard])).any():
        raise DataError(f"{source.place}: the manifest places samples beyond the end of their shard; rebuild the set")
    order = np.lexsort((offset, shard))
    table, shard, offset, num_bytes = table.take(pa.array(order)), shard[order], offset[order], num_bytes[order]
    ids = np.array(table["id"].to_pylist(), dtype=np.bytes_)
    return Rows(
        ids=ids, shard=shard, shards=tuple((number, entry.name) for entry in entries), offset=offset, num_bytes=num_bytes,
        digest=_digests(table), camera=_labels(source, table, free_intrinsics(header)),
        weight=_numbers(table, "weight", np.float64, 1.0), synthetic=_numbers(table, "synthetic", np.bool_, False),
        subject=_subjects(table), manifests=(header.manifest_sha256,),
    )  # fmt: skip


def _read_table(source: Source, header: Header, split: str) -> pa.Table:
    """Read the needed columns of a split's kept rows; the whole file is proved, but for large remote ones."""
    size = source.size(MANIFEST)
    if size is None:
        raise DataError(f"no {MANIFEST} in {source.place}; rerun its build-dataset command")
    try:
        with _opened(source, size) as file:
            if size <= _SMALL or not source.remote:
                digest = hashlib.sha256()
                while piece := file.read(_PIECE):
                    digest.update(piece)
                if digest.hexdigest() != header.manifest_sha256:
                    raise DataError(
                        f"{source.place}/{MANIFEST} is not the table that {HEADER} speaks of; copy the set again, or rebuild it"
                    )
                file.seek(0)
            table = _kept_rows(file, split)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"cannot read {source.place}/{MANIFEST} ({error}); rerun its build-dataset command") from error
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise DataError(f"{source.place}/{MANIFEST} has no column {missing[0]}; rerun its build-dataset command")
    if not table.num_rows:
        raise DataError(f"{source.place}: split {split!r} has no kept samples")
    return table


def _opened(source: Source, size: int) -> Any:
    """Open the manifest so that its bytes are Arrow's own where they can be, and no thread of Arrow's needs Python."""
    if size > _SMALL:
        return source.open(MANIFEST)
    buffer = pa.allocate_buffer(size)
    np.frombuffer(buffer, np.uint8)[...] = np.frombuffer(source.read(MANIFEST, 0, size), np.uint8)
    return pa.BufferReader(buffer)


def _kept_rows(file: Any, split: str) -> pa.Table:
    """Read the needed columns of a split's kept rows, in this thread.

    `pq.read_table` reads ahead in threads that may still hold a Python file when the program ends: they are then killed inside
    C++, which aborts the process.
    """
    with pq.ParquetFile(file, pre_buffer=False) as parquet:
        there = set(parquet.schema_arrow.names)
        table = parquet.read(columns=[name for name in _COLUMNS if name in there], use_threads=False)
    if not {"status", "split"} <= there:
        return table
    return table.filter(pc.and_(pc.equal(table["status"], "kept"), pc.equal(table["split"], split)))


def _numbers(table: pa.Table, name: str, kind: Any, missing: Any = None) -> Array:
    column = table[name]
    if column.null_count and missing is None:
        raise DataError(f"the manifest has kept rows without {name}; rerun its build-dataset command")
    if column.null_count:
        column = column.fill_null(missing)
    return np.asarray(column.to_numpy(), dtype=kind)


def _labels(source: Source, table: pa.Table, free_k: bool) -> Array:
    """Return the (N, 25) labels, all within the contract."""
    column = table["camera"].combine_chunks()
    lengths = np.asarray(column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
    if (lengths != 25).any():
        at = int(np.flatnonzero(lengths != 25)[0])
        raise DataError(
            f"{source.place}: sample {table['id'][at]} has {lengths[at]} numbers in its camera label, expected 25 "
            f"({int((lengths != 25).sum()):,} such); train on a set built with a camera stage"
        )
    labels = np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float32).reshape(-1, 25)
    for index, message in label_problems(labels, free_k):
        raise DataError(f"{source.place}: the label of sample {table['id'][index]} is outside the contract: {message}")
    return labels


def _digests(table: pa.Table) -> Array:
    """Return the first 16 hex digits of image_sha256 as numbers, 0 where there is none."""
    return np.array([int(text[:16], 16) if text else 0 for text in table["image_sha256"].to_pylist()], dtype=np.uint64)


def _subjects(table: pa.Table) -> Array:
    """Return the number of each row's person: identity, else the row that it was derived from in the end, else itself."""
    ids, parents, identities = (table[name].to_pylist() for name in ("id", "parent", "identity"))
    parent_of = {key: parent for key, parent in zip(ids, parents, strict=True) if parent}
    numbers: dict[str, int] = {}
    found = np.empty(len(ids), dtype=np.int64)
    for index, (key, identity) in enumerate(zip(ids, identities, strict=True)):
        name = identity or _root(key, parent_of)
        if name not in numbers:
            numbers[name] = subject_number(name)
        found[index] = numbers[name]
    return found


def _root(key: str, parent_of: dict[str, str]) -> str:
    seen = {key}
    while key in parent_of and parent_of[key] not in seen:
        key = parent_of[key]
        seen.add(key)
    return key


def subject_number(name: str) -> int:
    """Return the first 63 bits of sha256 of a person's name: the same in every set, order and run."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
