"""Everything that decides what a run learns, in one frozen dataclass that is saved beside it.

How a run is run (processes, folders, intervals of saving) is `RunSettings`, which changes no number. The published recipes
are `recipes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...manifests.config import ConfigError
from ..losses.augment import AugmentSettings
from ..losses.step import SamplingConfig
from ..presets import ModelSettings
from ..volume_rendering.rays import LABEL_SIZE
from .schedule import EmaSettings, Phase, ScheduleSettings, WarmStart
from .terms import Terms

KIMG = 1_000
"""Pictures in a kimg, the unit of the literature."""


@dataclass(frozen=True)
class OptimiserSettings:
    """Adam for both players."""

    generator_lr: float = 0.002
    """Learning rate of the generator."""
    discriminator_lr: float = 0.002
    """Learning rate of the discriminator."""
    beta1: float = 0.0
    """Decay of Adam's mean."""
    beta2: float = 0.99
    """Decay of Adam's square."""
    eps: float = 1e-8
    """Adam's epsilon."""
    clip: float | None = None
    """Largest norm of each player's gradient; null for any."""
    renderer_lr: float = 1.0
    """Factor on the generator's learning rate for the renderer's own parameters, such as the predictor of manifolds."""
    renderer_clip: float | None = None
    """Largest norm of the gradient of the renderer's own parameters; null for any."""

    def __post_init__(self) -> None:
        rates = (self.generator_lr, self.discriminator_lr, self.renderer_lr, self.renderer_clip or 1.0, self.clip or 1.0)
        if min(rates) <= 0 or not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ConfigError(f"expected positive learning rates and decays in [0, 1), got {self}")


@dataclass(frozen=True)
class DataSettings:
    """How the shards are drawn from."""

    split: str = "train"
    """Split that is trained on."""
    balance: bool = True
    """Draw views by the manifest's weights, so that rare ones are seen as often as common ones."""
    synthetic_weight: float = 1.0
    """Factor on the weight of rendered heads."""
    mirror: Literal["off", "random", "both"] = "random"
    """Mirror none, each picture with probability 1/2, or show each picture both ways in every epoch."""


