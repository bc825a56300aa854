"""Resampling by two with the binomial filter [1, 3, 3, 1]: pictures, and convolutions that resample on their way.

Modulation, biases and activations are left to `modulation` and `activation`. Nothing here stuffs zeros: up-sampling is worked
out by phase (bilinear interpolation is exactly the polyphase form of this filter), and the smoothing pass after a strided
convolution is one depthwise convolution. Each operator's adjoint is another of them, so that no input is kept for the backward
pass.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from .autograd import applied

TAPS = (0.125, 0.375, 0.375, 0.125)
"""The one-dimensional filter with unit sum (Karras et al. 2020)."""


def upsample(x: torch.Tensor) -> torch.Tensor:
    """Double height and width; what lies outside the picture counts as zero.

    Even samples are x[i-1]/4 + 3x[i]/4 and odd ones 3x[i]/4 + x[i+1]/4: bilinear interpolation of the zero-padded picture.

    Args:
        x: (B, C, H, W).

    Returns:
        (B, C, 2H, 2W), with the mean of `x` kept away from the border.
    """
    return applied(_Upsample, x)


def downsample(x: torch.Tensor) -> torch.Tensor:
    """Halve the even height and width of (B, C, H, W) after smoothing; what lies outside counts as zero."""
    return applied(_Downsample, x)


def smooth(x: torch.Tensor, padding: int, gain: float = 1.0, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Filter every channel of (B, C, H, W) with the 4 x 4 kernel times `gain`, padding by zeros, and add a bias.

    Args:
        x: (B, C, H, W).
        padding: zeros on each side, 1 or 2; the result is 2 * padding - 3 larger than `x`.
        gain: factor on the filtered picture.
        bias: (C,) added last, or None.
    """
    return applied(_Smooth, x, bias, padding, gain)


def conv_upsample(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, groups: int = 1) -> torch.Tensor:
    """Double the resolution by zero-stuffing, convolve with a 3 x 3 kernel, smooth: the up-sampling layer of StyleGAN2.

    Args:
        x: (B, groups * I, H, W).
        weight: (groups * I, O, 3, 3) in the layout of `conv_transpose2d`; a true convolution, not a correlation.
        bias: (groups * O,) added last, or None.
        groups: number of independent convolutions side by side.

    Returns:
        (B, groups * O, 2H, 2W).
    """
    return smooth(F.conv_transpose2d(x, weight, stride=2, groups=groups), padding=1, gain=4.0, bias=bias)


def conv_downsample(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Smooth, correlate with a (O, I, k, k) kernel, keep every second pixel: (B, I, H, W) -> (B, O, H/2, W/2).

    Raises:
        ValueError: the kernel is neither 1 x 1 nor 3 x 3.
    """
    size = weight.shape[-1]
    if size == 1:
        return F.conv2d(downsample(x), weight, bias)
    if size == 3:
        return F.conv2d(smooth(x, padding=2), weight, bias, stride=2)
    raise ValueError(f"expected a 1 x 1 or 3 x 3 kernel, got {tuple(weight.shape)}")


def _depthwise_taps(x: torch.Tensor, gain: float) -> torch.Tensor:
    taps = torch.tensor(TAPS, dtype=x.dtype, device=x.device)
    kernel = (gain * taps[:, None] * taps[None, :]).expand(x.shape[1], 1, 4, 4)
    return kernel.contiguous()


class _Smooth(torch.autograd.Function):
    """The smoothing filter; it is symmetric, so its adjoint is the same filter with the complementary padding."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, bias: torch.Tensor | None, padding: int, gain: float) -> torch.Tensor:
        ctx.padding, ctx.gain = padding, gain
        return F.conv2d(x, _depthwise_taps(x, gain), bias, padding=padding, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        wanted = ctx.needs_input_grad
        to_x = applied(_Smooth, grads[0], None, 3 - ctx.padding, ctx.gain) if wanted[0] else None
        return to_x, grads[0].sum(dim=(0, 2, 3)) if wanted[1] else None, None, None


class _Upsample(torch.autograd.Function):
    """Up-sampling; its adjoint is four times down-sampling."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        doubled = F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2.0, mode="bilinear", align_corners=False)
        return doubled[:, :, 2:-2, 2:-2]

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return applied(_Downsample, grads[0]) * 4.0


class _Downsample(torch.autograd.Function):
    """Down-sampling; its adjoint is a quarter of up-sampling."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, _depthwise_taps(x, 1.0), stride=2, padding=1, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return applied(_Upsample, grads[0] * 0.25)
