"""Tri-plane and tri-grid are `grid_sample` and a mean, with the published axes and channel orders."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from spherehead.manifests.config import ConfigError
from spherehead.model.volumes import TriGridSettings, TriPlaneSettings

AXES = {"xy_xz_yz": ((0, 1), (0, 2), (1, 2)), "xy_xz_zx": ((0, 1), (0, 2), (2, 0))}


def points_of(count: int = 300) -> torch.Tensor:
    return torch.rand(2, count, 3, generator=torch.Generator().manual_seed(7)) * 1.4 - 0.7


def check(volume: torch.nn.Module, maps: torch.Tensor, twin: object) -> None:
    """Compare values and gradients with a double-precision twin of (maps, points)."""
    exact = [maps.double().requires_grad_(), points_of().double().requires_grad_()]
    leaves = [maps.clone().requires_grad_(), points_of().requires_grad_()]
    wanted = twin(*exact)  # type: ignore[operator]
    got = volume.sample(volume.prepare(leaves[0]), leaves[1])  # type: ignore[operator]
    torch.testing.assert_close(got.double(), wanted, rtol=0, atol=1e-5)
    for one, other in zip(
        torch.autograd.grad(got.sin().sum(), leaves), torch.autograd.grad(wanted.sin().sum(), exact), strict=True
    ):
        assert float((one - other).norm() / other.norm()) < 1e-4


@pytest.mark.parametrize("axes", AXES)
def test_triplane_is_the_mean_of_three_reads(axes: str, plain_volumes: ModuleType) -> None:
    volume = TriPlaneSettings(axes=axes, resolution=12, num_features=5, box_size=1.1).open()  # type: ignore[arg-type]
    maps = torch.randn(2, 15, 12, 12, generator=torch.Generator().manual_seed(1))
    check(volume, maps, lambda m, p: plain_volumes.planar(m.unflatten(1, (3, 5)), p, AXES[axes], 1.1))


def test_published_triplane_cannot_see_where_along_y_only_xy_could_tell() -> None:
    maps = torch.randn(1, 12, 8, 8, generator=torch.Generator().manual_seed(1))
    maps[:, :4] = 0  # without XY
    points = points_of()[:1]
    moved = points + torch.tensor([0.0, 0.05, 0.0])
    for axes, blind in (("xy_xz_zx", True), ("xy_xz_yz", False)):
        volume = TriPlaneSettings(axes=axes, resolution=8, num_features=4).open()  # type: ignore[arg-type]
        planes = volume.prepare(maps)
        assert torch.equal(volume.sample(planes, points), volume.sample(planes, moved)) == blind


@pytest.mark.parametrize("layers", [1, 3, 4])
def test_trigrid_is_the_mean_of_three_trilinear_reads(layers: int, plain_volumes: ModuleType) -> None:
    volume = TriGridSettings(layers=layers, resolution=10, num_features=5, box_size=1.1).open()
    maps = torch.randn(2, 15 * layers, 10, 10, generator=torch.Generator().manual_seed(1))
    # in the channels depth runs fastest, then features, then grids
    check(volume, maps, lambda m, p: plain_volumes.grids(m.unflatten(1, (3, 5, layers)), p, 1.1))


def test_stored_samplings_of_the_published_code_are_met(shared: Path) -> None:
    with np.load(shared / "reference" / "hyplane_sampling.npz") as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files if file[name].dtype.kind == "f"}
    triplane, trigrid = (kind(resolution=32, num_features=8).open() for kind in (TriPlaneSettings, TriGridSettings))
    for volume, maps, wanted in (
        (triplane, arrays["in.quadrants"][:, :3].flatten(1, 2), arrays["out.TriPlane"]),
        (trigrid, arrays["in.trigrid"].flatten(1, 2), arrays["out.TriGrid"]),
    ):
        got = volume.sample(volume.prepare(maps), arrays["in.points"])
        assert float((got - wanted.mean(1)).norm() / wanted.mean(1).norm()) < 1e-5


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="resolution of 1 to 4096"):
        TriPlaneSettings(resolution=0)
    with pytest.raises(ConfigError, match="layers of 1 to 1024"):
        TriGridSettings(layers=0)
