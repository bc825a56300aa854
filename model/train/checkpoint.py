"""Checkpoints: folders that are whole or absent, with everything a run needs to resume bit-exact.

A checkpoint is a model folder (`model.store`), so `generate` and `model show` read it; optimisers and the run's position lie
beside the networks. Nothing in it executes on load.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ...manifests.config import ConfigError, from_plain
from ...manifests.store import TEMPORARY, fsync_folder, write_json
from ..old_names import with_present_names
from ..store import (
    CONFIG,
    DISCRIMINATOR,
    FORMAT,
    GENERATOR,
    LIVE_GENERATOR,
    ModelConfig,
    ModelStoreError,
    PartEntry,
    read_config,
    read_part,
    write_config,
    write_part,
)
from .config import TrainConfig
from .state import TrainState

CHECKPOINTS = "checkpoints"
POSITION = "position.json"
OPTIMISERS = ("generator_optimiser", "discriminator_optimiser")
"""Parts with the state of both optimisers."""
LABELLER = "labeller"
PERSONS = ("persons", "persons_average", "persons_optimiser")
"""Parts with the table of known persons, its average and its optimiser."""
log = logging.getLogger(__name__)


class CheckpointWriteError(OSError):
    """A checkpoint could not be written; the last good one is still there."""


@dataclass(frozen=True)
class Position:
    """Where a run stands, beside its weights."""

    step: int
    images: int
    skipped: int
    augment: float


def checkpoints(run: Path) -> list[Path]:
    """Return a run's checkpoints, oldest first; unfinished ones do not count."""
    found = (run / CHECKPOINTS).glob("step-*") if (run / CHECKPOINTS).is_dir() else []
    return sorted(path for path in found if TEMPORARY not in path.name and (path / CONFIG).is_file())


def newest(run: Path) -> Path:
    """Return a run's newest checkpoint.

    Raises:
        ModelStoreError: there is none.
    """
    found = checkpoints(run)
    if not found:
        raise ModelStoreError(f"no checkpoint in {run / CHECKPOINTS}; train writes one at its first save")
    return found[-1]


def save(run: Path, state: TrainState, config: TrainConfig, keep: int) -> Path:
    """Write a checkpoint aside, rename it, and then remove all but the last `keep`.

    Raises:
        CheckpointWriteError: the disk is full or gone; nothing that was there is lost.
    """
    folder = run / CHECKPOINTS / f"step-{state.step:08d}"
    aside = folder.with_name(folder.name + TEMPORARY + str(os.getpid()))
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        parts = {
            GENERATOR: state.average.generator.state_dict(),
            LIVE_GENERATOR: state.generator.state_dict(),
            DISCRIMINATOR: state.discriminator.state_dict(),
        }
        entries: dict[str, PartEntry] = {name: write_part(aside, name, tensors) for name, tensors in parts.items()}
        beside = {name: write_part(aside, name, optimiser_tensors(getattr(state, name))) for name in OPTIMISERS}
        if state.labeller is not None:
            beside[LABELLER] = write_part(aside, LABELLER, state.labeller.state_dict())
        for name, tensors in _persons_tensors(state).items():
            beside[name] = write_part(aside, name, tensors)
        position = Position(state.step, state.images, state.skipped, state.augment)
        write_json(aside / POSITION, {"position": position, "parts": beside})
        write_config(aside, ModelConfig(FORMAT, config.model.generator, config.model.discriminator, entries))
        fsync_folder(aside)
        if folder.exists():
            shutil.rmtree(folder)
        aside.replace(folder)
        fsync_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        left = checkpoints(run)
        kept = f"the last good one is {left[-1]}" if left else "there is none yet"
        raise CheckpointWriteError(
            f"cannot write the checkpoint {folder}: {error}; {kept}; make room, then rerun the command to resume"
        ) from error
    for old in checkpoints(run)[: -max(keep, 1)]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def load_newest(run: Path, state: TrainState) -> Path | None:
    """Fill a state from the newest checkpoint that is whole; damaged ones are told and passed over.

    Returns:
        The checkpoint, or None if there is none at all.

    Raises:
        ModelStoreError: there are checkpoints, and all are damaged.
    """
    found = checkpoints(run)
    for path in reversed(found):
        try:
            load(path, state)
            return path
        except ModelStoreError as error:
            log.warning("passing over a damaged checkpoint: %s", error)
    if found:
        raise ModelStoreError(f"every checkpoint in {run / CHECKPOINTS} is damaged; remove them to begin anew")
    return None


