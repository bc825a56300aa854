"""Leaky ReLU in place; bias and gain belong to the convolution before it, so that nothing is read or written twice.

Leaky ReLU is positively homogeneous, so the gain sqrt(2) that keeps the variance goes into weight and bias of that convolution.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

SLOPE = 0.2
"""Slope of the leaky ReLU below zero (Karras et al. 2020)."""
GAIN = math.sqrt(2.0)
"""Gain that keeps the second moment across the leaky ReLU."""


def leaky_relu(x: torch.Tensor, clamp: float | None = None) -> torch.Tensor:
    """Apply the leaky ReLU in place and return `x`; autograd keeps the result only, never the input.

    Args:
        x: any shape; must be a fresh result that nobody else reads.
        clamp: bound on the magnitude of the result, or None.
    """
    x = F.leaky_relu_(x, SLOPE)
    return x if clamp is None else x.clamp(-clamp, clamp)
