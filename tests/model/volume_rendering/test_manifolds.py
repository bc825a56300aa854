"""Rays meet level sets where formulas say, and what is composed there is the closed form, with its gradients."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera
from spherehead.manifests.config import ConfigError
from spherehead.model.presets import preset
from spherehead.model.volume_rendering import ManifoldSettings
from spherehead.model.volume_rendering.base import Randomness, RenderError, Scene
from spherehead.model.volume_rendering.manifolds import PENALTY, Manifolds, absorbed_weights, entered
from spherehead.model.volume_rendering.rays import Rays
from spherehead.model.volumes import TriPlaneSettings
from torch.nn import functional

SPHERES = ManifoldSettings(
    surfaces=5, radii=(0.4, 0.2), centre=(0.05, 0.0, -0.02), stretch=(1.0, 1.0, 1.0), tail=0.0, sphere_radius=0.5, hidden=16,
    grid=None, samples=40, crop=None,
)  # fmt: skip
VOLUME = TriPlaneSettings(resolution=8, num_features=2).open()


def opened(**changes: object) -> Manifolds:
    torch.manual_seed(0)
    renderer = dataclasses.replace(SPHERES, **changes).open(VOLUME)  # type: ignore[arg-type]
    return renderer.double()


def rays(resolution: int = 12, yaws: tuple[float, ...] = (0.3, 2.4)) -> Rays:
    labels = torch.stack([torch.from_numpy(Camera.look_at(yaw, 0.2).label()) for yaw in yaws]).double()
    return Rays.cast(labels, resolution)


def constant(density: float) -> Scene:
    """Raw density so that softplus(raw - 1) is a density, and a feature of 2."""
    raw = 1 + math.log(math.expm1(density))

    def field(points: torch.Tensor, directions: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full_like(points[..., :1], 2.0), torch.full_like(points[..., :1], raw)

    return Scene(torch.zeros(2, 1), lambda points: points, field)


def met(renderer: Manifolds, seen: Rays) -> tuple[torch.Tensor, torch.Tensor]:
    settings = renderer.settings
    middle = -((seen.origins - renderer.predictor.centre) * seen.directions).sum(-1, keepdim=True)
    found = renderer.meetings(seen.origins, seen.directions, middle - 0.5, middle + 0.5)
    assert found.distances.shape == (*seen.origins.shape[:2], settings.surfaces)
    return found.distances, found.valid


def sphere_hits(seen: Rays, centre: torch.Tensor, radii: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Nearer root of |origin + t direction - centre| = radius, and whether there is one."""
    away = seen.origins - centre
    along = (away * seen.directions).sum(-1, keepdim=True)
    inside = along.square() - away.square().sum(-1, keepdim=True) + radii.square()
    return -along - inside.clamp_min(0).sqrt(), inside > 0


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


