"""Changing one's mind about a data set: work again on what failed for a reason, or take a picture down for good."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...datasets.sources.names import shown
from ...manifests.config import ConfigError, fingerprint
from ...manifests.lock import writer_lock
from ...manifests.store import read, read_header
from ..console.progress import Silent
from ..execution.cache import StageCache
from ..execution.database import naming_faults
from ..execution.packing import pack
from ..recipe import Recipe
from ..stage import Stage
from .commit import Books, commit
from .folder import QUARANTINE, REQUEST, STATE, Tombstones, read_request
from .memory.state import State
from .request import BuildRequest
from .shard_plan import members_of


def load_request(out: Path, known: Mapping[str, type[Stage]]) -> BuildRequest:
    """Read back what a folder was asked to be.

    Args:
        out: folder of a data set.
        known: stage classes by name, see `presets.STAGES`.

    Raises:
        ConfigError: the folder was never built, or its request does not parse.
    """
    plain = read_request(out)
    if not plain:
        raise ConfigError(f"no {REQUEST} in {out}; expected a folder that build-dataset wrote")
    plain.pop("shards", None)
    try:
        recipe = Recipe.from_plain(plain.pop("recipe"), known)
        sources = tuple(plain.pop("sources"))
        return dataclasses.replace(BuildRequest(sources, out, recipe), **plain)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{out / REQUEST} does not parse: {error}") from error


@contextlib.contextmanager
def held(out: Path) -> Iterator[tuple[State, StageCache]]:
    """Open a data set's memory and cache as its only writer."""
    folder = out / STATE
    with (
        naming_faults(folder),
        writer_lock(folder / "lock"),
        contextlib.closing(State(folder / "state.sqlite")) as state,
        contextlib.closing(StageCache(folder / "cache.sqlite")) as cache,
    ):
        yield state, cache


def retry(out: Path, reason: str, known: Mapping[str, type[Stage]]) -> tuple[BuildRequest, int]:
    """Throw away every result that ended with a reason, so that the next build works on those files again.

    Returns:
        The request to build again, and the number of files.
    """
    request = load_request(out, known)
    with held(out) as (state, cache):
        found = state.with_reason(reason)
        cache.begin()
        for work_key in found:
            cache.remove(work_key)
        cache.commit()
        state.begin()
        state.forget(found)
        state.commit()
    return request, len(found)


def forget(out: Path, what: str, known: Mapping[str, type[Stage]]) -> str:
    """Take a picture down: out of shards, manifest, cache and thumbnails, and out of every later build of this folder.

    Only the shards that held it are written again; its id stays as a tombstone, so that the others keep their bytes.

    Args:
        out: folder of a data set.
        what: id of a sample, sha256 of a file, or path of an input as the origins table has it (with or without its source).
        known: stage classes by name.

    Returns:
        A sentence that says what was done.

    Raises:
        ConfigError: nothing in the data set has that name, or several files have.
        ManifestError: the set is not finished; run its build-dataset command first.
    """
    recipe = load_request(out, known).recipe.resolved()
    if fingerprint(recipe.chain()) not in read_header(out).chains:
        raise ConfigError(
            f"settings or models differ from those that {out} was built with; run its build-dataset command first"
        )
    with held(out) as (state, cache):
        tombstones = Tombstones.read(out)
        splits = {row["id"]: row["split"] for row in read(out, ["id", "split"]).table.to_pylist()}
        found = _found(what, state)
        if not found:
            text = f"nothing in {out} has the id, path or sha256 '{shown(what)}'; see its origins.parquet"
            raise ConfigError(text)
        gone = sorted({id for ids in found.values() for id in ids})
        # first of all: a takedown that is stopped behind this line is finished by the next command
        tombstones.sha256.update({sha256: {} for sha256 in found if sha256})
        tombstones.ids.update({id: tombstones.ids.get(id) or {"split": splits.get(id) or ""} for id in gone})
        tombstones.write(out)
        take_down(state, cache, recipe.keys()[-1], tombstones)
        for id in gone:
            for thumbnail in (out / QUARANTINE).glob(f"*/{id}.jpg"):
                thumbnail.unlink()
        cache.remove_thumbs(gone)
        commit(Books(out, recipe, state, cache, tombstones, Silent()))
        for database in (state.db, cache.db):  # what was deleted must not stay readable in the journals
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return f"took down {len(gone)} rows ({', '.join(gone[:5])}{', ...' if len(gone) > 5 else ''})"


def _meant(what: str, state: State) -> list[str]:
    """Return the digest of the file that a path or sha256 names.

    Raises:
        ConfigError: several files have the path.
    """
    found = state.inputs.matching(what)
    digests = sorted({sha256 for _, _, sha256 in found})
    if len(digests) > 1:
        places = "\n  ".join(shown(f"{label}/{path}  {sha256[:16]}...") for label, path, sha256 in found)
        raise ConfigError(f"'{shown(what)}' names {len(digests)} files; give one with its source, or its sha256:\n  {places}")
    return digests


def _found(what: str, state: State) -> dict[str, list[str]]:
    """Return what a name means: sha256 of a file -> ids to take down; an empty sha256 where the id of one head is meant.

    Raises:
        ConfigError: several files have the path.
    """
    if re.fullmatch(r"[0-9a-f]{16}", what):
        heads = [(work_key, head) for work_key in state.work_keys_with(what) for head in state.head_ids(work_key)]
        ids = [head for work_key, head in heads if head == what or state.parent_of(work_key, head) == what]
        return {"": ids} if ids else {}
    return {
        sha256: [id for work_key in state.work_keys(sha256) for id in state.head_ids(work_key)] or [sha256[:16]]
        for sha256 in _meant(what, state)
    }


def take_down(state: State, cache: StageCache, final_key: str, tombstones: Tombstones) -> None:
    """Remove from memory and cache whatever is taken down; nothing is written where that is done already.

    Args:
        state: the build's memory.
        cache: the stage cache.
        final_key: of the recipe.
        tombstones: what is taken down.
    """
    for sha256 in tombstones.sha256:
        for work_key in state.work_keys(sha256):
            if not state.is_taken_down(work_key):
                cache.remove(work_key)
                state.empty(work_key)
    for id in tombstones.ids:
        for work_key in state.work_keys_with(id):
            members = members_of(cache, work_key, final_key)
            cache.remove(work_key)
            if state.head_ids(work_key) != [id]:
                cache.set_members(work_key, final_key, pack({head: parts for head, parts in members.items() if head != id}))
            state.remove_heads(work_key, [id])
