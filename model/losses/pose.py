"""Pose regression: a discriminator that estimates the camera keeps the generator's geometry from collapsing to a plane.

It takes the place of conditioning on the camera (Deng et al. 2022; Chan et al. 2021); the network is `pose_discriminator`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..volume_rendering.rays import camera_angles
from .step import Player, Step
from .term import LossTerm, register_term


@register_term
@dataclass(frozen=True)
class GeneratorPose(LossTerm):
    """Mean squared error of the angles that the discriminator estimates from generated pictures, for the generator."""

    player: ClassVar[Player] = "generator"

    weight: float = 15.0
    """Factor on the term."""
    kind: Literal["generator_pose"] = "generator_pose"
    """Tells the terms apart in a file."""

    def __call__(self, step: Step) -> Tensor:
        """Return the mean over generated pictures and both angles, in square radians."""
        return pose_error(_estimates(step, step.fake_features), step.fake_seen.camera)


@register_term
@dataclass(frozen=True)
class DiscriminatorPose(LossTerm):
    """The same for the discriminator, from generated pictures and from the data."""

    player: ClassVar[Player] = "discriminator"

    weight: float = 15.0
    """Factor on the term."""
    kind: Literal["discriminator_pose"] = "discriminator_pose"
    """Tells the terms apart in a file."""

    def __call__(self, step: Step) -> Tensor:
        """Return the sum of both means, in square radians."""
        fake = pose_error(_estimates(step, step.fake_features), step.fake_seen.camera)
        return fake + pose_error(_estimates(step, step.real_features), step.real_seen.camera)


def _estimates(step: Step, features: Tensor) -> Tensor:
    """Return the features without those of frozen levels, which follow a `PoseDiscriminator`'s own three."""
    return features[:, :3] if step.discriminator.settings.pose else features


def pose_error(features: Tensor, camera: Tensor) -> Tensor:
    """Return the mean squared difference of estimated angles from a camera's, the shorter way round.

    Args:
        features: (B, 3) what a `PoseDiscriminator` gives: score, yaw, pitch.
        camera: (B, 25) labels.

    Raises:
        ValueError: the discriminator estimates no angles.
    """
    if features.shape[1] != 3:
        raise ValueError("expected a discriminator that estimates the camera: set model.discriminator.pose=true")
    difference = features[:, 1:] - camera_angles(camera)
    return torch.atan2(difference.sin(), difference.cos()).square().mean()
