"""The last part of a build: decided rows into shards, manifest, origins and quarantine, each whole or absent.

The header, written last, is what makes a set exist; it is removed before the first shard changes. Shards that would come out
the same are left alone. What is kept, and in which split, is decided by `set_decisions`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from ... import __version__
from ...datasets.shards import tar
from ...manifests import store
from ...manifests.config import fingerprint
from ...manifests.schema import HEADER_VERSION
from ..console.progress import Observer
from ..execution.cache import StageCache
from ..execution.environment import environment
from ..recipe import Recipe
from .folder import Tombstones, claim_shards, own_shards
from .memory.head_rows import PAGE, rights_of
from .memory.state import State
from .memory.tables import HAS_DIGEST, SETTLED
from .quarantine import Quarantine
from .set_decisions import Decisions, decide
from .shard_plan import ShardWriter, cut, file_stamp, fingerprints, remove_strays

_Page = TypeVar("_Page")


@dataclass(frozen=True)
class Committed:
    """What was written."""

    counts: dict[str, int]
    reasons: dict[str, int]
    samples: dict[str, int]
    num_shards: int


@dataclass(frozen=True)
class Books:
    """What a commit reads and notes down."""

    out: Path
    recipe: Recipe
    """Resolved."""
    state: State
    cache: StageCache
    tombstones: Tombstones
    observer: Observer
    check: Callable[[], None] = lambda: None
    """Called between pieces of work; may raise to stop."""


def preload(is_packing: bool) -> None:
    """Import what `commit` of a changed set needs, so that the time it takes is that of its rows.

    Args:
        is_packing: whether there are heads to pack.
    """
    import scipy.sparse.csgraph  # noqa: F401

    pa.array([""])  # has pyarrow import pandas
    if is_packing:
        tar.preload()


def commit(books: Books) -> Committed:
    """Decide over all heads and write the set; nothing is touched where everything would come out the same.

    Raises:
        CacheLost: parts of the stage cache were damaged or deleted; what can be written is.
        ConfigError: somebody else's file lies where a shard is to be written.
    """
    out, recipe, state = books.out, books.recipe, books.state
    versions = environment()
    decisive = _decisive(books, versions)
    settled = _settled(books, decisive)
    if settled is not None:
        return settled
    state.choose()
    books.check()
    decisions = decide(state, recipe)
    books.check()
    plan = cut(decisions, books.tombstones, recipe.shard_size)
    own = own_shards(out) | state.shard_names()
    claim_shards(out, [shard.name for shard in plan], own)
    final_key = recipe.keys()[-1]
    writer = ShardWriter(out, state, books.cache, final_key, lambda: _unlink_header(out), books.check)
    entries, placed = writer.write(plan, fingerprints(state, decisions, plan, final_key))
    chain = fingerprint(recipe.chain())
    counts, reasons = _counts(state, decisions)
    conflicts = _note_conflicts(state)
    origins_sha = _write_origins(out, state, books.check)
    gone = sorted(books.tombstones.ids)
    facts = fingerprint(
        [entries, counts, reasons, chain, recipe.provenance(), versions, decisions.fingerprint(), origins_sha, gone], 64
    )
    if not _is_written(out, state, facts):
        quarantine = Quarantine(out, state, books.cache, recipe, books.check)
        pictures = quarantine.collect(decisions)
        _unlink_header(out)
        rows = _checked(decisions.tables(placed, chain), books.check)
        sha256 = store.write_table(out / store.MANIFEST, rows, decisions.schema())
        quarantine.write(pictures)
        remove_strays(out, state, own, entries)
        header = store.Header(
            HEADER_VERSION, __version__, recipe.provenance(), {chain: recipe.chain()}, versions, counts, reasons,
            tuple(entries), sha256, tuple(gone),
        ).sealed()  # fmt: skip
        books.check()
        store.write_json(out / store.HEADER, header)
        _note_written(out, state, facts, header.digest)
    else:
        remove_strays(out, state, own, entries)
    _note_settled(out, state, decisive, origins_sha, conflicts)
    return _told(books, writer, counts, reasons, entries, conflicts)


def _decisive(books: Books, versions: dict[str, str]) -> str:
    """Return what decides the set beside the state's contents, heads and origins, as one text."""
    recipe, tombstones = books.recipe, books.tombstones
    facts = [recipe.chain(), recipe.provenance(), versions, tombstones.sha256, tombstones.ids]
    return f"{books.state.chain_id(recipe.keys())}:{fingerprint(facts, 64)}"


def _settled(books: Books, decisive: str) -> Committed | None:
    """Return what was written where nothing that decides it has changed since, and nobody wrote to the files; else None."""
    out, state = books.out, books.state
    if state.fact(SETTLED) != decisive:
        return None
    header = _header_as_written(out, state)
    path, (sha256, stamp) = out / store.ORIGINS, json.loads(state.fact("origins"))
    if header is None or not path.is_file() or (file_stamp(path) != stamp and store.file_sha256(path) != sha256):
        return None
    writer = ShardWriter(out, state, books.cache, books.recipe.keys()[-1], lambda: None, books.check)
    if not writer.are_whole(header.shards):
        return None
    remove_strays(out, state, own_shards(out), header.shards)
    return _told(books, writer, header.counts, header.reasons, header.shards, int(state.fact("conflicts")))


def _told(
    books: Books,
    writer: ShardWriter,
    counts: dict[str, int],
    reasons: dict[str, int],
    entries: Sequence[store.ShardEntry],
    conflicts: int,
) -> Committed:
    """Say what a person should know of a set, and return what it holds."""
    if conflicts:
        what = "photograph is" if conflicts == 1 else "photographs are"
        told = f"{conflicts} {what} listed with different rights or labels; {store.ORIGINS} says which are taken"
        books.observer.message(told)
    if writer.unread:
        books.observer.message(
            f"{writer.unread:,} shards ({writer.unread_bytes:,} bytes) have the sizes and times with which this program wrote "
            f"them; their content was not read again (spherehead shards verify {books.out} does)"
        )
    samples = Counter[str]()
    for entry in entries:
        samples[entry.split] += entry.count
    return Committed(counts, reasons, dict(sorted(samples.items())), len(entries))


