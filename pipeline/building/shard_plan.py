"""Kept heads cut into shards, and the shards that changed written anew from the stage cache.

What is kept, and in which split, is decided by `set_decisions`; the tables beside the shards are `commit`'s.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...datasets.shards.codec import IMAGE_SUFFIXES, row_json
from ...datasets.shards.tar import write_shard
from ...manifests import store
from ...manifests.config import to_plain
from ..execution.cache import StageCache
from ..execution.packing import unpack
from .folder import Tombstones
from .memory.head_rows import rights_of
from .memory.state import State
from .set_decisions import Decisions, Place


class CacheLost(RuntimeError):
    """Finished samples are missing from the stage cache, or what is there is not theirs."""

    work_keys: tuple[str, ...] = ()
    """Names of the contents that must be worked on again."""

    @classmethod
    def of(cls, work_keys: Sequence[str]) -> CacheLost:
        """Name the contents."""
        lost = cls(
            f"{len(work_keys):,} finished photographs are gone from the stage cache; rerun the same build-dataset command "
            "to make them again"
        )
        lost.work_keys = tuple(work_keys)
        return lost


@dataclass(frozen=True)
class ShardPlan:
    """One shard to be: its name and the ids in it."""

    name: str
    split: str
    ids: tuple[str, ...]


def cut(decisions: Decisions, tombstones: Tombstones, shard_size: int) -> list[ShardPlan]:
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
                plans.append(ShardPlan(f"{split}-{number:06d}.tar", split, present))
    return plans


def _record(row: Mapping[str, Any], rights: str) -> bytes:
    """Return the JSON member: facts of the content and its rights, not the set's decisions, which may change as it grows."""
    return row_json({**row, **{key: value for key, value in rights_of(rights).items() if value}})


def fingerprints(state: State, decisions: Decisions, plan: Sequence[ShardPlan], final_key: str) -> list[str]:
    """Return what decides the bytes of each planned shard, as a hash."""
    shard_of = {id: index for index, shard in enumerate(plan) for id in shard.ids}
    hashes = [hashlib.sha256(f"{final_key}\0{shard.name}".encode()) for shard in plan]
    for id, work_key, _, text, rights in state.heads("kept"):
        if id in shard_of and decisions.rows[id].work_key == work_key:
            hashes[shard_of[id]].update(f"\0{id}\0{work_key}\0{text}\0{rights}".encode())
    return [digest.hexdigest() for digest in hashes]


def file_stamp(path: Path) -> str:
    """Return what tells that nobody wrote to a file since: size, times and inode."""
    found = path.stat()
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}-{found.st_ino}"


@dataclass
class ShardWriter:
    """Brings the shards of a data set to what is planned; those that would come out the same are left alone."""

    out: Path
    state: State
    cache: StageCache
    final_key: str
    before_change: Callable[[], None]
    """Called before the first file changes."""
    check: Callable[[], None]
    """Called between samples; may raise to stop."""
    unread: int = 0
    """Shards that were taken to be whole because nobody wrote to them since."""
    unread_bytes: int = 0

    def write(self, plan: Sequence[ShardPlan], prints: Sequence[str]) -> tuple[list[store.ShardEntry], dict[str, Place]]:
        """Write the shards that changed and return every entry and the place of every sample.

        Raises:
            CacheLost: samples are missing; every other shard that had to be written is.
        """
        entries: list[store.ShardEntry] = []
        placed: dict[str, Place] = {}
        lost: list[str] = []
        for shard, print_ in zip(plan, prints, strict=True):
            self.check()
            known = self._known(shard.name, print_)
            if known is None:
                self.before_change()
                gone = list[str]()
                known = self._write(shard, print_, gone)
                lost += gone
            if known is not None:
                entry, places = known
                entries.append(entry)
                placed.update({id: (shard.name, index, offset, size) for id, index, offset, size in places})
        if lost:
            raise CacheLost.of(lost)
        return entries, placed

    def are_whole(self, entries: Sequence[store.ShardEntry]) -> bool:
        """Return whether every shard is there as it was noted when it was written."""
        for entry in entries:
            self.check()
            known = self.state.shard(entry.name)
            found = None if known is None else self._known(entry.name, known.fingerprint)
            if found is None or found[0] != entry:
                return False
        return True

    def _known(self, name: str, print_: str) -> tuple[store.ShardEntry, list[list[Any]]] | None:
        """Return entry and places of a shard that is as it should be; its content is read where somebody wrote to it."""
        known, path = self.state.shard(name), self.out / name
        if known is None or known.fingerprint != print_ or not path.is_file():
            return None
        entry, stamp = store.ShardEntry(**known.entry), file_stamp(path)
        if stamp == known.stamp:
            self.unread += 1
            self.unread_bytes += entry.num_bytes
        elif path.stat().st_size != entry.num_bytes or store.file_sha256(path) != entry.sha256:
            return None
        else:
            self.state.set_shard(name, print_, known.entry, known.places, stamp)
        return entry, known.places

    def _write(self, shard: ShardPlan, print_: str, lost: list[str]) -> tuple[store.ShardEntry, list[list[Any]]] | None:
        """Write a shard; where samples of it are lost, name their contents and write nothing."""
        path = self.out / shard.name
        try:
            entry, written = write_shard(path, shard.split, self._samples(shard))
        except _SampleLost:
            for id in shard.ids:
                self.check()
                work_key, row, _ = self.state.head(id)
                if self._members(id, work_key, row) is None:
                    lost.append(work_key)
            return None
        places: list[list[Any]] = [[item.id, item.index, item.offset, item.num_bytes] for item in written]
        self.state.set_shard(shard.name, print_, to_plain(entry), places, file_stamp(path))
        return entry, places

    def _samples(self, shard: ShardPlan) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Yield a shard's samples with their members, the JSON one included."""
        for id in shard.ids:
            self.check()
            work_key, row, rights = self.state.head(id)
            members = self._members(id, work_key, row)
            if members is None:
                raise _SampleLost
            yield id, {**members, "json": _record(json.loads(row), rights)}

    def _members(self, id: str, work_key: str, row: str) -> dict[str, bytes] | None:
        """Return the encoded members of a head, or None where they are not those that its row speaks of."""
        members = members_of(self.cache, work_key, self.final_key).get(id)
        if members is None:
            return None
        image = next((members[suffix] for suffix in IMAGE_SUFFIXES if suffix in members), b"")
        return members if hashlib.sha256(image).hexdigest() == json.loads(row).get("image_sha256") else None


class _SampleLost(Exception):
    pass


def members_of(cache: StageCache, work_key: str, final_key: str) -> dict[str, dict[str, bytes]]:
    """Return the encoded members of a content's kept heads by id; none where they are lost."""
    packed = cache.members(work_key, final_key)
    return {} if packed is None else dict(unpack(packed))


def remove_strays(out: Path, state: State, own: set[str], entries: Sequence[store.ShardEntry]) -> None:
    """Remove shards of earlier builds of this folder that are no part of the set any more."""
    names = {entry.name for entry in entries}
    for name in sorted((own | state.shard_names()) - names):
        path = out / name
        if path.is_file() and not path.is_symlink():
            path.unlink()
        state.forget_shard(name)
