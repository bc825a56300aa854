"""The parts of a build merged: what each job found out goes into one memory, from which the set is decided and packed.

The bytes are those of one build, because what follows is one build that finds all its work done. Parts stay as they are, and
the memory notes where they lie: a takedown works in them too.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...manifests.config import ConfigError
from ...manifests.signals import GRACE_SECONDS, Interrupted, StopSignals
from ..console.progress import Observer, Silent
from ..execution.environment import environment
from ..stage import Stage
from .build import build
from .folder import REQUEST, STATE, Tombstones, read_request
from .memory.intake import take_in
from .parts import PARTS, RECORD, PartOf, PartRecord, parts_in
from .request import BuildInterrupted, BuildRequest, Summary, check_request, claim_folder
from .shard_plan import file_stamp
from .takedown import MergedPart, held, load_request

_FEW = 20


@dataclass(frozen=True)
class MergeOptions:
    """How the merge itself runs; none of it decides bytes."""

    workers: int = 1
    """Processes for what parts leave to the merge: views that follow from the whole set, and files that no job could read."""
    engine: str = "local"
    ray_address: str = ""
    time_limit: float = 120.0
    """Seconds for one file."""
    max_memory: int = 4 << 30
    """Bytes for photographs being decoded at the same time."""
    update: bool = False
    """Let the folder change to the parts' settings or sources."""


@dataclass(frozen=True)
class _Part:
    folder: Path
    record: PartRecord
    asked: dict[str, Any]


def merge(
    out: Path,
    folders: Sequence[Path],
    known: Mapping[str, type[Stage]],
    options: MergeOptions | None = None,
    observer: Observer | None = None,
) -> Summary:
    """Merge the parts of a build, or resume merging them.

    Args:
        out: the data set.
        folders: parts, or folders that hold some; none for those in `out`.
        known: stage classes by name, see `presets.STAGES`.
        options: how it runs.
        observer: is told of progress.

    Raises:
        ConfigError: a part is missing or unfinished, or parts do not belong together; the message says which.
        and what `build` raises.
    """
    observer, options = observer or Silent(), options or MergeOptions()
    parts = _checked([place for folder in folders or (out,) for place in parts_in(folder)], folders or (out / PARTS,))
    first = parts[0]
    changes: dict[str, Any] = {"out": out, "shard_of": "", "listing": first.record.listing, **dataclasses.asdict(options)}
    request = dataclasses.replace(load_request(first.folder, known), **changes)
    check_request(request)
    if request.recipe.resolved().keys() != first.record.keys:
        raise ConfigError(f"back ends or weights differ from those of {first.folder}; merge where the same are installed")
    _take_in(request, parts, observer)
    return build(request, observer)


def _checked(folders: Sequence[Path], asked: Sequence[Path]) -> list[_Part]:
    """Return every part once, by number, or say what is missing or does not fit.

    Args:
        folders: of the parts that were found.
        asked: where they were looked for.
    """
    if not folders:
        raise ConfigError(
            f"no parts in {', '.join(map(str, asked))}; expected what build-dataset --shard-of K/N wrote, or name their folders"
        )
    totals = Counter(int(folder.name.partition("-of-")[2]) for folder in folders)
    if len(totals) > 1:
        told = ", ".join(f"{count} of {total}" for total, count in sorted(totals.items()))
        raise ConfigError(f"expected the parts of one --shard-of K/N, got parts of several ({told}); name those to merge")
    total = next(iter(totals))
    by_number: dict[int, _Part] = {}
    unfinished = list[int]()
    for folder in folders:
        number = int(folder.name.partition("-of-")[0])
        record = PartRecord.read(folder)
        if record is None:
            unfinished.append(number)
            continue
        if (record.part, record.of) != (number, total):
            raise ConfigError(f"{folder} holds part {record.part}/{record.of}; give it its name back")
        if number in by_number and by_number[number].folder.resolve() != folder.resolve():
            raise ConfigError(f"part {number}/{total} is there twice: {by_number[number].folder} and {folder}; name one")
        by_number[number] = _Part(folder, record, _asked(folder))
    unfinished = sorted(set(unfinished) - set(by_number))
    missing = [number for number in range(1, total + 1) if number not in by_number and number not in unfinished]
    if missing or unfinished:
        lacking = [f"{what} {_numbers(found)}" for what, found in (("missing", missing), ("not finished", unfinished)) if found]
        raise ConfigError(f"{len(by_number)} of {total} parts are finished; {'; '.join(lacking)}: rerun these jobs, then merge")
    parts = [by_number[number] for number in sorted(by_number)]
    _check_alike(parts)
    return parts


