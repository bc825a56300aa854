"""The smallest run that has every part: 16 pixels, two micro-batches of four a step, growing, with subjects on demand."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from spherehead.model.discriminator import DiscriminatorSettings
from spherehead.model.generator import GeneratorSettings
from spherehead.model.losses import R1, CameraShift, LabellerFit, ParsingAgreement, ViCo
from spherehead.model.losses.augment import AugmentSettings
from spherehead.model.losses.step import SamplingConfig
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.nets.background import BackgroundSettings
from spherehead.model.nets.decoder import DecoderSettings
from spherehead.model.nets.parsing import ParsingSettings
from spherehead.model.nets.upsampler import UpsamplerSettings
from spherehead.model.presets import ModelSettings
from spherehead.model.train.config import RunSettings, Terms, TrainConfig
from spherehead.model.train.schedule import EmaSettings, Growth, Ramp, ScheduleSettings
from spherehead.model.volume_rendering.ray_marching import MarchSettings
from spherehead.model.volumes import DualSphereSettings


@pytest.fixture(scope="session")
def config() -> TrainConfig:
    """A run with every term, growth and augmentation in it."""
    narrow = SynthesisSettings(channel_base=64, channel_max=8)
    generator = GeneratorSettings(
        volume=DualSphereSettings(resolution=16, num_features=4, in_channels=8, head_channels=8),
        z_dim=8, w_dim=8, neural_resolution=8, backbone=narrow,
        decoder=DecoderSettings(hidden=8, features=6),
        renderer=MarchSettings(coarse_samples=4, fine_samples=4),
        background=BackgroundSettings(8, narrow),
        parsing=ParsingSettings(),
        upsampler=UpsamplerSettings(input_resolution=8, channels=(8,), doubles=(True,)),
    )  # fmt: skip
    discriminator = DiscriminatorSettings(
        resolution=16, parsing_channels=20, widths=narrow, group=2, condition_layers=2, smallest=8
    )
    terms = Terms(vico=ViCo(), r1=R1(every=2), camera_shift=CameraShift(), labeller=LabellerFit(), parsing=ParsingAgreement())
    schedule = ScheduleSettings(
        growth=Growth(8, 32, 16), neural_resolution=Ramp(8, 8, 0), blur=Ramp(0.1, 0.0, 40),
        density_noise=Ramp(0.5, 0.0, 40), swap=Ramp(1.0, 0.5, 64),
    )  # fmt: skip
    return TrainConfig(
        ModelSettings(generator, discriminator), terms, schedule=schedule, ema=EmaSettings(half_life=32),
        sampling=SamplingConfig(style_mixing=0.5, background_swap=0.5), augment=AugmentSettings(start=0.2, adapt_images=200),
        batch=8, micro_batch=4, images=64,
    )  # fmt: skip


@pytest.fixture
def quiet() -> RunSettings:
    """A run without pictures, whose data is read in the process."""
    return RunSettings(workers=0, save_images=24, log_images=8, pictures=False, tensorboard=False, threads=1)


@pytest.fixture(scope="session")
def heads(finished_sets: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A finished data set of ball heads at 32 pixels."""
    folder: Path = finished_sets.build(tmp_path_factory.mktemp("train") / "heads", size=32)
    return str(folder)
