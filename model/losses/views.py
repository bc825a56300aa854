"""Learning from views: terms that compare a known person's rebuilt view with its exact picture, mask and classes.

The generator is given the person's style vector from a learned table and the picture's own camera; nothing judges. Rows whose
person is unknown, such as photographs, are left out. Phases in which these terms count are left to `train`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from ...datasets.classes import CLASSES
from ..nets.perceptual import perceptual_net
from .parsing import class_shares
from .step import Player, Step
from .term import LossTerm, register_term

FACE_PARTS = ("left_brow", "right_brow", "left_eye", "right_eye", "nose", "mouth", "upper_lip", "lower_lip")
"""Classes whose few pixels decide whether a face is recognised."""


@dataclass(frozen=True)
class ViewTerm(LossTerm):
    """A term of the generator's loss on rebuilt views of known persons."""

    player: ClassVar[Player] = "generator"
    wants_views: ClassVar[bool] = True

    def _mean(self, rows: Tensor, step: Step) -> Tensor:
        """Return the sum over known rows, divided by all of them: the same whatever a micro-batch's other rows are."""
        return rows.sum() / step.batch


@register_term
@dataclass(frozen=True)
class Reconstruction(ViewTerm):
    """L1 of picture and raw picture over a pyramid, and of their horizontal and vertical differences.

    A picture's error is its mean over pixels, weighted by what they show.
    """

    kind: Literal["reconstruction"] = "reconstruction"
    """Tells the terms apart in a file."""
    levels: int = 3
    """Levels of the pyramid: the picture itself, averaged by 2, by 4 ..."""
    gradient: float = 2.0
    """Factor on the differences of neighbouring pixels."""
    face: float = 2.0
    """Added weight of pixels at brows, eyes, nose, mouth and lips, where class maps are known."""
    outside: float = 1.0
    """Weight of pixels outside the head; 0 masks the ground out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.levels < 1 or min(self.gradient, self.face, self.outside) < 0:
            raise ValueError(f"expected levels of 1 or more and factors of 0 or more, got {self}")

    def __call__(self, step: Step) -> Tensor:
        """Return the mean over pictures."""
        views = step.views
        if not len(views.rows):
            return step.camera.new_zeros(())
        weight = pixel_weights(step, self.outside, self.face)
        total = torch.zeros((), device=weight.device)
        for made, wanted in ((views.made.image, views.wanted.image), (views.made.raw, views.wanted.raw)):
            error = made.float() - wanted
            importance = functional.adaptive_avg_pool2d(weight, error.shape[-1])
            for rows in pyramid_errors(error, importance, self.levels, self.gradient):
                total = total + self._mean(rows, step)
        return total


@register_term
@dataclass(frozen=True)
class Perceptual(ViewTerm):
    """How different rebuilt views look to a network that knows photographs (`nets.perceptual`): L1 alone leaves them blurred.

    Pixels are weighted by the exact mask, so that grounds are not compared; brows, eyes, nose and mouth count more.
    """

    weight: float = 0.5
    """Factor on the term."""
    kind: Literal["perceptual"] = "perceptual"
    """Tells the terms apart in a file."""
    face: float = 2.0
    """Added weight of pixels at brows, eyes, nose, mouth and lips, where class maps are known."""

    def __call__(self, step: Step) -> Tensor:
        """Return the mean over pictures."""
        views = step.views
        if not len(views.rows):
            return step.camera.new_zeros(())
        wanted = views.wanted.image
        net = perceptual_net(wanted.device)
        weight = pixel_weights(step, 0.0, self.face)
        return self._mean(net(views.made.image.float(), wanted, weight), step)


@register_term
@dataclass(frozen=True)
class MaskAgreement(ViewTerm):
    """Binary cross-entropy of the rendered mask against the exact one."""

    weight: float = 0.5
    """Factor on the term."""
    kind: Literal["mask_agreement"] = "mask_agreement"
    """Tells the terms apart in a file."""

    def __call__(self, step: Step) -> Tensor:
        """Return the mean over pictures and pixels."""
        views = step.views
        if not len(views.rows):
            return step.camera.new_zeros(())
        if views.made.mask is None or views.wanted.mask is None:
            raise ValueError("expected data with masks, got none; leave out the term mask_agreement")
        made, wanted = views.made.mask.float().clamp(1e-4, 1 - 1e-4), views.wanted.mask.clamp(0, 1)
        return self._mean(functional.binary_cross_entropy(made, wanted, reduction="none").mean(dim=(1, 2, 3)), step)


@register_term
@dataclass(frozen=True)
class DepthAgreement(ViewTerm):
    """L1 of the rendered mean distance along each ray against the exact one, where a surface is known.

    Pixels at the outline, whose ray may pass the head, are weighted by the exact mask.
    """

    kind: Literal["depth_agreement"] = "depth_agreement"
    """Tells the terms apart in a file."""
    wants_depth: ClassVar[bool] = True

    def __call__(self, step: Step) -> Tensor:
        """Return the mean over pictures of the mean over known pixels, in world units; pictures without a map count as 0."""
        views = step.views
        if not len(views.rows):
            return step.camera.new_zeros(())
        if views.made.depth is None or views.wanted.depth is None:
            raise ValueError("expected data with exact depth maps, got none; leave out the term depth_agreement")
        weight = (views.wanted.depth > 0).float()
        if views.wanted.mask is not None:
            weight = weight * views.wanted.mask.clamp(0, 1)
        return self._mean(weighted((views.made.depth.float() - views.wanted.depth).abs(), weight), step)


@register_term
@dataclass(frozen=True)
class ClassAgreement(ViewTerm):
    """Cross-entropy of the generator's class probabilities against the exact class map."""

    weight: float = 0.1
    """Factor on the term."""
    kind: Literal["class_agreement"] = "class_agreement"
    """Tells the terms apart in a file."""

    def __call__(self, step: Step) -> Tensor:
        """Return the mean over pictures and pixels; pixels that nobody labelled count as 0."""
        views = step.views
        if not len(views.rows):
            return step.camera.new_zeros(())
        if step.parsing_map is None or views.made.parsing is None:
            raise ValueError("expected data with class maps and a generator with a parsing head; leave out class_agreement")
        logs = views.made.parsing.float().clamp_min(1e-6).log()
        shares = class_shares(step.parsing_map[views.rows], logs.shape[1], logs.shape[-1])
        return self._mean(-(shares * logs).sum(dim=1).mean(dim=(1, 2)), step)


