"""Rays meet level sets where formulas say, and what is composed there is the closed form, with its gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from manifold_rays import ball, constant, met, opened, rays, sphere_hits
from spherehead.model.volume_rendering.base import Randomness, RenderError, Scene
from spherehead.model.volume_rendering.manifolds import PENALTY, absorbed_weights, entered
from spherehead.model.volume_rendering.rays import Rays
from torch.nn import functional


def worst(samples: int, **changes: object) -> float:
    renderer, seen = opened(samples=samples, least_change=0.0, **changes), rays()
    got, valid = met(renderer, seen)
    wanted, hit = sphere_hits(seen, renderer.predictor.centre, torch.linspace(0.4, 0.2, 5, dtype=torch.float64))
    along = -((seen.origins - renderer.predictor.centre) * seen.directions).sum(-1, keepdim=True)
    steep = hit & (along - wanted > 0.1)  # not where a ray only grazes the sphere, where s is flat
    assert bool(valid[steep].all()) and int(steep.sum()) > 300
    assert not bool(valid[~hit].any())
    return float((got - wanted)[steep].abs().max().detach())


def test_surfaces_begin_as_spheres_and_hits_are_right_to_second_order() -> None:
    coarse, fine = worst(26), worst(101)
    step = 1.0 / 25
    assert (
        coarse < step**2 / 8 / 0.1 * 2
    )  # h^2 / 8 |s''| / |s'|, with s'' <= 1 / r and s' >= along / r: at most h^2 / 8 / along
    assert fine < coarse / 10  # 16 at four times as many points


def test_where_s_hardly_changes_the_farther_point_is_the_meeting() -> None:
    samples, seen = 26, rays()
    renderer = opened(samples=samples, least_change=100.0)
    got, valid = met(renderer, seen)
    wanted, _ = sphere_hits(seen, renderer.predictor.centre, torch.linspace(0.4, 0.2, 5, dtype=torch.float64))
    middle = -((seen.origins - renderer.predictor.centre) * seen.directions).sum(-1, keepdim=True)
    steps = (got - middle + 0.5) * (samples - 1)  # rays are sampled over one world unit about their middle
    assert int(valid.sum()) > 300
    torch.testing.assert_close(steps[valid], steps[valid].round(), rtol=0, atol=1e-6)
    late = (got - wanted)[valid].detach() * (samples - 1)
    assert float(late.min()) > -1e-6 and float(late.max()) < 1 + 1e-6
    exact, same = met(opened(samples=samples, least_change=0.0), seen)
    assert torch.equal(valid, same) and float((got - exact)[valid].mean().detach()) * (samples - 1) > 0.2


def test_a_grid_changes_nothing_of_the_exact_start() -> None:
    seen = rays()
    one, two = (met(opened(grid=grid), seen)[0] for grid in (None, 8))
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("start", ["published", "exact"])
def test_a_finer_grid_comes_nearer_to_the_network(start: str) -> None:
    gaps = []
    for grid in (12, 48):
        renderer = opened(start=start, grid=grid)
        with torch.no_grad():
            for parameter in renderer.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            points = (torch.rand(2, 400, 3, dtype=torch.float64) - 0.5) * 0.8
            gaps.append(float((renderer.predictor(points) - renderer.predictor.exact(points)).abs().mean()))
    assert gaps[1] < gaps[0] / 3 and gaps[1] < 0.05


def test_the_published_start_is_about_a_distance() -> None:
    renderer = opened(start="published", hidden=256)
    points = functional.normalize(torch.randn(4000, 3, dtype=torch.float64), dim=-1) * 0.3
    s = renderer.predictor.exact(points + renderer.predictor.centre)
    s = s.detach()
    assert float(s.mean()) == pytest.approx(10 * 0.3 * 2, rel=0.15)
    assert float(s.std() / s.mean()) < 0.15


def test_a_tail_makes_cylinders_about_the_axis_and_a_stretch_ellipsoids() -> None:
    tailed = opened(tail=1.0, stretch=(1.0, 1.0, 1.0), centre=(0.0, 0.1, 0.0)).predictor
    points = torch.tensor([[0.3, -0.5, 0.0], [0.0, -0.2, 0.3], [0.0, 0.4, 0.0], [0.0, -1.2, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(tailed.exact(points) / 20, torch.tensor([0.3, 0.3, 0.3, 0.3], dtype=torch.float64))
    stretched = opened(stretch=(0.5, 1.0, 2.0), centre=(0.0, 0.0, 0.0)).predictor
    points = torch.tensor([[0.15, 0.0, 0.0], [0.0, 0.3, 0.0], [0.0, 0.0, 0.6]], dtype=torch.float64)
    torch.testing.assert_close(stretched.exact(points) / 20, torch.full((3,), 0.3, dtype=torch.float64))


@pytest.mark.parametrize("density", [0.5, 40.0])
def test_a_constant_density_gives_the_closed_form(density: float) -> None:
    renderer, seen = opened(), rays()
    rendering = renderer(constant(density), seen)
    radii = torch.linspace(0.4, 0.2, 5, dtype=torch.float64)
    hits, hit = sphere_hits(seen, renderer.predictor.centre, radii)
    along = -((seen.origins - renderer.predictor.centre) * seen.directions).sum(-1, keepdim=True)
    clear = (~hit | (along - hits > 0.03)).all(-1)  # a sphere grazed for less than a step of the ray may be missed
    assert float(clear.double().mean()) > 0.9
    count = hit.sum(-1, keepdim=True)
    alpha = 1 - math.exp(-density * 0.05)
    wanted = 1 - (1 - alpha) ** count.double()
    torch.testing.assert_close(rendering.weight[clear], wanted[clear])
    torch.testing.assert_close(rendering.features[clear].double(), 2 * wanted[clear], rtol=1e-6, atol=1e-6)
    shares = alpha * (1 - alpha) ** torch.arange(5) * hit
    full = (count == 5)[..., 0] & clear
    depth = (shares * hits).sum(-1, keepdim=True) / shares.sum(-1, keepdim=True)
    assert float((rendering.depth - depth).detach()[full].abs().max()) < 2e-3
    assert bool((rendering.weight[count == 0] == 0).all()) and bool((count == 0).any())


def test_meetings_beside_the_crop_are_none_however_high_they_are() -> None:
    crop, seen = 0.18, rays()
    renderer = opened(crop=crop)
    hits, hit = sphere_hits(seen, renderer.predictor.centre, torch.linspace(0.4, 0.2, 5, dtype=torch.float64))
    along = -((seen.origins - renderer.predictor.centre) * seen.directions).sum(-1, keepdim=True)
    points = (seen.origins[:, :, None] + hits[..., None] * seen.directions[:, :, None]).abs()
    beside = points[..., ::2].amax(-1)
    clear = ((~hit | (along - hits > 0.03)) & ((beside - crop).abs() > 5e-3)).all(-1)
    kept = hit & (beside <= crop)
    for what in (hit & ~kept, kept & (points[..., 1] > crop)):
        assert int(what[clear].sum()) > 10
    wanted = 1 - (1 - (1 - math.exp(-3.0 * 0.05))) ** kept.sum(-1, keepdim=True).double()
    torch.testing.assert_close(renderer(constant(3.0), seen).weight[clear], wanted[clear])


def test_what_a_meeting_absorbs_over_is_a_setting() -> None:
    seen = rays(yaws=(0.0, 0.0))
    centre = seen.origins.shape[1] // 2 + 6
    weight = opened(step=0.01)(constant(3.0), seen).weight[0, centre]
    assert float(weight) == pytest.approx(1 - math.exp(-3.0 * 0.01 * 5), rel=1e-6)


def test_a_ray_that_misses_all_surfaces_sees_nothing() -> None:
    labels = rays().camera.clone()
    labels[:, [16, 20]] = 0.6  # wide angle
    seen = Rays.cast(labels, 9)
    rendering = opened()(constant(100.0), seen)
    _, hit = sphere_hits(seen, opened().predictor.centre, torch.tensor([0.4], dtype=torch.float64))
    missing = ~hit[..., 0]
    assert int(missing.sum()) > 20 and bool((rendering.weight[missing] == 0).all())
    assert bool((rendering.features[missing] == 0).all()) and bool(rendering.depth.isfinite().all())


def test_a_plane_behind_is_opaque_and_where_it_stands() -> None:
    labels = rays(yaws=(0.0, 0.1)).camera
    seen = Rays.cast(labels, 8)
    rendering = opened(plane=-0.6, near=2.0, far=3.6, sphere_radius=None)(constant(0.01), seen)
    torch.testing.assert_close(rendering.weight, torch.ones_like(rendering.weight))
    thin = opened(plane=-0.6, near=2.0, far=3.6, sphere_radius=None)(constant(1e-4), seen)
    wanted = (-0.6 - seen.origins[..., 2:]) / seen.directions[..., 2:]
    torch.testing.assert_close(thin.depth, wanted, rtol=0, atol=1e-3)


def test_a_plane_behind_the_camera_is_not_seen() -> None:
    seen = Rays.cast(rays(yaws=(0.0, 0.1)).camera, 8)
    usual = {"near": 2.0, "far": 3.6, "sphere_radius": None}
    behind, none = (opened(plane=plane, **usual)(constant(1.0), seen).weight for plane in (3.5, None))
    assert torch.equal(behind, none) and float(none.min().detach()) < 0.5


@pytest.mark.parametrize("grid", [None, 10])
def test_gradients_reach_predictor_field_and_camera_as_finite_differences_say(grid: int | None) -> None:
    renderer = opened(grid=grid, hidden=6, near=2.15, far=3.25, sphere_radius=None)
    with torch.no_grad():
        for parameter in renderer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    centre = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    camera = rays(yaws=(0.4,)).camera.requires_grad_(True)

    def loss() -> torch.Tensor:
        seen = Rays.cast(camera, 6)
        out = renderer(Scene(torch.zeros(1, 1), lambda points: points, ball(centre)), seen)
        return out.features.double().square().sum() + out.depth.sum() + out.weight.sum()

    weight = renderer.predictor.layers[-1].weight
    first = renderer.predictor.layers[0].weight
    for parameter, index in ((weight, (0, 2)), (first, (1, 1)), (centre, (2,)), (camera, (0, 7))):
        slope = torch.autograd.grad(loss(), parameter)[0][index]
        values = []
        for move in (1e-6, -1e-6):
            with torch.no_grad():
                parameter[index] += move
                values.append(float(loss()))
                parameter[index] -= move
        assert float(slope) == pytest.approx((values[0] - values[1]) / 2e-6, rel=2e-3, abs=1e-4), index
        assert float(slope) != 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=3, max_size=9), st.lists(st.integers(1, 11), min_size=1, max_size=4, unique=True))
def test_a_level_is_entered_in_its_first_falling_interval(values: list[int], at: list[int]) -> None:
    s = torch.tensor(values, dtype=torch.float64)[None, None]
    levels = torch.tensor(sorted(at, reverse=True), dtype=torch.float64) + 0.5
    index, valid = entered(s, levels)
    for k, level in enumerate(levels.tolist()):
        found = [i for i in range(len(values) - 1) if values[i] >= level >= values[i + 1]]
        assert bool(valid[0, 0, k]) == bool(found)
        assert not found or int(index[0, 0, k]) == found[0]


def test_weights_do_not_depend_on_the_order_of_meetings() -> None:
    random = torch.Generator().manual_seed(0)
    distances, absorbed = (torch.rand(1, 7, 6, generator=random, dtype=torch.float64) for _ in range(2))
    valid = torch.rand(1, 7, 6, generator=random) > 0.3
    got = absorbed_weights(distances, absorbed * valid, valid)
    for ray in range(7):
        before = 1.0
        for k in distances[0, ray].argsort().tolist():
            alpha = 1 - math.exp(-float(absorbed[0, ray, k])) if valid[0, ray, k] else 0.0
            assert float(got[0, ray, k]) == pytest.approx(alpha * before, abs=1e-12)
            before *= 1 - alpha


def test_the_penalty_is_zero_at_the_start_and_grows_as_surfaces_leave_the_rays() -> None:
    seen = rays()
    usual = opened()
    assert float(usual(constant(1.0), seen).penalties[PENALTY].abs().max()) == 0
    for move, wanted in ((-8.0, 5.0), (8.0, 3.0)):  # a level is 10 * 2 * 0.05 = 1: outwards past 0.5, inwards past the centre
        renderer = opened()
        with torch.no_grad():
            renderer.predictor.layers[-1].bias.fill_(move)
        penalty = renderer(constant(1.0), seen).penalties[PENALTY]
        assert bool((penalty > wanted).all()), (move, penalty)
        penalty.sum().backward()
        slope = renderer.predictor.layers[-1].bias.grad
        assert slope is not None and float(slope) * move > 0


def test_noise_on_densities_is_drawn_for_every_meeting_and_refused_in_other_shapes() -> None:
    renderer, seen = opened(), rays()
    numbers = renderer.draw(seen.origins, torch.Generator().manual_seed(0), 0.5)
    assert numbers.density is not None and numbers.density.shape == (2, 144, 5) and numbers.coarse is None
    assert not torch.equal(renderer(constant(3.0), seen, numbers).weight, renderer(constant(3.0), seen).weight)
    assert renderer.draw(seen.origins, torch.Generator(), 0.0).density is None
    with pytest.raises(RenderError, match="expected density numbers of shape"):
        renderer(constant(3.0), seen, Randomness(density=torch.zeros(2, 144, 4)))
