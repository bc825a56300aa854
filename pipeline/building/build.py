"""One build from sources to a finished data set: list, work, decide, pack; safe to kill at any moment and to run again.

The work on one file is `worker`'s, processes are the engines', decisions over all heads are `set_decisions`'s, and writing the
set is `commit`'s. This module holds them together and keeps the books.
"""

from __future__ import annotations

import bisect
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ...datasets.sample import Rights, SourceImage
from ...datasets.sources.base import Source
from ...manifests import store
from ...manifests.config import ConfigError, from_plain
from ...manifests.lock import writer_lock
from ...manifests.signals import GRACE_SECONDS, Interrupted, StopSignals
from ..console.progress import Observer, Silent
from ..engines.base import Limits, Parent
from ..execution.cache import StageCache
from ..execution.database import naming_faults
from ..execution.environment import environment
from ..execution.guard import AbortGuard
from ..execution.placement import Placement
from ..execution.rows import named
from ..execution.spent import Spent
from ..execution.work import Answer, FileResult, Task, WorkOrder
from ..recipe import Recipe
from ..synthetic.derived_source import DerivedSource
from .commit import Books, Committed, commit, preload
from .derived import kept_heads
from .folder import RUN, STATE, Tombstones, own_shards, sweep
from .inputs import InputRow, Opened, derived_rows, input_rows
from .known_cameras import KnownCameras
from .memory.state import State
from .parts import Listing, PartOf, own_rows, record_of, unfinish
from .quarantine import MOST
from .request import (
    AccountingError,
    BuildAborted,
    BuildInterrupted,
    BuildRequest,
    Summary,
    check_request,
    claim_folder,
    open_engine,
    whole_set,
)
from .shard_plan import CacheLost
from .takedown import take_down

log = logging.getLogger(__name__)

_Check = Callable[[], None]
_FLUSH_SECONDS = 1.0
_REMAKES = 3
"""Times that finished samples which are gone from the stage cache are made again in one run."""


def build(request: BuildRequest, observer: Observer | None = None) -> Summary:
    """Build a data set, or resume building it.

    Raises:
        ConfigError: the request does not fit the folder, a source or this machine.
        StateError: a database in `.state` cannot be used.
        BuildLocked, BuildAborted, BuildInterrupted, AccountingError, EngineError: see there.
    """
    observer = observer or Silent()
    books = Spent()
    check_request(request)
    state_folder = request.out / STATE
    with StopSignals(GRACE_SECONDS) as signals:
        try:
            opened = Opened.of(request.sources, request.recipe, request.follow_links)  # before anything is written
            with naming_faults(state_folder), writer_lock(state_folder / "lock") as check_folder:
                committed = _build(request, opened, observer, books, signals, check_folder)
        except Interrupted as stop:
            raise BuildInterrupted(stop.signum) from None
        except Exception as error:
            if signals.signum and _is_interrupt(error):
                raise BuildInterrupted(signals.signum) from None
            raise
        summary = _summarise(request, committed, books)
    observer.finished(summary.counts, summary.seconds)
    return summary


def _is_interrupt(error: Exception) -> bool:
    cause = error.__cause__
    return isinstance(cause, sqlite3.Error) and cause.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT


def _build(
    request: BuildRequest, opened: Opened, observer: Observer, books: Spent, signals: StopSignals, check_folder: _Check
) -> Committed:
    """Do the work of `build` as the only writer of the folder."""
    sources, cameras, recipe = opened
    claim_folder(request)
    if request.shard_of:
        unfinish(request.out)
    for step in recipe.chain():
        weights = f", weights {', '.join(step['weights'])}" if step["weights"] else ""
        observer.message(f"{step['stage']}: {step['backend']} {step['backend_version']}{weights}")
    state = State(request.out / STATE / "state.sqlite")
    try:
        cache = StageCache(request.out / STATE / "cache.sqlite")
        try:
            for database in (state.db, cache.db):
                database.set_progress_handler(lambda: signals.overdue, 50_000)
            sweep(request.out, own_shards(request.out) | state.shard_names())
            tombstones = Tombstones.read(request.out)
            tombstones.take_in(Tombstones.read(whole_set(request)))
            take_down(state, cache, recipe.keys()[-1], tombstones)
            work = _Work(request, recipe, sources, state, cache, tombstones, observer, books, signals, check_folder, cameras)
            work.list_inputs()
            work.run()
            if request.shard_of:
                return work.finish_part()
            if any(isinstance(source, DerivedSource) for source in sources):
                work.list_derived()
                work.run()
            for line in cameras.check_worked(state, not request.limit) if cameras is not None else ():
                observer.message(line)
            return work.commit()
        finally:
            cache.close()
    finally:
        state.close()


