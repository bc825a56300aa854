"""The decoder: features of a point to its density and its colour features, one small MLP for every point.

Where the features come from is left to the volumes, what is done with density to the march.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ...manifests.config import check_ranges
from .layers import Dense


@dataclass(frozen=True)
class DecoderSettings:
    """Shape of the decoder."""

    hidden: int = 64
    """Width of the hidden layer; 0 for no layers, where the volume gives density and colours itself."""
    features: int = 32
    """Features it gives for every point."""
    activation: Literal["none", "sigmoid", "leaky_relu"] = "none"
    """What is done with the features: none (PanoHead, SphereHead, HyPlaneHead) or a sigmoid (EG3D)."""

    def __post_init__(self) -> None:
        check_ranges(self, hidden=(0, 65_536), features=(1, 65_536))


class Decoder(nn.Module):
    """(B, N, F) features of points to (B, N, features) features and (B, N, 1) raw densities."""

    def __init__(self, num_in: int, settings: DecoderSettings) -> None:
        super().__init__()
        self.settings = settings
        if not settings.hidden:
            if num_in != 1 + settings.features:
                wanted = f"{1 + settings.features} features of the volume"
                raise ValueError(f"a decoder with hidden = 0, without layers, needs {wanted}, got {num_in}")
            return
        self.hidden = Dense(num_in, settings.hidden)
        self.out = Dense(settings.hidden, 1 + settings.features)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return colour features and raw densities, softplus not yet taken."""
        shape, y = x.shape[:-1], x
        if self.settings.hidden:
            y = self.out(nn.functional.softplus(self.hidden(x.reshape(-1, x.shape[-1])))).view(*shape, -1)
        density, features = y[..., :1], y[..., 1:]
        if self.settings.activation == "sigmoid":
            features = torch.sigmoid(features) * 1.002 - 0.001
        elif self.settings.activation == "leaky_relu":
            features = nn.functional.leaky_relu(features, 0.2) * 2.0**0.5
        return features, density

    def composed(self, features: torch.Tensor) -> torch.Tensor:
        """Bring composed features to the range the networks behind expect: [-1, 1] for a sigmoid, unchanged otherwise."""
        return features * 2.0 - 1.0 if self.settings.activation == "sigmoid" else features
