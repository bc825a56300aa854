"""The two spheres are fused as published, hide each other's poles and seams, and tell a point from its mirror image."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.manifests.config import ConfigError, from_plain, to_plain
from spherehead.model.volumes import DualSphereSettings, TriPlaneSettings
from spherehead.model.volumes.base import VolumeError
from spherehead.model.volumes.dual_sphere import DualSphere, fusion_weights

SIZE, FEATURES = 16, 8


def make(**changes: object) -> DualSphere:
    return DualSphereSettings(resolution=SIZE, num_features=FEATURES, head_channels=None, **changes).open()  # type: ignore[arg-type]


def planes_of(spheres: int = 2, batch: int = 2) -> torch.Tensor:
    random = torch.Generator().manual_seed(spheres)
    return torch.randn(batch, spheres, 3, FEATURES, SIZE, SIZE, generator=random)


def points_of(count: int = 400, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, count, 3, generator=torch.Generator().manual_seed(7)) * 1.2 - 0.6


def sampled(volume: DualSphere, planes: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return volume.sample(volume.prepare(planes.flatten(1, 3)), points)


def test_features_are_the_published_ones(plain_volumes: ModuleType) -> None:
    planes, points = planes_of(), points_of()
    wanted = plain_volumes.dual_sphere(planes.double(), points.double())
    torch.testing.assert_close(sampled(make(), planes, points).double(), wanted, rtol=0, atol=2e-5)


def test_box_size_and_radii_scale_the_coordinates(plain_volumes: ModuleType) -> None:
    planes, points = planes_of(), points_of()
    wanted = plain_volumes.dual_sphere(planes.double(), points.double(), box=1.3, radii=(1.2, 0.8))
    got = sampled(make(box_size=1.3, radii=(1.2, 0.8)), planes, points)
    torch.testing.assert_close(got.double(), wanted, rtol=0, atol=2e-5)


def test_gradients_are_those_of_the_published_formula(plain_volumes: ModuleType) -> None:
    planes, points = planes_of(), points_of()
    exact = [planes.double().requires_grad_(), points.double().requires_grad_()]
    seed = torch.randn(2, 400, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted = torch.autograd.grad(plain_volumes.dual_sphere(*exact), exact, seed)
    leaves = [planes.clone().requires_grad_(), points.clone().requires_grad_()]
    got = torch.autograd.grad(sampled(make(), *leaves), leaves, seed.float())
    for one, other in zip(got, wanted, strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-4


@pytest.mark.parametrize("sphere", ["a", "b"])
def test_one_sphere_alone_is_read_without_weights(sphere: str, plain_volumes: ModuleType) -> None:
    planes, points = planes_of(1), points_of()
    wanted = plain_volumes.single_sphere(planes[:, 0].double(), points.double(), "ab".index(sphere))
    torch.testing.assert_close(sampled(make(spheres=sphere), planes, points).double(), wanted, rtol=0, atol=2e-5)


def test_stored_samplings_of_the_published_code_are_met(shared: Path) -> None:
    with np.load(shared / "reference" / "hyplane_sampling.npz") as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files if file[name].dtype.kind == "f"}
    size = arrays["in.dual"].shape[-1]
    points = arrays["in.points"]
    both = DualSphereSettings(resolution=size, num_features=8, head_channels=None).open()
    got = both.sample(both.prepare(arrays["in.dual"].flatten(1, 3)), points)[0]
    wanted = arrays["out.SphTriPlane.bias0"].mean(1)[0]
    assert float((got - wanted)[:-1].norm() / wanted[:-1].norm()) < 1e-4  # the last point is the origin
    one = DualSphereSettings(resolution=size, num_features=8, head_channels=None, spheres="a").open()
    got = one.sample(one.prepare(arrays["in.quadrants"][:, :3].flatten(1, 2)), points)[0]
    wanted = arrays["out.SphTriPlane_single"].mean(1)[0]
    kept = [k for k in range(999) if k not in (983, 985)]  # exactly on the seam the sign of zero decides
    assert float((got - wanted)[kept].norm() / wanted[kept].norm()) < 1e-4


AXES = {
    (0.0, 0.0, 1.0): (1.0, 0.0),
    (0.0, 0.0, -1.0): (0.0, 1.0),
    (1.0, 0.0, 0.0): (0.0, 0.5),
    (-1.0, 0.0, 0.0): (0.0, 0.5),
    (0.0, 1.0, 0.0): (0.5, 0.0),
    (0.0, -1.0, 0.0): (0.5, 0.0),
}
"""Directions and the published weights of A and B there."""


@pytest.mark.parametrize("direction", AXES)
def test_the_face_is_a_the_nape_b_and_every_pole_the_other_ones(direction: tuple[float, float, float]) -> None:
    a, b = AXES[direction]
    got = fusion_weights(*(torch.tensor([0.7 * value]) for value in direction))
    assert [float(share) for share in got] == pytest.approx([a / (a + b), b / (a + b)], abs=1e-6)


@given(st.floats(0.02, math.pi - 0.02), st.floats(-math.pi, math.pi), st.floats(1e-3, 2))
@settings(max_examples=80, deadline=None)
def test_weights_are_sine_squared_times_cosine_squared(theta: float, phi: float, r: float) -> None:
    x, y, z = r * math.sin(theta) * math.cos(phi), r * math.cos(theta), r * math.sin(theta) * math.sin(phi)

    def published(first: float, second: float, axis: float) -> float:
        polar, turn = math.atan2(math.hypot(first, second), axis), math.atan2(second, first)
        return math.sin(polar) ** 2 * math.cos(turn / 2) ** 2

    a, b = published(z, y, -x), published(-z, -x, y)
    assert 0.4375 - 1e-9 <= a + b <= 1 + 1e-9
    share_a, share_b = fusion_weights(*(torch.tensor([value], dtype=torch.float64) for value in (x, y, z)))
    assert (float(share_a), float(share_b)) == pytest.approx((a / (a + b), b / (a + b)), abs=1e-7)


SINGULAR = [
    (0, 0, 0),
    (0.4, 0, 0),
    (-0.4, 0, 0),
    (0, 0.4, 0),
    (0, -0.4, 0),
    (0.1, 0, -0.3),
    (0.1, -0.0, -0.3),
    (0, 0.1, 0.3),
    (-0.0, 0.1, 0.3),
    (0.3, 1e-9, 1e-9),
    (1e-8, 1e-8, 0),
    (1e-20, 0, 0),
    (0, 0, -0.5),
]
"""The origin, A's and B's poles, both seams from both sides, and places a rounding error off them."""


@pytest.mark.parametrize("spheres", ["both", "a", "b"])
def test_poles_seams_and_origin_have_finite_values_and_bounded_gradients(spheres: str) -> None:
    planes = planes_of(2 if spheres == "both" else 1, batch=1).requires_grad_()
    points = torch.tensor([SINGULAR], dtype=torch.float32).requires_grad_()
    read = sampled(make(spheres=spheres), planes, points)
    assert torch.isfinite(read).all() and float(read.detach().abs().max()) < 10
    to_planes, to_points = torch.autograd.grad(read.sum(), (planes, points))
    assert torch.isfinite(to_planes).all() and torch.isfinite(to_points).all()
    assert float(to_points.abs().max()) < 1e6


def smooth_planes() -> torch.Tensor:
    """Planes that are smooth inside and quite different at their opposite edges."""
    ramp = torch.linspace(-1, 1, SIZE)
    down, across = torch.meshgrid(ramp, ramp, indexing="ij")
    plane = torch.stack([across + 0.3 * down, down, across * down, across, 2 * down, down - across, across + down, 1 + down])
    return plane.expand(1, 2, 3, FEATURES, SIZE, SIZE)


def jump(volume: DualSphere, planes: torch.Tensor, centre: torch.Tensor, side: torch.Tensor) -> float:
    """Largest change of a feature across a seam, 2e-4 world units wide."""
    pair = torch.stack([centre + 1e-4 * side, centre - 1e-4 * side])
    one, other = sampled(volume, planes, pair[None])[0]
    return float((one - other).abs().max())


@pytest.mark.parametrize(
    ("sphere", "centre", "side"), [("a", (0.05, 0.0, -0.35), (0.0, 1.0, 0.0)), ("b", (0.0, 0.05, 0.35), (1.0, 0.0, 0.0))]
)
def test_a_seam_shows_on_one_sphere_and_not_on_two(sphere: str, centre: tuple[float, ...], side: tuple[float, ...]) -> None:
    planes, where = smooth_planes(), (torch.tensor(centre), torch.tensor(side))
    alone = jump(make(spheres=sphere), planes[:, :1], *where)
    assert alone > 0.3
    assert jump(make(), planes, *where) < alone / 50


MIRRORS = {"x": (-1.0, 1.0, 1.0), "y": (1.0, -1.0, 1.0), "z": (1.0, 1.0, -1.0)}


def angular_only() -> torch.Tensor:
    """Random (colatitude, azimuth) planes, the ones that hold what lies on a surface round the head; the others 0."""
    planes = planes_of(batch=1)
    planes[:, :, 1:] = 0
    return planes


@pytest.mark.parametrize("axis", MIRRORS)
def test_a_point_and_its_mirror_image_share_nothing_on_the_sphere_and_a_whole_plane_on_the_triplane(axis: str) -> None:
    points = points_of(2000, batch=1)
    points = points[:, (points.abs() > 0.12).all(-1)[0]]  # more than a texel from the mirror
    mirrored = points * torch.tensor(MIRRORS[axis])
    sphere, planes = make(), angular_only()
    assert not (sampled(sphere, planes, points) == sampled(sphere, planes, mirrored)).all(-1).any()
    assert shared_texels(sphere, points, mirrored) == 0

    triplane = TriPlaneSettings(resolution=SIZE, num_features=FEATURES).open()
    random = torch.randn(1, 3, FEATURES, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    for blind in range(3):
        only = torch.zeros_like(random)
        only[:, blind] = random[:, blind]
        packed = triplane.prepare(only.flatten(1, 2))
        same = (triplane.sample(packed, points) == triplane.sample(packed, mirrored)).all(-1)
        # XY cannot tell z, XZ cannot tell y, YZ cannot tell x: face and nape get the same features
        assert bool(same.all()) == (axis == "zyx"[blind])


def shared_texels(volume: DualSphere, points: torch.Tensor, mirrored: torch.Tensor) -> int:
    """How many pairs of a point and its image read a common texel of an angular plane of either sphere.

    What a point reads is where the gradient of its features goes; a read whose weight is below 1e-3 does not count.
    """
    common = 0
    for one, other in zip(points[0][:60], mirrored[0][:60], strict=True):
        touched = []
        for point in (one, other):
            planes = torch.zeros(1, 2, 3, FEATURES, SIZE, SIZE, requires_grad=True)
            (grad,) = torch.autograd.grad(sampled(volume, planes, point[None, None]).sum(), planes)
            touched.append(grad[0, :, 0, 0].abs() > 1e-3)
        common += int((touched[0] & touched[1]).any())
    return common


def test_heads_are_two_linear_layers_worked_out_as_one() -> None:
    chosen = DualSphereSettings(resolution=8, num_features=4, in_channels=6, head_channels=5)
    volume = chosen.open()
    output = torch.randn(2, 6, 8, 8, generator=torch.Generator().manual_seed(4))
    maps = []
    for head in volume.heads:
        hidden = torch.nn.functional.conv2d(output, head[0].weight / math.sqrt(6))
        maps.append(torch.nn.functional.conv2d(hidden, head[1].weight / math.sqrt(5)))
    wanted = volume.arrange(torch.cat(maps, 1))
    torch.testing.assert_close(volume.prepare(output), wanted)
    parameters = list(volume.parameters())
    folded = torch.autograd.grad(volume.prepare(output).square().sum(), parameters)
    for one, other in zip(folded, torch.autograd.grad(wanted.square().sum(), parameters), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=2e-5)
    assert volume.plane_shape == (6, 8, 8) and volume.mixing().shape == (24, 6)  # type: ignore[union-attr]


def test_published_size_has_the_published_parameters() -> None:
    volume = DualSphereSettings().open()
    assert sum(p.numel() for p in volume.parameters()) == 311_296 and volume.plane_shape == (512, 256, 256)
    assert sorted(volume.state_dict()) == [f"heads.{s}.{k}.weight" for s in (0, 1) for k in (0, 1)]


def test_settings_are_checked_and_survive_a_file() -> None:
    chosen = DualSphereSettings(spheres="b", radii=(1.0, 1.5), head_channels=None)
    assert from_plain(DualSphereSettings, to_plain(chosen)) == chosen
    with pytest.raises(ConfigError, match="positive radii"):
        DualSphereSettings(radii=(0.0, 1.0))


def test_misfits_are_refused_with_what_was_expected() -> None:
    volume = make()
    with pytest.raises(VolumeError, match=r"\('B', 48, 16, 16\), got \(1, 40, 16, 16\)"):
        volume.prepare(torch.zeros(1, 40, 16, 16))
    planes = volume.prepare(torch.zeros(2, 48, 16, 16))
    with pytest.raises(VolumeError, match=r"\(B, N, 3\), got \(2, 3\)"):
        volume.sample(planes, torch.zeros(2, 3))
    with pytest.raises(VolumeError, match="as many point sets as heads, got 1 and 2"):
        volume.sample(planes, torch.zeros(1, 5, 3))
