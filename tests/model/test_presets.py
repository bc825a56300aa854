"""Every preset is whole, has the published number of parameters where one was published, and survives a file."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from spherehead.manifests.config import ConfigError, canonical_json, from_plain, override
from spherehead.model.discriminator import Critic
from spherehead.model.generator import Generator
from spherehead.model.nets.parsing import SEMANTICS
from spherehead.model.presets import PRESETS, ModelSettings, preset

PARSING_HEAD = 17_076
GENERATORS = {
    "spherehead-512": 54_713_868 + PARSING_HEAD,
    "panohead-512": 53_741_548,
    "eg3d-512": 30_662_136,
    "eg3d-512-corrected": 30_662_136,
    "hyplanehead-512": 53_230_222,
    "hyplanehead-512-planar": 53_174_956,
    "spherehead-512-planar": 53_174_956 + PARSING_HEAD,
}
"""Published totals: measured from the published code, and HyPlaneHead's Table 2 for tri-plane and hy-plane 3+1."""
CRITICS = {"spherehead-512": 31_361_088, "panohead-512": 31_359_808, "eg3d-512": 31_359_744, "hyplanehead-512": 31_359_808}
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


def built(settings: ModelSettings) -> tuple[Generator, Critic]:
    with torch.device("meta"):
        return Generator(settings.generator), Critic(settings.critic)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_builds_and_survives_a_file(name: str) -> None:
    settings = preset(name)
    assert from_plain(ModelSettings, json.loads(canonical_json(settings))) == settings
    generator, critic = built(settings)
    assert count(generator) == GENERATORS.get(name, count(generator))
    assert count(critic) == CRITICS.get(name, count(critic))


def test_published_sizes_name_presets() -> None:
    assert set(GENERATORS) | set(CRITICS) <= set(PRESETS)


def test_spherehead_has_the_published_split() -> None:
    generator, _ = built(preset("spherehead-512"))
    assert {name: count(getattr(generator, name)) for name in PARTS} == PARTS
    assert generator.num_ws == 14
    assert generator.background is not None and generator.background.num_ws == 12
    assert built(preset("hyplanehead-512"))[0].num_ws == 16


def test_fields_can_be_set_by_name() -> None:
    settings = override(preset("tiny-64"), ["generator.march.fine_samples=0", "generator.volume.spheres=b"])
    assert settings.generator.march.fine_samples == 0
    assert settings.generator.volume.spheres == "b"  # type: ignore[union-attr]


def test_wrong_names_and_sizes_are_explained() -> None:
    with pytest.raises(ConfigError, match="did you mean 'spherehead-512'"):
        preset("sphereheed-512")
    with pytest.raises(ConfigError, match="one resolution, got 64 and 128"):
        override(preset("tiny-64"), ["critic.resolution=128"])
    with pytest.raises(ConfigError, match="20 parsing channels, the generator makes 0"):
        settings = preset("tiny-64")
        dataclasses.replace(settings, generator=dataclasses.replace(settings.generator, parsing=None))


def test_semantic_channels_are_the_classes_and_a_spare() -> None:
    assert len(SEMANTICS) == 20 and SEMANTICS[-1] == "spare" and SEMANTICS[:2] == ("background", "skin")
