"""Rays are marched as published, the same for any chunk, skip or order of work, and one seed gives one picture."""

from __future__ import annotations

import dataclasses
import math
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera
from spherehead.manifests.config import ConfigError
from spherehead.model.volume_rendering.ray_marching import (
    MarchSettings,
    Randomness,
    RenderError,
    Rendering,
    compose,
    fine_depths,
    merge_ranks,
    ray_bounds,
    render,
)
from spherehead.model.volume_rendering.rays import camera_rays

SMALL = MarchSettings(coarse_samples=12, fine_samples=10)
RAYS = 6
Asked = tuple[torch.Tensor, torch.Tensor]


def field(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A soft ball with colours that change in space; every point by itself."""
    features = torch.stack([(5 * points).sin().sum(-1), (3 * points).cos().prod(-1), points[..., 2]], -1)
    return features, 60 * (0.35 - points.norm(dim=-1, keepdim=True))


def rays(yaws: tuple[float, ...] = (0.3, 2.5)) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.stack([torch.from_numpy(Camera.look_at(yaw, 0.2).label()) for yaw in yaws])
    return camera_rays(labels, RAYS)


def numbers(march: MarchSettings = SMALL, noise: float = 0.0) -> Randomness:
    return Randomness.draw(rays()[0], march, torch.Generator().manual_seed(9), noise)


def same(one: Rendering, other: Rendering, **tolerance: float) -> None:
    for name in ("features", "depth", "weight"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), **tolerance)


@pytest.mark.parametrize("crop", [0.25, None])
def test_a_march_is_the_published_one(crop: float | None, plain_volumes: ModuleType) -> None:
    march, random = dataclasses.replace(SMALL, crop=crop), numbers()
    origins, directions = rays()
    assert random.coarse is not None
    coarse = 2.25 + (torch.arange(12) + random.coarse) * (3.3 - 2.25) / 11
    wanted = plain_volumes.render(field, origins, directions, coarse, random.fine, crop)
    same(render(field, origins, directions, march, random), Rendering(*wanted), rtol=1e-4, atol=2e-5)
    assert 0.05 < float((wanted[2] > 0.5).float().mean()) < 0.95  # some rays hit, some miss


def test_gradients_are_those_of_the_published_march(plain_volumes: ModuleType) -> None:
    origins, directions = rays()
    random = numbers()
    assert random.coarse is not None
    coarse = 2.25 + (torch.arange(12) + random.coarse) * (3.3 - 2.25) / 11
    scale = torch.tensor([1.0, 1.0], requires_grad=True)

    def scaled(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features, density = field(points)
        return features * scale[0], density * scale[1]

    got = render(scaled, origins, directions, SMALL, random)
    wanted = plain_volumes.render(scaled, origins, directions, coarse, random.fine, SMALL.crop)
    one, other = (
        torch.autograd.grad(features.square().sum() + weight.sum(), scale)[0]
        for features, weight in ((got.features, got.weight), (wanted[0], wanted[2]))
    )
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@given(st.lists(st.floats(-20, 40), min_size=3, max_size=9), st.floats(1e-4, 0.3))
@settings(max_examples=60, deadline=None)
def test_weights_are_emission_and_absorption(plain_volumes: ModuleType, raw: list[float], step: float) -> None:
    density = torch.tensor(raw, dtype=torch.float64)
    depths = 2 + step * torch.arange(len(raw), dtype=torch.float64)
    weights, shares = compose(depths, density)
    _, _, wanted = plain_volumes.compose(depths, density, torch.zeros(len(raw), 1))
    torch.testing.assert_close(weights, wanted, rtol=1e-7, atol=1e-8)
    assert float(weights.min()) >= 0 and float(weights.sum()) <= 1 + 1e-12
    features = torch.randn(len(raw), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    middles = (features[1:] + features[:-1]) / 2
    torch.testing.assert_close(shares @ features, weights @ middles)


@given(st.lists(st.floats(0, 1), min_size=3, max_size=12), st.lists(st.floats(0, 0.999), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_fine_samples_follow_the_smoothed_histogram(
    plain_volumes: ModuleType, weights: list[float], uniforms: list[float]
) -> None:
    coarse = torch.linspace(2, 3, len(weights) + 1, dtype=torch.float64)
    drawn = fine_depths(coarse, torch.tensor(weights, dtype=torch.float64), len(uniforms), torch.tensor(uniforms).double())
    wanted = plain_volumes.draw_one(coarse.tolist(), weights, torch.tensor(uniforms).double().tolist())
    torch.testing.assert_close(drawn, torch.tensor(sorted(wanted), dtype=torch.float64), rtol=0, atol=1e-9)


def test_without_random_numbers_fine_samples_are_even_quantiles() -> None:
    coarse, weights = torch.linspace(0, 1, 11), torch.ones(10)
    drawn = fine_depths(coarse, weights, 16)
    torch.testing.assert_close(drawn, 0.05 + 0.8 * (torch.arange(16) + 0.5) / 16)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.lists(st.integers(0, 6), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_two_sorted_lists_are_merged_even_with_equal_entries(first: list[int], second: list[int]) -> None:
    one, two = torch.tensor(sorted(first)).float(), torch.tensor(sorted(second)).float()
    ranks = torch.cat(merge_ranks(one, two))
    assert sorted(ranks.tolist()) == list(range(len(ranks)))
    merged = torch.empty(len(ranks)).scatter(0, ranks, torch.cat([one, two]))
    assert torch.equal(merged, torch.cat([one, two]).sort().values)


@pytest.mark.parametrize("yaws", [(0.3, 2.5), (0.0, math.pi / 4)])
def test_skipping_empty_samples_changes_no_bit_of_picture_or_gradient(yaws: tuple[float, float]) -> None:
    results = []
    for skip in (False, True):
        asked = []
        scale = torch.tensor(1.0, requires_grad=True)

        def counted(
            points: torch.Tensor, asked: list[int] = asked, scale: torch.Tensor = scale
        ) -> tuple[torch.Tensor, torch.Tensor]:
            asked.append(points.shape[1])
            features, density = field(points)
            return features * scale, density * scale

        march = dataclasses.replace(SMALL, crop=0.25, skip_empty=skip)
        seen = render(counted, *rays(yaws), march, numbers(march, noise=0.5))
        (grad,) = torch.autograd.grad(seen.features.sum() + seen.weight.sum(), scale)
        results.append((seen, grad, sum(asked)))
    same(results[0][0], results[1][0], rtol=0, atol=0)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-6, atol=0)  # a sum in another order
    assert results[1][2] < 0.9 * results[0][2]


def test_a_march_that_meets_only_empty_samples_is_empty() -> None:
    origins, directions = rays()
    seen = render(field, origins + torch.tensor([5.0, 0, 0]), directions, dataclasses.replace(SMALL, crop=0.1))
    assert float(seen.weight.abs().max()) == 0 and float(seen.features.abs().max()) == 0
    torch.testing.assert_close(seen.depth, torch.full_like(seen.depth, 3.3))


@pytest.mark.parametrize("chunk", [1, 7, 36, 1000])
def test_chunks_of_rays_give_the_same_picture(chunk: int) -> None:
    whole = render(field, *rays(), SMALL, numbers())
    same(render(field, *rays(), dataclasses.replace(SMALL, chunk=chunk), numbers()), whole, rtol=1e-6, atol=1e-6)


def test_recomputing_chunks_gives_the_same_gradients() -> None:
    grads = []
    for recompute in (False, True):
        scale = torch.tensor(1.0, requires_grad=True)
        march = dataclasses.replace(SMALL, chunk=10, recompute=recompute)
        seen = render(lambda points, s=scale: tuple(s * part for part in field(points)), *rays(), march, numbers(noise=0.3))
        grads.append(torch.autograd.grad(seen.features.sum(), scale)[0])
    torch.testing.assert_close(*grads, rtol=1e-6, atol=0)


def test_one_seed_gives_one_picture_and_no_seed_the_same_one() -> None:
    same(render(field, *rays(), SMALL), render(field, *rays(), SMALL), rtol=0, atol=0)
    same(render(field, *rays(), SMALL, numbers()), render(field, *rays(), SMALL, numbers()), rtol=0, atol=0)
    other = Randomness.draw(rays()[0], SMALL, torch.Generator().manual_seed(10))
    assert not torch.equal(render(field, *rays(), SMALL, other).features, render(field, *rays(), SMALL, numbers()).features)


def test_drawn_numbers_are_uniform_stratified_and_normal() -> None:
    march = MarchSettings(coarse_samples=16, fine_samples=16)
    random = Randomness.draw(torch.zeros(1, 4000, 3), march, torch.Generator().manual_seed(1), density_noise=2.0)
    assert random.coarse is not None and random.fine is not None and random.density is not None
    assert float(random.coarse.mean()) == pytest.approx(0.5, abs=0.01)
    assert torch.equal((random.fine * 16).floor(), torch.arange(16.0).expand(1, 4000, 16))
    assert float(random.density.std()) == pytest.approx(2.0, rel=0.02)


def test_density_noise_is_added_before_the_crop() -> None:
    noise = dataclasses.replace(numbers(), density=torch.full((2, RAYS**2, 22), 50.0))
    origins, directions = rays()

    def thin(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return points, torch.full_like(points[..., :1], -30.0)

    assert float(render(thin, origins, directions, SMALL).weight.max()) < 1e-6
    assert float(render(thin, origins, directions, SMALL, noise).weight.max()) > 0.99
    beside = origins + torch.tensor([3.0, 0.0, 0.0])
    assert float(render(thin, beside, directions, SMALL, noise).weight.max()) == 0


def test_depth_is_the_distance_of_a_hard_surface() -> None:
    march = MarchSettings(coarse_samples=96, fine_samples=96)
    origins, directions = rays()
    seen = render(lambda p: (p, 1e5 * (0.3 - p.norm(dim=-1, keepdim=True))), origins, directions, march)
    along = -(origins * directions).sum(-1)
    miss = (origins + along[..., None] * directions).norm(dim=-1)
    hit = miss < 0.25
    wanted = along - (0.09 - miss.square()).clamp_min(0).sqrt()
    assert bool(hit.any()) and float((seen.depth[..., 0] - wanted)[hit].abs().max()) < 0.01
    torch.testing.assert_close(seen.weight[hit], torch.ones_like(seen.weight[hit]))


def test_the_heads_sphere_bounds_rays_and_finds_the_same_picture() -> None:
    origins, directions = rays()
    march = dataclasses.replace(SMALL, sphere_radius=0.42, coarse_samples=64, fine_samples=64)
    near, far = ray_bounds(origins, directions, march)
    ends = torch.stack([origins + end * directions for end in (near, far)])
    inside = far > near
    torch.testing.assert_close(ends.norm(dim=-1)[:, inside[..., 0]], torch.full_like(ends[:, inside[..., 0], 0], 0.42))
    fixed = dataclasses.replace(march, sphere_radius=None, coarse_samples=128, fine_samples=128)
    same(render(field, origins, directions, march), render(field, origins, directions, fixed), rtol=0.02, atol=0.02)
    # from twice as far the sphere still holds the head, where fixed distances would end before it
    far_away = render(field, 2 * origins, directions, march)
    assert float(far_away.weight.max()) > 0.9
    assert float(render(field, 2 * origins, directions, SMALL).weight.max()) == 0


def test_a_ray_that_misses_the_sphere_sees_nothing() -> None:
    origins, directions = torch.tensor([[[0.0, 0.0, 2.7]] * 2]), torch.tensor([[[0.0, 0.6, -0.8], [0.0, 0.0, -1.0]]])
    seen = render(lambda p: (p, p[..., :1] * 0 + 50), origins, directions, dataclasses.replace(SMALL, sphere_radius=0.5))
    assert seen.weight[0, :, 0].tolist() == pytest.approx([0.0, 1.0], abs=1e-5)


def test_without_fine_samples_the_coarse_ones_are_composed(plain_volumes: ModuleType) -> None:
    march = dataclasses.replace(SMALL, fine_samples=0, crop=None)
    origins, directions = rays()
    depths = torch.linspace(2.25, 3.3, 12).expand(2, RAYS**2, 12)
    features, density = field(origins[:, :, None] + depths[..., None] * directions[:, :, None])
    wanted = plain_volumes.compose(depths, density[..., 0], features)
    torch.testing.assert_close(render(field, origins, directions, march).features, wanted[0], rtol=1e-5, atol=1e-5)


def test_bad_settings_and_rays_are_refused() -> None:
    for message, changes in (
        ("coarse >= 4", {"coarse_samples": 2}),
        ("0 < near < far", {"near": 3.4}),
        ("positive chunk or null", {"chunk": 0}),
        ("positive sphere_radius", {"sphere_radius": -1.0}),
    ):
        with pytest.raises(ConfigError, match=message):
            MarchSettings(**changes)  # type: ignore[arg-type]
    with pytest.raises(RenderError, match=r"one shape \(B, M, 3\)"):
        render(field, torch.zeros(1, 4, 3), torch.zeros(1, 5, 3), SMALL)
