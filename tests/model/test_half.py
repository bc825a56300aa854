"""Half precision: near the full one where activations are bounded, refused where they are not."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from spherehead.datasets.camera import Camera
from spherehead.manifests.config import ConfigError
from spherehead.model.discriminator import Discriminator
from spherehead.model.generator import Generator, GeneratorSettings
from spherehead.model.ops.modulation import modulated_conv
from spherehead.model.presets import ModelSettings, preset

CAMERA = torch.tensor(Camera.look_at(0.3, 0.1).label()).repeat(2, 1)


def bounded(settings: ModelSettings, precision: str) -> ModelSettings:
    """Clamp every activation at 256 and compute in a precision."""
    generator, discriminator = settings.generator, settings.discriminator
    assert generator.background is not None
    behind = dataclasses.replace(generator.background.synthesis, clamp=256.0)
    generator = dataclasses.replace(
        generator,
        backbone=dataclasses.replace(generator.backbone, clamp=256.0),
        upsampler=dataclasses.replace(generator.upsampler, clamp=256.0),
        background=dataclasses.replace(generator.background, synthesis=behind),
    )
    compute = dataclasses.replace(generator.compute, backbone_precision=precision, upsampler_precision=precision)
    discriminator = dataclasses.replace(
        discriminator, precision=precision, widths=dataclasses.replace(discriminator.widths, clamp=256.0)
    )
    return ModelSettings(dataclasses.replace(generator, compute=compute), discriminator)


def test_half_precision_gives_nearly_the_same_picture_and_score() -> None:
    torch.manual_seed(0)
    full, half = (bounded(preset("tiny-64"), precision) for precision in ("fp32", "fp16"))
    generators = [Generator(settings.generator).eval() for settings in (full, half)]
    discriminators = [Discriminator(settings.discriminator).eval() for settings in (full, half)]
    generators[1].load_state_dict(generators[0].state_dict())
    discriminators[1].load_state_dict(discriminators[0].state_dict())
    z = torch.randn(2, 128)
    with torch.no_grad():
        one, two = (generator(z, CAMERA) for generator in generators)
        assert (one.image - two.image).norm() / one.image.norm() < 1e-2
        scores = [discriminator(one) for discriminator in discriminators]
    assert (scores[0] - scores[1]).norm() / scores[0].norm() < 2e-2
    discriminators[1](one).sum().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in discriminators[1].parameters())


@pytest.mark.parametrize("part", ["backbone_precision", "upsampler_precision"])
def test_half_precision_without_a_bound_is_refused(part: str) -> None:
    settings: GeneratorSettings = preset("tiny-64").generator
    with pytest.raises(ConfigError, match=r"clamp=256.*or take bf16"):
        dataclasses.replace(settings, compute=dataclasses.replace(settings.compute, **{part: "fp16"}))
    with pytest.raises(ConfigError, match=r"widths\.clamp=256"):
        dataclasses.replace(preset("tiny-64").discriminator, precision="fp16")


@pytest.mark.parametrize("up", [False, True])
def test_sums_of_bounded_activations_stay_within_half_precision(up: bool) -> None:
    """Activations at the bound of 256 and styles of a trained network's size: sums would be beyond 65,504."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 256, 8, 8, generator=random).abs().mul(200).clamp_max(256)
    weight, styles = torch.randn(16, 256, 3, 3, generator=random), 1 + 3 * torch.randn(2, 256, generator=random)
    full = modulated_conv(x.double(), weight.double(), styles.double(), up=up)
    half = modulated_conv(x.half(), weight, styles, up=up, how="activations")
    assert (half.double() - full).norm() / full.norm() < 2e-3
    weight.requires_grad_(True)
    modulated_conv(x.half(), weight, styles, up=up, how="activations").float().square().mean().backward()
    slope = weight.grad
    weight.grad = None
    modulated_conv(x, weight, styles, up=up).square().mean().backward()
    assert slope is not None and weight.grad is not None and (slope - weight.grad).norm() / weight.grad.norm() < 2e-2
