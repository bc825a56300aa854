"""The background: a small synthesis network whose map lies behind the head, without depth.

How head and background are put together is left to the generator.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from ...manifests.config import check_ranges
from ..ops.modulation import Modulation
from .backbone import SynthesisNetwork, SynthesisSettings
from .layers import Noise
from .upsampler import resize


@dataclass(frozen=True)
class BackgroundSettings:
    """Shape of the background network."""

    resolution: int = 128
    """Side of its map before it is brought to the neural resolution."""
    synthesis: SynthesisSettings = field(default_factory=lambda: SynthesisSettings(channel_base=16384))
    """Width of its layers."""
    own_style: bool = False
    """It has a style vector of its own, the last of a head's, so that grounds do not leak into the head."""

    def __post_init__(self) -> None:
        check_ranges(self, resolution=(4, 4096))


class Background(nn.Module):
    """Style vectors (B, any, w_dim) to features (B, F, r, r) behind the head; the first num_ws are used, the last repeated."""

    def __init__(self, num_features: int, w_dim: int, settings: BackgroundSettings, modulation: Modulation = "auto") -> None:
        super().__init__()
        self.network = SynthesisNetwork(settings.resolution, num_features, w_dim, settings.synthesis, modulation)
        self.num_ws = self.network.num_ws

    def forward(
        self, ws: torch.Tensor, resolution: int, noise: Noise = "const", random: torch.Generator | None = None
    ) -> torch.Tensor:
        """Return the background's features at `resolution`."""
        missing = self.num_ws - ws.shape[1]
        ws = torch.cat([ws, ws[:, -1:].expand(-1, missing, -1)], dim=1) if missing > 0 else ws[:, : self.num_ws]
        return resize(self.network(ws, noise=noise, random=random), resolution)
