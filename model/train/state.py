"""What training changes: networks, their optimisers, the generator's running average, and how far the run is.

Writing it to a disk is left to `checkpoint`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ...manifests.config import ConfigError
from ..discriminator import Discriminator
from ..generator import Generator
from ..losses.labeller import Labeller
from ..nets.persons import GaussianStyles, PersonTable
from ..pose_discriminator import make_discriminator
from .config import OptimiserSettings, TrainConfig


class Average:
    """The running average of a generator's weights; buffers, such as the mean style, are copied.

    The arithmetic is torch's own (`get_ema_multi_avg_fn`). Its `AveragedModel` around it is not used: the decay changes from
    step to step, its first update copies the weights, and a resumed run would have to save its counter to go on bit-exactly.
    """

    def __init__(self, generator: Generator, persons: PersonTable | None = None) -> None:
        self.generator = copy.deepcopy(generator).eval().requires_grad_(False)
        self.persons = None if persons is None else copy.deepcopy(persons).requires_grad_(False)

    @torch.no_grad()
    def update(self, generator: Generator, decay: float, persons: PersonTable | None = None) -> None:
        """Move the average: decay of it stays, the rest comes from the present weights."""
        pairs: list[tuple[nn.Module, nn.Module]] = [(self.generator, generator)]
        if self.persons is not None and persons is not None:
            pairs.append((self.persons, persons))
        for mine, theirs in pairs:
            get_ema_multi_avg_fn(decay)(list(mine.parameters()), list(theirs.parameters()), 0)
            for copied, buffer in zip(mine.buffers(), theirs.buffers(), strict=True):
                copied.copy_(buffer)


@dataclass
class TrainState:
    """Everything that a checkpoint holds."""

    generator: Generator
    discriminator: Discriminator
    average: Average
    generator_optimiser: torch.optim.Adam
    discriminator_optimiser: torch.optim.Adam
    """It also moves the labeller."""
    labeller: Labeller | None = None
    """Labels pictures with classes, where a term wants it."""
    persons: PersonTable | None = None
    """Style vectors of known persons, where the run learns from their views."""
    persons_optimiser: torch.optim.Adam | None = None
    """Moves them."""
    step: int = 0
    """Steps done."""
    images: int = 0
    """Pictures of the data shown; also the position in the stream."""
    augment: float = 0.0
    """Present probability of augmentations."""
    skipped: int = 0
    """Damaged members of shards met so far."""

    def discriminator_modules(self) -> nn.ModuleList:
        """Return what the discriminator's optimiser moves."""
        return nn.ModuleList([self.discriminator] if self.labeller is None else [self.discriminator, self.labeller])

    def fit_styles(self) -> None:
        """Fit the Gaussians that heads are drawn from to the present and to the averaged table; nothing if there is none."""
        for generator, persons in ((self.generator, self.persons), (self.average.generator, self.average.persons)):
            if persons is not None and isinstance(generator.mapping, GaussianStyles):
                persons.fit(generator.mapping)


def make_persons(config: TrainConfig, subjects: Tensor, device: torch.device) -> PersonTable:
    """Draw the first style vectors of known persons from the run's seed.

    Args:
        config: the run.
        subjects: numbers of the persons; repeats are allowed.
        device: where they lie.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed + 1)
        return PersonTable(subjects, config.model.generator.w_dim).to(device)


def make_optimiser(module: nn.Module, lr: float, settings: OptimiserSettings) -> torch.optim.Adam:
    """Return Adam for a network's parameters; those of a generator's renderer, if it has any, have a group of their own."""
    own = list(module.renderer.parameters()) if isinstance(module, Generator) else []
    others = [parameter for parameter in module.parameters() if not any(parameter is mine for mine in own)]
    groups: list[dict[str, Any]] = [{"params": others}, *([{"params": own, "lr": lr * settings.renderer_lr}] if own else [])]
    return torch.optim.Adam(groups, lr=lr, betas=(settings.beta1, settings.beta2), eps=settings.eps)


def make_networks(config: TrainConfig, device: torch.device) -> tuple[Generator, Discriminator, Labeller | None]:
    """Draw first weights from the run's seed, the same on every rank and device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        generator, discriminator = Generator(config.model.generator), make_discriminator(config.model.discriminator)
        fit, parsing = config.terms.labeller, config.model.generator.parsing
        labeller = fit.open(parsing.channels).to(device) if fit is not None and parsing is not None else None
    return generator.to(device).train(), discriminator.to(device).train(), labeller


def new_state(config: TrainConfig, device: torch.device, subjects: Tensor | None = None) -> TrainState:
    """Return the state before the first step.

    Args:
        config: the run.
        device: where it is trained.
        subjects: numbers of the persons whose views are known; a warm start needs them.

    Raises:
        ConfigError: a warm start, and no person is known.
    """
    settings = config.optimiser
    persons = None
    if config.warm_start is not None:
        if subjects is None or not len(subjects):
            raise ConfigError("a warm start needs rendered people with several views each; build-dataset makehuman:count=500")
        persons = make_persons(config, subjects, device)
    generator, discriminator, labeller = make_networks(config, device)
    discriminator_modules = nn.ModuleList([discriminator] if labeller is None else [discriminator, labeller])
    return TrainState(
        generator,
        discriminator,
        Average(generator, persons),
        make_optimiser(generator, settings.generator_lr, settings),
        make_optimiser(discriminator_modules, settings.discriminator_lr, settings),
        labeller,
        persons,
        None if persons is None else make_optimiser(persons, 1.0, settings),
        augment=0.0 if config.augment is None else config.augment.start,
    )
