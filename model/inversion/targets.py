"""Photographs of one person as an inversion sees them: pictures, mattes, class maps and cameras with their expected error.

Where they come from is left to the caller: shards of the pipeline, or rendered people.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...datasets.classes import CLASSES
from ...datasets.shards.codec import Decoded
from ..losses.parsing import class_shares
from ..nets.upsampler import resize

FACE_DEGREES = 70.0
"""Largest azimuth at which a face is seen well enough to be compared."""
SEEN_DEGREES, UNSEEN_DEGREES = 4.0, 12.0
"""Standard deviation of an estimated camera's angles, with and without a face to fit (README of `pipeline`, truth tables)."""


class TargetError(ValueError):
    """A sample that cannot be inverted; the message says what it lacks."""


@dataclass(frozen=True, eq=False)
class Targets:
    """B photographs of one person."""

    ids: tuple[str, ...]
    image: Tensor
    """(B, 3, R, R) in [-1, 1]."""
    mask: Tensor
    """(B, 1, R, R) share of the head, [0, 1]."""
    camera: Tensor
    """(B, 25) estimated labels."""
    angle_error: Tensor
    """(B,) standard deviation of each of the camera's angles, in radians."""
    parsing: Tensor | None = None
    """(B, P, r, r) shares of the classes at neural resolution, or None."""

    def to(self, device: torch.device) -> Targets:
        """Return the same on a device."""
        parsing = None if self.parsing is None else self.parsing.to(device)
        return Targets(
            self.ids, self.image.to(device), self.mask.to(device), self.camera.to(device), self.angle_error.to(device), parsing
        )


def expected_error(sample: Decoded) -> float:
    """Return the standard deviation in radians that a sample's camera is to be trusted with.

    A rendered head's camera is exact; a photograph's is as good as what it was fitted to.
    """
    row = sample.record
    if row.get("synthetic"):
        return math.radians(0.5)
    yaw = 0.0 if sample.camera is None else abs(math.degrees(sample.camera.yaw))
    return math.radians(SEEN_DEGREES if row.get("landmarks") and yaw < FACE_DEGREES else UNSEEN_DEGREES)


def targets_of(
    samples: Sequence[Decoded],
    resolution: int,
    raw_resolution: int,
    parsing_channels: int = 0,
    errors: Sequence[float] | None = None,
) -> Targets:
    """Bring samples to a generator's resolutions.

    Args:
        samples: photographs of one person, cropped, cut out and labelled.
        resolution: R, side of the generator's picture.
        raw_resolution: r, its neural resolution.
        parsing_channels: P, classes of its parsing head; 0 for none.
        errors: standard deviation of each camera's angles in radians; None for `expected_error`.

    Raises:
        TargetError: there is no sample, or one lacks its matte or camera.
    """
    if not samples:
        raise TargetError("expected at least one photograph with a head, got none")
    images, masks, cameras, maps = [], [], [], []
    for sample in samples:
        if sample.mask is None or sample.camera is None:
            lacking = "matte" if sample.mask is None else "camera"
            raise TargetError(f"sample {sample.id} has no {lacking}; build the set with the preset heads")
        images.append(_picture(sample.image, resolution) / 127.5 - 1.0)
        masks.append(_picture(sample.mask[..., None], resolution) / 255.0)
        cameras.append(torch.from_numpy(sample.camera.label()))
        if parsing_channels and sample.parsing is not None:
            if int(sample.parsing.max()) >= len(CLASSES):
                raise TargetError(f"sample {sample.id}: expected classes below {len(CLASSES)}, got {int(sample.parsing.max())}")
            maps.append(class_shares(torch.from_numpy(sample.parsing)[None], parsing_channels, raw_resolution))
    parsing = torch.cat(maps) if len(maps) == len(samples) else None
    spread = [expected_error(sample) for sample in samples] if errors is None else list(errors)
    return Targets(
        tuple(sample.id for sample in samples), torch.cat(images), torch.cat(masks), torch.stack(cameras),
        torch.tensor(spread, dtype=torch.float32), parsing,
    )  # fmt: skip


def _picture(pixels: np.ndarray, side: int) -> Tensor:
    """Return (1, C, side, side) float values of (H, W, C) pixels."""
    return resize(torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float(), side)