@dataclass
class _Work:
    """The part of a build that looks at files."""

    request: BuildRequest
    recipe: Recipe
    sources: tuple[Source, ...]
    state: State
    cache: StageCache
    tombstones: Tombstones
    observer: Observer
    books: Spent
    signals: StopSignals
    check_folder: _Check
    cameras: KnownCameras | None = None

    def __post_init__(self) -> None:
        self.keys = self.recipe.keys()
        self.chain = self.state.chain_id(self.keys)
        self.thumbs: dict[str, list[str]] = {}
        self.guard = AbortGuard(self.request.abort_share, self.request.workers)
        self.part = PartOf.parse(self.request.shard_of) if self.request.shard_of else None
        self.listing = Listing()

    def list_inputs(self) -> None:
        """Note every input, and which of them earlier runs have answered."""
        self.observer.phase("listing")
        self.state.inputs.fill(self._stoppable(self._own(self._inputs())), self.chain)
        if self.request.listing not in ("", self.listing.digest):
            raise ConfigError(
                "the sources have other files now than when the parts were made; rerun the jobs, which only work on what "
                "changed, then merge"
            )
        self.observer.started(*self.state.inputs.count())

    def _own(self, rows: Iterator[InputRow]) -> Iterator[InputRow]:
        """Yield the inputs of this build's part; the list of all of them is taken down where it matters."""
        if self.part is None and not self.request.listing:
            return rows
        return own_rows(self.request.shard_of, self.request.sources, self.listing.over(rows))

    def _inputs(self) -> Iterator[InputRow]:
        """Yield every input; what is wrong with known cameras stops the build before the list is taken."""
        request = self.request
        yield from input_rows(self.sources, request.sources, request.limit, self.cameras, whole_set(request))
        for line in self.cameras.check_listed(whole=not request.limit) if self.cameras is not None else ():
            self.observer.message(line)

    def list_derived(self) -> None:
        """Note the inputs that follow from what was kept of the others."""
        for _ in range(_REMAKES):
            self.observer.phase("looking for missing views")
            lost: list[str] = []
            kept = kept_heads(self.state, self.recipe, self.cache, lost)
            if not lost:
                break
            self._remake(lost)
        rows = derived_rows(self.sources, self.request.sources, self.recipe, kept)
        self.state.inputs.fill(self._stoppable(rows), self.chain, more=True)
        self.observer.started(*self.state.inputs.count())

    def _stoppable(self, rows: Iterable[InputRow]) -> Iterator[InputRow]:
        for row in rows:
            self.signals.check()
            yield row

    def finish_part(self) -> Committed:
        """Put on record that a part's inputs are all worked on; deciding and packing are left to `merge`."""
        assert self.part is not None
        outcomes = self.state.inputs.outcomes()
        record_of(self.part, self.listing, outcomes, self.keys, environment()).write(self.request.out)
        counts = {"kept": 0, "dropped": 0, "failed": 0, "duplicate": 0, "not_image": 0, **dict(outcomes)}
        return Committed({"inputs": sum(counts.values()), **counts}, {}, {}, 0)

    def commit(self) -> Committed:
        """Decide and pack; finished samples that the stage cache has lost are made again first."""
        books = Books(self.request.out, self.recipe, self.state, self.cache, self.tombstones, self.observer, self._check)
        if self.books.worked:
            preload(is_packing=self.books.kept > 0)
        for _ in range(_REMAKES):
            self.observer.phase("deciding and packing")
            try:
                return commit(books)
            except CacheLost as lost:
                self._remake(lost.work_keys)
        return commit(books)

    def _check(self) -> None:
        self.signals.check()
        self.check_folder()

    def _remake(self, work_keys: Iterable[str]) -> None:
        """Work once more on contents whose finished samples are gone from the stage cache."""
        gone = tuple(work_keys)
        self.observer.message(f"{len(gone):,} finished photographs are gone from the stage cache; they are made again")
        self.state.begin()
        self.state.forget(gone)
        self.state.commit()
        self.run()

    def run(self) -> None:
        """Work on every open input."""
        self.observer.phase("building")
        request = self.request
        order = WorkOrder(self.sources, self.recipe, self.tombstones.keys(), request.device)
        limits = Limits(
            workers=request.workers,
            workers_per_gpu=request.workers_per_gpu,
            seconds=request.time_limit,
            memory=request.max_memory,
        )
        results = open_engine(request).run(
            order, _OpenTasks(self._tasks), limits, Parent(self._tick, self._answer, self._note_workers)
        )
        flushed = time.monotonic()
        try:
            for task, result in results:
                self._keep(task, named(result, self.sources[task.source], task.image))
                if time.monotonic() - flushed > _FLUSH_SECONDS:
                    self._flush()
                    flushed = time.monotonic()
        finally:
            self._flush()
            if hasattr(results, "close"):
                results.close()
        self.signals.check()

    def _flush(self) -> None:
        """Make what was stored durable against kills: the cache first, since the state speaks of it."""
        self.cache.commit()
        self.state.commit()

    def _keep(self, task: Task, result: FileResult) -> None:
        """Store what came of a file."""
        self.state.begin()
        if result.work_key and not result.is_known:
            self.cache.begin()
            if result.records:
                self.cache.add(result.work_key, result.records, self.keys[:-1])
            if result.members is None:
                self.cache.drop_members(result.work_key)
            else:
                self.cache.set_members(result.work_key, self.keys[-1], result.members)
            for thumb in result.thumbs:
                if self._is_among_first(thumb.reason, thumb.id):
                    self.cache.set_thumb(thumb.id, thumb.reason, thumb.key, thumb.picture)
            self.state.store(result, self.chain)
        self.state.inputs.settle(task.number, result)
        self._count(task, result)

    def _is_among_first(self, reason: str, id: str) -> bool:
        """Return whether a refused head is among those of this run whose pictures the set may show: the first by id."""
        first = self.thumbs.setdefault(reason, [])
        if len(first) >= 2 * MOST and id > first[-1]:
            return False
        bisect.insort(first, id)
        del first[2 * MOST :]
        return True

    def _answer(self, work_key: str) -> Answer:
        """Tell a worker what is known of a content; failures are tried again."""
        result = self.state.result_of(work_key, self.chain)
        if result is not None and "failed" not in (result.outcome, *(status for _, status, _ in result.heads)):
            kept = any(status == "kept" for _, status, _ in result.heads)
            if not kept or self.cache.members(work_key, self.keys[-1]) is not None:
                return Answer(result=result)
        return Answer(records=self.cache.records(work_key))

    def _tick(self) -> None:
        self.observer.tick()
        if self.signals.overdue:
            self.signals.check()

    def _tasks(self) -> Iterator[Task]:
        placement = Placement(self.sources, self.recipe, self.request.device)
        for number, source, label, path, num_bytes, stamp, rights, sidecar in self.state.inputs.still_open():
            if self.signals.signum:
                return
            known = from_plain(Rights, json.loads(rights)) if rights else Rights()
            image = SourceImage(label, path, num_bytes, stamp, known, json.loads(sidecar) if sidecar else {})
            yield Task(number, source, image, placement.takes_gpu(source, image))

    def _note_workers(self, workers: int) -> None:
        self.books.workers = self.guard.workers = workers

    def _count(self, task: Task, result: FileResult) -> None:
        self.books.note(result)
        self.observer.done(result.outcome, result.reason, dict(result.seconds))
        source = self.sources[task.source]
        why = self.guard.note(result, source.label if source.store is not None else "")
        if why:
            raise BuildAborted(why)


@dataclass(frozen=True)
class _OpenTasks:
    """Inputs still to be worked on; each iteration begins with the first of those that are open then."""

    read: Callable[[], Iterator[Task]]

    def __iter__(self) -> Iterator[Task]:
        return self.read()


def _summarise(request: BuildRequest, committed: Committed, books: Spent) -> Summary:
    """Check the accounting identity, write run.json and return what came of the build."""
    counts = committed.counts
    added = sum(counts[name] for name in ("kept", "dropped", "failed", "duplicate", "not_image"))
    if added != counts["inputs"]:
        raise AccountingError(f"expected {counts['inputs']} inputs to be accounted for, got {added}: {counts}")
    run = books.as_plain(counts["inputs"], request.workers)
    store.write_json(request.out / RUN, run)
    return Summary(
        request.out, counts, committed.reasons, committed.samples, committed.num_shards, books.worked, run["wall_seconds"]
    )  # fmt: skip