def load(folder: Path, state: TrainState) -> None:
    """Fill a state from one checkpoint; all of it is read and proved before anything changes.

    Raises:
        ModelStoreError: something is missing, damaged or does not fit.
    """
    config = read_config(folder)
    try:
        plain = with_present_names(json.loads((folder / POSITION).read_bytes()))
        position = from_plain(Position, plain["position"], str(folder / POSITION))
        wanted = (*OPTIMISERS, *(() if state.labeller is None else (LABELLER,)), *(() if state.persons is None else PERSONS))
        beside = {name: from_plain(PartEntry, plain["parts"][name], str(folder / POSITION)) for name in wanted}
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise ModelStoreError(f"{folder / POSITION} is missing or damaged: {error}") from error
    whole = dataclasses.replace(config, parts={**config.parts, **beside})
    read = {name: read_part(folder, whole, name) for name in (GENERATOR, LIVE_GENERATOR, DISCRIMINATOR, *wanted)}
    try:
        state.average.generator.load_state_dict(read[GENERATOR])
        state.generator.load_state_dict(read[LIVE_GENERATOR])
        state.discriminator.load_state_dict(read[DISCRIMINATOR])
        if state.labeller is not None:
            state.labeller.load_state_dict(read[LABELLER])
        for name in OPTIMISERS:
            load_optimiser(getattr(state, name), read[name])
        if state.persons is not None and state.average.persons is not None and state.persons_optimiser is not None:
            state.persons.load_state_dict(read[PERSONS[0]])
            state.average.persons.load_state_dict(read[PERSONS[1]])
            load_optimiser(state.persons_optimiser, read[PERSONS[2]])
    except (RuntimeError, KeyError, ValueError) as error:
        raise ModelStoreError(f"{folder} does not fit the run's settings: {error}") from error
    state.step, state.images, state.skipped = position.step, position.images, position.skipped
    state.augment = position.augment


def _persons_tensors(state: TrainState) -> dict[str, dict[str, torch.Tensor]]:
    """Return the tensors of the table of known persons, its average and its optimiser by part; none where there is no table."""
    if state.persons is None or state.average.persons is None or state.persons_optimiser is None:
        return {}
    tables = (state.persons.state_dict(), state.average.persons.state_dict(), optimiser_tensors(state.persons_optimiser))
    return dict(zip(PERSONS, tables, strict=True))


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return an optimiser's state by number of parameter and name; parameters that were never moved have none."""
    states = optimiser.state_dict()["state"]
    return {f"{number}/{name}": torch.as_tensor(value) for number, values in states.items() for name, value in values.items()}


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Fill an optimiser from what `optimiser_tensors` returned; settings such as the learning rate stay the config's."""
    plain = optimiser.state_dict()
    count = sum(len(group["params"]) for group in plain["param_groups"])
    states: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition("/")
        if not number.isdigit() or int(number) >= count:
            raise ValueError(f"the optimiser has {count} parameters, got a state for number {number}")
        states.setdefault(int(number), {})[name] = tensor
    optimiser.load_state_dict({"state": states, "param_groups": plain["param_groups"]})


def room_needed(state: TrainState) -> int:
    """Return the bytes of one checkpoint.

    Four times the generator's numbers (averaged, live and Adam's two), three times the discriminator's, and three times the
    labeller's where there is one.
    """
    judges = [state.discriminator, *([state.labeller] if state.labeller is not None else [])]
    sizes: list[int] = [sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
             for module in (state.generator, *judges)]  # fmt: skip
    return 4 * sizes[0] + 3 * sum(sizes[1:])
