"""The StyleGAN2 synthesis network: style vectors to a feature map, as the sum of up-sampled maps of every resolution.

What the map means (planes of a volume, a background) is left to its reader.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from ..ops.fir import upsample
from ..ops.modulation import Modulation
from .layers import Noise, StyledConv, ToMap


@dataclass(frozen=True)
class SynthesisSettings:
    """Width of a synthesis network."""

    channel_base: int = 32768
    """Channels at resolution r are channel_base / r, at most channel_max."""
    channel_max: int = 512
    """Largest number of channels."""
    clamp: float | None = None
    """Bound on activations, needed for fp16 only (published: 256 there)."""

    def channels(self, resolution: int) -> int:
        """Return the number of channels at a resolution."""
        return min(self.channel_base // resolution, self.channel_max)


class SynthesisBlock(nn.Module):
    """Two styled convolutions (one in the first block) and the map that they add to the sum.

    Args of the constructor:
        num_in: input channels, or 0 for the first block, which starts from a learned constant.
        up: double the resolution in the first convolution and of the incoming sum.
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        w_dim: int,
        resolution: int,
        map_channels: int,
        *,
        up: bool = True,
        clamp: float | None = None,
        modulation: Modulation = "auto",
    ) -> None:
        super().__init__()
        self.num_in, self.up, self.resolution = num_in, up, resolution
        self.num_convs = 2 if num_in else 1
        if num_in:
            self.first = StyledConv(num_in, num_out, w_dim, resolution, up=up, clamp=clamp, modulation=modulation)
        else:
            self.start = nn.Parameter(torch.randn(num_out, resolution, resolution))
        self.second = StyledConv(num_out, num_out, w_dim, resolution, clamp=clamp, modulation=modulation)
        self.to_map = ToMap(num_out, map_channels, w_dim, clamp=clamp, modulation=modulation)

    def forward(
        self,
        x: torch.Tensor | None,
        total: torch.Tensor | None,
        ws: torch.Tensor,
        *,
        noise: Noise = "const",
        random: torch.Generator | None = None,
        mix: torch.Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the block's features and the sum of maps, which stays in fp32.

        Args:
            x: (B, num_in, H, W) features, or None for the first block.
            total: (B, P, H, W) sum of maps so far, or None.
            ws: (B, num_convs + 1, w_dim) style vectors: of the convolutions, then of the map.
            noise: where the noise comes from.
            random: source of drawn noise.
            mix: (P, map_channels) matrix folded into the map (see `ToMap`).
            dtype: precision of the convolutions.
        """
        layout = _layout(self.second.weight)
        if x is None:
            x = self.start.to(dtype).expand(len(ws), -1, -1, -1).contiguous(memory_format=layout)
        else:
            x = self.first(x.to(dtype).contiguous(memory_format=layout), ws[:, 0], noise, random)
        x = self.second(x, ws[:, self.num_convs - 1], noise, random)
        new = self.to_map(x, ws[:, self.num_convs], mix).float()
        if total is None:
            return x, new
        return x, new.add_(upsample(total) if self.up else total)


class SynthesisNetwork(nn.Module):
    """Blocks from 4 x 4 up to `resolution`; each adds its map to the up-sampled sum of the former ones."""

    def __init__(
        self,
        resolution: int,
        map_channels: int,
        w_dim: int,
        settings: SynthesisSettings,
        modulation: Modulation = "auto",
    ) -> None:
        super().__init__()
        if resolution < 4 or resolution & (resolution - 1):
            raise ValueError(f"expected a power of two of at least 4 as resolution, got {resolution}")
        self.resolution, self.map_channels = resolution, map_channels
        self.dtype = torch.float32
        resolutions = [2**power for power in range(2, int(math.log2(resolution)) + 1)]
        widths = [settings.channels(size) for size in resolutions]
        blocks = [
            SynthesisBlock(num_in, num_out, w_dim, size, map_channels, clamp=settings.clamp, modulation=modulation)
            for num_in, num_out, size in zip([0, *widths[:-1]], widths, resolutions, strict=True)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.steps = tuple(block.num_convs for block in blocks)
        """Style vectors that each block takes for its convolutions."""
        self.num_ws = sum(self.steps) + 1
        """How many style vectors the network takes: one a convolution and one for the last map."""

    def forward(
        self,
        ws: torch.Tensor,
        *,
        noise: Noise = "const",
        random: torch.Generator | None = None,
        mix: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the (B, map_channels, R, R) map of ws (B, num_ws or more, w_dim); with `mix` (P, map_channels), mix @ map.

        The sum is linear in every block's map and so is up-sampling, hence `mix` may be folded into each block.
        """
        x: torch.Tensor | None = None
        total: torch.Tensor | None = None
        index = 0
        for block, step in zip(self.blocks, self.steps, strict=True):
            share = ws[:, index : index + step + 1]
            x, total = block(x, total, share, noise=noise, random=random, mix=mix, dtype=self.dtype)
            index += step
        assert total is not None
        return total


def _layout(weight: torch.Tensor) -> torch.memory_format:
    """Return the memory layout that activations take from the weights."""
    last = weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


class StyleMaps(nn.Module):
    """Takes the place of a backbone where a volume is made of the style vector itself: (B, 1, w_dim) to (B, w_dim, 1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.num_ws, self.dtype = 1, torch.float32

    def forward(
        self,
        ws: torch.Tensor,
        *,
        noise: Noise = "const",
        random: torch.Generator | None = None,
        mix: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the style vectors as maps of one pixel."""
        return ws[:, 0, :, None, None]
