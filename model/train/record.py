"""What a run says of itself in `run.json`: its complete config, its data by their manifests' digests, and the environment.

A folder resumes only the run it holds; where anything that decides the result differs, that is said.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...datasets.shards.storage import shown_place
from ...datasets.streaming.loader import ShardStream
from ...manifests.config import ConfigError, fingerprint, from_plain, to_plain
from ...manifests.store import write_json
from ..old_names import with_present_names
from .config import TrainConfig
from .distributed import World

RUN = "run.json"
PACKAGES = ("torch", "numpy", "opencv-python", "pyarrow", "safetensors", "fsspec")
"""Packages whose versions may change the last digits of a run."""
FREE = ("images",)
"""Settings that a run may resume with although they changed: it only ends later or earlier."""


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` holds."""

    fingerprint: str
    """Of config and data: equal runs have equal ones."""
    config: dict[str, Any]
    """The complete TrainConfig."""
    manifests: tuple[str, ...]
    """sha256 of each data set's manifest."""
    places: tuple[str, ...]
    """Where the data were, without signatures; may change between calls."""
    num_samples: int
    """Samples that are shown."""
    environment: dict[str, str]
    """Versions and the machine, at the newest start."""

    @classmethod
    def of(cls, config: TrainConfig, places: Sequence[str], stream: ShardStream) -> RunRecord:
        """Describe a run."""
        plain = to_plain(config)
        mark = fingerprint([plain, list(stream.manifests)])
        shown = tuple(shown_place(str(place)) for place in places)
        return cls(mark, plain, tuple(stream.manifests), shown, stream.num_samples, environment())


def environment() -> dict[str, str]:
    """Return versions and machine, as far as they may change a number."""
    import torch

    from ... import __version__

    found = {"spherehead": __version__, "python": platform.python_version(), "machine": platform.machine()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    found["threads"] = str(torch.get_num_threads())
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
        found["cuda"] = str(torch.version.cuda)
    return found


def read_record(out: Path) -> RunRecord | None:
    """Return the record of a run's folder; None where there is none.

    Raises:
        ConfigError: it is damaged.
    """
    path = out / RUN
    if not path.is_file():
        return None
    try:
        return from_plain(RunRecord, with_present_names(json.loads(path.read_bytes())), str(path))
    except ValueError as error:
        raise ConfigError(f"{path} is damaged ({error}); move the folder away, or restore the file") from error


def write_record(out: Path, record: RunRecord) -> None:
    """Write `run.json`."""
    write_json(out / RUN, record)


def saved_config(out: Path) -> TrainConfig:
    """Return the config of the run in a folder.

    Raises:
        ConfigError: there is none, or it is of another version.
    """
    record = read_record(out)
    if record is None:
        raise ConfigError(f"no {RUN} in {out}; expected the folder of a run that train began")
    return from_plain(TrainConfig, record.config, str(out / RUN))


def check_record(out: Path, record: RunRecord, world: World, update: bool) -> None:
    """Refuse a folder that holds another run, and processes that cannot share a step.

    Raises:
        ConfigError: with what differs.
    """
    count = record.config["batch"] // record.config["micro_batch"]
    if count < world.size:
        raise ConfigError(
            f"a step has {count} micro-batches (batch / micro_batch), and {world.size} processes were started: some "
            "have nothing to do; set a smaller micro_batch, or start fewer"
        )
    if not world.same(int(record.fingerprint[:15], 16)):
        raise ConfigError("the processes of this run have different settings or data; start all of them with one line")
    before = read_record(out)
    if before is None or update:
        return
    changed = [line for line in differences(_complete(before.config, out), record.config) if line.split(":")[0] not in FREE]
    if before.manifests != record.manifests:
        changed.append(f"data: manifests {_short(before.manifests)} then, {_short(record.manifests)} now")
    if changed:
        raise ConfigError(
            f"{out} holds another run; take another --out, or --update to resume with these changes:\n  " + "\n  ".join(changed)
        )


def _complete(config: Mapping[str, Any], out: Path) -> Any:
    """Return a saved config with the settings that came after it at their defaults, which keep what it meant.

    Settings that no longer exist leave it as it is, so that they are told as differences.
    """
    try:
        return to_plain(from_plain(TrainConfig, config, str(out / RUN)))
    except ConfigError:
        return config


def _short(digests: Sequence[str]) -> str:
    return ", ".join(digest[:12] for digest in digests)


def differences(before: Any, after: Any, where: str = "") -> Iterator[str]:
    """Yield "name: old -> new" for every setting that differs."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted({*before, *after}):
            yield from differences(before.get(name), after.get(name), f"{where}.{name}" if where else name)
    elif before != after:
        yield f"{where}: {json.dumps(before)} -> {json.dumps(after)}"
