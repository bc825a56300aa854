"""Changing one's mind about a data set: work again on what failed for a reason, or take a picture down for good.

A data set that was merged names the parts that it was merged from: they hold the picture too, and are taken down with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...datasets.reasons import REASONS
from ...datasets.sources.names import shown
from ...manifests.config import ConfigError, fingerprint, unknown
from ...manifests.faults import printable
from ...manifests.lock import BuildLocked, writer_lock
from ...manifests.store import read, read_header
from ..console.progress import Silent
from ..execution.cache import StageCache
from ..execution.database import StateError, naming_faults
from ..execution.packing import pack
from ..recipe import Recipe
from ..stage import Stage
from .commit import Books, commit
from .folder import QUARANTINE, REQUEST, STATE, Tombstones, read_request
from .memory.state import State
from .parts import RECORD, PartOf, PartRecord
from .request import BuildRequest
from .shard_plan import file_stamp, members_of

_MERGED, _PLACE = "part ", "place of part "
"""Begin the names of facts: the stamp of a merged part's record, and where the part lies."""


class PartsLeft(BuildLocked):
    """A picture is taken down in a data set, but not in all parts that it was merged from."""

    done = ""
    """What was done, as a sentence."""


@dataclasses.dataclass(frozen=True)
class MergedPart:
    """A part as the memory of the data set that it was merged into names it."""

    name: PartOf
    mark: str
    """Stamp of its record when it was merged."""
    folder: Path

    @classmethod
    def of(cls, state: State, out: Path) -> list[MergedPart]:
        """Return the parts that a data set was merged from.

        Args:
            state: memory of the data set; where an earlier version wrote it, parts lie in the data set's own folder.
            out: that folder.
        """
        found = []
        for text, mark in state.facts(_MERGED).items():
            name, place = PartOf.parse(text), state.fact(_PLACE + text)
            found.append(cls(name, mark, out / json.loads(place) if place else name.folder(out)))
        return found

    def note(self, state: State, out: Path) -> None:
        """Remember that the part was merged, and where it lies."""
        here, there = out.resolve(), self.folder.resolve()
        state.begin()
        state.set_fact(f"{_MERGED}{self.name}", self.mark)
        state.set_fact(f"{_PLACE}{self.name}", json.dumps(str(there.relative_to(here) if here in there.parents else there)))
        state.commit()

    @property
    def is_there(self) -> bool:
        """Whether the folder holds this part, by its own records."""
        with contextlib.suppress(ConfigError):
            asked = read_request(self.folder).get("shard_of")
            return asked == str(self.name) and (self.folder / STATE / "state.sqlite").is_file()
        return False


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
        The request to build again, and the number of files; those that could not be read are worked on again anyway.

    Raises:
        ConfigError: there is no such reason, the folder was never built, or its request does not parse.
    """
    request = load_request(out, known)
    if reason not in REASONS:
        raise ConfigError(unknown(reason, REASONS, "reasons"))
    with held(out) as (state, cache):
        found, unread = state.with_reason(reason), state.inputs.unread_with(reason)
        cache.begin()
        for work_key in found:
            cache.remove(work_key)
        cache.commit()
        state.begin()
        state.forget(found)
        state.commit()
    return request, len(found) + unread


def forget(out: Path, what: str, known: Mapping[str, type[Stage]]) -> str:
    """Take a picture down: out of shards, manifest, cache and thumbnails, and out of every later build of this folder.

    Only the shards that held it are written again; its id stays as a tombstone, so that the others keep their bytes. It is
    taken down in the parts too that the data set was merged from, and so may `out` be a part.

    Args:
        out: folder of a data set, or of one part of it.
        what: id of a sample, sha256 of a file, or path of an input as the origins table has it (with or without its source).
        known: stage classes by name.

    Returns:
        A sentence that says what was done, and which parts were not found where they were merged from.

    Raises:
        ConfigError: nothing in the data set has that name, or several files have.
        ManifestError: the set is not finished; run its build-dataset command first.
        BuildLocked: another process writes the folder.
        PartsLeft: the folder is done, but some part cannot be written now; the same command finishes the takedown.
    """
    request = load_request(out, known)
    recipe = request.recipe.resolved()
    header = None if request.shard_of else read_header(out)
    if header is not None and fingerprint(recipe.chain()) not in header.chains:
        raise ConfigError(
            f"settings or models differ from those that {out} was built with; run its build-dataset command first"
        )
    with held(out) as (state, cache):
        tombstones = Tombstones.read(out)
        found = _found(what, state, tombstones)
        if not found and header is not None and header.counts.get("inputs") and not state.inputs.count()[0]:
            raise ConfigError(f"the memory of {out} in {STATE} is gone; run its build-dataset command, then this one")
        if not found:
            where = "it has nothing to take down" if request.shard_of else "see its origins.parquet"
            raise ConfigError(f"nothing in {out} has the id, path or sha256 '{shown(what)}'; {where}")
        gone = sorted({id for ids in found.values() for id in ids})
        table = None if request.shard_of else read(out, ["id", "split"]).table
        splits = {row["id"]: row["split"] for row in table.to_pylist()} if table is not None else {}
        # first of all: a takedown that is stopped behind this line is finished by the next command
        tombstones.sha256.update({sha256: {"ids": ids} for sha256, ids in found.items() if sha256})
        tombstones.ids.update({id: tombstones.ids.get(id) or {"split": splits.get(id) or ""} for id in gone})
        tombstones.write(out)
        shown_ids = f" ({', '.join(gone[:5])}{', ...' if len(gone) > 5 else ''})" if gone else ""
        done = f"took down {len(gone)} rows{shown_ids}"
        if request.shard_of:
            _take_down_part(out, state, cache, recipe.keys()[-1], tombstones)
            return done
        _take_down_set(Books(out, recipe, state, cache, tombstones, Silent()), gone)
        try:
            return done + _take_down_parts(out, state, recipe.keys()[-1], tombstones, [sha256 or what for sha256 in found])
        except PartsLeft as left:
            left.done = done
            raise


def _take_down_set(books: Books, gone: Sequence[str]) -> None:
    """Bring a data set to its tombstones: memory, cache, thumbnails, then shards and tables."""
    out, state, cache = books.out, books.state, books.cache
    take_down(state, cache, books.recipe.keys()[-1], books.tombstones)
    for id in gone:
        for thumbnail in (out / QUARANTINE).glob(f"*/{id}.jpg"):
            thumbnail.unlink()
    cache.remove_thumbs(gone)
    commit(books)
    _empty_journals(state, cache)


def _take_down_parts(out: Path, state: State, final_key: str, tombstones: Tombstones, keys: Sequence[str]) -> str:
    """Take down in the parts that a data set was merged from whatever it has taken down itself.

    Args:
        out: the data set, which holds the picture no more.
        state: its memory, which names the parts.
        final_key: of its recipe.
        tombstones: what is taken down.
        keys: what was asked for now, as ids or sha256.

    Returns:
        How many parts it was and which are not where they were; a clause of a sentence, empty without parts.

    Raises:
        PartsLeft: some of the parts cannot be written; all others are done.
    """
    done, lost, left = 0, list[str](), list[str]()
    for part in MergedPart.of(state, out):
        if not part.is_there:
            if part.folder != part.name.folder(out) or part.folder.exists():
                lost.append(f"part {part.name} ({printable(str(part.folder))})")
            continue
        try:
            with held(part.folder) as (memory, cache):
                own = Tombstones.read(part.folder)
                own.take_in(tombstones)
                own.write(part.folder)
                is_as_merged = _mark(part.folder) == part.mark
                _take_down_part(part.folder, memory, cache, final_key, own)
                if is_as_merged:
                    dataclasses.replace(part, mark=_mark(part.folder)).note(state, out)
        except (BuildLocked, StateError, ConfigError, OSError) as error:
            left.append(f"part {part.name}: {error}")
            continue
        done += 1
    if left:
        raise PartsLeft(
            f"the picture is taken down in {out}, but {len(left)} of the parts that it was merged from hold it still; "
            f"rerun this command when they can be written:\n  {printable('; '.join(left))}"
        )
    text = f", and in {done} part{'s' * (done != 1)} that it was merged from" if done else ""
    if lost:
        commands = " and ".join(f"spherehead forget {shown(key)} --out FOLDER" for key in keys)
        text += (
            f". These parts are not where they were merged from, and what is kept of them may hold the picture: "
            f"{', '.join(lost)}; for the folder of each that you keep, run {commands}"
        )
    return text


def _mark(folder: Path) -> str:
    """Return the stamp of a part's record, empty where the part is not finished."""
    return file_stamp(folder / RECORD) if (folder / RECORD).is_file() else ""