def ball(centre: torch.Tensor) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    def field(points: torch.Tensor, directions: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        return (3 * points).sin(), 40 * (0.3 - (points - centre).norm(dim=-1, keepdim=True))

    return field


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


def test_chunks_and_recomputing_change_nothing() -> None:
    scene = Scene(torch.zeros(2, 1), lambda points: points, ball(torch.zeros(3, dtype=torch.float64)))
    results = []
    for changes in ({}, {"chunk": 50}, {"chunk": 50, "recompute": True}):
        renderer = opened(start="published", **changes)
        out = renderer(scene, rays())
        (out.features.square().sum() + out.penalties[PENALTY].sum()).backward()
        results.append((out.features.detach(), out.penalties[PENALTY].detach(), renderer.predictor.layers[0].weight.grad))
    for result in results[1:]:
        for one, other in zip(results[0], result, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("recompute", [False, True])
def test_the_grid_is_worked_out_once_a_rendering_whatever_the_chunks(recompute: bool) -> None:
    renderer, seen = opened(grid=6, chunk=50, recompute=recompute), rays()
    asked: list[int] = []
    renderer.predictor.layers.register_forward_hook(lambda _, given, __: asked.append(given[0].numel() // 3))
    found = renderer(constant(3.0), seen)
    (found.depth.sum() + found.penalties[PENALTY].sum()).backward()
    assert sorted(asked) == [1, 6**3]  # the centre, and the grid
    gradient = next(renderer.predictor.parameters()).grad
    assert gradient is not None and bool(gradient.isfinite().all())


def test_the_grid_is_held_until_a_weight_changes() -> None:
    predictor = opened(grid=6).predictor
    with torch.no_grad():
        held = predictor.values()
        assert predictor.values() is held
        predictor.layers[-1].bias.add_(1.0)
        torch.testing.assert_close(predictor.values(), held + 1.0)


def test_a_held_grid_of_inference_mode_serves_gradients_of_a_frozen_predictor() -> None:
    renderer, centre = opened(grid=6).requires_grad_(False), torch.zeros(3, dtype=torch.float64, requires_grad=True)
    with torch.inference_mode():
        renderer(constant(1.0), rays())
    renderer(Scene(torch.zeros(2, 1), lambda points: points, ball(centre)), rays()).weight.sum().backward()
    assert centre.grad is not None and bool(centre.grad.any())
    with torch.inference_mode():
        assert bool(opened(grid=6)(constant(1.0), rays()).weight.any())


def test_the_solid_absorbs_what_the_surfaces_do() -> None:
    renderer, scene = opened(radii=(0.4, 0.05), surfaces=36), constant(5.0)
    distance = torch.linspace(0.0, 0.45, 2000, dtype=torch.float64)
    points = renderer.predictor.centre + distance[:, None] * torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64)
    density = functional.softplus(renderer.solid(scene, points[None])[1][0, :, 0] - 1)
    assert bool((density[distance > 0.41] == 0).all() | (density[distance > 0.41] < 1e-12).all())
    inside = (distance > 0.05) & (distance < 0.4)
    assert float(density[inside].mean()) == pytest.approx(5.0, rel=1e-3)  # 36 meetings of 0.01 in 0.35 world units


@pytest.mark.parametrize(
    "changes",
    [{"surfaces": 1}, {"radii": (0.1, 0.4)}, {"sphere_radius": 0.3}, {"stretch": (0.0, 1.0, 1.0)}, {"near": 4.0},
     {"start": "published", "tail": 0.5}],
)  # fmt: skip
def test_settings_that_make_no_surfaces_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        dataclasses.replace(SPHERES, **changes)  # type: ignore[arg-type]


def test_presets_of_heads_are_entered_up_to_the_outline_from_every_side() -> None:
    """Each of a mean head's outline points, an ellipsoid over a neck, lies behind at least one meeting within 0.03 of it."""
    renderer = preset("tiny-64-manifolds").generator.renderer.open(VOLUME).double()
    assert isinstance(renderer, Manifolds)
    seen = rays(resolution=48, yaws=(0.0, 1.57, 3.14))
    axes, centre = torch.tensor([0.19, 0.24, 0.27]).double(), torch.tensor([0.0, 0.04, -0.08]).double()
    o, d = (seen.origins - centre) / axes, seen.directions / axes
    a, b, c = d.square().sum(-1), (o * d).sum(-1), o.square().sum(-1) - 1
    hit = b.square() > a * c
    near, far = ray_interval(renderer, seen)
    found = renderer.meetings(seen.origins, seen.directions, near, far)
    root = (b.square() - a * c).clamp_min(0).sqrt()
    inside = found.valid & (found.distances >= ((-b - root) / a)[..., None]) & (found.distances <= ((-b + root) / a)[..., None])
    assert float(inside.any(-1)[hit].double().mean()) > 0.97


def ray_interval(renderer: Manifolds, seen: Rays) -> tuple[torch.Tensor, torch.Tensor]:
    middle = -((seen.origins - renderer.predictor.centre) * seen.directions).sum(-1, keepdim=True)
    return middle - 0.7, middle + 0.7
