"""What one photograph costs, read from a finished build: seconds of its workers and of the main process, and bytes.

A build leaves these numbers in `run.json`, `log.jsonl` and its memory; none of them reaches the manifest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...manifests.config import ConfigError
from ...manifests.parsing import read_json
from ..building.folder import LOG, RUN, STATE
from ..execution.database import reading

RESULT_SECONDS = 0.0006
"""Seconds of the main process for a photograph's result, an upper bound: CPU time of a build without work, with listing and
writing the tables (`tests/bench/scale.py --rows 100000`)."""
BASE_MEMORY = 246 << 20
"""Bytes of memory of the main process with few rows (the same, with 20,000 and 100,000 rows: 277 and 399 MiB)."""
ROW_MEMORY = 1600
"""Bytes of memory of the main process for each row, the slope between those."""


@dataclass(frozen=True)
class Measured:
    """One photograph's costs, means of a finished build."""

    worker_seconds: float
    """Seconds of a worker, all stages together, of photographs for which no model was loaded."""
    start_seconds: float
    """Seconds that a build takes once: until the workers have loaded their models and the main process its libraries, and in
    which the last workers wait for each other."""
    row_seconds: float
    """Seconds of the main process while nothing else runs: listing, decisions and packing."""
    result_seconds: float
    """Seconds of the main process for storing a result, while workers run."""
    input_bytes: float
    """Bytes of a photograph."""
    output_bytes: float
    """Bytes of shards for each photograph, kept or not."""
    shard_bytes: float
    """Bytes of a shard."""
    state_bytes: float
    """Bytes of `.state` for each photograph."""
    photographs: int
    """Photographs that were measured."""


def measure(folder: Path) -> Measured:
    """Read what a finished build of a folder says of its costs.

    Args:
        folder: a data set whose newest build did all of its work in one run.

    Raises:
        ConfigError: there is no finished build, or it resumed an earlier one, so that its times are not those of all inputs.
    """
    run = _run(folder)
    count, workers = int(run["worked"]), int(run["workers"])
    if count != int(run["inputs"]) or not count or workers < 1:
        raise ConfigError(
            f"the newest build of {folder} worked on {count} of its {run['inputs']} photographs; expected one that did all in "
            "one run: build a few hundred photographs into an empty folder and name that"
        )
    listing, building, packing = _phases(folder)
    each = _each(run)
    shards = [path.stat().st_size for path in folder.glob("*.tar")]
    state = sum(path.stat().st_size for path in (folder / STATE).rglob("*") if path.is_file())
    return Measured(
        worker_seconds=each,
        start_seconds=max(0.0, building - each * count / workers),
        row_seconds=(listing + packing) / count,
        result_seconds=RESULT_SECONDS,
        input_bytes=_mean_bytes(folder),
        output_bytes=sum(shards) / count,
        shard_bytes=max(shards, default=0),
        state_bytes=state / count,
        photographs=count,
    )  # fmt: skip


def _each(run: Any) -> float:
    """Return the mean seconds of a worker for a photograph, of those for which it loaded no model where there are such."""
    spent = sum(float(stage["seconds"]) for stage in run["stages"].values())
    opening = run.get("opening", {"count": 0, "seconds": 0.0})  # builds before this was counted have none
    others = int(run["worked"]) - int(opening["count"])
    return (spent - float(opening["seconds"])) / others if others > 0 else spent / int(run["worked"])


def _run(folder: Path) -> Any:
    """Return what `run.json` holds."""
    path = folder / RUN
    if not path.is_file():
        raise ConfigError(f"{folder} holds no finished build ({RUN} is missing); name the --out of one")
    try:
        run = read_json(path)
        assert isinstance(run, dict) and {"worked", "inputs", "workers", "stages"} <= set(run)
    except (ValueError, AssertionError) as error:
        raise ConfigError(f"{path} is damaged; run the build again") from error
    return run


def _phases(folder: Path) -> tuple[float, float, float]:
    """Return the seconds of listing, building and packing of the newest run, from its log."""
    marks: list[tuple[str, float]] = []
    path = folder / LOG
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            event = json.loads(line)
        except ValueError:  # a line that a kill cut short
            continue
        if event.get("event") == "phase" and event.get("phase") == "listing":
            marks = []
        if event.get("event") in ("phase", "finished"):
            marks.append((str(event.get("phase", "finished")), float(event["time"])))
    times = dict(marks)
    wanted = ("listing", "building", "deciding and packing", "finished")
    if not set(wanted) <= set(times):
        raise ConfigError(f"{path} does not tell the phases of the newest build; run the build again")
    listing, building, packing, end = (times[name] for name in wanted)
    return building - listing, packing - building, end - packing


def _mean_bytes(folder: Path) -> float:
    """Return the mean size of the files that were read."""
    path = folder / STATE / "state.sqlite"
    if not path.is_file():
        return 0.0
    with reading(path) as db:
        found = db.execute("SELECT avg(num_bytes) FROM origins WHERE num_bytes > 0").fetchone()[0]
    return float(found or 0.0)