def _take_down_part(folder: Path, state: State, cache: StageCache, final_key: str, tombstones: Tombstones) -> None:
    """Bring a part to its tombstones, and its record to what is left of its inputs."""
    record = PartRecord.read(folder)
    take_down(state, cache, record.keys[-1] if record is not None else final_key, tombstones)
    cache.remove_thumbs(tombstones.ids)
    _empty_journals(state, cache)
    outcomes = dict(state.inputs.outcomes())
    if record is not None and record.outcomes != outcomes:
        dataclasses.replace(record, outcomes=outcomes).write(folder)


def _empty_journals(state: State, cache: StageCache) -> None:
    """Leave nothing readable of what was deleted in the databases' journals."""
    for database in (state.db, cache.db):
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


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


def _found(what: str, state: State, tombstones: Tombstones) -> dict[str, list[str]]:
    """Return what a name means: sha256 of a file -> ids to take down; an empty sha256 where the id of one head is meant.

    What is taken down already is found too: a takedown that was stopped is finished by the same command.

    Raises:
        ConfigError: several files have the path.
    """
    if what in tombstones.ids:
        return {"": [what]}
    if re.fullmatch(r"[0-9a-f]{16}", what):
        heads = [(work_key, head) for work_key in state.work_keys_with(what) for head in state.head_ids(work_key)]
        ids = [head for work_key, head in heads if head == what or state.parent_of(work_key, head) == what]
        return {"": ids} if ids else {}
    found = {}
    for sha256 in [what] if what in tombstones.sha256 else _meant(what, state):
        present = [id for work_key in state.work_keys(sha256) for id in state.head_ids(work_key)]
        before = tombstones.sha256.get(sha256, {"ids": [sha256[:16]]}).get("ids", [])  # earlier versions noted none
        found[sha256] = sorted({*present, *before} if sha256 in tombstones.sha256 else present or before)
    return found


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
                state.begin()
                state.empty(work_key)
                state.commit()
    for id in tombstones.ids:
        for work_key in state.work_keys_with(id):
            members = members_of(cache, work_key, final_key)
            cache.begin()
            cache.remove(work_key)
            if state.head_ids(work_key) != [id]:
                cache.set_members(work_key, final_key, pack({head: parts for head, parts in members.items() if head != id}))
            cache.commit()
            state.begin()
            state.remove_heads(work_key, [id])
            state.commit()
