"""What a person asks of a build and what they are told: the command line as an object, its limits, the result and its errors.

How it is built is left to `build`; whose files lie in the folder, to `folder`.
"""

from __future__ import annotations

import difflib
import json
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...manifests import store
from ...manifests.config import ConfigError, canonical_json, to_plain
from ...manifests.faults import RESUME
from ..engines.base import Engine, EngineError
from ..recipe import Recipe
from .folder import REQUEST, check_folder, check_places, own_shards, read_request
from .parts import PartOf

_DEVICE = re.compile(r"cpu|cuda(:\d+)?")


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
    """Processes; with the engine `ray`, 0 is one a CPU of the cluster."""
    limit: int = 0
    """Look at this many inputs only; 0 for all."""
    engine: str = "local"
    """local (spawned processes), ray (a cluster) or inline (this process)."""
    time_limit: float = 120.0
    """Seconds for one file."""
    max_memory: int = 4 << 30
    """Bytes for photographs being decoded at the same time."""
    abort_share: float = 0.9
    """Stop when this share of the last 200 files failed for one reason; 1 or more never stops."""
    update: bool = False
    """Allow other settings or sources than the folder was built with, or other files beside a new data set."""
    device: str = "cpu"
    """Where models run that can choose: cpu, cuda, or cuda:N of this machine; a sample whose labels are exact runs none."""
    follow_links: bool = False
    """Read what symbolic links in folders lead to."""
    ray_address: str = ""
    """Of the cluster for the engine `ray`; empty for RAY_ADDRESS, else a cluster of this machine alone."""
    shard_of: str = ""
    """K/N for part K of N, which `merge` brings together; `out` is then the part's folder, see `PartOf.folder`."""
    listing: str = ""
    """Digest that the list of inputs must have; empty for any."""
    workers_per_gpu: int = 0
    """Workers that share a GPU; 0 is up to 8 with the engine `ray`, by the CPUs of a node, and all with the engine `local`."""


def open_engine(request: BuildRequest) -> Engine:
    """Return the engine that a request names.

    Raises:
        ConfigError: there is none of that name, or what it needs is not installed.
    """
    from ..engines.inline import InlineEngine
    from ..engines.local import LocalEngine
    from ..engines.ray_engine import RayEngine

    engines: dict[str, Callable[[], Engine]] = {
        "local": LocalEngine,
        "ray": lambda: RayEngine(request.ray_address),
        "inline": InlineEngine,
    }
    if request.engine not in engines:
        raise ConfigError(f"expected an engine of {' | '.join(engines)}, got {request.engine!r}")
    engine = engines[request.engine]()
    try:
        engine.check()
    except EngineError as error:
        raise ConfigError(str(error)) from error
    return engine


def check_request(request: BuildRequest) -> None:
    """Refuse what cannot be built here, before anything is written.

    Raises:
        ConfigError: with what was expected and what to do.
    """
    if not request.sources:
        raise ConfigError("expected at least one source: a folder, zip, CSV or parquet list, or a shard set")
    if request.workers < (request.engine != "ray") or request.limit < 0 or not request.time_limit > 0:
        raise ConfigError("expected workers >= 1, limit >= 0 and time_limit > 0")
    if not request.abort_share > 0:
        raise ConfigError(f"expected an abort_share above 0 (1 or more never stops), got {request.abort_share}")
    if request.workers_per_gpu < 0:
        raise ConfigError(f"expected workers_per_gpu >= 0, got {request.workers_per_gpu}")
    if not _DEVICE.fullmatch(request.device) or (request.engine == "ray" and ":" in request.device):
        numbered = "cpu or cuda (Ray gives each worker its GPU)" if request.engine == "ray" else "cpu, cuda or cuda:N"
        raise ConfigError(f"expected a device of {numbered}, got {request.device!r}")
    open_engine(request)
    if request.out.exists() and not request.out.is_dir():
        raise ConfigError(f"{request.out} is a file; expected a folder to write into")
    if request.out.is_symlink() and not request.out.exists():
        raise ConfigError(f"{request.out} is a link to nothing; make the folder that it leads to, or choose another --out")
    if request.shard_of and request.out != PartOf.parse(request.shard_of).folder(whole_set(request)):
        raise ConfigError(f"expected the folder of part {request.shard_of}, as PartOf.folder gives it, got {request.out}")
    check_places(request.sources, whole_set(request))
    check_folder(whole_set(request), request.update)
    check_folder(request.out, request.update)


def whole_set(request: BuildRequest) -> Path:
    """Return the folder of the data set that a build, or a part of one, belongs to."""
    return request.out.parent.parent if request.shard_of else request.out


def claim_folder(request: BuildRequest) -> None:
    """Write down what the folder is built from, or refuse if it was something else.

    Raises:
        ConfigError: it was, and `update` is not asked for; the message has the difference.
    """
    now: dict[str, Any] = {"recipe": request.recipe.to_plain(), "sources": list(request.sources), "limit": request.limit}
    now["follow_links"] = request.follow_links
    shards = sorted(own_shards(request.out))
    try:
        before = read_request(request.out)
    except ConfigError:
        if not request.update:
            raise
        before = {}
    if before and not request.update:
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
    elif not before and (request.out / store.HEADER).is_file() and not request.update:
        raise ConfigError(f"{request.out} holds a data set without {REQUEST}; choose another --out or pass --update")
    options = {
        "workers": request.workers, "engine": request.engine, "time_limit": request.time_limit,
        "max_memory": request.max_memory, "abort_share": request.abort_share, "ray_address": request.ray_address,
        "shard_of": request.shard_of, "shards": shards, "device": request.device,
        "workers_per_gpu": request.workers_per_gpu,
    }  # fmt: skip
    store.write_json(request.out / REQUEST, {**now, **options})


class BuildAborted(RuntimeError):
    """Nearly every file fails for one reason, so continuing would waste the time; nothing is lost."""


class BuildInterrupted(RuntimeError):
    """A signal asked the build to stop; the same command resumes from there."""

    def __init__(self, signum: int) -> None:
        """Note which signal it was."""
        super().__init__(f"stopped by {signal.Signals(signum).name}; {RESUME}")
        self.signum = signum


class AccountingError(RuntimeError):
    """Inputs and outcomes do not add up: a fault of the toolkit that must not pass unseen."""


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
