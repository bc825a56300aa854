"""The published training recipes as configs, their short forms for small machines, and choices that touch several settings.

What the settings mean is said in `config`; which recipe and size a model preset has, in `model.presets`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from ...manifests.config import ConfigError, from_plain, parse_assignment, to_plain
from ..losses import (
    R1,
    CameraShift,
    ClassAgreement,
    DensitySmoothness,
    DiscriminatorPose,
    GeneratorPose,
    LossTerm,
    MaskAgreement,
    Perceptual,
    Reconstruction,
    RendererPenalty,
    StylePrior,
    ViCo,
)
from ..losses.step import SamplingConfig
from ..old_names import present_assignment
from ..presets import PRESETS, ModelSettings, preset
from ..projected_discriminator import FrozenSettings
from ..volume_rendering.rays import LABEL_SIZE
from .config import KIMG, OptimiserSettings, TrainConfig
from .schedule import EmaSettings, Growth, Ramp, ScheduleSettings, WarmStart
from .terms import Terms


def conditioned(model: ModelSettings, condition: str, subject_dim: int) -> ModelSettings:
    """Return model settings whose widths fit a condition."""
    width = subject_dim if condition == "subject" else LABEL_SIZE
    label = LABEL_SIZE + (subject_dim if condition == "subject" else 0)
    generator = dataclasses.replace(model.generator, condition_dim=width, condition_scale=0.0 if condition == "none" else 1.0)
    return ModelSettings(generator, dataclasses.replace(model.discriminator, label_dim=label))


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


def get3d(model: ModelSettings) -> TrainConfig:
    """GET3D's published recipe (Gao et al. 2022): style mixing 0.9, R1 of one gamma for picture and mask, no camera shift.

    Published gammas are 40 (cars) to 400 (chairs) at 1,024 pixels; 20 is meant for 512.
    """
    return TrainConfig(model, Terms(r1=R1(image=20.0, raw=20.0, mask=20.0)), sampling=SamplingConfig(style_mixing=0.9))


def gram(model: ModelSettings) -> TrainConfig:
    """GRAM's published recipe (Deng et al. 2022, FFHQ): learning rates 2e-5 and 2e-4, R1 at every step, pose regression."""
    extra: dict[str, LossTerm] = {"generator_pose": GeneratorPose(), "discriminator_pose": DiscriminatorPose()}
    terms = Terms(r1=R1(every=1, image=1.0, raw=0.0, mask=0.0), extra=extra)
    optimiser = OptimiserSettings(generator_lr=2e-5, discriminator_lr=2e-4, beta2=0.9, clip=1.0)
    steady = Ramp(0.0, 0.0, 0)
    schedule = ScheduleSettings(blur=steady, density_noise=steady, swap=steady)
    ema = EmaSettings(half_life=-32 * math.log(2) / math.log(0.999))
    return TrainConfig(model, terms, optimiser, schedule, ema, SamplingConfig(noise="none"), images=150 * KIMG * 32)


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


def steady_rays(config: TrainConfig) -> TrainConfig:
    """Return a recipe that renders the model's full number of rays from the beginning."""
    rays = config.model.generator.neural_resolution
    return dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, neural_resolution=Ramp(rays, rays, 0)))


def for_one_gpu(config: TrainConfig) -> TrainConfig:
    """Shorten a recipe to a small model on one GPU: 3,000 kimg; its fades are done after a third of them."""
    return dataclasses.replace(config, images=3_000 * KIMG)


