"""What a build would run, and why, without running it: every input counted by the first step that it would have to do."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...datasets.sources.base import Source
from ...manifests.config import ConfigError
from ..execution.cache import StageCache
from ..execution.database import naming_faults, reading
from ..recipe import Recipe
from ..synthetic.derived_source import DerivedSource
from .derived import kept_heads
from .folder import REQUEST, STATE, read_request
from .inputs import InputRow, Opened, derived_rows, input_rows
from .known_cameras import KnownCameras
from .memory.state import State
from .memory.tables import VERSION
from .parts import own_rows
from .request import BuildRequest, check_request, whole_set

_PAGE = 20_000
_VARIABLES = 500


@dataclass
class Plan:
    """The counts of a dry run."""

    steps: tuple[str, ...]
    """"decode", the stages in order, "encode"."""
    inputs: int = 0
    refused: int = 0
    """Inputs that are no files to read."""
    unchanged: int = 0
    """Inputs that are answered already."""
    unread: int = 0
    """Inputs that are new, or have changed since they were read: every step, unless their content is known."""
    first_step: Counter[str] = field(default_factory=Counter)
    """Inputs read before, by the first step that must run again."""
    filled: int | None = None
    """Inputs that follow from what is kept of the others, such as missing views; None where no source asks for that."""
    kept: int = 0
    """Heads from which that follows."""
    unknown: int = 0
    """Inputs that may still change it, because they are not worked on yet."""
    why: dict[str, str] = field(default_factory=dict)
    """Step -> what about it differs from the earlier build."""
    notes: list[str] = field(default_factory=list)
    """What there is to say of known cameras."""

    @property
    def runs(self) -> dict[str, int]:
        """Step -> inputs that reach it at most (an earlier stage may still refuse some)."""
        counts: dict[str, int] = {}
        reaching = self.unread
        for step in self.steps:
            reaching += self.first_step[step]
            counts[step] = reaching
        return counts

    def lines(self) -> list[str]:
        """Return the plan as text for a person."""
        todo = self.unread + sum(self.first_step.values())
        head = (
            f"{self.inputs} inputs: {self.unchanged} unchanged, {todo} to work on ({self.unread} new or changed), "
            f"{self.refused} no files"
        )
        width = max(map(len, self.steps))
        rows = []
        for step, count in self.runs.items():
            cached = self.inputs - self.refused - count
            reason = self.why.get(step, "")
            rows.append(f"  {step:<{width}}  run {count:>9}  cached {cached:>9}" + (f"  ({reason})" if reason else ""))
        return [head, *self.notes, *([self._filling()] if self.filled is not None else []), *rows]

    def _filling(self) -> str:
        """Say what is made for the views of what is kept."""
        text = f"{self.filled} of them are views to render, from what {self.kept} kept heads lack"
        if self.unknown:
            text += f"; {self.unknown} inputs that are not worked on yet will change that"
        return text


def make_plan(request: BuildRequest) -> Plan:
    """Look at sources and earlier results, and count. Reads no picture and writes nothing.

    Raises:
        ConfigError: a source is not there, or the build would be refused for its folder, engine or options.
    """
    check_request(request)
    sources, cameras, recipe = Opened.of(request.sources, request.recipe, request.follow_links)
    plan = Plan(("decode", *(stage.name for stage in recipe.stages), "encode"))
    with naming_faults(request.out / STATE), _reading(request.out) as state:
        seen = _Seen(state, recipe.keys(), plan)
        rows = input_rows(sources, request.sources, request.limit, cameras, whole_set(request))
        seen.count(own_rows(request.shard_of, request.sources, rows))
        plan.notes = cameras.check_listed(whole=not request.limit) if cameras is not None else []
        if not request.shard_of and any(isinstance(source, DerivedSource) for source in sources):
            before = plan.inputs
            seen.count(_derived(plan, request, recipe, sources))
            plan.filled = plan.inputs - before
    _explain(plan, request, recipe)
    return plan


def _derived(plan: Plan, request: BuildRequest, recipe: Recipe, sources: tuple[Source, ...]) -> Iterator[InputRow]:
    """Yield the inputs that follow from what is kept as far as that is known, from a copy of the build's memory."""
    folder = request.out / STATE
    with (
        contextlib.closing(State(folder / "state.sqlite", trial=True)) as trial,
        StageCache.reading(folder / "cache.sqlite") as cache,
    ):
        rows = input_rows(sources, request.sources, request.limit, KnownCameras.of(recipe), request.out)
        trial.inputs.fill(rows, trial.chain_id(recipe.keys()))
        _, plan.unknown = trial.inputs.count()
        lost: list[str] = []
        kept = kept_heads(trial, recipe, cache, lost)
        plan.unknown += len(lost)
        plan.kept = len(kept)
        yield from derived_rows(sources, request.sources, recipe, kept)


