"""Generators small enough for a test, with latents and cameras."""

from __future__ import annotations

import dataclasses

import torch
from spherehead.datasets.camera import Camera
from spherehead.manifests.config import override
from spherehead.model.generator import ComputeSettings, Generator, GeneratorSettings
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.nets.background import BackgroundSettings
from spherehead.model.nets.upsampler import UpsamplerSettings
from spherehead.model.presets import preset


def shrunk(name: str, **compute: object) -> GeneratorSettings:
    """A tiny preset made smaller still, with other ways to compute."""
    settings = override(
        preset(name),
        [
            "generator.z_dim=16", "generator.w_dim=16", "generator.neural_resolution=8",
            "generator.renderer.coarse_samples=6", "generator.renderer.fine_samples=6",
        ],
    ).generator  # fmt: skip
    narrow = SynthesisSettings(channel_base=256, channel_max=8)
    return dataclasses.replace(
        settings,
        backbone=narrow,
        background=BackgroundSettings(8, narrow),
        upsampler=UpsamplerSettings(input_resolution=8, channels=(8, 8), doubles=(False, True)),
        compute=ComputeSettings(**compute),  # type: ignore[arg-type]
    )


def made(settings: GeneratorSettings) -> Generator:
    torch.manual_seed(0)
    generator = Generator(settings).eval()
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith(("noise_strength", "bias")):
                parameter.add_(0.1 * torch.randn_like(parameter))
    return generator


def latents(count: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))


def cameras(*yaws: float) -> torch.Tensor:
    return torch.stack([torch.from_numpy(Camera.look_at(yaw, 0.1).label()) for yaw in yaws])


def relative(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((got - wanted).norm() / wanted.norm())
