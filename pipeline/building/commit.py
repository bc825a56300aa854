"""The last part of a build: decided rows into shards, manifest, origins and quarantine, each whole or absent.

The header, written last, is what makes a set exist; it is removed before the first shard changes. Shards that would come out
the same are left alone. What is kept, and in which split, is decided by `set_decisions`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from ... import __version__
from ...datasets.shards.codec import row_json
from ...datasets.shards.tar import write_shard
from ...manifests import store
from ...manifests.config import fingerprint, to_plain
from ...manifests.schema import SCHEMA_VERSION, flatten, to_table
from ..console.progress import Observer
from ..execution.cache import StageCache
from ..execution.packing import unpack
from ..recipe import Recipe
from .set_decisions import Decisions, decide
from .state import State

PACKAGES = (
    "numpy", "scipy", "opencv-python", "opencv-contrib-python", "opencv-python-headless", "pillow", "pyarrow", "mediapipe",
    "albumentations", "pymatting", "imagehash", "webdataset", "onnxruntime", "rembg", "face-alignment", "torch",
)  # fmt: skip
"""Packages whose versions may decide bytes."""
QUARANTINE = "quarantine"
_THUMBNAILS = 200
"""Thumbnails kept for each reason."""
_BATCH = 4096


class CacheLost(RuntimeError):
    """A finished sample is missing from the stage cache."""


@dataclass
class Tombstones:
    """What was taken down: it stays out of every later build of this folder."""

    sha256: dict[str, dict[str, Any]] = field(default_factory=dict)
    """sha256 of a file -> note."""
    ids: dict[str, dict[str, Any]] = field(default_factory=dict)
    """id of a sample -> note with the split whose shards keep an empty place for it."""

    FILE = "tombstones.json"

    @classmethod
    def read(cls, out: Path) -> Tombstones:
        """Read a data set's tombstones; none where there is no file."""
        path = out / cls.FILE
        plain = json.loads(path.read_bytes()) if path.is_file() else {}
        return cls(dict(plain.get("sha256", {})), dict(plain.get("ids", {})))

    def write(self, out: Path) -> None:
        """Write the file."""
        store.write_json(out / self.FILE, {"sha256": self.sha256, "ids": self.ids})

    def keys(self) -> frozenset[str]:
        """Return every sha256 and id that may not come back."""
        return frozenset(self.sha256) | frozenset(self.ids)


@dataclass(frozen=True)
class Committed:
    """What was written."""

    counts: dict[str, int]
    reasons: dict[str, int]
    samples: dict[str, int]
    num_shards: int


def environment() -> dict[str, str]:
    """Return the versions that decide bytes: Python, this toolkit, the libraries."""
    versions = {"python": platform.python_version(), "spherehead": __version__}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


def commit(out: Path, recipe: Recipe, state: State, tombstones: Tombstones, observer: Observer) -> Committed:
    """Decide over all heads and write the set; nothing is touched where everything would come out the same.

    Raises:
        CacheLost: the stage cache was damaged or deleted; the next run makes the lost samples again.
    """
    state.choose()
    decisions = decide(state, recipe)
    plan = cut(decisions, tombstones, recipe.shard_size)
    final_key = recipe.keys()[-1]
    cache = StageCache(out / ".state" / "cache")
    prints = _fingerprints(state, decisions, plan, final_key)
    entries, placed = _write_shards(out, state, cache, plan, prints, final_key, observer)
    chain = fingerprint(recipe.chain())
    header_path, table_path = out / store.HEADER, out / store.MANIFEST
    counts, reasons = _counts(state, decisions)
    conflicts = state.tell_conflicts()
    if conflicts:
        what = "photograph is" if conflicts == 1 else "photographs are"
        observer.message(f"{conflicts} {what} listed with different rights or labels; {store.ORIGINS} says which are taken")
    origins_sha = _write_origins(out, state)
    facts = fingerprint(
        [entries, counts, reasons, chain, recipe.provenance(), environment(), decisions.fingerprint(), origins_sha], 64
    )
    if state.fact("header") != facts or not header_path.is_file() or not table_path.is_file():
        _unlink_header(out)
        sha256 = store.write_table(table_path, _tables(state, decisions, placed, chain), decisions.schema())
        header = store.Header(
            SCHEMA_VERSION, __version__, recipe.provenance(), {chain: recipe.chain()}, environment(), counts, reasons,
            tuple(entries), sha256, tuple(sorted(tombstones.ids)),
        )  # fmt: skip
        _write_quarantine(out, state, decisions, cache, final_key)
        store.write_json(header_path, header)
        state.set_fact("header", facts)
    _remove_strays(out, entries)
    samples = Counter[str]()
    for entry in entries:
        samples[entry.split] += entry.count
    return Committed(counts, reasons, dict(sorted(samples.items())), len(entries))


