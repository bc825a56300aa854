"""The first process's state to all others: nodes without a common disk resume from the checkpoint that one of them has."""

from __future__ import annotations

from typing import Any

import torch

from ..checkpoint import load_optimiser, optimiser_tensors
from ..distributed import World
from ..state import TrainState


def share_state(state: TrainState, world: World) -> None:
    """Give every process the first one's networks, averages, optimisers and position.

    Args:
        state: filled on the first process, changed in place on the others.
        world: the processes, all of which call this.

    Raises:
        PeerLost: another process is gone.
    """
    if world.size == 1:
        return
    average = state.average
    for network in (state.generator, state.discriminator_modules(), average.generator, state.persons, average.persons):
        if network is not None:
            world.share(network)
    for optimiser in (state.generator_optimiser, state.discriminator_optimiser, state.persons_optimiser):
        if optimiser is not None:
            _share_optimiser(optimiser, world)
    position: list[Any] = [(state.step, state.images, state.skipped, state.augment)]
    world.share_objects(position)
    state.step, state.images, state.skipped, state.augment = position[0]


def _share_optimiser(optimiser: torch.optim.Optimizer, world: World) -> None:
    """Give every process the first one's moments of Adam."""
    own = optimiser_tensors(optimiser)
    told: list[Any] = [[(key, tuple(tensor.shape), str(tensor.dtype)) for key, tensor in own.items()]]
    world.share_objects(told)
    tensors = {
        key: own[key].to(world.device)
        if world.is_first
        else torch.empty(shape, dtype=getattr(torch, kind.removeprefix("torch.")), device=world.device)
        for key, shape, kind in told[0]
    }
    world.share_tensors(tensors.values())
    if not world.is_first:
        load_optimiser(optimiser, {key: tensor.cpu() for key, tensor in tensors.items()})