def warm_started(config: TrainConfig) -> TrainConfig:
    """Return a recipe that learns the views of known persons first.

    Heads are drawn from a Gaussian fitted to the persons' vectors, with a ground of their own and no condition; pictures are
    shown as they are, neither mirrored (a mirrored person is another one) nor balanced. The game that follows is also judged by
    frozen features, which sharpen in few pictures what the usual discriminator hardly changes (docs/reference/models.md).
    """
    model, rays = conditioned(config.model, "none", config.subject_dim), config.model.generator.neural_resolution
    ground = model.generator.background
    generator = dataclasses.replace(
        model.generator, styles="gaussian", camera_shift=False,
        background=None if ground is None else dataclasses.replace(ground, own_style=True),
    )  # fmt: skip
    terms = dataclasses.replace(
        config.terms, camera_shift=None, reconstruction=Reconstruction(), perceptual=Perceptual(),
        mask_agreement=MaskAgreement(), class_agreement=None if generator.parsing is None else ClassAgreement(),
        style_prior=StylePrior(),
    )  # fmt: skip
    start, steady = WarmStart(), Ramp(0.0, 0.0, 0)
    half = Ramp(rays // 2, rays, 1, begin=start.views // 5)  # few rays show colours and outlines soon
    schedule = ScheduleSettings(None, half, blur=steady, density_noise=steady, swap=Ramp(1.0, 1.0, 0))
    discriminator = dataclasses.replace(model.discriminator, frozen=FrozenSettings())
    optimiser = dataclasses.replace(config.optimiser, discriminator_lr=min(0.002, config.optimiser.discriminator_lr))
    return dataclasses.replace(
        config, model=ModelSettings(generator, discriminator), terms=terms, condition="none", schedule=schedule,
        optimiser=optimiser, warm_start=start, data=dataclasses.replace(config.data, mirror="off", balance=False),
        images=start.views + start.joint, sampling=SamplingConfig(),
    )  # fmt: skip


def for_renderer(config: TrainConfig) -> TrainConfig:
    """Return a recipe with what the model's renderer asks for: its penalties, a learning rate and a clip of its parameters."""
    renderer = config.model.generator.renderer
    extra = {name: RendererPenalty(weight=weight, name=name) for name, weight in renderer.penalties.items()}
    optimiser = dataclasses.replace(config.optimiser, renderer_lr=renderer.lr_factor, renderer_clip=renderer.gradient_clip)
    terms = dataclasses.replace(config.terms, extra=config.terms.extra | extra)
    return dataclasses.replace(config, terms=terms, optimiser=optimiser)


RECIPES: Mapping[str, Callable[[ModelSettings], TrainConfig]] = {
    "spherehead": spherehead, "panohead": panohead, "eg3d": eg3d, "get3d": get3d, "gram": gram,
}  # fmt: skip
"""Published system -> its training recipe for a model; `Preset.recipe` names one."""
SCALES: Mapping[str, Callable[[TrainConfig], TrainConfig]] = {
    "full": steady_rays,
    "one_gpu": lambda config: for_one_gpu(steady_rays(config)),
    "one_cpu": for_one_cpu,
}
"""Machine that a preset is made for -> what becomes of the published recipe; `Preset.scale` names one."""


def train_preset(name: str) -> TrainConfig:
    """Return the training config of a model preset: its system's published recipe, shorter for small and tiny ones.

    Raises:
        ConfigError: there is no such preset.
    """
    model, chosen = preset(name), PRESETS[name]
    return for_renderer(SCALES[chosen.scale](RECIPES[chosen.recipe](model)))


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
    dim = _subject_dim(assignments, config.subject_dim)
    model = conditioned(config.model, condition, dim)
    config = dataclasses.replace(config, model=model, condition=condition, subject_dim=dim)  # type: ignore[arg-type]
    if warm_start == "views":
        config = warm_started(config)
    if grow:
        stages = max(1, round(math.log2(config.resolution / grow)))
        step = min(600 * KIMG, config.images / (4 * stages))
        config = grown(config, grow, step, step / 2)
    return with_assignments(config, assignments)


def _subject_dim(assignments: Sequence[str], default: int) -> int:
    """Return the numbers of a person's vector that assignments ask for: widths of the networks follow them too."""
    told = [parse_assignment(present_assignment(text)) for text in assignments]
    found = [value for path, value in told if path == ["subject_dim"] and isinstance(value, int) and value > 0]
    return found[-1] if found else default


def with_assignments(config: TrainConfig, assignments: Sequence[str]) -> TrainConfig:
    """Apply `a.b=c` texts all at once, so that settings which need each other may come in any order.

    A field of something that is null makes it: `terms.density.weight=0.1` brings the term with its other values.

    Raises:
        ConfigError: an unknown name, or settings that do not go together.
    """
    plain = to_plain(config)
    for text in assignments:
        path, value = parse_assignment(present_assignment(text))
        place = plain
        for name in path[:-1]:
            inner = place.get(name)
            if not isinstance(inner, dict):
                inner = place[name] = {}
            place = inner
        place[path[-1]] = value
    return from_plain(TrainConfig, plain, "train")
