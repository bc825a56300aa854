"""The network that reads strengths of degradations off a picture's spectra, and how it is fitted to rendered heads.

Pictures are spoilt in `degradations`, their numbers are those of `datasets.spectra`; the file is written by `export`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....datasets import spectra
from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.classes import NOT_HEAD, is_class
from ....manifests.identity import rng
from ..shown.views import Views
from .degradations import STRENGTHS, spoil

log = logging.getLogger(__name__)
SPREADS = (0.12, 0.20, 0.20, 0.10, 0.05)
"""Errors by which each strength's are divided: of the logarithms of the first three, of the others as they are."""
_LEAST = (0.3, 1.0, 0.3)
_LOUDEST = 3.0


@dataclass(frozen=True)
class FitSettings:
    """How the network is fitted."""

    pictures: int = 8_000
    """Spoilt pictures."""
    steps: int = 4_000
    batch: int = 256
    lr: float = 2e-3
    weight_decay: float = 0.02
    jitter: float = 0.05
    """Standard deviation of what is added to every number, in its own, so that none is trusted to its last digit."""
    seed: int = 7


class QualityNet(nn.Module):
    """Three layers over numbers that are brought to mean 0 and deviation 1 and kept within three deviations."""

    def __init__(self, count: int = spectra.COUNT, width: int = 64) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("deviation", torch.ones(count))
        self.layers = nn.Sequential(
            nn.Linear(count, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, len(STRENGTHS)),
        )

    def normal(self, numbers: Tensor) -> Tensor:
        """Return (B, F) numbers of mean 0 and deviation 1, kept within `_LOUDEST`."""
        return ((numbers - self.mean) / self.deviation).clamp(-_LOUDEST, _LOUDEST)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return (B, 5) strengths as `scaled` has them, of (B, F) numbers."""
        said: Tensor = self.layers(self.normal(numbers))
        return said


def scaled(strengths: Floats) -> Floats:
    """Return (..., 5) strengths as the network gives them: logarithms of blur, enlargement and noise."""
    first = np.log(np.maximum(strengths[..., :3], _LEAST))
    return np.concatenate([first, strengths[..., 3:]], axis=-1)


def head_of(views: Views, number: int) -> tuple[Pixels, Array]:
    """Return the (H, W) luma of a view around its head, and where the head surely is."""
    view = views.view(number)
    reach, head = spectra.reach(view.parsing), spectra.drawn_in(~is_class(view.parsing, NOT_HEAD)).view(np.uint8)
    x, y, width, height = cv2.boundingRect(head)
    inside = (slice(max(0, y - reach), y + height + reach), slice(max(0, x - reach), x + width + reach))
    return np.asarray(cv2.cvtColor(view.image[inside], cv2.COLOR_RGB2GRAY)), np.asarray(head[inside])


def samples(views: Views, count: int, seed: int) -> tuple[Array, Floats, Floats]:
    """Return (N, F) numbers, (N, 5) strengths and (N, 5) which of them are known, of spoilt pictures of views.

    Args:
        views: rendered heads.
        count: pictures.
        seed: of what is done to them.
    """
    heads = [head_of(views, number) for number in range(len(views))]
    found, strengths, known = [], [], []
    for number in range(count):
        random = rng(seed, str(number), "quality")
        picture, head = heads[views.in_passes(number, seed)]
        made = spoil(picture, random)
        region = cv2.resize(head, made.picture.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
        found.append(spectra.numbers(made.picture, region))
        strengths.append(made.strengths)
        known.append(made.known)
        if number % 2000 == 1999:
            log.info("%d pictures", number + 1)
    return np.stack(found), np.stack(strengths), np.stack(known)


def fit(numbers: Array, strengths: Floats, known: Floats, settings: FitSettings) -> QualityNet:
    """Return a network fitted to samples by AdamW, its rate falling to 0 along a cosine."""
    torch.manual_seed(settings.seed)
    network = QualityNet()
    x, wanted, told = torch.from_numpy(numbers), torch.from_numpy(scaled(strengths)).float(), torch.from_numpy(known).float()
    network.mean.copy_(x.mean(0))
    network.deviation.copy_(x.std(0).clamp(min=1e-3))
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    spreads = torch.tensor(SPREADS)
    for _ in range(settings.steps):
        chosen = torch.randint(len(x), (settings.batch,))
        seen = network.normal(x[chosen])
        said = network.layers(seen + settings.jitter * torch.randn_like(seen))
        error = (said - wanted[chosen]) / spreads
        loss = (F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none") * told[chosen]).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        falling.step()
    return network.eval()
