"""Everything that decides what a run learns, in one frozen dataclass that is saved beside it, and the published recipes.

How a run is run - processes, folders, intervals of saving - is `RunSettings`, which changes no number.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...manifests.config import ConfigError, from_plain, parse_assignment, to_plain
from ..losses import (
    R1,
    CameraShift,
    ClassAgreement,
    DensitySmoothness,
    MaskAgreement,
    Reconstruction,
    StylePrior,
    ViCo,
)
from ..losses.augment import AugmentSettings
from ..losses.step import SamplingConfig
from ..presets import ModelSettings, preset
from ..volume_rendering.rays import LABEL_SIZE
from .schedule import EmaSettings, Growth, Phase, Ramp, ScheduleSettings, WarmStart
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

    def __post_init__(self) -> None:
        if min(self.generator_lr, self.discriminator_lr) <= 0 or not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
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

    def phase(self, images: int) -> Phase:
        """Return the phase of the run when `images` pictures have been shown."""
        return "adversarial" if self.warm_start is None else self.warm_start.phase(images)

    @property
    def side(self) -> int:
        """Side of the final picture."""
        return self.model.discriminator.resolution

    @property
    def num_micro_batches(self) -> int:
        """Micro-batches of a step, over all processes."""
        return self.batch // self.micro_batch


def conditioned(model: ModelSettings, condition: str, subject_dim: int) -> ModelSettings:
    """Return model settings whose widths fit a condition."""
    width = subject_dim if condition == "subject" else LABEL_SIZE
    label = LABEL_SIZE + (subject_dim if condition == "subject" else 0)
    generator = dataclasses.replace(model.generator, condition_dim=width, condition_scale=0.0 if condition == "none" else 1.0)
    return ModelSettings(generator, dataclasses.replace(model.discriminator, label_dim=label))


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


def spherehead(model: ModelSettings) -> TrainConfig:
    """SphereHead's recipe: Adam at 0.002, batch 32, 25,000 kimg; ViCo; growing from 64 pixels is `schedule.growth`.

    Li et al. (2024) publish no training code; what their text does not fix is PanoHead's.
    """
    terms = Terms(vico=ViCo(), r1=R1(), camera_shift=CameraShift())
    return TrainConfig(model, terms, sampling=SamplingConfig(background_swap=0.2))


def grown(config: TrainConfig, start: int = 64, images: float = 600 * KIMG, fade: float = 300 * KIMG) -> TrainConfig:
    """Return a recipe that grows from `start` pixels, stage by stage (Karras et al. 2018: 600 and 600 kimg at each)."""
    discriminator = dataclasses.replace(config.model.discriminator, smallest=start)
    model = ModelSettings(config.model.generator, discriminator)
    return dataclasses.replace(
        config, model=model, schedule=dataclasses.replace(config.schedule, growth=Growth(start, images, fade))
    )


def panohead(model: ModelSettings) -> TrainConfig:
    """PanoHead's published recipe (An et al. 2023): learning rates 0.0025 and 0.002, R1, background swap, shift penalty."""
    terms = Terms(camera_shift=CameraShift())
    return TrainConfig(model, terms, OptimiserSettings(generator_lr=0.0025), sampling=SamplingConfig(background_swap=0.2))


def eg3d(model: ModelSettings) -> TrainConfig:
    """EG3D's published recipe (Chan et al. 2022): pose swap to 0.8 (rebalanced data), density regularisation, no mask."""
    terms = Terms(r1=R1(mask=0.0), density=DensitySmoothness())
    schedule = ScheduleSettings(density_noise=Ramp(0.0, 0.0, 0), swap=Ramp(1.0, 0.8, 1_000 * KIMG))
    return TrainConfig(model, terms, OptimiserSettings(generator_lr=0.0025), schedule)