@dataclass(frozen=True)
class _ShardPlan:
    """One shard to be: its name and the ids in it."""

    name: str
    split: str
    ids: tuple[str, ...]


def cut(decisions: Decisions, tombstones: Tombstones, shard_size: int) -> list[_ShardPlan]:
    """Cut the kept ids of each split, sorted, into shards of equal count.

    Ids that were taken down keep their place in the count, so that a takedown changes the shard it was in and no other.
    """
    by_split: dict[str, list[str]] = {}
    for id, decision in decisions.rows.items():
        if decision.status == "kept":
            by_split.setdefault(decision.split, []).append(id)
    for id, note in tombstones.ids.items():
        if note.get("split") in by_split:
            by_split[note["split"]].append(id)
    plans = []
    for split, ids in sorted(by_split.items()):
        ordered = sorted(set(ids))
        for number, start in enumerate(range(0, len(ordered), shard_size)):
            present = tuple(id for id in ordered[start : start + shard_size] if id not in tombstones.ids)
            if present:
                plans.append(_ShardPlan(f"{split}-{number:06d}.tar", split, present))
    return plans


def _record(row: Mapping[str, Any], rights: str) -> bytes:
    """Return the JSON member: facts of the content and its rights, not the set's decisions, which may change as it grows."""
    return row_json({**row, **{key: value for key, value in _rights(rights).items() if value}})


def _rights(text: str) -> dict[str, str]:
    return dict(json.loads(text)) if text else {}


def _fingerprints(state: State, decisions: Decisions, plan: Sequence[_ShardPlan], final_key: str) -> list[str]:
    """Return what decides the bytes of each planned shard, as a hash."""
    shard_of = {id: index for index, shard in enumerate(plan) for id in shard.ids}
    hashes = [hashlib.sha256(f"{final_key}\0{shard.name}".encode()) for shard in plan]
    for id, work_key, _, text, rights in state.heads():
        if id in shard_of and decisions.rows[id].work_key == work_key:
            hashes[shard_of[id]].update(f"\0{id}\0{work_key}\0{text}\0{rights}".encode())
    return [digest.hexdigest() for digest in hashes]


def _write_shards(
    out: Path,
    state: State,
    cache: StageCache,
    plan: Sequence[_ShardPlan],
    prints: Sequence[str],
    final_key: str,
    observer: Observer,
) -> tuple[list[store.ShardEntry], dict[str, tuple[str, int, int, int]]]:
    """Write the shards that changed and return every entry, and (shard, index, offset, num_bytes) of every sample."""
    entries: list[store.ShardEntry] = []
    placed: dict[str, tuple[str, int, int, int]] = {}
    for shard, print_ in zip(plan, prints, strict=True):
        known = state.shard(shard.name)
        path = out / shard.name
        if known and known[0] == print_ and path.is_file() and path.stat().st_size == known[1]["num_bytes"]:
            entry, places = store.ShardEntry(**known[1]), known[2]
        else:
            _unlink_header(out)
            entry, written = write_shard(path, shard.split, _samples(state, cache, shard, final_key))
            places = [[item.id, item.index, item.offset, item.num_bytes] for item in written]
            state.set_shard(shard.name, print_, to_plain(entry), places)
            observer.tick()
        entries.append(entry)
        placed.update({id: (shard.name, index, offset, size) for id, index, offset, size in places})
    return entries, placed


