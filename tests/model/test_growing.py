"""Progressive growing: a fade of zero is the smaller network, a fade of one the larger, and every size is judged."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from spherehead.datasets.camera import Camera
from spherehead.manifests.config import ConfigError
from spherehead.model.discriminator import Discriminator, DiscriminatorSettings
from spherehead.model.generator import Generator
from spherehead.model.nets.upsampler import resize
from spherehead.model.portrait import Portrait
from spherehead.model.presets import preset

CAMERA = torch.tensor(Camera.look_at(0.4, 0.1).label()).repeat(2, 1)


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(preset("tiny-64").generator).eval()


@pytest.fixture(scope="module")
def discriminator() -> Discriminator:
    torch.manual_seed(0)
    settings = dataclasses.replace(preset("tiny-64").discriminator, smallest=16)
    return Discriminator(settings).eval()


def made(generator: Generator, side: int | None = None, fade: float = 1.0) -> Portrait:
    z = torch.randn(2, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return generator.synthesise(generator.styles(z, CAMERA), CAMERA, neural_resolution=16, image_resolution=side, fade=fade)


def test_the_full_side_is_what_is_made_without_growing(generator: Generator) -> None:
    torch.testing.assert_close(made(generator, 64).image, made(generator).image, rtol=0, atol=0)


def test_below_the_upsamplers_input_there_is_only_the_raw_picture(generator: Generator) -> None:
    portrait = made(generator, 16)
    torch.testing.assert_close(portrait.image, portrait.raw)


def test_a_picture_that_has_not_faded_in_is_the_smaller_one_enlarged(generator: Generator) -> None:
    small, large, start, half = made(generator, 32), made(generator, 64), made(generator, 64, 0.0), made(generator, 64, 0.5)
    torch.testing.assert_close(start.image, resize(small.image, 64))
    torch.testing.assert_close(half.image, 0.5 * (start.image + large.image), rtol=1e-5, atol=1e-5)


def test_a_discriminator_that_has_not_grown_scores_like_the_smaller_one(
    generator: Generator, discriminator: Discriminator
) -> None:
    portrait = made(generator, 64)
    smaller = dataclasses.replace(portrait, image=resize(portrait.image, 32))
    with torch.no_grad():
        torch.testing.assert_close(discriminator(portrait, fade=0.0), discriminator(smaller))
        assert (discriminator(portrait) - discriminator(smaller)).abs().min() > 1e-5


def test_a_part_grown_discriminator_is_made_of_the_same_numbers_as_a_small_one(
    generator: Generator, discriminator: Discriminator
) -> None:
    small = Discriminator(dataclasses.replace(discriminator.settings, resolution=32, smallest=None)).eval()
    numbers = discriminator.state_dict()
    named = {
        name: numbers[
            name.replace("from_picture", "from_smaller.32") if name.startswith("from_picture")
            else f"blocks.{int(name.split('.')[1]) + 1}.{name.split('.', 2)[2]}" if name.startswith("blocks") else name
        ]
        for name in small.state_dict()
    }  # fmt: skip
    small.load_state_dict(named)
    portrait = made(generator, 32)
    with torch.no_grad():
        torch.testing.assert_close(discriminator(portrait), small(portrait))


def test_sides_that_a_discriminator_does_not_know_are_named(generator: Generator, discriminator: Discriminator) -> None:
    portrait = made(generator, 64)
    with pytest.raises(ValueError, match=r"\(B, 3, 64, 64\) or a resolution of 32, 16, got \(B, 3, 8, 8\)"):
        discriminator(dataclasses.replace(portrait, image=resize(portrait.image, 8)))
    with pytest.raises(ConfigError, match="smallest"):
        DiscriminatorSettings(resolution=64, smallest=24)
