"""Slow plain twins of the operators, written from their definitions: what tests compare with and benchmarks measure against."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def upfirdn(x: torch.Tensor, up: int, down: int, pad: tuple[int, int], gain: float) -> torch.Tensor:
    """Stuff zeros, pad, filter with the 4 x 4 kernel of [1, 3, 3, 1], keep every `down`-th pixel."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height, 1, width, 1)
    x = F.pad(x, [0, up - 1, 0, 0, 0, up - 1]).reshape(batch, channels, height * up, width * up)
    x = F.pad(x, [*pad, *pad])
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device) / 8
    kernel = (torch.outer(taps, taps) * gain).flip([0, 1])[None, None].repeat(channels, 1, 1, 1)
    return F.conv2d(x, kernel, groups=channels)[:, :, ::down, ::down]


def upsample(x: torch.Tensor) -> torch.Tensor:
    return upfirdn(x, 2, 1, (2, 1), 4.0)


def downsample(x: torch.Tensor) -> torch.Tensor:
    return upfirdn(x, 1, 2, (1, 1), 1.0)


def stuffed_conv(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The up-sampling convolution by its definition: zero-stuffed, convolved at full size, smoothed.

    Args:
        x: (B, I, H, W).
        weight: (I, O, 3, 3), a true convolution.
    """
    batch, channels, height, width = x.shape
    stuffed = x.new_zeros(batch, channels, 2 * height - 1, 2 * width - 1)
    stuffed[:, :, ::2, ::2] = x
    full = F.conv2d(F.pad(stuffed, [2, 2, 2, 2]), weight.transpose(0, 1).flip([2, 3]))
    return upfirdn(full, 1, 1, (1, 1), 4.0)


def conv_upsample(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, groups: int = 1) -> torch.Tensor:
    """The up-sampling convolution as commonly published without extensions: strided transpose, then the padded filter."""
    y = upfirdn(F.conv_transpose2d(x, weight, stride=2, groups=groups), 1, 1, (1, 1), 4.0)
    return y if bias is None else y + bias[None, :, None, None]


def conv_downsample(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Filter at full size, then convolve with stride two."""
    size = weight.shape[-1]
    smooth = upfirdn(x, 1, 1, (size // 2 + 1, size // 2 + 1), 1.0)
    return F.conv2d(smooth, weight, bias, stride=2)


def leaky_relu(x: torch.Tensor, clamp: float | None = None) -> torch.Tensor:
    """The activation out of place, clamped by its definition."""
    y = torch.where(x > 0, x, 0.2 * x)
    return y if clamp is None else y.clamp(-clamp, clamp)


def modulated_conv(
    x: torch.Tensor,
    weight: torch.Tensor,
    styles: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    gain: float = 1.0,
    demodulate: bool = True,
    up: bool = False,
    how: str = "auto",
) -> torch.Tensor:
    """One sample at a time: scale the kernel, normalise each output channel, convolve, add the bias."""
    results = []
    for sample, style in zip(x, styles, strict=True):
        kernel = weight * style[None, :, None, None]
        if demodulate:
            kernel = kernel / (kernel.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            y = conv_upsample(sample[None], kernel.transpose(0, 1))
        else:
            y = F.conv2d(sample[None], kernel, padding=weight.shape[-1] // 2)
        results.append(y * gain)
    y = torch.cat(results)
    return y if bias is None else y + bias[None, :, None, None]