@dataclass(frozen=True)
class TrainConfig:
    """A run: model, data, losses, schedules."""

    model: ModelSettings
    """Generator and discriminator."""
    terms: Terms = Terms()
    """Losses."""
    optimiser: OptimiserSettings = OptimiserSettings()
    """Adam."""
    schedule: ScheduleSettings = ScheduleSettings()
    """What changes over time."""
    ema: EmaSettings = EmaSettings()
    """Average of the generator."""
    sampling: SamplingConfig = SamplingConfig()
    """What is drawn anew for every update."""
    data: DataSettings = DataSettings()
    """How pictures are drawn."""
    augment: AugmentSettings | None = None
    """Adaptive augmentation of what the discriminator sees (Karras et al. 2020); null for none."""
    condition: Literal["camera", "subject", "none"] = "camera"
    """What the generator's mapping network is conditioned on: the camera, a vector of the person that all views of a person
    share, or nothing. The discriminator sees the camera in any case, and the person's vector where the generator does."""
    subject_dim: int = 32
    """Numbers of a person's vector."""
    warm_start: WarmStart | None = None
    """Learn from the views of known persons before the adversarial game; null plays it from the beginning."""
    reuse_fakes: bool = False
    """Let the discriminator judge the very pictures of the generator's update: one pass of the generator less for each picture.
    Only where a process has one micro-batch a step."""
    batch: int = 32
    """Pictures a step, over all processes."""
    micro_batch: int = 4
    """Pictures worked on at once by one process; the discriminator compares pictures within it."""
    images: int = 25_000 * KIMG
    """Pictures after which the run is done."""
    init: str = ""
    """sha256 of the generator that the run begins from; empty for weights that are drawn. `--init` sets it."""
    seed: int = 0
    """Seed of first weights, data order and every draw."""

    def __post_init__(self) -> None:
        if self.batch < 1 or self.micro_batch < 1 or self.batch % self.micro_batch:
            raise ConfigError(f"expected a batch that micro_batch divides, got {self.batch} and {self.micro_batch}")
        if self.images < 1 or self.seed < 0 or self.subject_dim < 1:
            raise ConfigError(f"expected images and subject_dim of 1 or more and a seed of 0 or more, got {self}")
        discriminator, growth = self.model.discriminator, self.schedule.growth
        group = min(discriminator.group, self.micro_batch)
        if self.micro_batch % group:
            raise ConfigError(
                f"expected a micro_batch that the discriminator's group of {discriminator.group} divides, "
                f"got {self.micro_batch}; set micro_batch or model.discriminator.group"
            )
        if growth is not None and growth.start not in discriminator.resolutions:
            sides = ", ".join(str(side) for side in reversed(discriminator.resolutions))
            raise ConfigError(
                f"progressive growing doubles its first resolution up to {discriminator.resolution}: set schedule.growth.start "
                f"to one of {sides}, got {growth.start}"
            )
        if growth is not None and (discriminator.smallest is None or discriminator.smallest > growth.start):
            raise ConfigError(
                f"progressive growing starts at {growth.start} pixels: set model.discriminator.smallest={growth.start}, "
                f"got {discriminator.smallest}"
            )
        width = {"camera": LABEL_SIZE, "subject": self.subject_dim, "none": LABEL_SIZE}[self.condition]
        label = LABEL_SIZE + (self.subject_dim if self.condition == "subject" else 0)
        if (self.model.generator.condition_dim, discriminator.label_dim) != (width, label):
            raise ConfigError(
                f"condition '{self.condition}' needs model.generator.condition_dim={width} and "
                f"model.discriminator.label_dim={label}, "
                f"got {self.model.generator.condition_dim} and {discriminator.label_dim}; `--condition` sets them"
            )
        if self.warm_start is not None and self.model.generator.styles != "gaussian":
            raise ConfigError("a warm start needs model.generator.styles=gaussian; `--warm-start views` sets it")
        self._refuse_what_nothing_reads()

    def _refuse_what_nothing_reads(self) -> None:
        """Refuse choices that the networks have no use for, or would learn the wrong thing from.

        Raises:
            ConfigError: with what to leave out.
        """
        generator = self.model.generator
        if self.condition == "subject" and self.subject_dim == LABEL_SIZE:
            raise ConfigError(
                f"expected another subject_dim than {LABEL_SIZE}, a camera label's: models tell their condition by its width"
            )
        if self.condition == "subject" and (generator.volume.styled or generator.styles == "gaussian"):
            raise ConfigError("this generator's heads depend on no condition: train it with --condition none, not subject")
        if self.sampling.style_mixing > 0 and generator.volume.styled:
            raise ConfigError("this generator has one style vector for all layers, nothing to mix: set sampling.style_mixing=0")
        if self.terms.vico is not None and self.model.discriminator.pose:
            raise ConfigError(
                "terms.vico shows pictures with wrong cameras to a discriminator that is told cameras, this one estimates them "
                "and would learn that the data are generated: set terms.vico=null"
            )

    def phase(self, images: int) -> Phase:
        """Return the phase of the run when `images` pictures have been shown."""
        return "adversarial" if self.warm_start is None else self.warm_start.phase(images)

    @property
    def resolution(self) -> int:
        """Resolution of the final picture."""
        return self.model.discriminator.resolution

    @property
    def num_micro_batches(self) -> int:
        """Micro-batches of a step, over all processes."""
        return self.batch // self.micro_batch


@dataclass(frozen=True)
class RunSettings:
    """How a run is run; none of it changes what is learned."""

    workers: int = 2
    """Processes that read and decode, for each training process; 0 reads in the training process."""
    save_images: int = 200 * KIMG
    """Save, and draw pictures, at this interval of pictures shown; also at the end and when stopped."""
    keep: int = 3
    """Checkpoints that are kept."""
    log_images: int = 1 * KIMG
    """A line of metrics at this interval of pictures shown."""
    pictures: bool = True
    """Draw a grid and an orbit at each save."""
    tensorboard: bool = True
    """Also write metrics for TensorBoard, where its package is installed."""
    threads: int = 0
    """Threads of a process on a CPU; 0 leaves it to PyTorch. Another number gives other roundings."""
    max_seconds: float = 0.0
    """Stop, as if finished, after this many seconds of this call; 0 for no limit."""