@contextlib.contextmanager
def _reading(out: Path) -> Iterator[sqlite3.Connection | None]:
    """Open an earlier build's memory for reading; None where there is none."""
    path = out / STATE / "state.sqlite"
    if not path.is_file():
        yield None
        return
    with reading(path) as db:
        try:
            version = db.execute("SELECT version FROM format").fetchone()
        except sqlite3.OperationalError:
            version = None
        if version == (VERSION,):
            yield db
            return
    with contextlib.closing(State(path, trial=True)) as trial:  # of an earlier version
        yield trial.db


class _Seen:
    """Looks inputs up in earlier results, a page at a time."""

    def __init__(self, db: sqlite3.Connection | None, keys: tuple[str, ...], plan: Plan) -> None:
        self._db, self._plan = db, plan
        self._step: dict[int, str] = {}
        if db is not None:
            for number, text in db.execute("SELECT id, keys FROM chains"):
                self._step[number] = _first_difference(text.split(","), keys, plan.steps)

    def count(self, rows: Iterable[InputRow]) -> None:
        """Count inputs."""
        page: list[bytes] = []
        for row in rows:
            self._plan.inputs += 1
            if row[8]:
                self._plan.refused += 1
                continue
            page.append(row[3])
            if len(page) == _PAGE:
                self._count_page(page)
                page = []
        self._count_page(page)

    def _count_page(self, page: list[bytes]) -> None:
        """Count a page of marks."""
        if self._db is None:
            self._plan.unread += len(page)
            return
        for start in range(0, len(page), _VARIABLES):
            part = Counter(page[start : start + _VARIABLES])
            known = self._db.execute(
                "SELECT s.mark, c.chain FROM stamps s JOIN contents c ON c.number = s.content"
                f" WHERE c.chain != 0 AND s.mark IN ({','.join('?' * len(part))})",
                list(part),
            ).fetchall()
            chains = Counter[int]()
            for mark, chain in known:
                chains[chain] += part[mark] if mark else 0
            self._plan.unread += part.total() - chains.total()
            for chain, count in chains.items():
                if step := self._step[chain]:
                    self._plan.first_step[step] += count
                else:
                    self._plan.unchanged += count


def _first_difference(before: list[str], now: tuple[str, ...], steps: tuple[str, ...]) -> str:
    """Return the first step whose key differs, empty where none does."""
    for index, key in enumerate(now):
        if index >= len(before) or before[index] != key:
            return steps[index]
    return "" if len(before) == len(now) else steps[-1]


def _explain(plan: Plan, request: BuildRequest, recipe: Recipe) -> None:
    """Say which settings of the earlier build differ, step by step."""
    before = read_request(request.out).get("recipe", {})
    try:
        stages = {item["stage"]: item for item in before.get("stages", [])}
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{request.out / REQUEST} is damaged: {error!r}; pass --update to build-dataset") from error
    if not stages:
        return
    asked = {item["stage"]: item for item in json.loads(json.dumps(request.recipe.to_plain()))["stages"]}
    for name, settings in asked.items():
        if name not in stages:
            plan.why[name] = "new stage"
            continue
        changed = [
            f"{key}: {stages[name].get(key)!r} -> {value!r}"
            for key, value in settings.items()
            if stages[name].get(key) != value
        ]
        if changed:
            plan.why[name] = "; ".join(changed)
    for step in plan.steps:
        if plan.first_step[step] and step not in plan.why:
            plan.why[step] = "decoding, back end, weights or version differ"
