"""The run: from a config and data sets to checkpoints, metrics and pictures; the same call resumes where it stopped.

It reads from top to bottom. One step is in `step`, what a checkpoint holds in `checkpoint`, when things change in `schedule`.
"""

from __future__ import annotations

import itertools
import logging
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from ...datasets.stores.retries import StoreError
from ...datasets.streaming.batch import Batch
from ...datasets.streaming.loader import ShardStream, StreamSettings, open_loader
from ...manifests.lock import writer_lock
from ...manifests.signals import StopSignals
from ..losses.step import ScheduleState
from ..visualization.snapshot import SnapshotSettings, snapshot_pictures
from ..visualization.views import RenderSettings, seeded_latents
from .checkpoint import CheckpointWriteError, checkpoints, room_needed, save
from .config import RunSettings, TrainConfig
from .distributed import World
from .first_styles import place_persons
from .initial import begin_from
from .nodes.shared_state import resume, share_state
from .nodes.store import RunStore
from .progress import Line, Metrics, Stopwatch
from .record import RunRecord, check_record, write_record
from .schedule import schedule_state
from .state import TrainState, new_state
from .step import NotFinite, StepMetrics, subject_vectors, train_step

log = logging.getLogger(__name__)

GRID_HEADS = 6
"""Heads on a snapshot's sheet."""


class TrainInterrupted(RuntimeError):
    """A signal ended the run after a step; everything is saved."""

    def __init__(self, signum: int, text: str) -> None:
        super().__init__(text)
        self.signum = signum


class TrainDiverged(RuntimeError):
    """Losses or gradients are no numbers any more; the last good checkpoint is there."""


def open_stream(places: Sequence[str], config: TrainConfig) -> ShardStream:
    """Open the data that a config is trained on.

    Raises:
        DataError: sets are missing or do not have what the discriminator sees.
    """
    discriminator, data = config.model.discriminator, config.data
    settings = StreamSettings(
        batch=config.micro_batch, resolution=config.resolution, seed=config.seed, split=data.split, balance=data.balance,
        synthetic_weight=data.synthetic_weight, mirror=data.mirror, need_mask=discriminator.sees_mask,
        need_parsing=bool(discriminator.parsing_channels), read_mask=discriminator.sees_mask,
        read_parsing=bool(discriminator.parsing_channels), read_depth=config.terms.wants_depth,
    )  # fmt: skip
    return ShardStream(places, settings)


def train(
    places: Sequence[str],
    config: TrainConfig,
    out: Path,
    settings: RunSettings,
    world: World,
    update: bool = False,
    init: Path | None = None,
    store: RunStore | None = None,
) -> TrainState:
    """Train until `config.images` pictures have been shown.

    Args:
        places: folders or URLs of finished data sets.
        config: what is learned.
        out: the run's folder; one that holds this run is resumed.
        settings: how it is run.
        world: the processes, all of which call this.
        update: let the folder resume with another config.
        init: model folder that a new run begins from, whose digest is `config.init`.
        store: where checkpoints are kept beside the folder.

    Returns:
        The state at the end.

    Raises:
        DataError: the data cannot be streamed as asked.
        ConfigError: the folder holds another run, or processes and micro-batches do not fit.
        TrainInterrupted, TrainDiverged, CheckpointWriteError: see there; what was learned is kept.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    if store is not None and world.is_first and (brought := store.fetch(update)):
        log.warning("%s was brought from %s", brought, store.store.place)
    stream = open_stream(places, config)
    record = RunRecord.of(config, places, stream)
    check_record(out, record, world, update)
    state = new_state(config, world.device, torch.from_numpy(stream.known_subjects))
    if world.is_first:
        out.mkdir(parents=True, exist_ok=True)
        with writer_lock(out / ".state" / "lock"):
            _check_room(out, state, settings)
            write_record(out, record)
            return _run(stream, config, out, settings, world, state, init, store)
    return _run(stream, config, out, settings, world, state, init, None)


def _run(
    stream: ShardStream,
    config: TrainConfig,
    out: Path,
    settings: RunSettings,
    world: World,
    state: TrainState,
    init: Path | None,
    store: RunStore | None,
) -> TrainState:
    """Load what there is, and take steps until the end or a signal."""
    if not resume(out, state, world):  # the processes need not see each other's disks
        place_persons(state, stream)
        if init is not None:
            begin_from(state, init)
        share_state(state, world)
    metrics = Metrics(out, state.images, settings.tensorboard) if world.is_first else None
    begun, last_saved, line = time.monotonic(), state.images, Line(config.images, state.images)
    watch, sums, waiting = Stopwatch(), Sums(), 0.0
    with StopSignals() as signals:  # before workers start, which takes seconds
        batches = iter(open_loader(stream, numbers(config, state.step, world), settings.workers))
        while state.images < config.images:
            now = schedule_state(config.schedule, state.images, config.resolution, state.augment)
            with watch.time("data"):
                own = [next(batches) for _ in range(world.rank, config.num_micro_batches, world.size)]
            with watch.time("step"):
                sums.add(_guarded_step(state, config, now, own, world, out))
            out_of_time = bool(settings.max_seconds) and time.monotonic() - begun > settings.max_seconds
            stop = world.any(bool(signals.signum) or out_of_time)
            interrupted = stop and world.any(bool(signals.signum))  # clocks differ: all ranks end alike, not each by its own
            done = stop or state.images >= config.images
            if _passed(state.images, config.batch, settings.log_images) or done:
                waiting = _log(metrics, state, now, sums, watch, world)
            if world.is_first:
                line.show(state.images, sums.last, waiting, force=done)
            if done or state.images - last_saved >= settings.save_images:
                last_saved = state.images
                _save(out, state, config, settings, world, metrics, store, done)
            if interrupted:
                line.end()
                raise TrainInterrupted(
                    signals.signum or 15, f"stopped at {state.images:,} pictures; rerun the same command to resume"
                )
            if stop:
                break
    if world.is_first:
        line.end()
    if metrics is not None:
        metrics.close()
    return state


def numbers(config: TrainConfig, step: int, world: World) -> Iterator[int]:
    """Yield the numbers of this rank's micro-batches from a step on: of every step's, those that are its by turns."""
    count = config.num_micro_batches
    for number in itertools.count(step * count):
        if number % count % world.size == world.rank:
            yield number


def _guarded_step(
    state: TrainState, config: TrainConfig, now: ScheduleState, own: list[Batch], world: World, out: Path
) -> StepMetrics:
    """Take a step; where it diverges, say which checkpoint is good."""
    try:
        return train_step(state, config, now, own, world)
    except NotFinite as error:
        left = checkpoints(out)
        good = f"the last good checkpoint is {left[-1]}" if left else "there is no checkpoint yet"
        raise TrainDiverged(f"{error}; {good}; lower optimiser.*_lr or raise terms.r1 and resume with --update") from error


def _passed(images: int, batch: int, interval: int) -> bool:
    """Return whether the last step passed a multiple of `interval` pictures."""
    return images // interval > (images - batch) // interval


class Sums:
    """Means of what steps told since the last line."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self.skipped: list[str] = []
        self.last: dict[str, float] = {}

    def add(self, told: StepMetrics) -> None:
        """Take in one step."""
        for name, value in told.sums.items():
            self._sums[name] += value
        self.skipped += told.skipped

    def means(self, world: World) -> dict[str, float]:
        """Return the means over all ranks and begin anew."""
        names = sorted(name for name in self._sums if name.endswith("/sum"))
        pairs = [(self._sums[name], self._sums[name.replace("/sum", "/count")]) for name in names]
        total = world.sum(torch.tensor(pairs, dtype=torch.float64, device=world.device)) if pairs else torch.zeros(0, 2)
        self.last = {name.removesuffix("/sum"): float(value / count) for name, (value, count) in zip(names, total, strict=True)}
        self._sums.clear()
        return self.last


