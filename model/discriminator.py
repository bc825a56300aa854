"""Discriminators: how much a picture with its raw version, mask and parsing looks like a photograph taken by its camera.

What is done with the score is left to the losses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import nn

from ..manifests.config import ConfigError, check_ranges
from .nets.backbone import SynthesisSettings
from .nets.layers import DTYPES, Conv, Dense, Precision, check_clamp
from .nets.mapping import Mapping, MappingSettings
from .nets.upsampler import resize
from .portrait import Portrait
from .projected_discriminator import FrozenSettings, ProjectedDiscriminator
from .volume_rendering.rays import LABEL_SIZE


@dataclass(frozen=True)
class DiscriminatorSettings:
    """What a discriminator sees and how wide it is."""

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
    precision: Precision = "fp32"
    """Precision of the convolutions; the spread and what follows it stay in fp32."""
    channels_last: bool = True
    """Keep channels next to each other in memory; faster on CPU and on tensor cores."""
    silhouette: bool = False
    """Also judge the mask alone, by a second discriminator of the same widths (GET3D); scores then have a column for each."""
    pose: bool = False
    """Estimate the camera's yaw and pitch from the picture alone, in place of being told a label (pi-GAN, GRAM)."""
    frozen: FrozenSettings | None = None
    """Also judge the picture by what a frozen network sees in it, a score for each level (projected GAN); null for not."""
    smallest: int | None = None
    """Smallest resolution of a picture it can judge, for progressive growing (Karras et al. 2018); null: the full one only."""

    def __post_init__(self) -> None:
        check_ranges(self, resolution=(4, 4096), condition_layers=(1, 64), group=(1, 4096), label_dim=(0, 65_536))
        check_ranges(self, parsing_channels=(0, 1_024))
        check_clamp(self.precision, self.widths.clamp, "widths.clamp")
        if self.smallest is not None and not (8 <= self.smallest <= self.resolution and self.smallest in self.resolutions):
            raise ConfigError(
                f"expected smallest of 8 or more that halves {self.resolution} some times over, got {self.smallest}"
            )
        if self.pose and (self.mask or self.parsing_channels or self.silhouette or self.smallest):
            raise ConfigError("a discriminator that estimates the pose sees the picture alone: set mask=false")

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Sides of the blocks' inputs, falling."""
        return tuple(2**power for power in range(int(math.log2(self.resolution)), 2, -1))

    @property
    def sees_mask(self) -> bool:
        """Whether the mask is judged, with the picture or alone."""
        return self.mask or self.silhouette

    @property
    def num_in(self) -> int:
        """Channels of the stacked input."""
        return 6 + int(self.mask) + self.parsing_channels


