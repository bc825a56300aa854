"""The networks give the numbers that the published ones gave, part by part, with the published weights' own names."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spherehead.model.discriminator import Discriminator, DiscriminatorSettings
from spherehead.model.generator import Generator, GeneratorSettings
from spherehead.model.interop.names import discriminator_name, generator_name, load_published
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.nets.background import BackgroundSettings
from spherehead.model.nets.decoder import DecoderSettings
from spherehead.model.nets.parsing import ParsingSettings
from spherehead.model.nets.upsampler import UpsamplerSettings
from spherehead.model.portrait import Portrait
from spherehead.model.volume_rendering.ray_marching import MarchSettings, Randomness
from spherehead.model.volumes import DualSphereSettings, HyPlaneSettings, TriGridSettings, TriPlaneSettings

BOUND = 1e-4
MARCH = MarchSettings(coarse_samples=12, fine_samples=12)
SMALL = GeneratorSettings(
    volume=DualSphereSettings(resolution=32),
    z_dim=32,
    neural_resolution=32,
    backbone=SynthesisSettings(channel_base=512, channel_max=32),
    background=BackgroundSettings(resolution=64, synthesis=SynthesisSettings(256, 32)),
    upsampler=UpsamplerSettings(input_resolution=64, channels=(128, 64), doubles=(False, True)),
    renderer=MARCH,
)
METHODS: dict[str, dict[str, Any]] = {
    "spherehead": {"parsing": ParsingSettings()},
    "panohead": {"volume": TriGridSettings(resolution=32)},
    "hyplanehead": {"volume": HyPlaneSettings(resolution=64)},
    "eg3d": {
        "volume": TriPlaneSettings(axes="xy_xz_zx"),
        "decoder": DecoderSettings(activation="sigmoid"),
        "renderer": dataclasses.replace(MARCH, crop=None),
        "background": None,
        "raw": "first_three",
        "camera_shift": False,
    },
}


@dataclass
class Reference:
    """What a published network was given and gave."""

    arrays: Mapping[str, np.ndarray]
    generator: Generator
    discriminator: Discriminator

    def tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(np.asarray(self.arrays[name])).float()


@pytest.fixture(scope="module", params=sorted(METHODS))
def reference(request: pytest.FixtureRequest, shared: Path) -> Reference:
    torch.set_num_threads(1)
    with np.load(shared / "reference" / f"{request.param}.npz") as file:
        arrays = {name: file[name] for name in file.files}
    config = json.loads(str(arrays["config_json"]))
    generator = Generator(dataclasses.replace(SMALL, **METHODS[request.param])).eval().requires_grad_(False)
    channels = config["D"]["parsing_channels"]
    mask = config["D"]["cls"] != "DualDiscriminator"
    discriminator = Discriminator(
        DiscriminatorSettings(128, mask, channels, widths=SynthesisSettings(1024, 32), group=2)
    ).requires_grad_(False)
    load_published(generator, state(arrays, "G."), generator_name)
    load_published(discriminator, state(arrays, "D."), lambda name: discriminator_name(name, 128))
    return Reference(arrays, generator, discriminator)


def state(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, torch.Tensor]:
    return {name[len(prefix) :]: torch.from_numpy(value) for name, value in arrays.items() if name.startswith(prefix)}


def error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    assert got.shape == wanted.shape
    return float((got - wanted).norm() / wanted.norm())


def render(reference: Reference) -> Portrait:
    camera = reference.tensor("out.c_adapted" if "out.c_adapted" in reference.arrays else "in.c")
    fine = reference.tensor("in.importance_u").view(2, 1024, -1)
    return reference.generator.synthesise(reference.tensor("out.ws"), camera, randomness=Randomness(fine=fine))


def test_mapping(reference: Reference) -> None:
    ws = reference.generator.styles(reference.tensor("in.z"), reference.tensor("in.c"), psi=0.7)
    assert error(ws, reference.tensor("out.ws")) < BOUND


def test_camera_shift(reference: Reference) -> None:
    shifted = reference.generator.shifted(reference.tensor("in.z"), reference.tensor("in.c"))
    assert error(shifted, reference.tensor("out.c_adapted")) < BOUND


def test_backbone(reference: Reference) -> None:
    wanted = reference.tensor("out.planes")
    output = reference.generator.backbone(reference.tensor("out.ws"))
    assert tuple(output.shape[1:]) == reference.generator.volume.plane_shape
    step = output.shape[-1] // wanted.shape[-1]
    assert error(output[..., ::step, ::step], wanted) < BOUND


def test_points(reference: Reference) -> None:
    planes = reference.generator.planes(reference.tensor("out.ws"))
    features, density = reference.generator.field(planes, reference.tensor("in.points"))
    assert error(features, reference.tensor("out.point_features")) < BOUND
    assert error(density, reference.tensor("out.point_sigma")) < BOUND


OUTPUTS = {"image": "image", "image_raw": "raw", "image_depth": "depth", "image_mask": "mask", "image_parsing": "parsing"}


def test_portrait(reference: Reference) -> None:
    portrait, outputs = render(reference), {name for name in OUTPUTS if f"out.{name}" in reference.arrays}
    assert {"image", "image_raw", "image_depth"} <= outputs
    errors = {name: error(getattr(portrait, OUTPUTS[name]), reference.tensor(f"out.{name}")) for name in outputs}
    assert {name: value for name, value in errors.items() if not value < BOUND} == {}


def test_discriminator(reference: Reference) -> None:
    logits = reference.discriminator(render(reference), reference.tensor("in.c"))
    assert error(logits, reference.tensor("out.logits")) < BOUND
