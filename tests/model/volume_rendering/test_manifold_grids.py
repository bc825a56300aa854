"""Ways to compute surfaces on manifolds change no picture: chunks, held grids, the solid; and what presets must enter."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from manifold_rays import SPHERES, VOLUME, ball, constant, opened, rays
from spherehead.manifests.config import ConfigError
from spherehead.model.presets import preset
from spherehead.model.volume_rendering.base import Scene
from spherehead.model.volume_rendering.manifolds import PENALTY, Manifolds
from spherehead.model.volume_rendering.rays import Rays
from torch.nn import functional


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
