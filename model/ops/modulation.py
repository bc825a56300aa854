"""Convolutions whose weights are scaled by a style (Karras et al. 2020, sec. 2.2), by either of two equal ways.

For one large picture it is cheapest to scale the weights; for small or several pictures the activations are scaled before and
after one common convolution. Which is used is a value; resampling is left to `fir`, noise and activation to the layers.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F

from .fir import conv_upsample

Modulation = Literal["auto", "weights", "activations"]
"""Where the style is applied; auto takes the fewer numbers, and activations for several samples."""
EPSILON = 1e-8
"""Added to the sum of squares before its root."""


def demodulation(weight: torch.Tensor, styles: torch.Tensor) -> torch.Tensor:
    """Return the (B, O) factors that give each output channel unit variance (Karras et al. 2020, eq. 3).

    Args:
        weight: (O, I, k, k) kernel.
        styles: (B, I) scale of each input channel.
    """
    energy = weight.square().sum(dim=(2, 3))
    return torch.rsqrt(styles.square() @ energy.t() + EPSILON)


def modulated_conv(
    x: torch.Tensor,
    weight: torch.Tensor,
    styles: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    gain: float = 1.0,
    demodulate: bool = True,
    up: bool = False,
    how: Modulation = "auto",
) -> torch.Tensor:
    """Convolve each sample with its own scaled kernel and add a bias.

    Args:
        x: (B, I, H, W) in the precision of the computation; styles and weights stay in fp32 until they are combined.
        weight: (O, I, k, k) kernel with k 1 or 3.
        styles: (B, I).
        bias: (O,) added last, not scaled by `gain`.
        gain: factor on the convolution's result.
        demodulate: normalise each output channel to unit variance.
        up: double the resolution (k must be 3); the kernel then acts as a true convolution, as published.
        how: where the style is applied.

    Returns:
        (B, O, H, W), or (B, O, 2H, 2W) with `up`.
    """
    factors = demodulation(weight, styles) * gain if demodulate else None
    fewer = x.shape[0] == 1 and weight.numel() < x.numel() + x[:, :1].numel() * weight.shape[0]
    if how == "weights" or (how == "auto" and fewer):
        return _by_weights(x, weight, styles if demodulate else styles * gain, factors, bias, up)
    return _by_activations(x, weight, styles if demodulate else styles * gain, factors, bias, up)


def _by_weights(
    x: torch.Tensor,
    weight: torch.Tensor,
    styles: torch.Tensor,
    factors: torch.Tensor | None,
    bias: torch.Tensor | None,
    up: bool,
) -> torch.Tensor:
    """One kernel a sample; several samples become the groups of one convolution."""
    batch, (num_out, num_in, size, _) = x.shape[0], weight.shape
    scales = styles[:, None, :] if factors is None else styles[:, None, :] * factors[:, :, None]
    shift = None if bias is None else bias.to(x.dtype)
    if batch == 1:
        kernel = (weight * scales[0, :, :, None, None]).to(x.dtype)
        if up:
            return conv_upsample(x, kernel.transpose(0, 1), shift)
        return F.conv2d(x, kernel, shift, padding=size // 2)
    kernels = (weight * scales[..., None, None]).to(x.dtype)
    x, shift = x.reshape(1, batch * num_in, *x.shape[2:]), None if shift is None else shift.repeat(batch)
    if up:
        kernels = kernels.transpose(1, 2).reshape(batch * num_in, num_out, size, size)
        y = conv_upsample(x, kernels, shift, groups=batch)
    else:
        y = F.conv2d(x, kernels.flatten(0, 1), shift, padding=size // 2, groups=batch)
    return y.view(batch, num_out, *y.shape[2:])


def _by_activations(
    x: torch.Tensor,
    weight: torch.Tensor,
    styles: torch.Tensor,
    factors: torch.Tensor | None,
    bias: torch.Tensor | None,
    up: bool,
) -> torch.Tensor:
    """One kernel for all: the style scales the input, the demodulation the output."""
    if factors is not None and x.dtype == torch.float16:
        weight, styles, factors = _within_half(weight, styles, factors)
    x = x * styles[:, :, None, None].to(x.dtype)
    kernel = weight.to(x.dtype)
    y = conv_upsample(x, kernel.transpose(0, 1)) if up else F.conv2d(x, kernel, padding=weight.shape[-1] // 2)
    shift = None if bias is None else bias.to(y.dtype)[None, :, None, None]
    if factors is None:
        return y if shift is None else y + shift
    scale = factors[:, :, None, None].to(y.dtype)
    return y * scale if shift is None else torch.addcmul(shift, y, scale)


def _within_half(weight: torch.Tensor, styles: torch.Tensor, factors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return weights, styles and factors of the same convolution whose sums are no larger than its inputs.

    Half precision ends at 65,504, and a sum of 9 x 512 activations of 256 at weights of unit variance does not. Weights are
    divided by their largest number and the root of how many are summed, styles by their largest, as published (Karras et al.
    2020, "Training generative adversarial networks with limited data", networks); the factors take both back.
    """
    with torch.no_grad():
        tiny = torch.finfo(torch.float32).tiny
        summed = weight[0].numel() ** 0.5 * weight.abs().amax(dim=(1, 2, 3)).clamp_min(tiny)
        largest = styles.abs().amax(dim=1, keepdim=True).clamp_min(tiny)
    return weight / summed[:, None, None, None], styles / largest, factors * (largest * summed)
