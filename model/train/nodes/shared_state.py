"""One process's state to all others: nodes without a common disk resume from the newest checkpoint that one of them has.

The first process writes, and which one that is may change with every restart: torchrun numbers the nodes by their addresses.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from ....manifests.store import write_bytes
from ..checkpoint import checkpoints, load_newest, load_optimiser, optimiser_tensors
from ..distributed import World
from ..progress import METRICS
from ..state import TrainState

log = logging.getLogger(__name__)


def resume(run: Path, state: TrainState, world: World) -> bool:
    """Fill a state from the newest checkpoint that any process has; the first process gets the metrics that belong to it.

    Args:
        run: this process's folder of the run.
        state: changed in place on every process.
        world: the processes, all of which call this.

    Returns:
        Whether there was one; the state is as before where there was none.

    Raises:
        ModelStoreError: the process with the newest has damaged ones only.
        PeerLost: another process is gone.
    """
    here = checkpoints(run)
    held = world.gather(1 + int(here[-1].name.rpartition("-")[2]) if here else 0)
    source = held.index(max(held))
    if not held[source]:
        return False
    if world.rank == source:
        load_newest(run, state)
    share_state(state, world, source)
    if source:
        _share_metrics(run, world, source, held[0] - 1)
    return True


def _share_metrics(run: Path, world: World, source: int, step: int) -> None:
    """Give the first process the lines of metrics of the process whose checkpoint is resumed."""
    path = run / METRICS
    lines: list[Any] = [path.read_bytes() if world.rank == source and path.is_file() else b""]
    world.share_objects(lines, source)
    if world.is_first:
        write_bytes(path, lines[0])
        has = f"its own newest is of step {step:,}" if step >= 0 else "it has none"
        log.warning(
            "all resume from the checkpoint of process %d of %d, the newest; as to the first, %s", source, world.size, has
        )


def share_state(state: TrainState, world: World, source: int = 0) -> None:
    """Give every process one's networks, averages, optimisers and position.

    Args:
        state: filled on that process, changed in place on the others.
        world: the processes, all of which call this.
        source: rank of that process.

    Raises:
        PeerLost: another process is gone.
    """
    if world.size == 1:
        return
    average = state.average
    for network in (state.generator, state.discriminator_modules(), average.generator, state.persons, average.persons):
        if network is not None:
            world.share(network, source)
    for optimiser in (state.generator_optimiser, state.discriminator_optimiser, state.persons_optimiser):
        if optimiser is not None:
            _share_optimiser(optimiser, world, source)
    position: list[Any] = [(state.step, state.images, state.skipped, state.augment)]
    world.share_objects(position, source)
    state.step, state.images, state.skipped, state.augment = position[0]


def _share_optimiser(optimiser: torch.optim.Optimizer, world: World, source: int) -> None:
    """Give every process one's moments of Adam."""
    own = optimiser_tensors(optimiser)
    told: list[Any] = [[(key, tuple(tensor.shape), str(tensor.dtype)) for key, tensor in own.items()]]
    world.share_objects(told, source)
    tensors = {
        key: own[key].to(world.device)
        if world.rank == source
        else torch.empty(shape, dtype=getattr(torch, kind.removeprefix("torch.")), device=world.device)
        for key, shape, kind in told[0]
    }
    world.share_tensors(tensors.values(), source)
    if world.rank != source:
        load_optimiser(optimiser, {key: tensor.cpu() for key, tensor in tensors.items()})
