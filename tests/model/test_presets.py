"""Every preset is whole, has the published number of parameters where one was published, and survives a file."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch
from spherehead.datasets.camera import Camera
from spherehead.manifests.config import ConfigError, canonical_json, from_plain, override
from spherehead.model.discriminator import Discriminator
from spherehead.model.generator import Generator
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.nets.background import BackgroundSettings
from spherehead.model.nets.parsing import SEMANTICS
from spherehead.model.nets.upsampler import UpsamplerSettings
from spherehead.model.pose_discriminator import make_discriminator
from spherehead.model.presets import PRESETS, ModelSettings, preset
from spherehead.model.volumes import FilmSirenSettings

PARSING_HEAD = 17_076
GENERATORS = {
    "spherehead-512": 54_713_868 + PARSING_HEAD,
    "spherehead-manifolds-512": 54_713_868 + PARSING_HEAD + 4 * 64 + 2 * 65 * 64 + 65,
    "gram-256": 1024 + 7 * 65_792 + 66_560 + 7 * (257 + 771) + 3 * 65_792 + 257 * 4608 + 512 + 2 * 128 * 129 + 129,
    "panohead-512": 53_741_548,
    "eg3d-512": 30_662_136,
    "eg3d-512-corrected": 30_662_136,
    "hyplanehead-512": 53_230_222,
    "hyplanehead-512-planar": 53_174_956,
    "spherehead-512-planar": 53_174_956 + PARSING_HEAD,
}
"""Published totals: measured from the published code, and HyPlaneHead's Table 2 for tri-plane and hy-plane 3+1."""
DISCRIMINATORS = {
    "spherehead-512": 31_361_088,
    "panohead-512": 31_359_808,
    "eg3d-512": 31_359_744,
    "hyplanehead-512": 31_359_808,
}
PARTS = {
    "backbone": 29_435_149,
    "mapping": 800_768,
    "volume": 311_296,
    "background": 22_494_667,
    "upsampler": 1_649_578,
    "decoder": 4_257,
    "to_raw": 16_515,
    "camera_shift": 1_638,
    "parsing": PARSING_HEAD,
}
"""SphereHead's split."""


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def built(settings: ModelSettings) -> tuple[Generator, Discriminator]:
    with torch.device("meta"):
        return Generator(settings.generator), make_discriminator(settings.discriminator)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_builds_and_survives_a_file(name: str) -> None:
    settings = preset(name)
    assert from_plain(ModelSettings, json.loads(canonical_json(settings))) == settings
    generator, discriminator = built(settings)
    assert count(generator) == GENERATORS.get(name, count(generator))
    assert count(discriminator) == DISCRIMINATORS.get(name, count(discriminator))


def fewer(renderer: Any) -> Any:
    """A renderer with few samples of a ray, surfaces and points of a grid."""
    few = {"coarse_samples": 6, "fine_samples": 6, "surfaces": 6, "samples": 12, "grid": 6}
    known = {field.name for field in dataclasses.fields(renderer)}
    if renderer.kind == "surface":
        return dataclasses.replace(renderer, shape=dataclasses.replace(renderer.shape, cells=8))
    return dataclasses.replace(renderer, **{name: value for name, value in few.items() if name in known})


def smaller_gram(settings: ModelSettings) -> ModelSettings:
    volume = FilmSirenSettings(hidden=8, box_size=settings.generator.volume.box_size)
    generator = dataclasses.replace(
        settings.generator, volume=volume, w_dim=volume.style_dim, z_dim=16, neural_resolution=8,
        renderer=fewer(settings.generator.renderer), upsampler=UpsamplerSettings(8, (), ()),
    )  # fmt: skip
    return ModelSettings(generator, dataclasses.replace(settings.discriminator, resolution=8))


