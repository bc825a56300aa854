"""The Gaussian of style vectors: carried by a table's generator, measured on a mapping network, and read backwards."""

from __future__ import annotations

import dataclasses

import torch
from spherehead.manifests.config import override
from spherehead.model.generator import Generator, GeneratorSettings
from spherehead.model.inversion.style_space import style_space
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.nets.persons import GaussianStyles
from spherehead.model.presets import preset
from spherehead.model.visualization.views import head_styles, seeded_latents


def small(*changes: str) -> GeneratorSettings:
    settings = override(preset("tiny-64"), ["generator.z_dim=20", "generator.w_dim=16", *changes]).generator
    return dataclasses.replace(settings, backbone=SynthesisSettings(channel_base=256, channel_max=8))


def gaussian() -> Generator:
    torch.manual_seed(0)
    generator = Generator(small("generator.styles=gaussian", "generator.background.own_style=true")).eval()
    assert isinstance(generator.mapping, GaussianStyles)
    generator.mapping.fit(torch.randn(50, 16) * torch.linspace(0.2, 2.0, 16) + 3.0)
    return generator


def test_coordinates_of_a_drawn_head_are_its_latent() -> None:
    generator = gaussian()
    space = style_space(generator)
    z = seeded_latents([7], 20)
    size = space.size
    assert (size, space.ground_size) == (4, 16)
    ws = space.styles(z[0, :size], z[:, size:])
    torch.testing.assert_close(ws, head_styles(generator, z))
    torch.testing.assert_close(space.coordinates(ws[0, :1]), z[:, :size], rtol=1e-4, atol=1e-4)


def test_measured_gaussian_has_the_moments_of_drawn_style_vectors() -> None:
    torch.manual_seed(0)
    generator = Generator(small()).eval()
    space = style_space(generator, 2000)
    w = head_styles(generator, seeded_latents(range(2000), 20))[:, 0]
    torch.testing.assert_close(space.mean, w.mean(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(space.factor @ space.factor.T, torch.cov(w.T), rtol=1e-3, atol=1e-5)
    assert space.ground_size == 0
    ws = space.styles(torch.zeros(space.size), torch.zeros(3, 0))
    assert ws.shape == (3, generator.num_ws, 16)


def test_layers_differ_by_their_own_additions() -> None:
    space = style_space(gaussian())
    layers = torch.zeros(space.num_layers, space.size)
    layers[2, 1] = 1.0
    plain = space.styles(torch.ones(space.size), torch.zeros(1, 16))
    moved = space.styles(torch.ones(space.size), torch.zeros(1, 16), layers)
    torch.testing.assert_close((moved - plain)[0, 2], space.factor[:, 1])
    assert torch.equal(moved[0, [0, 1, 3]], plain[0, [0, 1, 3]])
