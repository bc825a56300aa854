"""One build from sources to a finished data set: list, work, decide, pack; safe to kill at any moment and to run again.

The work on one file is `worker`'s, processes are the engines', decisions over all heads are `set_decisions`'s, and writing the
set is `commit`'s. This module holds them together and keeps the books.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import logging
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...datasets.sample import Drop, Rights, SourceImage
from ...datasets.sources.base import Source
from ...manifests import store
from ...manifests.config import ConfigError, canonical_json, from_plain, to_plain
from ...manifests.identity import content_sha256
from ...manifests.lock import writer_lock
from ...manifests.signals import StopSignals
from ..console.progress import Observer, Silent
from ..engines.base import Engine, Limits
from ..execution.cache import StageCache
from ..execution.rows import file_row
from ..execution.work import FileResult, Task, WorkOrder, work_key_of
from ..recipe import Recipe
from ..synthetic.derived_source import DerivedSource
from .commit import Committed, Tombstones, commit
from .derived import kept_heads
from .inputs import InputRow, derived_rows, input_rows, open_all
from .known_cameras import KnownCameras
from .state import State

log = logging.getLogger(__name__)

STATE = ".state"
"""Folder in the data set with what only builds need: it may be deleted, at the cost of doing all work again."""
REQUEST = "build.json"
_GUARD_WINDOW = 200
_FLUSH_SECONDS = 1.0


class BuildAborted(RuntimeError):
    """Nearly every file fails for one reason, so going on would waste the time; nothing is lost."""


class BuildInterrupted(RuntimeError):
    """A signal asked the build to stop; rerun the command to resume."""

    def __init__(self, signum: int) -> None:
        """Note which signal it was."""
        super().__init__(f"stopped by {signal.Signals(signum).name}; rerun the same command to resume")
        self.signum = signum


class AccountingError(RuntimeError):
    """Inputs and outcomes do not add up: a fault of the toolkit that must not pass unseen."""


@dataclass(frozen=True)
class BuildRequest:
    """What a person asked for: the command line as an object."""

    sources: tuple[str, ...]
    """Folders, zip files, lists or shard sets."""
    out: Path
    """Folder of the data set."""
    recipe: Recipe
    """As asked for: `auto` is resolved by the build."""
    workers: int = 1
    """Processes."""
    limit: int = 0
    """Look at this many inputs only; 0 for all."""
    engine: str = "local"
    """local (spawned processes) or inline (this process)."""
    time_limit: float = 120.0
    """Seconds for one file."""
    max_memory: int = 4 << 30
    """Bytes for photographs being decoded at the same time."""
    abort_share: float = 0.9
    """Stop when this share of the last 200 files failed for one reason; 1 or more never stops."""
    update: bool = False
    """Allow other settings or sources than the folder was built with; what did not change is not run again."""
    device: str = "cpu"
    """Where models run, for back ends that can choose."""
    follow_links: bool = False
    """Read what symbolic links in folders lead to."""


@dataclass(frozen=True)
class Summary:
    """What came of a build."""

    out: Path
    counts: dict[str, int]
    """Inputs by outcome: inputs, kept, dropped, failed, duplicate, not_image."""
    reasons: dict[str, int]
    """Rows by reason."""
    samples: dict[str, int]
    """Samples by split."""
    num_shards: int
    worked: int
    """Inputs that were really worked on; the others were answered by earlier runs."""
    seconds: float


@dataclass
class _Books:
    """What a running build counts; none of it reaches the manifest."""

    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)
    worked: int = 0
    peak_rss: int = 0
    last: deque[str] = field(default_factory=lambda: deque(maxlen=_GUARD_WINDOW))


def open_engine(name: str) -> Engine:
    """Return an engine by name.

    Raises:
        ConfigError: there is none of that name.
    """
    from ..engines.inline import InlineEngine
    from ..engines.local import LocalEngine

    engines: dict[str, type[Engine]] = {"local": LocalEngine, "inline": InlineEngine}
    if name not in engines:
        raise ConfigError(f"expected an engine of {' | '.join(engines)}, got {name!r}")
    return engines[name]()


def build(request: BuildRequest, observer: Observer | None = None) -> Summary:
    """Build a data set, or resume its build.

    Raises:
        ConfigError: the request does not fit the folder, a source or this machine.
        BuildLocked, BuildAborted, BuildInterrupted, AccountingError, EngineError: see there.
    """
    observer = observer or Silent()
    books = _Books()
    _check(request)
    request.out.mkdir(parents=True, exist_ok=True)
    with writer_lock(request.out / STATE / "lock"), StopSignals() as signals:
        sweep(request.out)
        sources = open_all(request.sources, request.recipe, request.follow_links)
        cameras = KnownCameras.of(request.recipe)
        recipe = request.recipe.resolved()
        _claim(request)
        for step in recipe.chain():
            weights = f", weights {', '.join(step['weights'])}" if step["weights"] else ""
            observer.message(f"{step['stage']}: {step['backend']} {step['backend_version']}{weights}")
        state = State(request.out / STATE / "state.sqlite")
        try:
            tombstones = Tombstones.read(request.out)
            work = _Work(request, recipe, sources, state, tombstones, observer, books, signals, cameras)
            work.list_inputs()
            work.run()
            if any(isinstance(source, DerivedSource) for source in sources):
                work.list_derived()
                work.run()
            for line in cameras.check_worked(state, not request.limit) if cameras is not None else ():
                observer.message(line)
            observer.phase("deciding and packing")
            committed = commit(request.out, recipe, state, tombstones, observer)
        finally:
            state.close()
    summary = _summarise(request, committed, books)
    observer.finished(summary.counts, summary.seconds)
    return summary


def _check(request: BuildRequest) -> None:
    if not request.sources:
        raise ConfigError("expected at least one source: a folder, zip, CSV or parquet list, or a shard set")
    if request.workers < 1 or request.limit < 0 or request.time_limit <= 0:
        raise ConfigError("expected workers >= 1, limit >= 0 and time_limit > 0")
    open_engine(request.engine)
    if request.out.exists() and not request.out.is_dir():
        raise ConfigError(f"{request.out} is a file; expected a folder to write into")


def sweep(out: Path) -> None:
    """Remove files that a killed build left unfinished."""
    for path in sorted(out.glob(f"*{store.TEMPORARY}*")):
        log.info("removing unfinished %s", path.name)
        path.unlink()


def _claim(request: BuildRequest) -> None:
    """Write down what the folder is built from, or refuse if it was something else."""
    path = request.out / REQUEST
    now = {"recipe": request.recipe.to_plain(), "sources": list(request.sources), "limit": request.limit}
    now["follow_links"] = request.follow_links
    if path.is_file() and not request.update:
        try:
            before = json.loads(path.read_bytes())
        except ValueError as error:
            raise ConfigError(f"{path} is damaged ({error}); pass --update to take the present settings") from error
        asked = {key: before.get(key, False if key == "follow_links" else None) for key in now}
        if asked != json.loads(canonical_json(now)):
            old, new = (json.dumps(side, indent=1, sort_keys=True).splitlines() for side in (asked, to_plain(now)))
            lines = difflib.unified_diff(old, new, lineterm="", n=0)
            changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
            raise ConfigError(
                f"{request.out} was built with other settings or sources:\n  "
                + "\n  ".join(changed[:40])
                + "\npass --update to rebuild it with these (only what changed is run), or choose another --out"
            )
    elif not path.is_file() and (request.out / store.HEADER).is_file() and not request.update:
        raise ConfigError(f"{request.out} holds a data set without {REQUEST}; choose another --out or pass --update")
    options = {"workers": request.workers, "engine": request.engine, "time_limit": request.time_limit}
    store.write_json(path, {**now, **options, "max_memory": request.max_memory, "abort_share": request.abort_share})


@dataclass
class _Work:
    """The part of a build that looks at files."""

    request: BuildRequest
    recipe: Recipe
    sources: tuple[Source, ...]
    state: State
    tombstones: Tombstones
    observer: Observer
    books: _Books
    signals: StopSignals
    cameras: KnownCameras | None = None

    def list_inputs(self) -> None:
        """Note every input, and which of them earlier runs have answered."""
        self.observer.phase("listing")
        chain = self.state.chain_id(self.recipe.keys())
        self.state.list_inputs(self._inputs(), chain)
        self.observer.started(*self.state.count_inputs())

    def _inputs(self) -> Iterator[InputRow]:
        """Yield every input; what is wrong with known cameras stops the build before the list is taken."""
        yield from input_rows(self.sources, self.request.sources, self.request.limit, self.cameras)
        for line in self.cameras.check_listed(whole=not self.request.limit) if self.cameras is not None else ():
            self.observer.message(line)

    def list_derived(self) -> None:
        """Note the inputs that follow from what was kept of the others."""
        self.observer.phase("looking for missing views")
        chain = self.state.chain_id(self.recipe.keys())
        kept = kept_heads(self.state, self.recipe, StageCache(self.request.out / STATE / "cache"))
        self.state.list_inputs(derived_rows(self.sources, self.request.sources, self.recipe, kept), chain, more=True)
        self.observer.started(*self.state.count_inputs())

    def run(self) -> None:
        """Work on every open input."""
        self.observer.phase("building")
        chain = self.state.chain_id(self.recipe.keys())
        request = self.request
        order = WorkOrder(self.sources, self.recipe, request.out / STATE / "cache", self.tombstones.keys(), request.device)
        limits = Limits(workers=request.workers, seconds=request.time_limit, memory=request.max_memory)
        results = open_engine(request.engine).run(order, self._tasks(), limits, self._tick)
        flushed = time.monotonic()
        try:
            for task, result in results:
                result = self._named(task, result)
                if not self.state.db.in_transaction:
                    self.state.begin()
                if result.work_key:
                    self.state.store(result, chain)
                self.state.settle(task.number, result)
                self._count(result)
                if time.monotonic() - flushed > _FLUSH_SECONDS:
                    self.state.commit()
                    flushed = time.monotonic()
                if self.signals.overdue:
                    break
        finally:
            self.state.commit()
            if isinstance(results, Iterator) and hasattr(results, "close"):
                results.close()
        if self.signals.signum:
            raise BuildInterrupted(self.signals.signum)

    def _tick(self) -> None:
        self.observer.tick()

    def _tasks(self) -> Iterator[Task]:
        for number, source, label, path, num_bytes, stamp, rights, sidecar in self.state.open_inputs():
            if self.signals.signum:
                return
            known = from_plain(Rights, json.loads(rights)) if rights else Rights()
            image = SourceImage(label, path, num_bytes, stamp, known, json.loads(sidecar) if sidecar else {})
            yield Task(number, source, image)

    def _named(self, task: Task, result: FileResult) -> FileResult:
        """Give a file that took its worker down a name, so that it is not tried again on every run."""
        if result.work_key or result.stage != "worker":
            return result
        source = self.sources[task.source]
        try:
            sha256 = content_sha256(source.read(task.image))
            work_key = work_key_of(source, task.image, sha256)
        except Drop:
            return result
        row = file_row(sha256, None, Drop(result.reason, result.detail), "worker")
        head = (row["id"], row["status"], canonical_json(row))
        return dataclasses.replace(result, work_key=work_key, sha256=sha256, heads=(head,))

    def _count(self, result: FileResult) -> None:
        books = self.books
        books.worked += 1
        books.peak_rss = max(books.peak_rss, result.rss)
        for name, spent in result.seconds:
            books.seconds[name] = books.seconds.get(name, 0.0) + spent
            books.runs[name] += 1
        self.observer.done(result.outcome, result.reason, dict(result.seconds))
        books.last.append(result.reason if result.outcome == "failed" else "")
        if len(books.last) == _GUARD_WINDOW:
            reason, count = Counter(books.last).most_common(1)[0]
            if reason and count / _GUARD_WINDOW >= self.request.abort_share:
                raise BuildAborted(
                    f"{count} of the last {_GUARD_WINDOW} files failed with '{reason}' (last: {result.detail}); mend the cause "
                    f"and rerun the same command, with `retry --reason {reason}` for those that failed"
                )


def _summarise(request: BuildRequest, committed: Committed, books: _Books) -> Summary:
    """Check the accounting identity, write run.json and return what came of the build."""
    counts = committed.counts
    added = sum(counts[name] for name in ("kept", "dropped", "failed", "duplicate", "not_image"))
    if added != counts["inputs"]:
        raise AccountingError(f"expected {counts['inputs']} inputs to be accounted for, got {added}: {counts}")
    seconds = time.perf_counter() - books.started
    stages = {name: {"seconds": round(spent, 3), "count": books.runs[name]} for name, spent in books.seconds.items()}
    store.write_json(
        request.out / "run.json",
        {
            "stages": stages,
            "wall_seconds": round(seconds, 3),
            "workers": request.workers,
            "inputs": counts["inputs"],
            "worked": books.worked,
            "peak_rss_bytes": books.peak_rss,
        },
    )
    return Summary(request.out, counts, committed.reasons, committed.samples, committed.num_shards, books.worked, seconds)
