"""Dense and convolution layers with equalised learning rates, and the modulated ones of StyleGAN2.

Parameters are stored at unit variance and scaled where they are used (Karras et al. 2018, sec. 4.1). How layers are stacked is
left to the networks beside this file.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from ...manifests.config import ConfigError
from ..ops.activation import GAIN, leaky_relu
from ..ops.fir import conv_downsample
from ..ops.modulation import Modulation, modulated_conv

Precision = Literal["fp32", "bf16", "fp16"]
"""How precisely convolutions are worked out."""
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""PyTorch's type of each precision."""
Noise = Literal["const", "random", "none"]
"""Per-pixel noise of the backbone: the stored picture, a fresh draw, or none."""
Activation = Literal["linear", "leaky_relu"]


def check_clamp(precision: Precision, clamp: float | None, name: str) -> None:
    """Refuse fp16 without a bound on activations: its largest number is 65,504 (Karras et al. 2020 bound them by 256).

    Raises:
        ConfigError: fp16 and no bound, or one that a few layers' sum would exceed.
    """
    if precision == "fp16" and not (clamp and clamp <= 1024):
        raise ConfigError(f"fp16 needs activations bounded: set {name}=256, got {clamp}; or take bf16, which needs none")


class Dense(nn.Module):
    """A fully connected layer, (B, I) -> (B, O)."""

    def __init__(
        self,
        num_in: int,
        num_out: int,
        *,
        activation: Activation = "linear",
        lr_multiplier: float = 1.0,
        bias_start: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.weight_gain, self.bias_gain = lr_multiplier / math.sqrt(num_in), lr_multiplier
        self.weight = nn.Parameter(torch.randn(num_out, num_in) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((num_out,), float(bias_start)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's answer in the precision of `x`."""
        gain = GAIN if self.activation == "leaky_relu" else 1.0
        bias = (self.bias * (self.bias_gain * gain)).to(x.dtype)
        y = torch.addmm(bias, x, self.weight.to(x.dtype).t(), alpha=self.weight_gain * gain)
        return leaky_relu(y) if self.activation == "leaky_relu" else y


class Conv(nn.Module):
    """A k x k convolution, optionally halving the resolution, with bias and activation: what discriminators are made of."""

    def __init__(
        self,
        num_in: int,
        num_out: int,
        size: int,
        *,
        activation: Activation = "leaky_relu",
        bias: bool = True,
        down: bool = False,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.activation, self.down, self.clamp = activation, down, clamp
        self.padding, self.weight_gain = size // 2, 1.0 / math.sqrt(num_in * size * size)
        self.weight = nn.Parameter(torch.randn(num_out, num_in, size, size))
        self.bias = nn.Parameter(torch.zeros(num_out)) if bias else None

    def forward(self, x: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
        """Convolve (B, I, H, W); `gain` scales the result and the clamp."""
        active = self.activation == "leaky_relu"
        gain_all = gain * GAIN if active else gain
        weight = (self.weight * (self.weight_gain * gain_all)).to(x.dtype)
        bias = None if self.bias is None else (self.bias * gain_all).to(x.dtype)
        if self.down:
            y = conv_downsample(x, weight, bias)
        else:
            y = nn.functional.conv2d(x, weight, bias, padding=self.padding)
        clamp = None if self.clamp is None else self.clamp * gain
        if active:
            return leaky_relu(y, clamp)
        return y if clamp is None else y.clamp(-clamp, clamp)


class StyledConv(nn.Module):
    """A modulated 3 x 3 convolution with noise and leaky ReLU; `up` doubles the resolution."""

    noise_picture: torch.Tensor

    def __init__(
        self,
        num_in: int,
        num_out: int,
        w_dim: int,
        resolution: int,
        *,
        up: bool = False,
        clamp: float | None = None,
        modulation: Modulation = "auto",
    ) -> None:
        super().__init__()
        self.up, self.clamp, self.modulation, self.resolution = up, clamp, modulation, resolution
        self.style = Dense(w_dim, num_in, bias_start=1.0)
        self.weight = nn.Parameter(torch.randn(num_out, num_in, 3, 3))
        self.bias = nn.Parameter(torch.zeros(num_out))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_picture", torch.randn(resolution, resolution))

    def forward(
        self, x: torch.Tensor, w: torch.Tensor, noise: Noise = "const", random: torch.Generator | None = None
    ) -> torch.Tensor:
        """Convolve (B, I, H, W) in the style of w (B, w_dim); `random` draws the noise when `noise` is "random"."""
        y = modulated_conv(x, self.weight, self.style(w), self.bias * GAIN, gain=GAIN, up=self.up, how=self.modulation)
        picture = self._noise(y, noise, random)
        return leaky_relu(y if picture is None else y.add_(picture), self.clamp)

    def _noise(self, y: torch.Tensor, noise: Noise, random: torch.Generator | None) -> torch.Tensor | None:
        if noise == "none":
            return None
        picture = self.noise_picture
        if noise == "random":
            device = y.device if random is None else random.device
            shape = (y.shape[0], 1, self.resolution, self.resolution)
            picture = torch.randn(shape, generator=random, device=device).to(y.device)
        return (picture * (self.noise_strength * GAIN)).to(y.dtype)


class ToMap(nn.Module):
    """A modulated 1 x 1 convolution without demodulation: features to colours, planes or classes (ToRGB as published)."""

    def __init__(
        self, num_in: int, num_out: int, w_dim: int, *, clamp: float | None = None, modulation: Modulation = "auto"
    ) -> None:
        super().__init__()
        self.clamp, self.modulation, self.style_gain = clamp, modulation, 1.0 / math.sqrt(num_in)
        self.style = Dense(w_dim, num_in, bias_start=1.0)
        self.weight = nn.Parameter(torch.randn(num_out, num_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(num_out))

    def forward(self, x: torch.Tensor, w: torch.Tensor, mix: torch.Tensor | None = None) -> torch.Tensor:
        """Map (B, I, H, W) to (B, O, H, W) in the style of w (B, w_dim).

        Args:
            x: features.
            w: style vectors.
            mix: (P, O) matrix that follows this layer, folded into its weights; the result then has P channels.
        """
        weight: torch.Tensor = self.weight
        bias: torch.Tensor = self.bias
        if mix is not None:
            weight, bias = (mix @ weight.flatten(1))[:, :, None, None], mix @ bias
        y = modulated_conv(x, weight, self.style(w), bias, gain=self.style_gain, demodulate=False, how=self.modulation)
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)