def _samples(state: State, cache: StageCache, shard: _ShardPlan, final_key: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield a shard's samples with their members, the JSON one included."""
    for id in shard.ids:
        work_key, row, rights = state.head(id)
        payload = cache.read(work_key, final_key)
        members = unpack(payload)["members"].get(id) if payload is not None else None
        if members is None:
            state.forget(work_key)
            raise CacheLost(f"sample {id} is gone from the stage cache; rerun the same command to make it anew")
        yield id, {**members, "json": _record(json.loads(row), rights)}


def _tables(
    state: State, decisions: Decisions, placed: Mapping[str, tuple[str, int, int, int]], chain: str
) -> Iterator[pa.Table]:
    """Yield the manifest in batches of rows, by id."""
    schema = decisions.schema()
    batch: list[dict[str, Any]] = []
    for id, work_key, _, text, rights in state.heads():
        decision = decisions.rows[id]
        if decision.work_key != work_key:
            continue
        row = {key: value for key, value in json.loads(text).items() if key != "landmarks"}
        row.update(_rights(rights), **decision.columns(), chain=chain, synthetic=row.get("synthetic", False))
        if id in placed:
            row["shard"], row["index_in_shard"], row["offset"], row["num_bytes"] = placed[id]
        batch.append(flatten(row))
        if len(batch) == _BATCH:
            yield to_table(batch, schema)
            batch = []
    if batch:
        yield to_table(batch, schema)


def _counts(state: State, decisions: Decisions) -> tuple[dict[str, int], dict[str, int]]:
    """Return inputs by outcome and heads by status, and rows by reason; a file counts as kept where any head of it is."""
    state.settle_files(decisions.files())
    counts = {"inputs": 0, "kept": 0, "dropped": 0, "failed": 0, "duplicate": 0, "not_image": 0}
    for outcome, count in state.outcomes():
        counts[outcome or "failed"] += count
        counts["inputs"] += count
    reasons = Counter(decision.reason for decision in decisions.rows.values() if decision.reason)
    heads = Counter(f"heads_{decision.status}" for decision in decisions.rows.values())
    splits = Counter(f"samples_{decision.split}" for decision in decisions.rows.values() if decision.status == "kept")
    return {**counts, **dict(sorted(heads.items())), **dict(sorted(splits.items()))}, dict(sorted(reasons.items()))


def _write_origins(out: Path, state: State) -> str:
    """Write where every input lay and what came of it; returns the file's sha256, and writes nothing where it is the same."""
    schema = pa.schema([(name, pa.string()) for name in ("source", "path", "sha256", "outcome", "reason", "detail")])

    def tables() -> Iterator[pa.Table]:
        for page in state.origin_pages(_BATCH):
            columns = [[_printable(value) for value in column] for column in zip(*page, strict=True)]
            yield pa.table([pa.array(column, pa.string()) for column in columns], schema=schema)

    return store.write_table(out / store.ORIGINS, tables(), schema)


def _printable(text: str) -> str:
    """Write bytes of a name that are no UTF-8 as \\udcXX escapes, which parquet can hold."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _write_quarantine(out: Path, state: State, decisions: Decisions, cache: StageCache, final_key: str) -> None:
    """Keep small pictures of what was refused, the first by id for each reason; pointers are in the origins table."""
    wanted: dict[str, list[str]] = {}
    for id, decision in decisions.rows.items():
        if decision.reason and len(wanted.setdefault(decision.reason, [])) < _THUMBNAILS:
            wanted[decision.reason].append(id)
    folder = out / QUARANTINE
    present: set[Path] = set()
    for reason, ids in sorted(wanted.items()):
        for id in ids:
            payload = cache.read(decisions.rows[id].work_key, final_key)
            finished = unpack(payload) if payload is not None else {}
            thumb = finished.get("thumbs", {}).get(id)
            if thumb is None and id in finished.get("members", {}):
                members = finished["members"][id]
                thumb = members.get("jpg")
            if thumb is not None:
                path = folder / reason / f"{id}.jpg"
                present.add(path)
                if not path.is_file():
                    store.write_bytes(path, thumb)
    for path in sorted(folder.glob("*/*.jpg")):
        if path not in present:
            path.unlink()
    for path in sorted(folder.glob("*")):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _unlink_header(out: Path) -> None:
    """Take back the claim that the set is whole, before any part of it changes."""
    if (out / store.HEADER).exists():
        (out / store.HEADER).unlink()
        store.fsync_folder(out)


def _remove_strays(out: Path, entries: Sequence[store.ShardEntry]) -> None:
    """Delete shards that the header does not list."""
    names = {entry.name for entry in entries}
    for path in sorted(out.glob("*-??????.tar")):
        if path.name not in names:
            path.unlink()
