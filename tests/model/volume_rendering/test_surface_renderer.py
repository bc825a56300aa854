"""The surface renderer: first shape, texture, outlines, empty shapes, gradients where they belong, every volume."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from spherehead.datasets.camera import Camera
from spherehead.model.generator import Generator
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.nets.decoder import Decoder, DecoderSettings
from spherehead.model.presets import preset
from spherehead.model.volume_rendering.base import Rendering, Scene
from spherehead.model.volume_rendering.rays import Rays
from spherehead.model.volume_rendering.surfaces.marching import marching_tetrahedra
from spherehead.model.volume_rendering.surfaces.shape import Shape, ShapeSettings
from spherehead.model.volume_rendering.surfaces.surface import Surface, SurfaceRendererSettings
from spherehead.model.volume_rendering.surfaces.tetrahedra import signed_volumes
from spherehead.model.volumes import DualSphereSettings, HyPlaneSettings, TriGridSettings, TriPlaneSettings, VolumeSettings
from torch import Tensor

RADII = (0.2, 0.3, 0.24)


def sample(points: Tensor) -> Tensor:
    """Features that change smoothly over space."""
    turns = torch.tensor([[9.0, 2, 1, 0], [1, 8, -3, 2], [0, 3, 7, -5]])
    return torch.sin(points @ turns.to(points.dtype))


def field(points: Tensor, directions: Tensor | None = None) -> tuple[Tensor, Tensor]:
    return torch.cat([points, torch.ones_like(points[..., :1])], dim=-1), points[..., :1]


def scene(heads: int) -> Scene:
    return Scene(torch.zeros(heads, 1), sample, field)


def rays(heads: int, resolution: int, yaw: float = 0.0) -> Rays:
    labels = [torch.as_tensor(Camera.look_at(yaw + index, 0.1).label()) for index in range(heads)]
    return Rays.cast(torch.stack(labels), resolution)


def surface(seed: int = 0, *, detach: bool = True, cells: int = 12, **shape: object) -> Surface:
    torch.manual_seed(seed)
    settings = ShapeSettings(cells=cells, radii=RADII, hidden=8, **shape)  # type: ignore[arg-type]
    return Surface(4, 1.0, SurfaceRendererSettings(shape=settings, detach=detach))


def rendered(renderer: Surface, heads: int = 1, resolution: int = 24, yaw: float = 0.0) -> Rendering:
    seen = renderer(scene(heads), rays(heads, resolution, yaw))
    assert isinstance(seen, Rendering)
    return seen


def test_heads_have_as_many_numbers_as_published() -> None:
    shape = Shape(32, 1.0, ShapeSettings(cells=2))
    counts = [
        sum(parameter.numel() for parameter in part.parameters()) for part in (shape.distance, shape.deformation or shape)
    ]
    assert counts == [32 * 32 + 32 + 32 + 1, 32 * 32 + 32 + 32 * 3 + 3]  # 32 -> 32 -> 1 and 32 -> 32 -> 3


def test_shapes_begin_as_an_egg() -> None:
    shape = Shape(4, 1.0, ShapeSettings(cells=24, radii=RADII, deformation=0.0))
    with torch.no_grad():
        shape.distance.out.weight.zero_()
    made = shape(sample, 2, torch.device("cpu"))
    assert made.meshes.volumes(2).tolist() == pytest.approx([4 / 3 * math.pi * math.prod(RADII)] * 2, rel=0.015)
    low, high = made.meshes.vertices.aminmax(dim=0)
    torch.testing.assert_close(high, torch.tensor(RADII), rtol=0, atol=0.006)
    torch.testing.assert_close(low, -torch.tensor(RADII), rtol=0, atol=0.006)


def test_pixels_show_the_field_where_their_ray_meets_the_mesh() -> None:
    seen, looked = rendered(surface(), 2, yaw=0.4), rays(2, 24, 0.4)
    inside = seen.weight[..., 0] == 1.0
    met = looked.origins + seen.depth * looked.directions
    assert int(inside.sum()) > 200
    deep = inside & (torch.nn.functional.max_pool2d(1 - seen.weight.view(2, 1, 24, 24), 3, 1, 1).view(2, -1) == 0)
    torch.testing.assert_close(seen.features[deep][:, :3], met[deep], rtol=0, atol=1e-5)
    torch.testing.assert_close(seen.features[..., 3:], seen.weight)  # a field of ones is the coverage
    outside = seen.weight[..., 0] == 0
    assert (seen.depth[..., 0][outside] > seen.depth[..., 0][inside].max()).all()


def test_only_active_points_are_asked_for_and_gradients_are_those_of_all_points() -> None:
    shape = surface(1).shape
    grid = shape.grid(torch.device("cpu"))
    world = grid.vertices * shape.side
    asked: list[int] = []

    def counted(points: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            asked.append(points.shape[1])
        return sample(points)

    made = shape(counted, 1, torch.device("cpu"))
    found = torch.autograd.grad(made.meshes.volumes(1).sum(), list(shape.parameters()))
    assert len(asked) == 1
    assert asked[0] < len(world) / 2
    assert shape.deformation is not None
    moved = world + torch.tanh(shape.deformation(sample(world))) * (0.14 / 12)
    whole = marching_tetrahedra(grid, shape.distances(sample, world[None])[0], moved)
    assert torch.equal(whole.faces, made.meshes.faces)
    torch.testing.assert_close(whole.vertices, made.meshes.vertices)
    expected = torch.autograd.grad(whole.volumes(1).sum(), list(shape.parameters()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("push", [-50.0, 50.0])
def test_empty_and_full_shapes_give_a_ball_finite_gradients_and_a_way_back(push: float) -> None:
    renderer = surface(detach=False)
    with torch.no_grad():
        renderer.shape.distance.out.bias.fill_(push)
    seen = rendered(renderer)
    ball = renderer.mesh(scene(1))
    assert float(ball.volumes(1).detach()) == pytest.approx(4 / 3 * math.pi * 0.25**3, rel=0.05)
    assert float(seen.penalties["empty"].detach()) == pytest.approx(abs(push) * 0.1, rel=0.1)
    (seen.features.sum() + seen.weight.sum() + seen.depth.sum() + seen.penalties["sign"].sum()).backward(retain_graph=True)
    assert all(part.grad is None or bool(part.grad.isfinite().all()) for part in renderer.parameters())
    (slope,) = torch.autograd.grad(seen.penalties["empty"].sum(), renderer.shape.distance.out.bias)
    assert float(slope) * push > 0  # descent brings distances back towards 0


def test_a_shape_that_leaves_the_grid_is_closed_by_its_walls() -> None:
    renderer = surface(size=0.4)
    mesh = renderer.mesh(scene(1))
    edges = mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).tolist()
    assert {tuple(edge) for edge in edges} == {(b, a) for a, b in edges}
    assert float(mesh.vertices.detach().abs().max()) > 0.19


def test_no_tetrahedron_turns_over_however_points_move() -> None:
    shape = surface().shape
    grid = shape.grid(torch.device("cpu"))
    signs = torch.randint(0, 2, grid.vertices.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    moved = grid.vertices.double() + signs * (shape.settings.deformation / grid.cells)
    assert float(signed_volumes(moved[grid.tetrahedra]).min()) > 0


@pytest.mark.parametrize("detach", [True, False])
def test_colours_move_the_surface_only_where_they_may(detach: bool) -> None:
    renderer = surface(detach=detach)
    seen = rendered(renderer)
    weight = seen.weight.view(1, 1, 24, 24)
    deep = (torch.nn.functional.max_pool2d(1 - weight, 5, 1, 2) == 0).view(1, -1)
    assert int(deep.sum()) > 50
    grads = torch.autograd.grad(
        seen.features[deep][:, 2].sum(), list(renderer.parameters()), allow_unused=True, retain_graph=True
    )
    moves = sum(float(grad.abs().sum()) for grad in grads if grad is not None)
    assert (moves == 0) == detach
    outline = torch.autograd.grad(seen.weight.sum(), renderer.shape.distance.out.bias)[0]
    assert float(outline) > 0  # larger distances, a larger silhouette


def test_a_silhouette_is_learned_from_a_mask() -> None:
    looked, wanted = rays(2, 20), surface(0, cells=8).requires_grad_(False)
    wanted.shape.distance.out.bias.fill_(0.5)
    target = wanted(scene(2), looked).weight
    renderer = surface(5, cells=8)
    optimiser = torch.optim.Adam(renderer.parameters(), lr=0.02)
    errors = []
    for _ in range(20):
        optimiser.zero_grad()
        error = (renderer(scene(2), looked).weight - target).square().mean()
        error.backward()
        optimiser.step()
        errors.append(float(error.detach()))
    assert errors[0] > 0.04
    assert errors[-1] < errors[0] / 15


def test_a_surface_begins_at_the_level_of_a_trained_density() -> None:
    torch.manual_seed(0)
    renderer, decoder = surface(deformation=0.0), Decoder(4, DecoderSettings(hidden=8, features=3))
    with torch.no_grad():
        decoder.out.weight *= 400.0
        decoder.out.bias[0] = 10.0
    assert renderer.adopt(decoder)
    points = torch.rand(1, 500, 3) - 0.5
    distances = renderer.shape.distances(sample, points) - renderer.shape.egg(points)
    raw = decoder(sample(points))[1][..., 0]
    torch.testing.assert_close(distances, (raw - 10.0) / 20.0, rtol=1e-4, atol=1e-4)
    assert not renderer.adopt(Decoder(4, DecoderSettings(hidden=9, features=3)))


def test_solid_densities_pass_half_opaque_at_the_mesh() -> None:
    renderer = surface(2, deformation=0.0)
    mesh = renderer.mesh(scene(1))
    centres = mesh.vertices.detach()[mesh.faces].mean(dim=1)[None]
    normals = torch.nn.functional.normalize(mesh.normals().detach(), dim=1)[None]
    _, inner = renderer.solid(scene(1), centres - 0.03 * normals)
    _, outer = renderer.solid(scene(1), centres + 0.03 * normals)
    assert float((inner > 35).float().mean()) > 0.99
    assert float((outer < 35).float().mean()) > 0.99


VOLUMES: list[VolumeSettings] = [
    DualSphereSettings(resolution=32, num_features=16, in_channels=16, head_channels=8),
    TriPlaneSettings(resolution=32, num_features=16),
    TriGridSettings(resolution=32, num_features=16),
    HyPlaneSettings(resolution=64, num_features=16),
]


@pytest.mark.parametrize("volume", VOLUMES, ids=lambda volume: volume.kind)
def test_every_volume_is_shown_by_its_surface_and_learns_from_it(volume: VolumeSettings) -> None:
    settings = preset("tiny-64-surface").generator
    renderer = dataclasses.replace(settings.renderer, shape=ShapeSettings(cells=8, size=0.8))  # type: ignore[call-arg]
    narrow = SynthesisSettings(channel_base=256, channel_max=8)
    torch.manual_seed(0)
    generator = Generator(dataclasses.replace(settings, volume=volume, backbone=narrow, renderer=renderer))
    cameras = torch.stack([torch.as_tensor(Camera.look_at(yaw, 0.1).label()) for yaw in (0.0, 2.0)])
    portrait = generator(torch.randn(2, settings.z_dim), cameras, neural_resolution=16)
    assert portrait.mask is not None and portrait.depth is not None
    assert 0.2 < float(portrait.mask.mean().detach()) < 0.8
    (portrait.mask.mean() + portrait.image.square().mean() + portrait.depth.mean()).backward()
    for name, parameter in generator.named_parameters():
        if parameter.grad is not None:
            assert bool(parameter.grad.isfinite().all()), name
    assert all(
        float(parameter.grad.abs().sum()) > 0 for parameter in generator.renderer.parameters() if parameter.grad is not None
    )
    assert generator.backbone.blocks[0] is not None
    grads = [parameter.grad for parameter in generator.backbone.parameters() if parameter.grad is not None]
    assert any(bool(grad.any()) for grad in grads)