@register_term
@dataclass(frozen=True)
class StylePrior(ViewTerm):
    """Mean square of the persons' style vectors: keeps the table where a Gaussian describes it."""

    weight: float = 0.001
    """Factor on the term."""
    kind: Literal["style_prior"] = "style_prior"
    """Tells the terms apart in a file."""

    def __call__(self, step: Step) -> Tensor:
        """Return the mean over pictures and numbers."""
        return self._mean(step.views.styles.square().mean(dim=1), step)


def pixel_weights(step: Step, outside: float, face: float) -> Tensor:
    """Return the (K, 1, R, R) weights of the pixels of known rows.

    Args:
        step: the update.
        outside: weight outside the head, where masks are known; inside it is 1.
        face: added weight at brows, eyes, nose, mouth and lips, where class maps are known.
    """
    views = step.views
    side = views.wanted.image.shape[-1]
    weight = torch.ones_like(views.wanted.image[:, :1])
    if views.wanted.mask is not None and outside != 1.0:
        inside = functional.interpolate(views.wanted.mask, size=(side, side), mode="bilinear").clamp(0, 1)
        weight = outside + (1.0 - outside) * inside
    if step.parsing_map is not None and face:
        classes = step.parsing_map[views.rows].long()
        parts = torch.tensor([CLASSES.index(name) for name in FACE_PARTS], device=classes.device)
        shown = functional.adaptive_max_pool2d(torch.isin(classes, parts)[:, None].to(weight.dtype), side)
        weight = weight + face * functional.max_pool2d(shown, 3, 1, 1)
    return weight


def pyramid_errors(error: Tensor, weight: Tensor, levels: int, gradient: float) -> Iterator[Tensor]:
    """Yield (B,) weighted L1 means of a picture's error averaged by 1, 2, 4, ..., and after the first those of its differences.

    Args:
        error: (B, C, R, R) difference of two pictures.
        weight: (B, 1, R, R) weights of pixels.
        levels: levels of the pyramid; it ends early at an odd side.
        gradient: factor on the differences of neighbouring pixels; 0 leaves them out.
    """
    for level in range(levels):
        yield weighted(error.abs(), weight)
        if level == 0 and gradient:
            across, down = error.diff(dim=3).abs(), error.diff(dim=2).abs()
            yield gradient * (weighted(across, weight[..., 1:]) + weighted(down, weight[..., 1:, :]))
        if error.shape[-1] % 2:
            return
        error, weight = functional.avg_pool2d(error, 2), functional.avg_pool2d(weight, 2)


def weighted(values: Tensor, weight: Tensor) -> Tensor:
    """Return the (B,) means of (B, C, H, W) values over channels and pixels, pixels weighted by (B, 1, H, W)."""
    return (values.mean(dim=1) * weight[:, 0]).sum(dim=(1, 2)) / weight[:, 0].sum(dim=(1, 2)).clamp_min(1e-6)
