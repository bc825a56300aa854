"""One training step: both players' updates over the step's micro-batches, from data to weights.

What a term computes is in `losses`; the loop around the steps, saving and showing, is in `trainer`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ...datasets.classes import UNLABELLED
from ...datasets.streaming.batch import Batch
from ..losses.augment import AugmentSettings, adapted, augment
from ..losses.parsing import NETWORK
from ..losses.step import Player, ScheduleState, Step
from ..nets.persons import ground_colours
from ..portrait import Portrait, real_portrait
from ..volume_rendering.rays import ray_distance
from .config import TrainConfig
from .distributed import World
from .state import TrainState


class NotFinite(ArithmeticError):
    """A loss or gradient that is no number; nothing was updated with it."""


@dataclass
class StepMetrics:
    """What a step tells: sums over this process's micro-batches, by name."""

    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    skipped: list[str] = field(default_factory=list)


DRAWN_AS: dict[Player, str] = {"generator": "generator", "discriminator": "critic"}
"""The players' names in the seeds of their draws: those of version 0.1.0, so that its runs resume bit-exact."""


def draw_source(seed: int, number: int, player: Player, device: torch.device) -> torch.Generator:
    """Return the source of every draw of one player's update on one micro-batch; it depends on these numbers alone."""
    digest = hashlib.sha256(f"{seed}\x00{number}\x00{DRAWN_AS[player]}".encode()).digest()
    return torch.Generator(device=device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def subject_vectors(subject: Tensor, dim: int) -> Tensor:
    """Return (B, dim) normal vectors of persons: the same numbers for a person whenever and wherever one of its views comes.

    Args:
        subject: (B,) int64 numbers of persons, as `Batch.subject`.
        dim: numbers of a vector.
    """
    rows = [torch.randn(dim, generator=torch.Generator().manual_seed(int(number) & (2**62 - 1))) for number in subject.tolist()]
    return torch.stack(rows)


@dataclass(frozen=True)
class Data:
    """A micro-batch on the device, as the terms want it."""

    number: int
    real: Portrait
    subjects: Tensor | None
    parsing_map: Tensor | None
    subject: Tensor
    """(B,) int64 numbers of the persons; -1 for pictures that are not rendered or are mirrored, which show another person."""


def prepare(batch: Batch, config: TrainConfig, schedule: ScheduleState, device: torch.device) -> Data:
    """Turn a micro-batch of the stream into what the discriminator compares with: present size, [-1, 1], shares of classes.

    Pixels that nobody labelled are of the spare class for the discriminator, so that it is not told that they are background.
    """
    image = batch.image.to(device, non_blocking=True).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
    mask = None if batch.mask is None else batch.mask.to(device)[:, None].float().div_(255.0)
    classes = None if batch.parsing is None else batch.parsing.to(device)
    factor = image.shape[-1] // schedule.image_resolution
    if factor > 1:
        image = nn.functional.avg_pool2d(image, factor)
        mask = None if mask is None else nn.functional.avg_pool2d(mask, factor)
    channels = config.model.discriminator.parsing_channels
    known = None if classes is None or not channels else torch.where(classes == UNLABELLED, channels - 1, classes)
    real = real_portrait(image, batch.camera.to(device), schedule.neural_resolution, mask, known, channels or 20)
    if batch.depth is not None:
        real = dataclasses.replace(real, depth=ray_distance(batch.depth.to(device), real.camera, schedule.neural_resolution))
    subjects = subject_vectors(batch.subject, config.subject_dim).to(device) if config.condition == "subject" else None
    subject = torch.where(batch.synthetic & ~batch.mirrored, batch.subject, -1).to(device)
    return Data(batch.number, real, subjects, classes, subject)


def train_step(
    state: TrainState, config: TrainConfig, schedule: ScheduleState, batches: Sequence[Batch], world: World
) -> StepMetrics:
    """Update discriminator, generator and the generator's average once.

    Args:
        state: changed in place.
        config: the run.
        schedule: where the run stands.
        batches: this process's micro-batches of the step.
        world: the processes.

    Raises:
        NotFinite: on every rank, if a loss or gradient of any rank is no number; weights are as before.
    """
    told = StepMetrics()
    data = [prepare(batch, config, schedule, world.device) for batch in batches]
    for batch in batches:
        told.skipped += batch.skipped
    phase = config.phase(state.images)
    set_rates(state, config)
    _track_grounds(state, data, world)
    if phase != "views":
        state.fit_styles()
    generator_steps = [_make(state, config, schedule, item, "generator", world) for item in data]
    reuse = config.reuse_fakes and len(data) == 1 and phase != "views"
    if reuse:
        _set_trained(state, "generator")
        _ = generator_steps[0].fake
    if phase != "views":
        _set_trained(state, "discriminator")
        discriminator_steps = [
            _make(state, config, schedule, item, "discriminator", world, fakes if reuse else None)
            for item, fakes in zip(data, generator_steps, strict=True)
        ]
        _update(state, config, "discriminator", discriminator_steps, told, world)
    _set_trained(state, "generator")
    _update(state, config, "generator", generator_steps, told, world)
    state.average.update(state.generator, config.ema.decay(schedule.images, config.batch), state.persons)
    if config.augment is not None and phase != "views":
        sign = world.sum(torch.tensor([told.sums["real_sign/sum"], told.sums["real_sign/count"]], device=world.device))
        state.augment = adapted(state.augment, float(sign[0] / sign[1]), config.batch, config.augment)
    state.step += 1
    state.images += config.batch
    return told


def set_rates(state: TrainState, config: TrainConfig) -> None:
    """Give the optimisers the learning rates of this moment: the schedule's, or a warm start's for what it teaches."""
    settings, start = config.optimiser, config.warm_start
    decayed = config.schedule.learning_rate.at(state.images)
    for group in state.discriminator_optimiser.param_groups:
        group["lr"] = settings.discriminator_lr * decayed
    rate = settings.generator_lr * decayed
    if start is not None and state.persons_optimiser is not None:
        share = start.share(state.images)
        state.persons_optimiser.param_groups[0]["lr"] = start.persons_lr * share
        if start.phase(state.images) != "adversarial":
            rate = start.generator_lr * share
    for group, factor in zip(state.generator_optimiser.param_groups, (1.0, settings.renderer_lr), strict=False):
        group["lr"] = rate * factor


def _track_grounds(state: TrainState, data: Sequence[Data], world: World) -> None:
    """Take the colours of the step's grounds, of all processes, into the running moments."""
    if state.persons is None:
        return
    moments = torch.zeros_like(state.persons.ground_moments)
    for item in data:
        if item.real.mask is not None:
            moments += state.persons.moments_of(ground_colours(item.real.image, item.real.mask))
    state.persons.track(world.sum(moments))


def _make(
    state: TrainState,
    config: TrainConfig,
    schedule: ScheduleState,
    data: Data,
    player: Player,
    world: World,
    fakes: Step | None = None,
) -> Step:
    due = config.terms.due(player, state.step, config.phase(state.images))
    change = None
    if config.augment is not None and schedule.augment > 0:
        change = functools.partial(_augmented, settings=config.augment, probability=schedule.augment)
    return Step(
        player, state.generator, state.discriminator, data.real, schedule, config.sampling,
        draw_source(config.seed, data.number, player, world.device),
        subjects=data.subjects, parsing_map=data.parsing_map, augment=change,
        wants_real_gradient=any(term.wants_real_gradient for term in due.values()),
        networks={} if state.labeller is None else {NETWORK: state.labeller},
        fakes=fakes, persons=state.persons, person=None if state.persons is None else state.persons.rows(data.subject),
        rebuilds=any(term.wants_views for term in due.values()), total=config.batch,
    )  # fmt: skip


def _augmented(portrait: Portrait, random: torch.Generator, settings: AugmentSettings, probability: float) -> Portrait:
    return augment(portrait, settings, probability, random)


def _set_trained(state: TrainState, player: Player) -> None:
    """Let gradients reach the weights of one player only."""
    state.generator.requires_grad_(player == "generator")
    state.discriminator_modules().requires_grad_(player == "discriminator")


def _update(
    state: TrainState, config: TrainConfig, player: Player, steps: Sequence[Step], told: StepMetrics, world: World
) -> None:
    """Sum the due terms' gradients over micro-batches and ranks, and let Adam move the player's weights."""
    network: nn.Module = state.generator if player == "generator" else state.discriminator_modules()
    optimisers = [state.generator_optimiser if player == "generator" else state.discriminator_optimiser]
    phase = config.phase(state.images)
    if player == "generator" and phase != "adversarial" and state.persons is not None and state.persons_optimiser is not None:
        network = nn.ModuleList([state.generator, state.persons])
        optimisers.append(state.persons_optimiser)
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
    finite = True
    for step in steps:
        total = torch.zeros((), device=world.device)
        for name, term in config.terms.due(player, state.step, phase).items():
            value = term(step)
            told.sums[f"{name}/sum"] += float(value.detach())
            told.sums[f"{name}/count"] += 1
            total = total + value * (term.weight * term.every)
        finite = finite and bool(total.detach().isfinite())
        if finite and total.requires_grad:
            (total / config.num_micro_batches).backward()
        if player == "discriminator":
            _tell_scores(step, told)
    world.sum_gradients(network)
    norm = gradient_norm(network)
    told.sums[f"{player}_gradient/sum"] += norm
    told.sums[f"{player}_gradient/count"] += 1
    if world.any(not finite or not norm < float("inf")):
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        raise NotFinite(f"the {player}'s loss or gradient is no finite number at step {state.step} ({state.images:,} pictures)")
    if config.optimiser.clip is not None:
        nn.utils.clip_grad_norm_(network.parameters(), config.optimiser.clip)
    if player == "generator" and config.optimiser.renderer_clip is not None:
        nn.utils.clip_grad_norm_(state.generator.renderer.parameters(), config.optimiser.renderer_clip)
    for optimiser in optimisers:
        optimiser.step()


def _tell_scores(step: Step, told: StepMetrics) -> None:
    """Note what the discriminator said of data and of generated pictures, and the signs, which steer the augmentation."""
    real, fake = step.real_score.detach(), step.fake_score.detach()
    for name, value in (("real_score", real.mean()), ("fake_score", fake.mean()), ("real_sign", real.sign().mean())):
        told.sums[f"{name}/sum"] += float(value)
        told.sums[f"{name}/count"] += 1


def gradient_norm(module: nn.Module) -> float:
    """Return the Euclidean norm of all gradients of a network; not finite if any of them is not."""
    norms = [parameter.grad.float().norm() for parameter in module.parameters() if parameter.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0