def for_one_cpu(config: TrainConfig) -> TrainConfig:
    """Shrink a recipe to a tiny model on one CPU: many small quick steps, short fades, few rays at first.

    Found by trial on 2,240 rendered views (model/README.md): steps of 8 pictures at a learning rate of 0.004 show faces where
    steps of 16 at 0.002 still show blots after as many pictures.
    """
    rays = config.model.generator.neural_resolution
    schedule = ScheduleSettings(
        neural_resolution=Ramp(rays // 2, rays * 3 // 4, 4_000, begin=10_000),
        blur=Ramp(0.06, 0.0, 3_000),
        density_noise=Ramp(config.schedule.density_noise.start / 2, 0.0, 3_000),
        swap=Ramp(1.0, config.schedule.swap.end, 6_000),
    )
    terms, r1 = config.terms, config.terms.r1
    if r1 is not None:
        parsing = 0.1 if config.model.discriminator.parsing_channels else 0.0
        terms = dataclasses.replace(terms, r1=R1(image=0.1, raw=0.1, mask=min(r1.mask, 0.1), parsing=parsing))
    return dataclasses.replace(
        config, terms=terms, schedule=schedule, optimiser=OptimiserSettings(generator_lr=0.004, discriminator_lr=0.004),
        ema=EmaSettings(half_life=2_000), reuse_fakes=True, batch=8, micro_batch=8, images=40 * KIMG,
    )  # fmt: skip


def for_one_gpu(config: TrainConfig) -> TrainConfig:
    """Shorten a recipe to a small model on one GPU: 3,000 kimg; its fades are done after a third of them."""
    return dataclasses.replace(config, images=3_000 * KIMG)


def warm_started(config: TrainConfig) -> TrainConfig:
    """Return a recipe that learns the views of known persons first.

    Heads are drawn from a Gaussian fitted to the persons' vectors, with a ground of their own and no condition; pictures are
    shown as they are, neither mirrored (a mirrored person is another one) nor balanced.
    """
    model, rays = conditioned(config.model, "none", config.subject_dim), config.model.generator.neural_resolution
    ground = model.generator.background
    generator = dataclasses.replace(
        model.generator, styles="gaussian", camera_shift=False,
        background=None if ground is None else dataclasses.replace(ground, own_style=True),
    )  # fmt: skip
    terms = dataclasses.replace(
        config.terms, camera_shift=None, reconstruction=Reconstruction(), mask_agreement=MaskAgreement(),
        class_agreement=None if generator.parsing is None else ClassAgreement(), style_prior=StylePrior(),
    )  # fmt: skip
    start, steady = WarmStart(), Ramp(0.0, 0.0, 0)
    half = Ramp(rays // 2, rays, 1, begin=start.views // 5)  # few rays show colours and outlines soon
    schedule = ScheduleSettings(None, half, blur=steady, density_noise=steady, swap=Ramp(1.0, 1.0, 0))
    return dataclasses.replace(
        config, model=ModelSettings(generator, model.discriminator), terms=terms, condition="none", schedule=schedule,
        warm_start=start, data=dataclasses.replace(config.data, mirror="off", balance=False), images=start.views + start.joint,
        sampling=SamplingConfig(),
    )  # fmt: skip


def train_preset(name: str) -> TrainConfig:
    """Return the training config of a model preset: its system's published recipe, shorter for small and tiny ones.

    Raises:
        ConfigError: there is no such preset.
    """
    model = preset(name)
    if name.startswith("eg3d"):
        config = eg3d(model)
    elif name.startswith(("panohead", "hyplanehead")):
        config = panohead(model)
    else:
        config = spherehead(model)
    resolution = model.generator.neural_resolution
    if name.startswith("tiny"):
        return for_one_cpu(config)
    schedule = dataclasses.replace(config.schedule, neural_resolution=Ramp(resolution, resolution, 0))
    config = dataclasses.replace(config, schedule=schedule)
    return for_one_gpu(config) if name.startswith("small") else config


def without_parsing(config: TrainConfig) -> TrainConfig:
    """Return a config for data without class maps: no parsing head, nothing that sees or judges classes."""
    generator = dataclasses.replace(config.model.generator, parsing=None)
    discriminator = dataclasses.replace(config.model.discriminator, parsing_channels=0)
    terms = dataclasses.replace(config.terms, labeller=None, parsing=None, class_agreement=None)
    if terms.r1 is not None:
        terms = dataclasses.replace(terms, r1=dataclasses.replace(terms.r1, parsing=0.0))
    return dataclasses.replace(config, model=ModelSettings(generator, discriminator), terms=terms)


def configured(
    name: str,
    condition: str = "camera",
    grow: int = 0,
    assignments: Sequence[str] = (),
    *,
    parsing: bool = True,
    warm_start: str = "none",
) -> TrainConfig:
    """Return a preset's config with choices that touch several settings at once, and then single settings.

    Args:
        name: of a model preset.
        condition: see `TrainConfig.condition`; widths of the networks follow.
        grow: side that progressive growing starts from; 0 for none.
        assignments: `a.b=c` texts.
        parsing: False leaves everything about classes out, for data without class maps.
        warm_start: none, or views to learn the views of known persons first.

    Raises:
        ConfigError: an unknown name, or settings that do not go together.
    """
    if warm_start not in ("none", "views"):
        raise ConfigError(f"expected a warm start of none or views, got '{warm_start}'")
    if warm_start == "views" and (condition == "subject" or grow):
        raise ConfigError("a warm start from views goes with neither --condition subject nor --grow")
    if condition not in ("camera", "subject", "none"):
        raise ConfigError(f"expected a condition of camera, subject or none, got '{condition}'")
    config = train_preset(name) if parsing else without_parsing(train_preset(name))
    model = conditioned(config.model, condition, config.subject_dim)
    config = dataclasses.replace(config, model=model, condition=condition)  # type: ignore[arg-type]
    if warm_start == "views":
        config = warm_started(config)
    if grow:
        stages = max(1, round(math.log2(config.side / grow)))
        step = min(600 * KIMG, config.images / (4 * stages))
        config = grown(config, grow, step, step / 2)
    return with_assignments(config, assignments)


def with_assignments(config: TrainConfig, assignments: Sequence[str]) -> TrainConfig:
    """Apply `a.b=c` texts all at once, so that settings which need each other may come in any order.

    A field of something that is null makes it: `terms.density.weight=0.1` brings the term with its other values.

    Raises:
        ConfigError: an unknown name, or settings that do not go together.
    """
    plain = to_plain(config)
    for text in assignments:
        path, value = parse_assignment(text)
        place = plain
        for name in path[:-1]:
            inner = place.get(name)
            if not isinstance(inner, dict):
                inner = place[name] = {}
            place = inner
        place[path[-1]] = value
    return from_plain(TrainConfig, plain, "train")