def _numbers(found: Sequence[int]) -> str:
    return ", ".join(map(str, found[:_FEW])) + (f" and {len(found) - _FEW} more" if len(found) > _FEW else "")


def _asked(folder: Path) -> dict[str, Any]:
    """Return what decides the set in a part's request."""
    plain = read_request(folder)
    return {name: plain.get(name) for name in ("recipe", "sources", "limit", "follow_links")}


def _check_alike(parts: Sequence[_Part]) -> None:
    """Refuse parts of different builds."""
    first = parts[0]
    for other in parts[1:]:
        names = f"parts {first.record.part}/{first.record.of} ({first.folder}) and {other.record.part}/{other.record.of}"
        for name, value in first.asked.items():
            if other.asked[name] != value:
                raise ConfigError(f"{names} ({other.folder}) have different {name}; see their {REQUEST}, and rerun one of them")
        if other.record.keys != first.record.keys:
            raise ConfigError(f"{names} ({other.folder}) were made with different back ends or weights; rerun one of them")
        if (other.record.listed, other.record.listing) != (first.record.listed, first.record.listing):
            raise ConfigError(
                f"{names} ({other.folder}) saw different inputs ({first.record.listed:,} and {other.record.listed:,} listed); "
                "rerun the jobs that ran before the sources changed"
            )
    here = environment()
    for part in parts:
        differing = sorted(name for name, version in part.record.environment.items() if here.get(name) != version)
        if differing:
            told = ", ".join(f"{name} {part.record.environment[name]}, here {here.get(name)}" for name in differing)
            raise ConfigError(
                f"part {part.record.part}/{part.record.of} was made with other versions: {told}; install the same"
            )


def _take_in(request: BuildRequest, parts: Sequence[_Part], observer: Observer) -> None:
    """Bring what the parts know into the data set's own memory; those that are in it already are passed over."""
    with StopSignals(GRACE_SECONDS) as signals:
        try:
            with held(request.out) as (state, cache):
                claim_folder(request)
                tombstones = _tombstones(request.out, parts)
                known = {str(part.name): part for part in MergedPart.of(state, request.out)}
                for part in parts:
                    signals.check()
                    of = PartOf(part.record.part, part.record.of)
                    merged = MergedPart(of, file_stamp(part.folder / RECORD), part.folder)
                    before, name = known.get(str(of)), f"part {of}"
                    if before is not None and before.mark == merged.mark:
                        merged.note(state, request.out)
                        continue
                    observer.phase(f"merging {name}")
                    new = take_in(state, cache, part.folder / STATE, part.record.keys, tombstones.keys(), signals.check)
                    merged.note(state, request.out)
                    observer.message(f"{name}: {part.record.inputs:,} inputs, {new:,} new contents, {_told(part.record)}")
        except Interrupted as stop:
            raise BuildInterrupted(stop.signum) from None


def _tombstones(out: Path, parts: Sequence[_Part]) -> Tombstones:
    """Return what is taken down in the data set or in a part, and remember all of it in the data set."""
    tombstones = Tombstones.read(out)
    new = [tombstones.take_in(Tombstones.read(part.folder)) for part in parts]
    if any(new):
        tombstones.write(out)
    return tombstones


def _told(record: PartRecord) -> str:
    return ", ".join(f"{outcome} {count:,}" for outcome, count in sorted(record.outcomes.items())) or "nothing to do"
