"""One type for what a discriminator sees, whether a generator made it or a photograph gave it.

How pictures are made is left to `generator`, how they are judged to `discriminator`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from .nets.upsampler import resize


@dataclass(frozen=True)
class Portrait:
    """A batch of pictures of heads with what belongs to each pixel."""

    image: torch.Tensor
    """(B, 3, R, R) picture, about [-1, 1]."""
    raw: torch.Tensor
    """(B, 3, r, r) picture at neural resolution, about [-1, 1]."""
    camera: torch.Tensor
    """(B, 25) label: for a generated picture, of the camera that saw it."""
    mask: torch.Tensor | None = None
    """(B, 1, r, r) share of the head at each pixel, [0, 1] for photographs and up to 0.002 beyond for rendered heads."""
    parsing: torch.Tensor | None = None
    """(B, P, r, r) class probabilities in the order of `nets.parsing.SEMANTICS`."""
    depth: torch.Tensor | None = None
    """(B, 1, r, r) distance from the camera along the ray in world units; of pictures of the data where exact maps were asked
    for, then 0 where it is unknown."""
    features: torch.Tensor | None = None
    """(B, F, r, r) composed features behind raw and parsing; generated pictures only, if asked for."""

    penalties: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """(B,) each: what the renderer would keep small about a head's geometry, by name; generated pictures only."""

    def detach(self) -> Portrait:
        """Return the same tensors without their history."""
        return self.changed(lambda part: part.detach())

    def changed(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Portrait:
        """Return the portrait with every tensor of it changed.

        Args:
            change: makes of a part its replacement.
        """
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name != "penalties"}
        parts = {name: change(value) for name, value in values.items() if value is not None}
        penalties = {name: change(value) for name, value in self.penalties.items()}
        return dataclasses.replace(self, **parts, penalties=penalties)

    def chosen(self, rows: torch.Tensor) -> Portrait:
        """Return some rows of every part.

        Args:
            rows: (K,) indices.
        """
        return self.changed(lambda part: part[rows])


def real_portrait(
    image: torch.Tensor,
    camera: torch.Tensor,
    raw_resolution: int,
    mask: torch.Tensor | None = None,
    parsing: torch.Tensor | None = None,
    parsing_channels: int = 20,
) -> Portrait:
    """Make of a photograph what the generator gives: the same resolutions, so that sharpness tells nothing apart.

    Args:
        image: (B, 3, R, R) in [-1, 1].
        camera: (B, 25) labels.
        raw_resolution: r, the neural resolution.
        mask: (B, 1, R, R) in [0, 1], or None.
        parsing: (B, R, R) integer classes, or None; it becomes the share of each class in each pixel.
        parsing_channels: number of classes.

    Raises:
        ValueError: batches differ, or a class is out of range.
    """
    for name, part in (("camera", camera), ("mask", mask), ("parsing", parsing)):
        if part is not None and len(part) != len(image):
            raise ValueError(f"expected {len(image)} rows of {name}, one a picture, got {len(part)}")
    shares = None
    if parsing is not None:
        if parsing.numel() and not 0 <= int(parsing.min()) <= int(parsing.max()) < parsing_channels:
            raise ValueError(f"expected classes below {parsing_channels}, got {int(parsing.min())} to {int(parsing.max())}")
        one_hot = torch.nn.functional.one_hot(parsing.long(), parsing_channels).permute(0, 3, 1, 2).to(image.dtype)
        shares = resize(one_hot, raw_resolution)
    small = None if mask is None else resize(mask.to(image.dtype), raw_resolution)
    return Portrait(image, resize(image, raw_resolution), camera, small, shares)
