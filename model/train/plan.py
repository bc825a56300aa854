"""What a run would take on this machine: parameters, memory and time, from a few real steps on the real data.

Nothing is written. The estimate holds the schedules at their end, where steps are dearest.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .checkpoint import room_needed
from .config import RunSettings, TrainConfig
from .distributed import World
from .progress import clock
from .schedule import schedule_state
from .state import new_state
from .step import train_step
from .trainer import open_stream

STEPS = 4
"""Steps taken; the first is not counted."""


@dataclass(frozen=True)
class TrainPlan:
    """What a run would take."""

    device: str
    num_samples: int
    generator_parameters: int
    discriminator_parameters: int
    checkpoint_bytes: int
    peak_bytes: int
    """Most memory of this process while it took the steps."""
    step_seconds: float
    """Median of the measured steps, all of whose micro-batches were done by this process."""
    batch: int
    num_steps: int
    world_size: int
    keep: int

    def lines(self) -> list[str]:
        """Word it for a terminal."""
        seconds = self.step_seconds / self.world_size
        return [
            f"device      {self.device}, {self.world_size} process{'es' if self.world_size > 1 else ''}",
            f"data        {self.num_samples:,} samples to show",
            f"parameters  generator {self.generator_parameters:,}, discriminator {self.discriminator_parameters:,}",
            f"memory      {self.peak_bytes / 2**30:.2f} GiB a process; a checkpoint {self.checkpoint_bytes / 2**20:,.1f} MiB, "
            f"{self.keep + 1} at once on disk",
            f"time        {seconds:.2f} s a step of {self.batch} pictures ({self.batch / seconds:.1f} images/s), "
            f"{self.num_steps:,} steps: {clock(seconds * self.num_steps)}",
        ]


def make_plan(places: Sequence[str], config: TrainConfig, settings: RunSettings, world: World) -> TrainPlan:
    """Take a few steps with every schedule at its end, and tell what a whole run would take.

    Args:
        places: data sets.
        config: the run.
        settings: how it is run.
        world: the processes; each measures by itself.

    Raises:
        DataError: the data cannot be streamed as asked.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    stream = open_stream(places, config)
    state = new_state(config, world.device)
    alone = World(0, 1, world.device)
    now = schedule_state(config.schedule, config.images, config.side)
    seconds = []
    for step in range(STEPS):
        batches = [stream[step * config.num_micro_batches + number] for number in range(config.num_micro_batches)]
        start = time.perf_counter()
        train_step(state, config, now, batches, alone)
        if world.device.type == "cuda":
            torch.cuda.synchronize(world.device)
        seconds.append(time.perf_counter() - start)
    return TrainPlan(
        device=torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else _cpu(),
        num_samples=stream.num_samples,
        generator_parameters=sum(parameter.numel() for parameter in state.generator.parameters()),
        discriminator_parameters=sum(parameter.numel() for parameter in state.discriminator.parameters()),
        checkpoint_bytes=room_needed(state),
        peak_bytes=_peak(world.device),
        step_seconds=statistics.median(seconds[1:]),
        batch=config.batch,
        num_steps=-(-config.images // config.batch),
        world_size=world.size,
        keep=settings.keep,
    )


def _cpu() -> str:
    return f"CPU, {torch.get_num_threads()} threads"


def _peak(device: torch.device) -> int:
    """Return the most memory that was in use: on the device where there is one, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
