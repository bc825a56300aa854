"""First style vectors of known persons, from their own pictures: people who look alike begin near each other.

The generator then need not first find out who is whom. How the vectors learn is left to `step`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ...datasets.classes import CLASSES
from ...datasets.streaming.loader import ShardStream
from .state import TrainState

QUARTERS = 4
"""Parts of the circle around a head whose views are averaged apart; the first is in front."""
CELLS = 8
"""Cells a side of these averages."""
SPREAD = 0.5
"""Root mean square of the vectors."""


def view_features(image: Tensor, mask: Tensor | None, parsing: Tensor | None) -> Tensor:
    """Return (B, D) coarse features of pictures: colours and mask in cells, and the share and mean colour of each class.

    Args:
        image: (B, 3, R, R) in [-1, 1].
        mask: (B, 1, R, R) share of the head, or None.
        parsing: (B, R, R) classes, or None.
    """
    inside = torch.ones_like(image[:, :1]) if mask is None else mask
    cells = functional.adaptive_avg_pool2d(torch.cat([image * inside, inside], dim=1), CELLS).flatten(1)
    if parsing is None:
        return cells
    parts = [(parsing == index)[:, None].to(image.dtype) for index in range(1, len(CLASSES))]
    shares = torch.cat([part.mean(dim=(2, 3)) for part in parts], dim=1)
    colours = torch.cat([(image * part).mean(dim=(2, 3)) for part in parts], dim=1)
    return torch.cat([cells, shares.sqrt(), colours / (shares.repeat_interleave(3, dim=1) + 1e-3)], dim=1)


def first_styles(stream: ShardStream, subjects: Tensor, w_dim: int) -> Tensor:
    """Return the (P, w_dim) first vectors of persons: principal components of their views' features, side by side.

    Components are scaled by the fourth root of their variance, so that small ones count too. The whole split is read once.

    Args:
        stream: the run's data.
        subjects: (P,) ascending numbers of the persons.
        w_dim: numbers of a vector; components that the data lack are 0.
    """
    sums: Tensor | None = None
    counts = torch.zeros(len(subjects), QUARTERS, 1, dtype=torch.float64)
    for number in range(stream.epoch_batches):
        batch = stream[number]
        image = batch.image.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        mask = None if batch.mask is None else batch.mask[:, None].float() / 255.0
        found = view_features(image, mask, batch.parsing).double()
        row = torch.searchsorted(subjects, batch.subject).clamp_max(len(subjects) - 1)
        known = (subjects[row] == batch.subject) & batch.synthetic & ~batch.mirrored
        quarter = torch.round(torch.atan2(batch.camera[:, 3], batch.camera[:, 11]) / (math.pi / 2)).long() % QUARTERS
        if sums is None:
            sums = torch.zeros(len(subjects), QUARTERS, found.shape[1], dtype=torch.float64)
        sums.index_put_((row[known], quarter[known]), found[known], accumulate=True)
        counts.index_put_((row[known], quarter[known]), torch.ones_like(found[known][:, :1]), accumulate=True)
    assert sums is not None
    means = sums / counts.clamp_min(1.0)
    whole = sums.sum(dim=0) / counts.sum(dim=0).clamp_min(1.0)
    means = torch.where(counts > 0, means - whole, 0.0)  # a side that was never seen is as everybody's
    deviation = means.square().sum(dim=(0, 1)) / (counts > 0).sum(dim=(0, 1)).clamp_min(1)
    features = (means / deviation.sqrt().clamp_min(1e-3)).flatten(1)
    return principal_components(features, w_dim).float()


@torch.no_grad()
def place_persons(state: TrainState, stream: ShardStream) -> None:
    """Give the persons of a new run, and of its average, their first vectors."""
    if state.persons is None or state.average.persons is None:
        return
    found = first_styles(stream, state.persons.subjects.cpu(), state.persons.styles.shape[1])
    for persons in (state.persons, state.average.persons):
        persons.styles.copy_(found)


def principal_components(features: Tensor, count: int) -> Tensor:
    """Return (N, count) principal components of (N, D) features, flattened by the fourth root of their variance, of mean square
    `SPREAD`^2; missing ones are 0."""
    centred = features - features.mean(dim=0)
    left, singular, _ = torch.linalg.svd(centred, full_matrices=False)
    left, singular = left[:, :count], singular[:count]
    sign = left.gather(0, left.abs().argmax(dim=0, keepdim=True)).sign()
    found = left * sign * singular.sqrt()
    found = found * (SPREAD * math.sqrt(found.numel()) / found.norm().clamp_min(1e-12))
    return functional.pad(found, (0, count - found.shape[1]))