class DiscriminatorBlock(nn.Module):
    """A residual block that halves the resolution (Karras et al. 2020)."""

    def __init__(self, num_in: int, num_out: int, clamp: float | None) -> None:
        super().__init__()
        self.first = Conv(num_in, num_in, 3, clamp=clamp)
        self.second = Conv(num_in, num_out, 3, down=True, clamp=clamp)
        self.skip = Conv(num_in, num_out, 1, activation="linear", bias=False, down=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, num_in, H, W) to (B, num_out, H/2, W/2)."""
        gain = math.sqrt(0.5)
        out: torch.Tensor = self.skip(x, gain).add_(self.second(self.first(x), gain))
        return out


class Discriminator(nn.Module):
    """Portrait and condition to a score, and where asked for scores of the mask and of frozen features; positive means real."""

    def __init__(self, settings: DiscriminatorSettings, *, only_mask: bool = False) -> None:
        super().__init__()
        self.settings, self.only_mask = settings, only_mask
        num_in = 1 if only_mask else settings.num_in
        self.dtype = DTYPES[settings.precision]
        widths, clamp = settings.widths, settings.widths.clamp
        self.from_picture = Conv(num_in, widths.channels(settings.resolution), 1, clamp=clamp)
        smaller = [size for size in settings.resolutions[1:] if settings.smallest and size >= settings.smallest]
        self.from_smaller = nn.ModuleDict({str(size): Conv(num_in, widths.channels(size), 1, clamp=clamp) for size in smaller})
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(widths.channels(size), widths.channels(size // 2), clamp) for size in settings.resolutions
        )
        last = widths.channels(4)
        self.last_conv = Conv(last + 1, last, 3, clamp=clamp)
        self.last_dense = Dense(last * 16, last, activation="leaky_relu")
        self.out = Dense(last, last)
        self.condition = Mapping(
            0, settings.label_dim, last, MappingSettings(layers=settings.condition_layers), keeps_mean=False
        )
        both = settings.silhouette and not only_mask
        self.silhouette = Discriminator(settings, only_mask=True) if both else None
        self.projected = None if only_mask else make_projected(settings)
        if settings.channels_last:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, portrait: Portrait, label: torch.Tensor | None = None, fade: float = 1.0) -> torch.Tensor:
        """Return (B, S) scores: of the portrait, then those of the mask alone and of each level of frozen features if any.

        Args:
            portrait: what is judged.
            label: (B, label_dim) condition; None for the portrait's own camera.
            fade: share of the first block while the discriminator grows; see `features`.

        Raises:
            ValueError: the portrait lacks what this discriminator sees, or has another size, or batches differ.
        """
        return self.score(self.features(portrait, fade), portrait.camera if label is None else label)

    def features(self, portrait: Portrait, fade: float = 1.0) -> torch.Tensor:
        """Return the (B, F) features of pictures, which know nothing of a label yet; see `activations`."""
        return self.summary(self.activations(portrait, fade))

    def activations(self, portrait: Portrait, fade: float = 1.0) -> list[list[torch.Tensor]]:
        """Return what each block makes of pictures, (B, C, H, W): for the portrait, for the mask alone, for each frozen level.

        No picture of the batch enters another's.

        Args:
            portrait: what is judged, at full resolution or, if the settings name a `smallest`, at any down to it.
            fade: below 1, the first block's output is mixed with that of a discriminator for half the resolution (Karras
                et al. 2018, sec. 2): 0 is the smaller discriminator, 1 this one.
        """
        resolution = portrait.image.shape[-1]
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format

        def enter(size: int) -> torch.Tensor:
            layer = self.from_picture if size == self.settings.resolution else self.from_smaller[str(size)]
            out: torch.Tensor = layer(self.stack(portrait, size).to(self.dtype).contiguous(memory_format=layout))
            return out

        x = enter(self._checked_resolution(resolution))
        first, made = self.settings.resolutions.index(resolution), list[torch.Tensor]()
        for index, block in enumerate(self.blocks[first:]):
            x = block(x)
            if index == 0 and fade < 1.0:
                x = enter(self._checked_resolution(resolution // 2)).lerp(x, fade)
            made.append(x)
        of_mask = [] if self.silhouette is None else self.silhouette.activations(portrait, fade)
        of_levels = [] if self.projected is None else self.projected.activations(portrait.image)
        return [made or [x], *of_mask, *of_levels]

    def summary(self, activations: list[list[torch.Tensor]]) -> torch.Tensor:
        """Return the (B, F) features, what the last layers make of `activations`; the spread is that of groups of the batch."""
        own, *others = activations
        x = self.last_conv(with_spread(own[-1].float(), self.settings.group))
        features = [self.out(self.last_dense(x.flatten(1)))]
        if self.silhouette is not None:
            features.append(self.silhouette.summary([others.pop(0)]))
        if self.projected is not None:
            features.append(self.projected.summary(others))
        return torch.cat(features, dim=1)

    def score(self, features: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Return (B, S) scores: how well features fit a label (Miyato and Koyama 2018); see `forward`.

        Args:
            features: (B, F) what `features` returned.
            label: (B, label_dim) condition of each row.
        """
        if len(label) != len(features):
            raise ValueError(f"expected {len(features)} conditions, one a picture, got {len(label)}")
        own = self.settings.widths.channels(4)
        condition = self.condition(None, label)
        scores = [(features[:, :own] * condition).sum(dim=1, keepdim=True) / math.sqrt(own)]
        if self.silhouette is not None:
            scores.append(self.silhouette.score(features[:, own : 2 * own], label))
        if self.projected is not None:
            scores.append(self.projected.score(features[:, -self.projected.num_features :], label))
        return torch.cat(scores, dim=1)

    @property
    def num_learned(self) -> int:
        """Scores that are learned from the pixels on: the first ones, before those of frozen features."""
        return 1 if self.silhouette is None else 2

    def _checked_resolution(self, resolution: int) -> int:
        full = self.settings.resolution
        if resolution != full and str(resolution) not in self.from_smaller:
            also = f" or a resolution of {', '.join(self.from_smaller)}" if self.from_smaller else ""
            raise ValueError(f"expected pictures of shape (B, 3, {full}, {full}){also}, got (B, 3, {resolution}, {resolution})")
        return resolution

    def stack(self, portrait: Portrait, size: int | None = None) -> torch.Tensor:
        """Stack everything this discriminator sees at one size, all in about [-1, 1]: (B, num_in, R, R).

        Args:
            portrait: what is judged.
            size: R; None for the picture's own.
        """
        shape = tuple(portrait.image.shape[1:])
        size = size or shape[-1]
        if shape != (3, shape[-1], shape[-1]):
            full = self.settings.resolution
            raise ValueError(f"expected pictures of shape (B, 3, {full}, {full}), got {tuple(portrait.image.shape)}")
        parts = [] if self.only_mask else [resize(portrait.image, size), resize(portrait.raw, size)]
        if self.settings.mask or self.only_mask:
            if portrait.mask is None:
                raise ValueError("this discriminator sees the mask; the portrait has none")
            parts.append(resize(portrait.mask, size) * 2.0 - 1.0)
        if self.settings.parsing_channels and not self.only_mask:
            if portrait.parsing is None or portrait.parsing.shape[1] != self.settings.parsing_channels:
                got = None if portrait.parsing is None else portrait.parsing.shape[1]
                raise ValueError(
                    f"this discriminator sees {self.settings.parsing_channels} parsing channels; the portrait has {got}"
                )
            parts.append(resize(portrait.parsing, size) * 2.0 - 1.0)
        return torch.cat(parts, dim=1)


def make_projected(settings: DiscriminatorSettings) -> ProjectedDiscriminator | None:
    """Make the discriminators on frozen features that settings ask for, if any."""
    if settings.frozen is None:
        return None
    return ProjectedDiscriminator(settings.frozen, settings.resolution, settings.label_dim, settings.condition_layers)


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
