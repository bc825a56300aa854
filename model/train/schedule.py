"""What changes while a model trains, as functions of the number of pictures shown: growth, fades, swaps and averaging.

All of it is linear in pictures and free of state; `schedule_state` gathers it for one update.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ...manifests.config import ConfigError
from ..losses.step import ScheduleState

Phase = Literal["views", "joint", "adversarial"]
"""Views: known persons' views are rebuilt, nothing judges. Joint: that and the adversarial game. Adversarial: that game."""


@dataclass(frozen=True)
class Ramp:
    """A value that goes linearly from one number to another."""

    start: float
    """Value until the ramp begins."""
    end: float
    """Value after it."""
    images: float
    """Pictures over which it goes; 0: it is at its end from the beginning."""
    begin: float = 0.0
    """Pictures before it begins."""

    def at(self, images: float) -> float:
        """Return the value when `images` pictures have been shown."""
        if self.images <= 0:
            return self.end if images >= self.begin else self.start
        share = min(max((images - self.begin) / self.images, 0.0), 1.0)
        return self.start + (self.end - self.start) * share


@dataclass(frozen=True)
class Growth:
    """Progressive growing (Karras et al. 2018): the picture's resolution doubles stage by stage, each new one faded in."""

    start: int
    """Side of the first stage."""
    images: float
    """Pictures of each stage, its fade included."""
    fade: float
    """Pictures over which a new stage is faded in."""

    def __post_init__(self) -> None:
        if self.start < 8 or self.images <= 0 or not 0 <= self.fade <= self.images:
            raise ConfigError(
                f"expected growth from 8 pixels or more and 0 <= fade <= images, got {self.start}, {self.fade}, {self.images}"
            )

    def at(self, images: float, resolution: int) -> tuple[int, float]:
        """Return the present resolution, at most `resolution`, and how far its fade is, 0 to 1."""
        stages = round(math.log2(resolution / self.start))
        stage = min(int(images // self.images), stages)
        if stage == 0 or not self.fade:
            return self.start * 2**stage, 1.0
        return self.start * 2**stage, min((images - stage * self.images) / self.fade, 1.0)


@dataclass(frozen=True)
class ScheduleSettings:
    """Every schedule of a run; numbers of pictures are counted in single pictures."""

    growth: Growth | None = None
    """Progressive growing; null trains the full resolution from the beginning."""
    neural_resolution: Ramp = Ramp(64, 64, 0)
    """Rays per side, rounded; never more than the picture's resolution."""
    blur: Ramp = Ramp(10 / 512, 0.0, 200_000)
    """Standard deviation of the blur on what the discriminator sees, as a share of the side of picture and raw picture each
    (Chan et al. 2022: 10 of 512 pixels to 0; their code: both by 10 pixels, and by 2^-(x / 10)^2, which deviates by 8.5)."""
    density_noise: Ramp = Ramp(1.0, 0.0, 200_000)
    """Standard deviation of the noise on densities; without effect with renderers of surfaces and splats."""
    swap: Ramp = Ramp(1.0, 0.7, 1_000_000)
    """Probability that the generator is conditioned on another camera than the one that looks (Chan et al. 2022, sec. 4.4)."""
    learning_rate: Ramp = Ramp(1.0, 1.0, 0)
    """Factor on both players' learning rates; on the generator's only where no warm start sets it."""

    def __post_init__(self) -> None:
        if min(self.learning_rate.start, self.learning_rate.end) < 0:
            raise ConfigError(f"expected factors of 0 or more in schedule.learning_rate, got {self.learning_rate}")


@dataclass(frozen=True)
class EmaSettings:
    """The running average of the generator, which is what one keeps."""

    half_life: float = 10_000
    """Pictures after which old weights count half."""
    ramp: float | None = 0.05
    """The half-life is at most this share of the pictures shown so far (EMA warm-up); null for no such bound: a run that begins
    from a trained model then keeps that model's average, which it forgets at once otherwise."""

    def decay(self, images: float, batch: int) -> float:
        """Return the share of the average that stays at an update of `batch` pictures (Karras et al. 2020, appendix B)."""
        half = self.half_life if self.ramp is None else min(self.half_life, self.ramp * images)
        decay: float = 0.5 ** (batch / max(half, 1e-8))
        return decay


@dataclass(frozen=True)
class WarmStart:
    """Learning from the views of known persons first: phases before the adversarial game, and their learning rates."""

    views: int = 30_000
    """Pictures of the phase views."""
    joint: int = 10_000
    """Pictures of the phase joint, which follows; the rest of the run is adversarial."""
    generator_lr: float = 0.004
    """Learning rate of the generator at the start of the phase views."""
    persons_lr: float = 0.01
    """Learning rate of the persons' vectors there."""
    end: float = 0.02
    """Share of both rates that a cosine leaves at the end of the phase."""
    joint_share: float = 0.25
    """Share of both rates in the phase joint."""

    def __post_init__(self) -> None:
        if self.views < 1 or self.joint < 0 or min(self.generator_lr, self.persons_lr) <= 0:
            raise ConfigError(f"expected views of 1 or more, joint of 0 or more and positive learning rates, got {self}")

    def phase(self, images: int) -> Phase:
        """Return the phase when `images` pictures have been shown."""
        if images < self.views:
            return "views"
        return "joint" if images < self.views + self.joint else "adversarial"

    def share(self, images: int) -> float:
        """Return the share of the learning rates at `images` pictures: a cosine from 1 to `end`, then `joint_share`."""
        if images >= self.views:
            return self.joint_share
        return self.end + (1.0 - self.end) * 0.5 * (1.0 + math.cos(math.pi * images / self.views))


def schedule_state(settings: ScheduleSettings, images: int, resolution: int, augment: float = 0.0) -> ScheduleState:
    """Return where a run stands.

    Args:
        settings: the schedules.
        images: pictures shown so far.
        resolution: resolution of the final picture.
        augment: present probability of augmentations, which depends on the run itself.
    """
    present, fade = (resolution, 1.0) if settings.growth is None else settings.growth.at(images, resolution)
    return ScheduleState(
        images=images,
        image_resolution=present,
        fade=fade,
        neural_resolution=min(round(settings.neural_resolution.at(images)), present),
        blur=settings.blur.at(images),
        density_noise=settings.density_noise.at(images),
        swap=settings.swap.at(images),
        augment=augment,
    )
