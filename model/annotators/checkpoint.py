"""Checkpoints of annotator networks: weights, their running average, the optimiser and the position in one safetensors file.

When one is written is decided in `training`.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...manifests.config import ConfigError
from ...manifests.store import write_bytes

CHECKPOINT = "checkpoint.safetensors"
SETTINGS = "training.json"
"""File of a run's task and settings."""


@dataclass
class Progress:
    """Everything that a checkpoint holds."""

    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.AdamW
    images: int = 0
    """Pictures shown so far."""


def save(out: Path, task: str, progress: Progress) -> None:
    """Write weights, average, optimiser and position in one file, whole or not at all."""
    from safetensors.torch import save as packed

    tensors = {f"network/{name}": value for name, value in progress.network.state_dict().items()}
    tensors |= {f"average/{name}": value for name, value in progress.average.state_dict().items()}
    for number, values in progress.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{number}/{name}": torch.as_tensor(value) for name, value in values.items()}
    ready = {name: value.detach().contiguous() for name, value in tensors.items()}
    write_bytes(out / CHECKPOINT, packed(ready, metadata={"task": task, "images": str(progress.images)}))


def resume(out: Path, task: str, progress: Progress) -> None:
    """Fill the state from the folder's checkpoint, if there is one.

    Raises:
        ConfigError: it is of another task, or of a network of before that had fewer parts.
    """
    path = out / CHECKPOINT
    if not path.is_file():
        return
    name, images, tensors = read(path)
    if name != task:
        raise ConfigError(f"{path} is a run of '{name}', not of '{task}'; choose another folder")
    if missing := sorted(set(progress.network.state_dict()) - set(_part(tensors, "network/"))):
        words = f"choose another folder, and --start {out} to begin with what it has learned"
        raise ConfigError(f"expected a run of this version's network in {path}, got one without {missing[0]}; {words}")
    progress.network.load_state_dict(_part(tensors, "network/"))
    progress.average.load_state_dict(_part(tensors, "average/"))
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in _part(tensors, "optimiser/").items():
        number, _, field = key.partition("/")
        states.setdefault(int(number), {})[field] = value
    plain = progress.optimiser.state_dict()
    progress.optimiser.load_state_dict({"state": states, "param_groups": plain["param_groups"]})
    progress.images = images


def read(path: Path) -> tuple[str, int, dict[str, Tensor]]:
    """Return the task, the pictures shown and the tensors of a checkpoint.

    Raises:
        ConfigError: it is damaged, or no checkpoint of an annotator.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            return told["task"], int(told["images"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        words = "bring back a copy, or choose another folder to begin anew"
        raise ConfigError(f"expected a checkpoint of `annotators train` in {path}, got {error!r}; {words}") from error


def read_settings(run: Path) -> dict[str, Any]:
    """Return the settings that a run tells, as plain data; none where it tells nothing.

    Raises:
        ConfigError: what it tells is damaged.
    """
    path = run / SETTINGS
    if not path.is_file():
        return {}
    try:
        told: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8"))["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        words = "bring back a copy, or delete it to resume with any settings"
        raise ConfigError(f"expected settings of a run in {path}, got {error!r}; {words}") from error
    return told


def load_average(path: Path, network: nn.Module) -> int:
    """Fill a network with a checkpoint's average; return how many pictures it has seen."""
    _, images, tensors = read(path)
    fill(network, _part(tensors, "average/"))
    return images


def fill(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Fill a network with weights; what networks of before lack (`later` of the network) stays as it is where they lack it."""
    own = {name: value for name, value in network.state_dict().items() if name.startswith(lacking(network, tensors))}
    network.load_state_dict({**own, **tensors})


def lacking(network: nn.Module, names: Collection[str]) -> tuple[str, ...]:
    """Return how the names of those parts begin that files of before lack, and the one that holds `names` does.

    Args:
        network: one of `networks.NETWORKS`; its `later` tells which parts.
        names: of the file's layers or tensors.
    """
    later: tuple[str, ...] = getattr(network, "later", ())
    return tuple(start for start in later if not any(name.startswith(start) for name in names))


def _part(tensors: dict[str, Tensor], start: str) -> dict[str, Tensor]:
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
