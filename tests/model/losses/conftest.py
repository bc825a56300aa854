"""A generator, a discriminator and a step of the smallest sizes that have every part."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from spherehead.datasets.camera import Camera
from spherehead.model.discriminator import Discriminator, DiscriminatorSettings
from spherehead.model.generator import Generator, GeneratorSettings
from spherehead.model.losses.step import SamplingConfig, ScheduleState, Step
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.nets.background import BackgroundSettings
from spherehead.model.nets.decoder import DecoderSettings
from spherehead.model.nets.parsing import ParsingSettings
from spherehead.model.nets.upsampler import UpsamplerSettings
from spherehead.model.portrait import Portrait, real_portrait
from spherehead.model.presets import ModelSettings
from spherehead.model.volume_rendering.ray_marching import MarchSettings
from spherehead.model.volumes import TriPlaneSettings

YAWS = (0.0, 0.1, -0.8, 0.8, 1.7, 3.0)
"""Yaws in radians of the cameras in use: two near ones, a mirrored pair, a side, a back."""


@pytest.fixture(scope="session")
def smallest() -> ModelSettings:
    """A model at 16 pixels over 8 rays a side."""
    narrow = SynthesisSettings(channel_base=64, channel_max=8)
    generator = GeneratorSettings(
        volume=TriPlaneSettings(resolution=16, num_features=4),
        z_dim=8, w_dim=8, neural_resolution=8, backbone=narrow,
        decoder=DecoderSettings(hidden=8, features=6),
        renderer=MarchSettings(coarse_samples=4, fine_samples=4),
        background=BackgroundSettings(8, narrow),
        parsing=ParsingSettings(),
        upsampler=UpsamplerSettings(input_resolution=8, channels=(8,), doubles=(True,)),
    )  # fmt: skip
    discriminator = DiscriminatorSettings(resolution=16, parsing_channels=20, widths=narrow, group=2, condition_layers=2)
    return ModelSettings(generator, discriminator)


@pytest.fixture
def data() -> Callable[..., Portrait]:
    """A maker of random data seen from given yaws: `data(yaws, side, raw)`."""

    def make(yaws: tuple[float, ...] = YAWS, side: int = 16, raw: int = 8, seed: int = 0) -> Portrait:
        random = torch.Generator().manual_seed(seed)
        count = len(yaws)
        image = torch.rand(count, 3, side, side, generator=random) * 2 - 1
        mask = (torch.rand(count, 1, side, side, generator=random) > 0.5).float()
        parsing = torch.randint(0, 19, (count, side, side), generator=random)
        camera = torch.stack([torch.from_numpy(Camera.look_at(yaw, 0.1).label()) for yaw in yaws])
        return real_portrait(image, camera, raw, mask, parsing)

    return make


@pytest.fixture
def make_step(smallest: ModelSettings, data: Callable[..., Portrait]) -> Callable[..., Step]:
    """A maker of steps: `make_step(player, seed=0, double=False, **what Step takes)`."""

    def make(player: str, *, seed: int = 0, double: bool = False, model: ModelSettings = smallest, **given: object) -> Step:
        torch.manual_seed(3)
        generator, discriminator = Generator(model.generator), Discriminator(model.discriminator)
        real = given.pop("real", None) or data()
        if double:
            generator, discriminator = generator.double(), discriminator.double()
            discriminator.dtype = torch.float64
            real = real.changed(lambda part: part.double())
        schedule = given.pop("schedule", None) or ScheduleState(image_resolution=16, neural_resolution=8)
        random = torch.Generator().manual_seed(seed)
        return Step(player, generator, discriminator, real, schedule, given.pop("sampling", SamplingConfig()), random, **given)  # type: ignore[arg-type]

    return make