def _is_written(out: Path, state: State, facts: str) -> bool:
    """Return whether header and table of these facts are there, and nobody wrote to them since."""
    return state.fact("header") == facts and _header_as_written(out, state) is not None


def _header_as_written(out: Path, state: State) -> store.Header | None:
    """Return the header where it and its table are those that were written last, else None."""
    table = out / store.MANIFEST
    try:
        header = store.read_header(out)
    except store.ManifestError:
        return None
    if not header.is_genuine or header.digest != state.fact("digest") or not table.is_file():
        return None
    is_same = file_stamp(table) == state.fact("table") or store.file_sha256(table) == header.manifest_sha256
    return header if is_same else None


def _note_written(out: Path, state: State, facts: str, digest: str) -> None:
    """Note what was written, for `_is_written`."""
    state.begin()
    for name, value in (("header", facts), ("digest", digest), ("table", file_stamp(out / store.MANIFEST))):
        state.set_fact(name, value)
    state.commit()


def _note_settled(out: Path, state: State, decisive: str, origins_sha: str, conflicts: int) -> None:
    """Note what the finished set was made from, for `_settled`."""
    state.begin()
    state.set_fact("origins", json.dumps([origins_sha, file_stamp(out / store.ORIGINS)]))
    state.set_fact("conflicts", str(conflicts))
    state.set_fact(SETTLED, decisive)
    state.commit()


def _counts(state: State, decisions: Decisions) -> tuple[dict[str, int], dict[str, int]]:
    """Return inputs by outcome and heads by status, and rows by reason; a file counts as kept where any head of it is."""
    state.inputs.settle_files(decisions.files(state.told_otherwise()))
    counts = {"inputs": 0, "kept": 0, "dropped": 0, "failed": 0, "duplicate": 0, "not_image": 0}
    for outcome, count in state.inputs.outcomes():
        counts[outcome or "failed"] += count
        counts["inputs"] += count
    heads = {f"heads_{status}": count for status, count in decisions.statuses().items()}
    splits = Counter(f"samples_{decision.split}" for decision in decisions.rows.values() if decision.status == "kept")
    return {**counts, **dict(sorted(heads.items())), **dict(sorted(splits.items()))}, dict(sorted(decisions.reasons().items()))


def _note_conflicts(state: State) -> int:
    """Write to the inputs of one content what they say otherwise than the set does of it; returns how many contents.

    Told are rights that differ from the chosen ones, and cameras, masks or maps that are not used.
    """
    digest = "coalesce(c.sha256, c.work_key)"
    several = state.db.execute(
        f"SELECT {digest} FROM origins o JOIN contents c ON c.number = o.content WHERE o.outcome IN ('kept','duplicate')"
        " GROUP BY 1 HAVING count(DISTINCT nullif(o.rights, '')) > 1 OR count(DISTINCT o.content) > 1 ORDER BY 1"
    ).fetchall()
    contents = 0
    for (sha256,) in several:
        by = {"sha256": sha256}
        chosen = state.db.execute(
            f"SELECT s.content, s.rights FROM contents c JOIN chosen s ON s.content = c.number WHERE {HAS_DIGEST}", by
        ).fetchone()
        rows = state.db.execute(
            f"SELECT o.number, o.content, o.rights FROM contents c JOIN origins o ON o.content = c.number WHERE {HAS_DIGEST}"
            " AND o.outcome IN ('kept','duplicate') AND coalesce(o.detail, '') = '' ORDER BY o.number",
            by,
        ).fetchall()
        ours, found = rights_of(chosen[1]), False
        for number, content, text in rows:
            mine = rights_of(text)
            words = [] if content == chosen[0] else ["another camera, mask or map than the one that is used"]
            words += [f"{name} {mine[name]!r}, taken is {ours.get(name)!r}" for name in mine if mine[name] != ours.get(name)]
            if words:
                told = "listed here with " + "; ".join(words)
                state.db.execute("UPDATE origins SET detail=? WHERE number=?", (told, number))
                found = True
        contents += found
    return contents


def _write_origins(out: Path, state: State, check: Callable[[], None]) -> str:
    """Write where every input lay and what came of it; returns the file's sha256, and writes nothing where it is the same."""
    schema = pa.schema([(name, pa.string()) for name in ("source", "path", "sha256", "outcome", "reason", "detail")])

    pages = _checked(state.inputs.pages(PAGE), check)
    tables = (pa.table([_texts(column) for column in zip(*page, strict=True)], schema=schema) for page in pages)
    return store.write_table(out / store.ORIGINS, tables, schema)


def _checked(pages: Iterable[_Page], check: Callable[[], None]) -> Iterator[_Page]:
    """Yield pages, with a chance to stop before each."""
    for page in pages:
        check()
        yield page


def _texts(column: Sequence[str]) -> pa.Array:
    """Return a column; bytes of names that are no UTF-8 become \\udcXX escapes, which parquet can hold."""
    try:
        return pa.array(column, pa.string())
    except UnicodeEncodeError:
        return pa.array([text.encode("utf-8", "backslashreplace").decode("utf-8") for text in column], pa.string())


def _unlink_header(out: Path) -> None:
    """Take back the claim that the set is whole, before any part of it changes."""
    if (out / store.HEADER).exists():
        (out / store.HEADER).unlink()
        store.fsync_folder(out)
