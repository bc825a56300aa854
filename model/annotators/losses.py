"""Losses of the annotator networks: geodesic distance, negative log-likelihoods of errors, classes, coverage and heat maps.

Weights between them are settings of `training`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .networks import HeadOutput


def geodesic(first: Tensor, second: Tensor) -> Tensor:
    """Return the (B,) angles in radians between (B, 3, 3) rotations.

    The arc tangent of twice the sine and twice the cosine has a bounded gradient everywhere but at 0 and pi, where the sine's
    small floor stops it; the arc cosine of the trace has none there.
    """
    relative = first.transpose(1, 2) @ second
    axis = torch.stack(
        [
            relative[:, 2, 1] - relative[:, 1, 2],
            relative[:, 0, 2] - relative[:, 2, 0],
            relative[:, 1, 0] - relative[:, 0, 1],
        ],
        dim=1,
    )
    sine = (axis.square().sum(1) + 1e-10).sqrt()
    return torch.atan2(sine, relative.diagonal(dim1=1, dim2=2).sum(1) - 1.0)


def laplace_nll(error: Tensor, log_scale: Tensor, dimensions: int) -> Tensor:
    """Return the negative log-likelihood of error lengths under an isotropic density proportional to exp(-|e| / scale).

    In d dimensions its normalisation is scale^d times a constant, which is left out.

    Args:
        error: lengths of errors, 0 or more.
        log_scale: logarithms of scales, same shape.
        dimensions: d.
    """
    return error * torch.exp(-log_scale) + dimensions * log_scale


def class_loss(logits: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """Return cross entropy plus one minus the mean soft Dice over the classes that a batch has.

    Args:
        logits: (B, C, H, W).
        classes: (B, H, W) int64.
        weights: (C,) weights of classes in the cross entropy.
    """
    entropy = F.cross_entropy(logits, classes, weights)
    chance = logits.softmax(dim=1)
    truth = F.one_hot(classes, logits.shape[1]).permute(0, 3, 1, 2).to(chance.dtype)
    both = (chance * truth).sum(dim=(0, 2, 3))
    total = (chance + truth).sum(dim=(0, 2, 3))
    there = truth.sum(dim=(0, 2, 3)) > 0
    dice = ((2.0 * both + 1.0) / (total + 1.0))[there].mean()
    return entropy + (1.0 - dice)


def beard_loss(logits: Tensor, beard: Tensor) -> Tensor:
    """Return the mean cross entropy of hair being beard over the pixels whose kind is told, 0 where none is.

    Args:
        logits: (B, H, W).
        beard: (B, H, W) truth: 1 beard, 0 other hair, negative where there is no hair or its kind is not known.
    """
    told = beard >= 0.0
    entropy = F.binary_cross_entropy_with_logits(logits, beard.clamp(min=0.0), reduction="none")
    return (entropy * told).sum() / told.sum().clamp(min=1)


def head_losses(
    said: HeadOutput, rotation: Tensor, place: Tensor, points: Tensor, has_points: Tensor, classes: Tensor, alpha: Tensor,
    class_weights: Tensor,
) -> dict[str, Tensor]:  # fmt: skip
    """Return the named terms of `HeadNet`'s loss, each a scalar; spreads learn from errors that they do not change.

    Args:
        said: the network's output.
        rotation: (B, 3, 3) truth.
        place: (B, 3) truth.
        points: (B, 68, 2) truth.
        has_points: (B,) 1 where the points are known, else 0.
        classes: (B, 64, 64) int64 truth.
        alpha: (B, 64, 64) coverage, 0 to 1.
        class_weights: (19,).
    """
    angle = geodesic(said.rotation, rotation)
    error = (said.points - points).square().sum(-1).add(1e-10).sqrt()
    known = has_points / has_points.sum().clamp(min=1.0)
    return {
        "rotation": angle.mean(),
        "rotation_spread": laplace_nll(angle.detach(), said.log_spread, 3).mean(),
        "place": (said.place - place).abs().sum(1).mean(),
        "points": (error.mean(1) * known).sum(),
        "points_spread": (laplace_nll(error.detach(), said.log_sigma, 2).mean(1) * known).sum(),
        "classes": class_loss(said.classes, classes, class_weights),
        "alpha": F.binary_cross_entropy_with_logits(said.alpha, alpha),
    }


def focal_loss(logits: Tensor, heat: Tensor) -> Tensor:
    """Return CenterNet's penalty-reduced focal loss of a heat map, per head (Zhou et al. 2019, eq. 1; alpha 2, beta 4).

    Args:
        logits: (B, H, W).
        heat: (B, H, W) truth, 1 exactly at centres, falling off as a Gaussian.
    """
    chance = logits.sigmoid().clamp(1e-4, 1.0 - 1e-4)
    centre = heat.eq(1.0).to(chance.dtype)
    at = (1.0 - chance).square() * chance.log() * centre
    away = (1.0 - heat).pow(4) * chance.square() * (1.0 - chance).log() * (1.0 - centre)
    return -(at + away).sum() / centre.sum().clamp(min=1.0)
