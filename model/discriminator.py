"""Critics: how much a picture with its raw version, mask and parsing looks like a photograph taken by its camera.

What is done with the score is left to the losses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from .nets.backbone import SynthesisSettings
from .nets.layers import Conv, Dense
from .nets.mapping import Mapping, MappingSettings
from .nets.upsampler import resize
from .portrait import Portrait
from .rays import LABEL_SIZE


@dataclass(frozen=True)
class CriticSettings:
    """What a critic sees and how wide it is."""

    resolution: int = 512
    """Side of the picture."""
    mask: bool = True
    """See the mask beside picture and raw picture (PanoHead, SphereHead)."""
    parsing_channels: int = 0
    """See this many parsing channels (SphereHead: 20); 0 for none."""
    label_dim: int = LABEL_SIZE
    """Numbers of the condition: the camera label, and what may follow it."""
    widths: SynthesisSettings = field(default_factory=SynthesisSettings)
    """Channels by resolution, as in the generator."""
    group: int = 4
    """Pictures whose spread is compared with each other (Karras et al. 2018, sec. 3)."""
    condition_layers: int = 8
    """Layers of the network that maps the condition."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the convolutions; the spread and what follows it stay in fp32."""
    channels_last: bool = True
    """Keep channels next to each other in memory; faster on CPU and on tensor cores."""

    @property
    def num_in(self) -> int:
        """Channels of the stacked input."""
        return 6 + int(self.mask) + self.parsing_channels


class CriticBlock(nn.Module):
    """A residual block that halves the resolution (Karras et al. 2020)."""

    def __init__(self, num_in: int, num_out: int, clamp: float | None) -> None:
        super().__init__()
        self.first = Conv(num_in, num_in, 3, clamp=clamp)
        self.second = Conv(num_in, num_out, 3, down=True, clamp=clamp)
        self.skip = Conv(num_in, num_out, 1, activation="linear", bias=False, down=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, num_in, H, W) to (B, num_out, H/2, W/2)."""
        gain = math.sqrt(0.5)
        return self.skip(x, gain).add_(self.second(self.first(x), gain))


class Critic(nn.Module):
    """Portrait and condition to one score a picture; positive means real."""

    def __init__(self, settings: CriticSettings) -> None:
        super().__init__()
        self.settings = settings
        self.dtype = torch.float32 if settings.precision == "fp32" else torch.bfloat16
        widths, clamp = settings.widths, settings.widths.clamp
        resolutions = [2**power for power in range(int(math.log2(settings.resolution)), 2, -1)]
        self.from_picture = Conv(settings.num_in, widths.channels(settings.resolution), 1, clamp=clamp)
        self.blocks = nn.ModuleList(
            CriticBlock(widths.channels(size), widths.channels(size // 2), clamp) for size in resolutions
        )
        last = widths.channels(4)
        self.last_conv = Conv(last + 1, last, 3, clamp=clamp)
        self.last_dense = Dense(last * 16, last, activation="leaky_relu")
        self.out = Dense(last, last)
        self.condition = Mapping(
            0, settings.label_dim, last, MappingSettings(layers=settings.condition_layers), keeps_mean=False
        )
        if settings.channels_last:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, portrait: Portrait, label: torch.Tensor | None = None) -> torch.Tensor:
        """Return (B, 1) scores.

        Args:
            portrait: what is judged.
            label: (B, label_dim) condition; None for the portrait's own camera.

        Raises:
            ValueError: the portrait lacks what this critic sees, or has another size, or batches differ.
        """
        label = portrait.camera if label is None else label
        x = self.stack(portrait)
        if len(label) != len(x):
            raise ValueError(f"expected {len(x)} conditions, one a picture, got {len(label)}")
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        x = self.from_picture(x.to(self.dtype).contiguous(memory_format=layout))
        for block in self.blocks:
            x = block(x)
        x = self.last_conv(with_spread(x.float(), self.settings.group))
        x = self.out(self.last_dense(x.flatten(1)))
        condition = self.condition(None, label)
        return (x * condition).sum(dim=1, keepdim=True) / math.sqrt(x.shape[1])

    def stack(self, portrait: Portrait) -> torch.Tensor:
        """Stack everything this critic sees at full resolution, all in about [-1, 1]: (B, num_in, R, R)."""
        size = self.settings.resolution
        if tuple(portrait.image.shape[1:]) != (3, size, size):
            raise ValueError(f"expected pictures of shape (B, 3, {size}, {size}), got {tuple(portrait.image.shape)}")
        parts = [portrait.image, resize(portrait.raw, size)]
        if self.settings.mask:
            if portrait.mask is None:
                raise ValueError("this critic sees the mask; the portrait has none")
            parts.append(resize(portrait.mask, size) * 2.0 - 1.0)
        if self.settings.parsing_channels:
            if portrait.parsing is None or portrait.parsing.shape[1] != self.settings.parsing_channels:
                got = None if portrait.parsing is None else portrait.parsing.shape[1]
                raise ValueError(f"this critic sees {self.settings.parsing_channels} parsing channels; the portrait has {got}")
            parts.append(resize(portrait.parsing, size) * 2.0 - 1.0)
        return torch.cat(parts, dim=1)


def with_spread(x: torch.Tensor, group: int) -> torch.Tensor:
    """Append one channel: how much the pictures of a group differ, on average over features and pixels.

    Picture i is compared with i + B / group, i + 2 B / group and so on.

    Args:
        x: (B, C, H, W).
        group: size of a group; a smaller batch is one group.

    Raises:
        ValueError: the batch cannot be divided into groups.
    """
    batch = x.shape[0]
    size = min(group, batch)
    if batch % size:
        raise ValueError(f"expected a batch that {size} divides (minibatch spread), got {batch}")
    grouped = x.reshape(size, -1, *x.shape[1:])
    centred = grouped - grouped.mean(dim=0)
    spread = (centred.square().mean(dim=0) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    channel = spread.repeat(size).reshape(batch, 1, 1, 1).expand(-1, 1, *x.shape[2:])
    return torch.cat([x, channel], dim=1)
