"""One training step of a process, in a group or alone, and the gradients that it leaves: CONFIG DATA FILE as a program."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from spherehead.manifests.config import from_plain
from spherehead.model.train.config import TrainConfig
from spherehead.model.train.distributed import open_world
from spherehead.model.train.schedule import schedule_state
from spherehead.model.train.state import new_state
from spherehead.model.train.step import train_step
from spherehead.model.train.trainer import numbers, open_stream


def save_gradients(config_file: str, data: str, out: str) -> None:
    """Make one step of a run and write the gradients of all parameters; only the first process writes."""
    torch.set_num_threads(1)
    config = from_plain(TrainConfig, json.loads(Path(config_file).read_text()))
    world = open_world("cpu")
    stream, state = open_stream([data], config), new_state(config, world.device)
    mine = numbers(config, 0, world)
    batches = [stream[next(mine)] for _ in range(config.num_micro_batches // world.size)]
    train_step(state, config, schedule_state(config.schedule, 40, config.resolution, 0.2), batches, world)
    if world.is_first:
        named = [*state.generator.named_parameters("g"), *state.discriminator.named_parameters("d")]
        save_file({name: p.grad.contiguous() for name, p in named if p.grad is not None}, out)
    world.close()


if __name__ == "__main__":
    save_gradients(*sys.argv[1:4])
