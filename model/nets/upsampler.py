"""Super-resolution: composed features and the raw picture at neural resolution to the final picture, in two styled blocks.

The parsing head's features may be fed in at the entry of any block; what they are is left to `parsing`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ...manifests.config import check_ranges
from ..ops.modulation import Modulation
from .backbone import SynthesisBlock
from .layers import Noise


@dataclass(frozen=True)
class UpsamplerSettings:
    """Shape of the super-resolution network."""

    input_resolution: int = 128
    """Features are brought to this size first, whatever the neural resolution."""
    channels: tuple[int, ...] = (256, 128)
    """Width of each block; none leaves the raw picture as it is."""
    doubles: tuple[bool, ...] = (True, True)
    """Whether each block doubles the resolution."""
    noise: Noise = "none"
    """Noise of its layers (published: none)."""
    clamp: float | None = None
    """Bound on activations, needed for fp16 only (published: 256 there)."""

    def __post_init__(self) -> None:
        check_ranges(self, input_resolution=(1, 4096), channels=(0, 16), doubles=(0, 16))
        if len(self.channels) != len(self.doubles):
            raise ValueError(f"expected one width a block, got {len(self.channels)} widths and {len(self.doubles)} blocks")

    @property
    def resolution(self) -> int:
        """Side of the final picture."""
        resolution: int = self.input_resolution * 2 ** sum(self.doubles)
        return resolution


def resize(x: torch.Tensor, size: int) -> torch.Tensor:
    """Resize (B, C, H, W) to a square of `size` pixels, bilinear with antialiasing; unchanged if it has that size."""
    if x.shape[-2:] == (size, size):
        return x
    return nn.functional.interpolate(x, size=(size, size), mode="bilinear", align_corners=False, antialias=True)


class Upsampler(nn.Module):
    """Features (B, F, r, r) and raw picture (B, 3, r, r) to the picture (B, 3, R, R).

    Args of the constructor:
        num_in: features F.
        w_dim: width of the style vector, one for all layers.
        settings: shape.
        guide_channels: channels of the guide that is fed in, 0 for none.
        guide_blocks: blocks at whose entry the guide is added, through a 1 x 1 convolution that starts at zero.
    """

    def __init__(
        self,
        num_in: int,
        w_dim: int,
        settings: UpsamplerSettings,
        *,
        guide_channels: int = 0,
        guide_blocks: tuple[int, ...] = (),
        modulation: Modulation = "auto",
    ) -> None:
        super().__init__()
        self.settings, self.dtype = settings, torch.float32
        widths = [num_in, *settings.channels]
        blocks, guides = [], {}
        self.resolutions: list[int] = []
        resolution = settings.input_resolution
        for index, double in enumerate(settings.doubles):
            if index in guide_blocks:
                guides[str(index)] = nn.Conv2d(guide_channels, widths[index], 1)
                for parameter in guides[str(index)].parameters():
                    nn.init.zeros_(parameter)
            resolution *= 2 if double else 1
            self.resolutions.append(resolution)
            blocks.append(
                SynthesisBlock(
                    widths[index], widths[index + 1], w_dim, resolution, 3,
                    up=double, clamp=settings.clamp, modulation=modulation,
                )
            )  # fmt: skip
        self.blocks, self.guides = nn.ModuleList(blocks), nn.ModuleDict(guides)

    def forward(
        self,
        features: torch.Tensor,
        raw: torch.Tensor,
        w: torch.Tensor,
        guide: torch.Tensor | None = None,
        random: torch.Generator | None = None,
        resolution: int | None = None,
        fade: float = 1.0,
    ) -> torch.Tensor:
        """Return the final picture, about [-1, 1].

        Args:
            features: (B, F, r, r) composed features.
            raw: (B, 3, r, r) raw picture, the first term of the sum.
            w: (B, w_dim) style vector.
            guide: (B, G, r, r) what is fed in at the entry of the chosen blocks; needed if there are any.
            random: source of drawn noise.
            resolution: resolution of the picture while the networks grow (Karras et al. 2018): larger blocks are left out, and
                below the input's there is only the raw picture; None for the full resolution.
            fade: below 1, the picture is mixed with the one of half the resolution: 0 is that one enlarged.
        """
        size, wanted = self.settings.input_resolution, resolution or self.settings.resolution
        if wanted <= size // 2 or not self.blocks:
            return resize(raw, wanted).float()
        x, total = resize(features, size), resize(raw, size).float()
        smaller = total
        ws = w[:, None].expand(-1, 3, -1)
        for index, block in enumerate(self.blocks):
            if self.resolutions[index] > wanted:
                break
            if self.resolutions[index] > total.shape[-1]:
                smaller = total
            if str(index) in self.guides:
                if guide is None:
                    raise ValueError("expected the parsing head's features, which this upsampler is fed with, got none")
                entry = self.guides[str(index)]
                mixed = entry(guide.to(next(entry.parameters()).dtype))
                x = x + resize(mixed, x.shape[-1]).to(x.dtype)
            x, total = block(x, total, ws, noise=self.settings.noise, random=random, dtype=self.dtype)
        total = resize(total, wanted)
        return total if fade >= 1.0 else resize(smaller, wanted).lerp(total, fade)
