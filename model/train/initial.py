"""Beginning a run from a trained model: every part that fits is taken, the rest is named and begins as drawn.

Which folder a name or file means is found here too; reading models is left to `store`, other systems' files to `interop`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..generator import Generator
from ..interop.convert import convert
from ..nets.persons import GaussianStyles, PersonTable
from ..shipped import SHIPPED, is_shipped, shipped
from ..store import CONFIG, DISCRIMINATOR, GENERATOR, LIVE_GENERATOR, ModelStoreError, read_config, read_part, read_tensors
from .checkpoint import CHECKPOINTS, PERSONS, newest
from .state import TrainState

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Taken:
    """What a run took from a model."""

    num_tensors: int
    rest: tuple[str, ...]
    """"part.tensor: why" of what was left as drawn, or had no place."""


def initial_folder(place: Path, out: Path) -> Path:
    """Return the model folder that `--init` means.

    Args:
        place: name of a shipped model, a model's or a run's folder, or a published checkpoint, which is converted.
        out: the run's folder; a converted checkpoint is kept in its `init`.

    Raises:
        ModelStoreError, CheckpointError: there is no whole model.
    """
    if is_shipped(place):
        return shipped(str(place))
    if place.is_file():
        folder = out / "init"
        if not (folder / CONFIG).is_file():
            convert(place, folder)
        return folder
    if (place / CHECKPOINTS).is_dir():
        return newest(place)
    if not (place / CONFIG).is_file():
        known = ", ".join(sorted(SHIPPED))
        raise ModelStoreError(f"no model in {place}; expected a shipped model ({known}), a model, a run or a checkpoint")
    return place


def digest_of(folder: Path) -> str:
    """Return the sha256 of a model's averaged generator, by which a run names what it began from."""
    return read_config(folder).parts[GENERATOR].sha256


@torch.no_grad()
def begin_from(state: TrainState, folder: Path) -> Taken:
    """Fill a new run's networks from a model folder, as far as names and shapes agree.

    Persons of a warm start begin at the mean of the model's Gaussian, which the new generator then understands; those whom a
    checkpoint's own table knows begin at their vectors there. A renderer that the model had not begins, if it can, with the
    geometry that the model showed.

    Raises:
        ModelStoreError: the model is not whole, or nothing of it fits.
    """
    config = read_config(folder)
    live = LIVE_GENERATOR if LIVE_GENERATOR in config.parts else GENERATOR
    wanted: list[tuple[str, nn.Module, str]] = [
        ("generator", state.generator, live), ("average", state.average.generator, GENERATOR)
    ]  # fmt: skip
    if DISCRIMINATOR in config.parts:
        wanted.append(("discriminator", state.discriminator, DISCRIMINATOR))
    count, rest = 0, []
    for name, network, part in wanted:
        taken, left = fill(network, read_part(folder, config, part))
        count += taken
        rest += [f"{name}.{text}" for text in left]
        if (
            isinstance(network, Generator)
            and any(text.startswith("renderer.") for text in left)
            and network.renderer.adopt(network.decoder)
        ):
            log.info("the %s's renderer begins with the geometry of %s", name, folder)
    if not count:
        raise ModelStoreError(f"nothing of {folder} fits this run's networks; choose the preset that it was trained with")
    mapping = state.generator.mapping
    if state.persons is not None and state.average.persons is not None and isinstance(mapping, GaussianStyles):
        for persons in (state.persons, state.average.persons):
            persons.styles.copy_(mapping.w_mean.expand_as(persons.styles))
        known = [
            take_persons(table, folder / f"{part}.safetensors")
            for table, part in zip((state.persons, state.average.persons), PERSONS, strict=False)
        ]
        if min(known):
            log.info("%d of %d persons begin at their vectors in %s", min(known), len(state.persons.styles), folder)
    if rest:
        log.warning("began from %s with %d tensors; the rest begins as drawn: %s", folder, count, "; ".join(grouped(rest)))
    return Taken(count, tuple(rest))


def grouped(rest: Sequence[str]) -> list[str]:
    """Return "part.tensor: why" with the tensors of a network's part that share their reason told as one."""
    groups: dict[tuple[str, str], list[str]] = {}
    for text in rest:
        name, why = text.split(": ", 1)
        groups.setdefault((".".join(name.split(".")[:2]), why), []).append(name)
    told = {
        (part, why): names[0] if len(names) == 1 else f"{part} ({len(names)} tensors)" for (part, why), names in groups.items()
    }
    return [f"{names}: {why}" for (_, why), names in told.items()]


@torch.no_grad()
def take_persons(persons: PersonTable, place: Path) -> int:
    """Copy the vectors of persons whom another table knows, and how it makes grounds of colours; return how many there are.

    Args:
        persons: changed in place.
        place: a checkpoint's table; nothing happens where there is none, or where its vectors have another length.
    """
    if not place.is_file():
        return 0
    other = PersonTable.of(read_tensors(place))
    if other.styles.shape[1] != persons.styles.shape[1]:
        return 0
    rows = other.rows(persons.subjects.cpu())
    known = (rows >= 0).nonzero().squeeze(1)
    persons.styles[known.to(persons.styles.device)] = other.styles[rows[known]].to(persons.styles.device)
    if len(known):
        persons.to_ground.load_state_dict(other.to_ground.state_dict())
    return len(known)


def fill(network: nn.Module, tensors: dict[str, torch.Tensor]) -> tuple[int, list[str]]:
    """Copy tensors into a network where name and shape agree; return how many, and what differs."""
    own, count, left = network.state_dict(), 0, []
    for name, place in own.items():
        tensor = tensors.get(name)
        if tensor is None:
            left.append(f"{name}: not in the model that is begun from")
        elif tensor.shape != place.shape:
            left.append(f"{name}: {tuple(tensor.shape)} in the model, {tuple(place.shape)} here")
        else:
            place.copy_(tensor)
            count += 1
    return count, left + [f"{name}: has no place here" for name in tensors.keys() - own.keys()]