def shrunk(name: str) -> ModelSettings:
    """A preset with its parts, kinds and connections, and widths that cost nothing."""
    settings, narrow = preset(name), SynthesisSettings(channel_base=256, channel_max=8)
    made = settings.generator
    volume: Any = made.volume
    if volume.kind == "film_siren":
        return smaller_gram(settings)
    volume = dataclasses.replace(volume, resolution=32)
    if volume.kind == "dual_sphere":
        volume = dataclasses.replace(volume, in_channels=16, head_channels=8)
    generator = dataclasses.replace(
        made, volume=volume, z_dim=16, w_dim=16, neural_resolution=8, backbone=narrow,
        background=BackgroundSettings(16, narrow) if made.background else None,
        renderer=fewer(made.renderer),
        upsampler=dataclasses.replace(made.upsampler, input_resolution=16, channels=(8, 8)),
    )  # fmt: skip
    discriminator = dataclasses.replace(settings.discriminator, resolution=generator.upsampler.resolution, widths=narrow)
    return ModelSettings(generator, discriminator)


def cameras() -> torch.Tensor:
    return torch.stack([torch.from_numpy(Camera.look_at(yaw, 0.1).label()) for yaw in (0.0, 2.0)])


@pytest.mark.parametrize("name", PRESETS)
def test_preset_makes_portraits_that_its_discriminator_judges_and_both_learn(name: str) -> None:
    torch.manual_seed(0)
    settings = shrunk(name)
    generator, discriminator = Generator(settings.generator), make_discriminator(settings.discriminator)
    portrait = generator(torch.randn(2, 16), cameras(), noise="random", random=torch.Generator().manual_seed(0))
    side = settings.discriminator.resolution
    assert portrait.image.shape == (2, 3, side, side) and portrait.raw.shape == (2, 3, 8, 8)
    assert (portrait.parsing is None) == (settings.generator.parsing is None)
    assert discriminator.stack(portrait).shape[1] == settings.discriminator.num_in
    score = discriminator(portrait)
    assert score.shape == (2, 1 + settings.discriminator.silhouette) and bool(score.isfinite().all())
    torch.nn.functional.softplus(-score).sum().backward()
    for network in (generator, discriminator):
        grads = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        assert all(bool(grad.isfinite().all()) for grad in grads) and any(bool(grad.any()) for grad in grads)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spherehead-512-feedback", "panohead-512", "eg3d-512", "hyplanehead-512", "small-128"])
def test_preset_runs_at_its_full_size(name: str) -> None:
    torch.manual_seed(0)
    settings = preset(name).generator
    with torch.inference_mode():
        portrait = Generator(settings).eval()(torch.randn(1, settings.z_dim), cameras()[1:], neural_resolution=16)
    side = settings.upsampler.resolution
    assert portrait.image.shape == (1, 3, side, side)
    assert bool(portrait.image.isfinite().all()) and float(portrait.image.std()) > 0.05


def test_published_sizes_name_presets() -> None:
    assert set(GENERATORS) | set(DISCRIMINATORS) <= set(PRESETS)


def test_spherehead_has_the_published_split() -> None:
    generator, _ = built(preset("spherehead-512"))
    assert {name: count(getattr(generator, name)) for name in PARTS} == PARTS
    assert generator.num_ws == 14
    assert generator.background is not None and generator.background.num_ws == 12
    assert built(preset("hyplanehead-512"))[0].num_ws == 16


def test_fields_can_be_set_by_name() -> None:
    settings = override(preset("tiny-64"), ["generator.renderer.fine_samples=0", "generator.volume.spheres=b"])
    assert settings.generator.renderer.fine_samples == 0
    assert settings.generator.volume.spheres == "b"  # type: ignore[union-attr]


def test_wrong_names_and_sizes_are_explained() -> None:
    with pytest.raises(ConfigError, match="did you mean 'spherehead-512'"):
        preset("sphereheed-512")
    with pytest.raises(ConfigError, match="one resolution, got 64 and 128"):
        override(preset("tiny-64"), ["discriminator.resolution=128"])
    with pytest.raises(ConfigError, match="20 parsing channels, the generator makes 0"):
        settings = preset("tiny-64")
        dataclasses.replace(settings, generator=dataclasses.replace(settings.generator, parsing=None))


def test_semantic_channels_are_the_classes_and_a_spare() -> None:
    assert len(SEMANTICS) == 20 and SEMANTICS[-1] == "spare" and SEMANTICS[:2] == ("background", "skin")
