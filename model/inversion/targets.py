"""Photographs of one person as an inversion sees them: pictures, mattes, class maps and cameras with their expected error.

Where they come from is left to the caller: shards of the pipeline, or rendered people.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import gammaincinv
from torch import Tensor

from ...datasets.classes import CLASSES
from ...datasets.shards.codec import Decoded
from ..losses.parsing import class_shares
from ..nets.upsampler import resize

FACE_DEGREES = 70.0
"""Largest azimuth at which a face is seen well enough to be compared."""
SEEN_DEGREES, UNSEEN_DEGREES = 2.5, 12.0
"""Standard deviation of an estimated camera's angles, with and without a face to fit (README of `pipeline`, truth tables)."""
LEAST_DEGREES, MOST_DEGREES = 2.0, 20.0
"""Between these lies what a confidence is taken to mean."""
CONFIDENT_WITHIN = math.radians(15.0)
"""A `pose_confidence` of the pipeline's head network is the chance of an error below this."""


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

    def rows(self, chosen: Sequence[int]) -> Targets:
        """Return some of the photographs."""
        parsing = None if self.parsing is None else self.parsing[list(chosen)]
        ids, index = tuple(self.ids[row] for row in chosen), list(chosen)
        return Targets(ids, self.image[index], self.mask[index], self.camera[index], self.angle_error[index], parsing)

    def to(self, device: torch.device) -> Targets:
        """Return the same on a device."""
        parsing = None if self.parsing is None else self.parsing.to(device)
        return Targets(
            self.ids, self.image.to(device), self.mask.to(device), self.camera.to(device), self.angle_error.to(device), parsing
        )


def expected_error(sample: Decoded) -> float:
    """Return the standard deviation in radians of each angle that a sample's camera is to be trusted with.

    A rendered head's or a given camera is exact; one that the pipeline's head network read is as good as that says itself; one
    fitted to a face's mesh is as good as such fits are, or as half of what the network's reading differs from it.
    """
    row = sample.record
    scores, source = row.get("scores") or {}, (row.get("notes") or {}).get("pose_source", "")
    if row.get("synthetic") or source == "sidecar":
        return math.radians(0.5)
    if source == "head" and "pose_confidence" in scores:
        return error_of_confidence(float(scores["pose_confidence"]))
    yaw = 0.0 if sample.camera is None else abs(math.degrees(sample.camera.yaw))
    usual = SEEN_DEGREES if row.get("landmarks") and yaw < FACE_DEGREES else UNSEEN_DEGREES
    return math.radians(min(max(usual, float(scores.get("pose_disagreement_degrees", 0.0)) / 2.0), MOST_DEGREES))


def error_of_confidence(confidence: float) -> float:
    """Return the standard deviation of each angle, in radians, that a chance of an error below 15 degrees means.

    The error's length has a density proportional to exp(-r / s) in 3-D: a Gamma distribution of shape 3, with a mean square of
    12 s^2, 4 s^2 for each axis.
    """
    ratio = float(gammaincinv(3.0, min(max(confidence, 0.0), 1.0)))
    return error_of_spread(CONFIDENT_WITHIN / max(ratio, 1e-9))


def error_of_spread(spread: float) -> float:
    """Return the same of a scale s in radians, within what is taken for possible."""
    return min(max(2.0 * spread, math.radians(LEAST_DEGREES)), math.radians(MOST_DEGREES))


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
