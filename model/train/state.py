"""What training changes: networks, their optimisers, the generator's running average, and how far the run is.

Writing it to a disk is left to `checkpoint`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..discriminator import Discriminator
from ..generator import Generator
from ..losses.labeller import Labeller
from .config import OptimiserSettings, TrainConfig


class Average:
    """The running average of a generator's weights; buffers, such as the mean style, are copied.

    The arithmetic is torch's own (`get_ema_multi_avg_fn`). Its `AveragedModel` around it is not used: the decay changes from
    step to step, its first update copies the weights, and a resumed run would have to save its counter to go on bit-exactly.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator = copy.deepcopy(generator).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, generator: Generator, decay: float) -> None:
        """Move the average: decay of it stays, the rest comes from the present weights."""
        averages, news = (list(network.parameters()) for network in (self.generator, generator))
        get_ema_multi_avg_fn(decay)(averages, news, 0)
        for copied, buffer in zip(self.generator.buffers(), generator.buffers(), strict=True):
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


def make_optimiser(module: nn.Module, lr: float, settings: OptimiserSettings) -> torch.optim.Adam:
    """Return Adam for a network's parameters."""
    return torch.optim.Adam(module.parameters(), lr=lr, betas=(settings.beta1, settings.beta2), eps=settings.eps)


def make_networks(config: TrainConfig, device: torch.device) -> tuple[Generator, Discriminator, Labeller | None]:
    """Draw first weights from the run's seed, the same on every rank and device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        generator, discriminator = Generator(config.model.generator), Discriminator(config.model.discriminator)
        fit, parsing = config.terms.labeller, config.model.generator.parsing
        labeller = fit.open(parsing.channels).to(device) if fit is not None and parsing is not None else None
    return generator.to(device).train(), discriminator.to(device).train(), labeller


def new_state(config: TrainConfig, device: torch.device) -> TrainState:
    """Return the state before the first step."""
    settings = config.optimiser
    generator, discriminator, labeller = make_networks(config, device)
    discriminator_modules = nn.ModuleList([discriminator] if labeller is None else [discriminator, labeller])
    return TrainState(
        generator,
        discriminator,
        Average(generator),
        make_optimiser(generator, settings.generator_lr, settings),
        make_optimiser(discriminator_modules, settings.discriminator_lr, settings),
        labeller,
        augment=0.0 if config.augment is None else config.augment.start,
    )
