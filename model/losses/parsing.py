"""Parsing supervision: the generator's class map shall be that of its picture, by cross-entropy.

A generated picture has no class map, so a labeller that learns from the data's pairs gives one. The other way, a
discriminator that sees the parsing, is a setting of the discriminator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional

from ...datasets.classes import UNLABELLED
from ..nets.upsampler import resize
from .labeller import Labeller, LabellerSettings
from .step import Player, Step
from .term import LossTerm, register_term

NETWORK = "labeller"
"""Name of the labeller among a step's networks."""


@register_term
@dataclass(frozen=True)
class LabellerFit(LossTerm):
    """The labeller's own loss: cross-entropy of its labels of the data against the data's class maps.

    It moves no weight of the discriminator; it is trained in the discriminator's update, because that looks at the data.
    """

    player: ClassVar[Player] = "discriminator"

    kind: Literal["labeller"] = "labeller"
    """Tells the terms apart in a file."""
    network: LabellerSettings = LabellerSettings()
    """Shape of the labeller."""
    until: int = 0
    """Pictures of the data after which the labeller stays as it is; 0 for never."""

    def open(self, channels: int) -> Labeller:
        """Make the labeller for a number of classes."""
        return Labeller(channels, self.network)

    def __call__(self, step: Step) -> Tensor:
        """Return the mean over known pixels; 0 where none is known or the labeller is to stay as it is."""
        if self.until and step.schedule.images >= self.until:
            return step.camera.new_zeros(())
        if step.parsing_map is None:
            raise ValueError(
                "expected data with class maps to train the labeller on, got none; leave out the terms labeller and parsing"
            )
        labeller = _labeller(step)
        logits = labeller(step.real_sharp.image, step.schedule.neural_resolution)
        shares = class_shares(step.parsing_map, logits.shape[1], logits.shape[-1])
        return cross_entropy(functional.log_softmax(logits, dim=1), shares)


@register_term
@dataclass(frozen=True)
class ParsingAgreement(LossTerm):
    """Cross-entropy of the generator's class probabilities against the labeller's labels of its final picture.

    The labels carry no gradient: the class map follows the picture, never the picture the labeller.
    """

    player: ClassVar[Player] = "generator"

    weight: float = 0.1
    """Factor on the term."""
    kind: Literal["parsing"] = "parsing"
    """Tells the terms apart in a file."""
    start: int = 0
    """Pictures of the data before which nothing is asked for, so that the labeller has learned something first."""
    confidence: float = 0.5
    """Pixels are left out where the labeller gives its best class less than this probability."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.confidence < 1:
            raise ValueError(f"expected a confidence in [0, 1), got {self.confidence}")

    def __call__(self, step: Step) -> Tensor:
        """Return the mean over pixels that the labeller is confident of."""
        if step.schedule.images < self.start:
            return step.camera.new_zeros(())
        parsing = step.fake.parsing
        if parsing is None:
            raise ValueError("expected a generator with a parsing head, this one has none; set generator.parsing")
        labeller = _labeller(step)
        with torch.no_grad():
            labels = labeller(step.fake.image, parsing.shape[-1]).softmax(dim=1)
            labels = labels * (labels.amax(dim=1, keepdim=True) >= self.confidence)
        return cross_entropy(parsing.float().clamp_min(1e-6).log(), labels)


def _labeller(step: Step) -> Labeller:
    """Return the step's labeller.

    Raises:
        ValueError: the step has none.
    """
    if NETWORK not in step.networks:
        raise ValueError("expected a labeller among the step's networks, got none; add the labeller's own term to the config")
    return cast(Labeller, step.networks[NETWORK])


def class_shares(classes: Tensor, channels: int, resolution: int) -> Tensor:
    """Return the share of each class in each pixel of a smaller map; shares sum to less than one where pixels are unknown.

    Args:
        classes: (B, R, R) integer classes, `UNLABELLED` where nothing is known.
        channels: P, number of classes.
        resolution: r, side of the smaller map.

    Returns:
        (B, P, r, r) shares: means over cells where r divides R, bilinear with antialiasing otherwise.

    Raises:
        ValueError: a class is out of range.
    """
    known = classes != UNLABELLED
    rows = torch.where(known, classes, 0).long()
    if rows.numel() and int(rows.max()) >= channels:
        raise ValueError(f"expected classes below {channels} or {UNLABELLED} for unknown, got {int(rows.max())}")
    batch, side = rows.shape[:2]
    if side % resolution:
        one_hot = functional.one_hot(rows, channels).permute(0, 3, 1, 2).float() * known[:, None]
        return resize(one_hot, resolution)
    factor = side // resolution  # counting is ten times as fast as averaging a map for each class
    place = torch.arange(side, device=rows.device) // factor
    image = torch.arange(batch, device=rows.device)[:, None, None]
    cell = ((image * channels + rows) * resolution + place[:, None]) * resolution + place
    shares = torch.zeros(batch * channels * resolution**2, device=rows.device)
    counted = shares.scatter_add_(0, cell.flatten(), known.flatten() / float(factor**2))
    return counted.view(batch, channels, resolution, resolution)


def cross_entropy(log_probabilities: Tensor, shares: Tensor) -> Tensor:
    """Return the cross-entropy per known pixel, over the whole batch; 0 if nothing is known.

    Args:
        log_probabilities: (B, P, r, r).
        shares: (B, P, r, r) shares of the classes; their sum is how much is known of a pixel.
    """
    return -(shares * log_probabilities).sum() / shares.sum().clamp_min(1.0)
