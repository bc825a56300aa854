"""Gaussians: one alone is the formula's, many are those of a slow plain twin, gradients are right, models learn with them."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from spherehead.datasets.camera import Camera
from spherehead.manifests.config import ConfigError
from spherehead.model.generator import Generator
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.nets.background import BackgroundSettings
from spherehead.model.presets import TINY_SPLATS, preset
from spherehead.model.shipped import shipped
from spherehead.model.store import load_generator
from spherehead.model.visualization.views import head_styles, seeded_latents
from spherehead.model.volume_rendering import SplatSettings, boxes
from spherehead.model.volume_rendering.base import RenderError, Scene
from spherehead.model.volume_rendering.rays import Rays
from spherehead.model.volume_rendering.splats.compose import composed, sightings, weights
from spherehead.model.volume_rendering.splats.gaussians import SMOOTHING, Gaussians, lattice, project
from spherehead.model.volume_rendering.splats.splats import Splats
from spherehead.model.volumes import DualSphereSettings, HyPlaneSettings, TriGridSettings, TriPlaneSettings, VolumeSettings
from torch import Tensor

pixels = importlib.import_module("plain_splats").pixels


def rays(*yaws: float, resolution: int = 16) -> Rays:
    labels = torch.from_numpy(np.stack([Camera.look_at(yaw, 0.1).label() for yaw in yaws])).double()
    matrices = labels[:, :16].view(-1, 4, 4)
    left, _, right = torch.linalg.svd(matrices[:, :3, :3])
    matrices[:, :3, :3] = left @ right  # labels are in single precision: orthonormal in double precision too
    return Rays.cast(labels, resolution)


def some(count: int, heads: int, seed: int, size: float = 0.04) -> Gaussians:
    random = torch.Generator().manual_seed(seed)
    numbers = torch.rand(count, 11, generator=random, dtype=torch.float64)
    lengths = size * (0.3 + numbers[:, 3:6])
    head = torch.arange(heads).repeat_interleave(count // heads)
    return Gaussians(numbers[:, :3] * 0.6 - 0.3, lengths, numbers[:, 6:10] - 0.5, numbers[:, 10], head)


def drawn(gaussians: Gaussians, values: Tensor, looked: Rays) -> Tensor:
    ellipses = project(gaussians, looked)
    seen = sightings(ellipses, gaussians.opacity, gaussians.head, looked.resolution)
    share = weights(ellipses, gaussians.opacity, seen, looked.resolution)
    return composed(values, share, seen, looked.origins.shape[0] * looked.origins.shape[1])


def test_one_ball_is_a_gaussian_of_pixels() -> None:
    """A ball of deviation s at the optical axis' depth d is seen with deviation fx s r / d, smoothed."""
    looked = rays(0.0, resolution=33)
    axis, origin = looked.directions[0, 16 * 33 + 16], looked.origins[0, 0]
    depth = 2.7
    ball = Gaussians(
        (origin + depth * axis)[None],
        torch.full((1, 3), 0.02).double(),
        torch.tensor([[0.5, 0.1, -0.7, 0.2]]).double(),
        torch.tensor([0.8]).double(),
        torch.zeros(1).long(),
    )
    picture = drawn(ball, torch.ones(1, 1).double(), looked).view(33, 33)
    variance = (float(looked.camera[0, 16]) * 0.02 * 33 / depth) ** 2 + SMOOTHING
    offset = torch.arange(33).double() - 16
    expected = 0.8 * torch.exp(-(offset[:, None].square() + offset.square()) / (2 * variance))
    torch.testing.assert_close(picture, torch.where(expected >= 1 / 255, expected, 0.0), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_pictures_and_gradients_are_those_of_the_plain_twin(seed: int) -> None:
    looked = rays(0.3, 2.6)
    parts = some(80, 2, seed, size=0.1)
    values = torch.rand(80, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    leaves = [parts.centres, parts.lengths, parts.turns, parts.opacity, values]
    for leaf in leaves:
        leaf.requires_grad_()
    fast = drawn(parts, torch.cat([values, torch.ones(80, 1).double()], dim=1), looked)
    slow, cover = pixels(parts, values, looked)
    assert float(cover.detach().max()) > 0.9
    torch.testing.assert_close(fast[:, :3], slow.reshape(-1, 3), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(fast[:, 3], cover.flatten(), rtol=1e-9, atol=1e-11)
    wanted = torch.rand(fast.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    found = torch.autograd.grad((fast * wanted).sum(), leaves)
    expected = torch.autograd.grad((torch.cat([slow.reshape(-1, 3), cover.reshape(-1, 1)], 1) * wanted).sum(), leaves)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("pairs", [1, 100])
def test_work_in_small_parts_gives_the_same_picture(monkeypatch: pytest.MonkeyPatch, pairs: int) -> None:
    parts, looked = some(60, 2, 3, size=0.1), rays(0.0, 1.0)
    values = torch.rand(60, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = drawn(parts, values, looked)
    monkeypatch.setattr(boxes, "PAIRS", pairs)
    assert torch.equal(drawn(parts, values, looked), whole)


def test_many_opaque_gaussians_end_where_the_plain_twin_ends() -> None:
    parts = some(300, 1, 4, size=0.15)
    parts = dataclasses.replace(parts, opacity=parts.opacity * 0.1 + 0.9)
    looked = rays(0.0, resolution=8)
    values = torch.rand(300, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    seen = sightings(project(parts, looked), parts.opacity, parts.head, 8)
    assert len(seen.pixel) < 64 * 40  # most of the 300 are hidden
    torch.testing.assert_close(
        drawn(parts, values, looked), pixels(parts, values, looked)[0].reshape(-1, 2), rtol=1e-9, atol=1e-11
    )


@pytest.mark.skipif(importlib.util.find_spec("gsplat") is None, reason="gsplat is not installed")
def test_ellipses_are_those_of_gsplat() -> None:
    """Held against the PyTorch projection inside gsplat's wheel, which needs no CUDA."""
    found = importlib.util.find_spec("gsplat")
    assert found is not None and found.origin is not None
    place = Path(found.origin).parent / "cuda" / "_torch_impl.py"
    spec = importlib.util.spec_from_file_location("gsplat_torch_impl", place)
    assert spec is not None and spec.loader is not None
    theirs = importlib.util.module_from_spec(spec)
    sys.modules["gsplat_torch_impl"] = theirs
    spec.loader.exec_module(theirs)
    parts, looked = some(50, 1, 2), rays(0.7, resolution=64)
    label = looked.camera[0]
    k = label[16:].view(1, 3, 3) * torch.tensor([64.0, 64.0, 1.0])[:, None]
    view = torch.linalg.inv(label[:16].view(1, 4, 4))
    covariance = parts.axes @ parts.axes.transpose(1, 2)
    centres, covariances = theirs._world_to_cam(parts.centres, covariance, view)
    places, spread = theirs._persp_proj(centres, covariances, k, 64, 64)
    ours = project(parts, looked)
    torch.testing.assert_close(ours.centre, places[0])
    inverse = torch.linalg.inv(spread[0] + 0.3 * torch.eye(2).double())
    torch.testing.assert_close(ours.conic, torch.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]], dim=1))


def test_cameras_get_the_gradient_of_finite_differences() -> None:
    parts, looked = some(20, 1, 5), rays(0.4)

    def brightness(camera: Tensor) -> Tensor:
        moved = dataclasses.replace(looked, camera=camera)
        return drawn(parts, parts.centres.detach() + 1.0, moved).sum()

    camera = looked.camera.clone().requires_grad_()
    (found,) = torch.autograd.grad(brightness(camera), camera)
    for entry in (3, 7, 11, 16, 18, 20):
        step = torch.zeros_like(camera)
        step[0, entry] = 1e-6
        with torch.no_grad():
            expected = (brightness(camera + step) - brightness(camera - step)) / 2e-6
        assert float(found[0, entry]) == pytest.approx(float(expected), rel=1e-4)


def test_the_lattice_is_body_centred_and_fills_its_box() -> None:
    points = lattice(0.1, (0.8, 1.0, 0.8))
    assert len(points) == pytest.approx(2 * 0.8 * 1.0 * 0.8 / 0.1**3, rel=0.25)
    nearest = torch.cdist(points.double(), points.double()).fill_diagonal_(1.0).amin(dim=1)
    torch.testing.assert_close(nearest, torch.full_like(nearest, 0.1 * math.sqrt(3) / 2), rtol=1e-5, atol=0)
    assert (points.abs() <= torch.tensor([0.4001, 0.5001, 0.4001])).all()


def test_the_network_can_be_laid_out_before_its_weights_are_there() -> None:
    """Model files are checked against networks on the device meta, which knows shapes only."""
    with torch.device("meta"):
        made = Generator(preset("tiny-64-splats").generator)
    assert made.renderer.anchors.shape == Generator(preset("tiny-64-splats").generator).renderer.anchors.shape  # type: ignore[union-attr]


VOLUMES = [
    TriPlaneSettings(resolution=16, num_features=4), TriGridSettings(resolution=16, num_features=4),
    HyPlaneSettings(resolution=32, num_features=4),
    DualSphereSettings(resolution=16, num_features=4, in_channels=8, head_channels=4),
]  # fmt: skip


@pytest.mark.parametrize("volume", VOLUMES, ids=lambda volume: volume.kind)
def test_every_volume_is_seen_as_splats_and_learns_there(volume: VolumeSettings) -> None:
    torch.manual_seed(0)
    narrow = SynthesisSettings(channel_base=64, channel_max=8)
    settings = dataclasses.replace(
        preset("tiny-64").generator, volume=volume, z_dim=8, w_dim=8, neural_resolution=8, backbone=narrow,
        renderer=SplatSettings(spacing=0.15, hidden=8), background=BackgroundSettings(8, narrow),
    )  # fmt: skip
    generator = Generator(settings)
    portrait = generator(torch.randn(2, 8), rays(0.0, 2.5).camera.float())
    assert portrait.mask is not None and portrait.depth is not None
    assert float(portrait.mask.detach().max()) > 0.05 and 2.0 < float(portrait.depth.detach().min()) < 3.4
    (portrait.image.square().mean() + portrait.depth.mean()).backward()
    assert isinstance(generator.renderer, Splats)
    moved = [generator.renderer.out.weight, *generator.backbone.parameters(), *generator.decoder.parameters()]
    assert all(weight.grad is not None and bool(weight.grad.isfinite().all()) for weight in moved)
    assert bool(moved[0].grad.any())  # type: ignore[union-attr]


def test_a_head_does_not_depend_on_the_others_of_its_batch_and_empty_ones_are_empty() -> None:
    renderer = SplatSettings(spacing=0.1, hidden=4).open(TriPlaneSettings(resolution=8, num_features=3).open())

    def field(points: Tensor, directions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        full = torch.tensor([0.2, -1.0, 0.3])[:, None] - points.norm(dim=-1)
        return points, torch.where(full > 0, 30.0, -30.0)[..., None]

    looked = rays(0.0, 1.0, 2.0)
    together = renderer(
        Scene(torch.zeros(3, 1), lambda points: points, field),
        dataclasses.replace(looked, camera=looked.camera.float(), origins=looked.origins.float()),
    )
    assert not together.weight[1].any() and float(together.depth.detach()[1].min()) > 2.7
    assert bool((together.weight[[0, 2]].amax(dim=1) > 0.9).all())

    def alone(points: Tensor, directions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return points, torch.where(points.norm(dim=-1) < 0.3, 30.0, -30.0)[..., None]

    last = Rays.cast(looked.camera[2:].float(), 16)
    single = renderer(Scene(torch.zeros(1, 1), lambda points: points, alone), last)
    torch.testing.assert_close(single.features[0], together.features[2], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(single.depth[0], together.depth[2], rtol=1e-5, atol=1e-6)


def test_heads_of_a_march_are_recognisable_as_splats_before_any_training() -> None:
    usual = load_generator(shipped("tiny-64"))
    made = Generator(dataclasses.replace(usual.settings, renderer=TINY_SPLATS)).eval()
    missing = made.load_state_dict(usual.state_dict(), strict=False).missing_keys
    assert missing and all(name.startswith("renderer.") for name in missing)
    ws = head_styles(usual, seeded_latents([1], usual.settings.z_dim)).repeat(2, 1, 1)
    camera = rays(0.8, 3.1).camera.float()
    with torch.no_grad():
        one, other = usual.synthesise(ws, camera), made.synthesise(ws, camera)
    assert one.mask is not None and other.mask is not None and one.depth is not None and other.depth is not None
    heads, found = one.mask > 0.5, other.mask > 0.5
    assert float((heads & found).sum() / (heads | found).sum()) > 0.93
    both = (one.mask > 0.95) & (other.mask > 0.95)
    assert float((one.raw - other.raw).abs().mean(1, keepdim=True)[both].mean()) < 0.05
    assert float((one.depth - other.depth).abs()[both].median()) < 0.02


def test_what_cannot_be_drawn_is_refused_with_what_to_do() -> None:
    volume = TriPlaneSettings(resolution=8, num_features=3).open()
    with pytest.raises(ConfigError, match="spacing"):
        SplatSettings(spacing=0.0)
    with pytest.raises(ConfigError, match="crop"):
        SplatSettings(crop=-1.0)
    renderer = SplatSettings(spacing=0.2, rasteriser="gsplat").open(volume)
    with pytest.raises(RenderError, match="pip install gsplat"):
        renderer(
            Scene(torch.zeros(1, 1), lambda points: points, lambda points, directions=None: (points, points[..., :1])),
            rays(0.0),
        )