def _log(metrics: Metrics | None, state: TrainState, now: ScheduleState, sums: Sums, watch: Stopwatch, world: World) -> float:
    """Write a line of metrics; return the share of time spent waiting for data."""
    seconds = watch.take()
    waiting = seconds.get("data", 0.0) / max(sum(seconds.values()), 1e-9)
    means = sums.means(world)
    state.skipped += sum(world.gather(len(sums.skipped)))
    if metrics is not None:
        schedule = {name: float(value) for name, value in vars(now).items() if name != "images"}
        timing = {f"seconds_{name}": value for name, value in seconds.items()}
        position = {"images": state.images, "step": state.step, "skipped": state.skipped}
        metrics.write({**position, **means, **schedule, **timing, "waiting": waiting, "time": time.time()})
    sums.skipped.clear()
    return waiting


def _save(
    out: Path,
    state: TrainState,
    config: TrainConfig,
    settings: RunSettings,
    world: World,
    metrics: Metrics | None,
    store: RunStore | None,
    last: bool,
) -> None:
    """Write a checkpoint, and pictures of the averaged generator; after the `last` no other makes good for a failed upload."""
    state.fit_styles()
    if world.is_first:
        written_to = save(out, state, config, settings.keep)
        if store is not None:
            try:
                store.keep(written_to)
            except StoreError as error:
                if last:
                    raise
                log.warning("%s lies in %s alone: %s; the next save uploads the run again", written_to.name, out, error)
        if settings.pictures:
            written = draw(out / "pictures", state, config, world)
            if metrics is not None:
                metrics.picture("grid", written[0], state.images)
    world.wait()


def draw(folder: Path, state: TrainState, config: TrainConfig, world: World) -> list[Path]:
    """Draw the averaged generator's heads: the same latents at every snapshot."""
    generator = state.average.generator
    latents = seeded_latents(range(GRID_HEADS), generator.settings.z_dim).to(world.device)
    conditions = None
    if config.condition == "subject":
        conditions = subject_vectors(torch.arange(GRID_HEADS), config.subject_dim).to(world.device)
    now = schedule_state(config.schedule, state.images, config.resolution)
    rendering = RenderSettings(now.neural_resolution, now.image_resolution, now.fade)
    return snapshot_pictures(
        generator,
        folder,
        latents,
        conditions,
        step=state.images,
        rendering=rendering,
        settings=SnapshotSettings(heads_in_orbit=4),
    )


def _check_room(out: Path, state: TrainState, settings: RunSettings) -> None:
    """Refuse to begin where the disk could not hold the checkpoints: `keep`, and a new one before the oldest goes."""
    one, there = room_needed(state), len(checkpoints(out))
    more = max(settings.keep + 1 - there, 1)
    free = shutil.disk_usage(out).free
    if free < one * more:
        raise CheckpointWriteError(
            f"{out} has {free / 2**20:,.0f} MiB free; a checkpoint takes {one / 2**20:,.0f} MiB and {more} more must fit "
            f"beside the {there} that are there; make room, or keep fewer than --keep {settings.keep}"
        )
