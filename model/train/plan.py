"""What a run would take on this machine: parameters, memory and time, from one or a few real micro-batches of the real data.

Nothing is written. The estimate holds the schedules at their end, where steps are dearest, tries every phase of a warm start
by itself, and takes some seconds, or as long as one micro-batch of each phase where that is more.
"""

from __future__ import annotations

import dataclasses
import itertools
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ...datasets.streaming.loader import ShardStream
from ..losses.term import LossTerm
from .checkpoint import room_needed
from .config import RunSettings, TrainConfig
from .distributed import World
from .progress import clock
from .schedule import schedule_state
from .state import TrainState, new_state
from .step import train_step
from .trainer import open_stream

SECONDS = 8.0
"""Micro-batches are taken until so much time is spent, an equal part in each phase; at least one of each."""
ORDER = (1, 0, 1, 1, 0, 1)
"""Numbers of updates that are tried: at 0 every term is due, at 1 those of every update."""
TOO_LONG = 30 * 86_400
"""Seconds of a run beyond which a smaller one is proposed."""
WEEK = 7 * 86_400


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
    """Of a step all of whose micro-batches are done by this process; the mean over the run's phases."""
    measured: int
    """Micro-batches that were timed."""
    with_lazy_terms: bool
    """Whether terms that are not due at every update were timed too."""
    batch: int
    num_steps: int
    world_size: int
    keep: int

    def lines(self) -> list[str]:
        """Word it for a terminal."""
        seconds = self.step_seconds / self.world_size
        total = seconds * self.num_steps
        timed = f"{self.measured} micro-batch{'es' if self.measured > 1 else ''}"
        if not self.with_lazy_terms:
            timed += ", without terms that are due now and then"
        lines = [
            f"device      {self.device}, {self.world_size} process{'es' if self.world_size > 1 else ''}",
            f"data        {self.num_samples:,} samples to show",
            f"parameters  generator {self.generator_parameters:,}, discriminator {self.discriminator_parameters:,}",
            f"memory      {self.peak_bytes / 2**30:.2f} GiB a process; a checkpoint {self.checkpoint_bytes / 2**20:,.1f} MiB, "
            f"{self.keep + 1} at once on disk",
            f"time        {seconds:.2f} s a step of {self.batch} pictures ({self.batch / seconds:.1f} images/s), "
            f"{self.num_steps:,} steps: {clock(total)} (by {timed})",
        ]
        if total > TOO_LONG:
            fits = max(int(WEEK / seconds) * self.batch, self.batch)
            lines.append(
                f"advice      this takes more than a month here: a week is enough for --set images={fits}, a GPU is many "
                "times as fast, and --preset tiny-64 is made for a CPU (spherehead model presets lists all)"
            )
        return lines


def make_plan(places: Sequence[str], config: TrainConfig, settings: RunSettings, world: World) -> TrainPlan:
    """Take micro-batches with every schedule at its end, and tell what a whole run would take.

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
    state = new_state(config, world.device, torch.from_numpy(stream.known_subjects))
    phases = _phases(config)
    found = [_measure(state, config, stream, world, begin, SECONDS / len(phases)) for begin, _ in phases]
    return TrainPlan(
        device=torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else _cpu(),
        num_samples=stream.num_samples,
        generator_parameters=sum(parameter.numel() for parameter in state.generator.parameters()),
        discriminator_parameters=sum(parameter.numel() for parameter in state.discriminator.parameters()),
        checkpoint_bytes=room_needed(state),
        peak_bytes=_peak(world.device),
        step_seconds=sum(share * one.step_seconds(config) for one, (_, share) in zip(found, phases, strict=True)),
        measured=sum(len(one.plain) + len(one.lazy) for one in found),
        with_lazy_terms=all(bool(one.lazy) or not one.rates for one in found),
        batch=config.batch,
        num_steps=-(-config.images // config.batch),
        world_size=world.size,
        keep=settings.keep,
    )


def _phases(config: TrainConfig) -> list[tuple[int, float]]:
    """Return after how many pictures each phase of the run begins, and its share of all pictures."""
    start = config.warm_start
    ends = [] if start is None else [start.views, start.views + start.joint]
    edges = sorted({0, config.images, *(end for end in ends if end < config.images)})
    return [(first, (last - first) / config.images) for first, last in itertools.pairwise(edges)]


@dataclass(frozen=True)
class _Measured:
    """Seconds of what was tried in one phase."""

    plain: list[float]
    """Of updates on one micro-batch."""
    lazy: list[float]
    """Of those in which every term was due."""
    moving: float
    """Of moving the weights alone."""
    rates: list[float]
    """How often each term that is not always due comes."""

    def step_seconds(self, config: TrainConfig) -> float:
        """Return the seconds of a step all of whose micro-batches are done by this process."""
        micro_batch = statistics.median(self.plain)
        if self.lazy and self.rates:
            micro_batch += max(statistics.median(self.lazy) - micro_batch, 0.0) * statistics.mean(self.rates)
        return max(micro_batch - self.moving, 0.0) * config.num_micro_batches + self.moving


def _measure(
    state: TrainState, config: TrainConfig, stream: ShardStream, world: World, begin: int, seconds_in_all: float
) -> _Measured:
    """Take updates on one micro-batch in the phase that begins after `begin` pictures.

    The first one warms up and only counts where there was no time for another.
    """
    phase = config.phase(begin)
    due: dict[str, LossTerm] = {**config.terms.due("generator", 0, phase), **config.terms.due("discriminator", 0, phase)}
    reuse = config.reuse_fakes and config.num_micro_batches // world.size == 1
    one = dataclasses.replace(config, batch=config.micro_batch, reuse_fakes=reuse)
    alone = World(0, 1, world.device)
    now = schedule_state(config.schedule, config.images, config.resolution)
    seconds: dict[int, list[float]] = {0: [], 1: []}
    begun = time.perf_counter()
    for number, update in enumerate(ORDER):
        batch = stream[number]
        state.step, state.images = update, begin
        took = _timed(lambda batch=batch: train_step(state, one, now, [batch], alone), world.device)  # type: ignore[misc]
        seconds[update].append(took)
        if time.perf_counter() - begun > seconds_in_all:
            break
    if len(seconds[1]) > 1:
        del seconds[1][0]

    def move() -> None:
        state.generator_optimiser.step()
        state.discriminator_optimiser.step()
        state.average.update(state.generator, 0.5)

    rates = [1 / term.every for term in due.values() if term.every > 1]
    return _Measured(seconds[1], seconds[0], _timed(move, world.device), rates)


def _timed(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that work takes, on the device too."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _cpu() -> str:
    return f"CPU, {torch.get_num_threads()} threads"


def _peak(device: torch.device) -> int:
    """Return the most memory that was in use: on the device where there is one, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
