"""GRAM's own networks: the radiance network and the pose discriminator against plain formulas, and what its recipe asks for."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from spherehead.datasets.camera import Camera
from spherehead.manifests.config import ConfigError
from spherehead.model.discriminator import DiscriminatorSettings
from spherehead.model.generator import Generator
from spherehead.model.losses import DiscriminatorPose, GeneratorPose
from spherehead.model.losses.pose import pose_error
from spherehead.model.losses.step import SamplingConfig, ScheduleState, Step
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.nets.mapping import FilmMapping, FilmMappingSettings
from spherehead.model.nets.upsampler import UpsamplerSettings
from spherehead.model.portrait import real_portrait
from spherehead.model.pose_discriminator import PoseDiscriminator, make_discriminator
from spherehead.model.presets import preset
from spherehead.model.train.recipes import configured
from spherehead.model.volume_rendering import ManifoldSettings
from spherehead.model.volume_rendering.rays import camera_angles
from spherehead.model.volumes import FilmSirenSettings
from torch.nn import functional


def siren() -> torch.nn.Module:
    torch.manual_seed(0)
    return FilmSirenSettings(hidden=5, layers=3, box_size=0.8).open().double()


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    styles = torch.randn(2, 40, 1, 1, generator=random, dtype=torch.float64)
    points = torch.rand(2, 7, 3, generator=random, dtype=torch.float64) - 0.5
    return styles, points, functional.normalize(torch.randn(2, 7, 3, generator=random, dtype=torch.float64), dim=-1)


def test_the_radiance_network_is_the_published_formula() -> None:
    volume, (styles, points, directions) = siren(), inputs()
    assert volume.plane_shape == (40, 1, 1)
    got = volume.sample_along(volume.prepare(styles), points, directions)
    values = dict(volume.named_parameters())

    def film(name: str, x: torch.Tensor, row: int, head: int) -> torch.Tensor:
        frequency, phase = styles[head, row * 10 : row * 10 + 5, 0, 0], styles[head, row * 10 + 5 : row * 10 + 10, 0, 0]
        linear = x @ values[f"{name}.linear.weight"].T + values[f"{name}.linear.bias"]
        return ((frequency * 15 + 30) * linear + phase).sin()

    for head in range(2):
        first = film("layers.0", points[head] * 2.5, 0, head)
        second = film("layers.1", first, 1, head)
        third = film("layers.2", second, 2, head)
        last = film("coloured", torch.cat([third, directions[head]], dim=1), 3, head)

        def at(name: str, x: torch.Tensor) -> torch.Tensor:
            return x @ values[f"{name}.weight"].T + values[f"{name}.bias"]

        density = 1 + at("densities.0", second) + at("densities.1", third)
        colour = at("colours.0", second) + at("colours.1", last)
        torch.testing.assert_close(got[head], torch.cat([density, colour], dim=1))


def test_only_colours_depend_on_the_direction_and_none_means_from_outside() -> None:
    volume, (styles, points, directions) = siren(), inputs()
    planes = volume.prepare(styles)
    one, other = volume.sample_along(planes, points, directions), volume.sample_along(planes, points, -directions)
    torch.testing.assert_close(one[..., 0], other[..., 0])
    assert float((one - other).detach()[..., 1:].abs().min()) > 0
    outside = -functional.normalize(points, dim=-1)
    torch.testing.assert_close(
        volume.sample(planes, points), volume.sample_along(planes, points, outside), rtol=1e-5, atol=1e-6
    )


def test_first_weights_are_uniform_within_the_published_bounds() -> None:
    volume = FilmSirenSettings(hidden=64).open()
    bounds = {"layers.0.linear.weight": 1 / 3, "layers.4.linear.weight": math.sqrt(6 / 64) / 25}
    for name, bound in bounds.items():
        weight = dict(volume.named_parameters())[name]
        weight = weight.detach()
        assert 0.95 * bound < float(weight.abs().max()) <= bound
        assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_the_mapping_gives_frequencies_and_phases_and_keeps_their_mean() -> None:
    torch.manual_seed(0)
    mapping = FilmMapping(8, 12, FilmMappingSettings(layers=2, hidden=6, mean_decay=0.5))
    z = torch.randn(5, 8)
    x = z
    for layer in mapping.layers[:-1]:
        x = functional.leaky_relu(x @ layer.weight.T + layer.bias, 0.2)
    torch.testing.assert_close(mapping(z, None), x @ mapping.layers[-1].weight.T + mapping.layers[-1].bias)
    mapping.track(mapping(z, None))
    torch.testing.assert_close(mapping.w_mean, mapping(z, None).detach().mean(0) / 2)


def test_the_pose_discriminator_has_the_published_shape() -> None:
    settings = preset("gram-256").discriminator
    with torch.device("meta"):
        made = make_discriminator(settings)
    assert isinstance(made, PoseDiscriminator)
    widths = [32, 64, 128, 256, 400, 400, 400, 400]
    expected = 3 * 32 + 32 + 400 * 4 * 3 + 3
    for one, other in itertools.pairwise(widths):
        expected += 9 * (one + 2) * other + other + 9 * (other + 2) * other + other
        expected += one * other + other if one != other else 0
    assert sum(parameter.numel() for parameter in made.parameters()) == expected


def test_a_camera_stands_at_the_angles_that_it_was_made_with() -> None:
    asked = [(0.3, 0.2), (-2.9, -0.4), (1.6, 0.0)]
    labels = torch.stack([torch.from_numpy(Camera.look_at(yaw, pitch).label()) for yaw, pitch in asked])
    torch.testing.assert_close(camera_angles(labels), torch.tensor(asked), rtol=0, atol=1e-5)


def test_the_pose_error_goes_the_shorter_way_round() -> None:
    label = torch.from_numpy(Camera.look_at(3.1, 0.1).label())[None]
    features = torch.tensor([[0.0, -3.1, 0.1]])
    assert float(pose_error(features, label)) == pytest.approx((2 * math.pi - 6.2) ** 2 / 2, rel=1e-3)
    with pytest.raises(ValueError, match=r"set model\.discriminator\.pose=true"):
        pose_error(torch.zeros(1, 8), label)


def gram_step(player: str) -> Step:
    torch.manual_seed(0)
    made, volume = preset("gram-256"), FilmSirenSettings(hidden=6, layers=2, box_size=0.648)
    renderer = dataclasses.replace(made.generator.renderer, surfaces=4, samples=8, hidden=8)  # type: ignore[call-arg]
    settings = dataclasses.replace(
        made.generator, volume=volume, w_dim=volume.style_dim, z_dim=8, neural_resolution=8, renderer=renderer,
        upsampler=UpsamplerSettings(8, (), ()),
    )  # fmt: skip
    judge = make_discriminator(DiscriminatorSettings(8, mask=False, pose=True, widths=SynthesisSettings(64, 8)))
    camera = torch.stack([torch.from_numpy(Camera.look_at(yaw, 0.1).label()) for yaw in (-0.3, 0.0, 0.3)])
    real = real_portrait(torch.rand(3, 3, 8, 8) * 2 - 1, camera, 8)
    schedule = ScheduleState(image_resolution=8, neural_resolution=8)
    return Step(player, Generator(settings), judge, real, schedule, SamplingConfig(), torch.Generator().manual_seed(0))  # type: ignore[arg-type]


def test_both_players_learn_from_the_pose() -> None:
    for player, term in (("generator", GeneratorPose()), ("discriminator", DiscriminatorPose())):
        step = gram_step(player)
        loss = term(step)
        wanted = pose_error(step.fake_features, step.fake_seen.camera)
        if player == "discriminator":
            wanted = wanted + pose_error(step.real_features, step.real_seen.camera)
        assert float(loss.detach()) == pytest.approx(float(wanted.detach()))
        loss.backward()
        network = step.generator if player == "generator" else step.discriminator
        grads = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        assert grads and any(bool(grad.any()) for grad in grads)


def test_the_recipe_is_the_published_one() -> None:
    config = configured("gram-256", "none")
    assert (config.optimiser.generator_lr, config.optimiser.discriminator_lr, config.optimiser.clip) == (2e-5, 2e-4, 1.0)
    assert set(config.terms.extra) == {"generator_pose", "discriminator_pose", "levels"}
    assert config.terms.r1 is not None and (config.terms.r1.every, config.terms.r1.raw) == (1, 0.0)
    assert config.ema.decay(1e9, 32) == pytest.approx(0.999)
    renderer = config.model.generator.renderer
    assert isinstance(renderer, ManifoldSettings)
    assert renderer.radii == pytest.approx((0.276 * 2.7, 0.096 * 2.7)) and renderer.near == pytest.approx(0.88 * 2.7)
    published = torch.linspace(23, 8, 23)
    torch.testing.assert_close(renderer.open(config.model.generator.volume.open()).levels, published)  # type: ignore[attr-defined]


def test_a_pose_discriminator_refuses_what_it_cannot_see() -> None:
    with pytest.raises(ConfigError, match="set mask=false"):
        DiscriminatorSettings(pose=True)
    small = make_discriminator(DiscriminatorSettings(8, mask=False, pose=True, widths=SynthesisSettings(64, 8)))
    with pytest.raises(ValueError, match=r"expected pictures of shape \(B, 3, 8, 8\)"):
        small.features(real_portrait(torch.zeros(1, 3, 4, 4), torch.zeros(1, 25), 4))
