"""The hy-plane reads what the published one does, without its NaNs, and its variants cover map and sphere without a gap."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from spherehead.manifests.config import ConfigError, from_plain, to_plain
from spherehead.model.volumes import HyPlaneSettings, VolumeSettings
from spherehead.model.volumes.angles import CORNER, SOFT, disc
from spherehead.model.volumes.hyplane import crown_disc, crown_square, rim_weight

UNDEFINED = {"laea_square": (999,), "laea_disc": (999,), "theta_phi": (983, 985, 999)}
"""Stored points at the origin, and exactly on the seam of the angles, where the sign of zero decides."""


@pytest.fixture(scope="module")
def arrays(shared: Path) -> Mapping[str, torch.Tensor]:
    with np.load(shared / "reference" / "hyplane_sampling.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files if file[name].dtype.kind == "f"}


@pytest.mark.parametrize("box_size", [1.0, 1.3])
@pytest.mark.parametrize("warp", UNDEFINED)
def test_features_are_the_stored_published_ones(arrays: Mapping[str, torch.Tensor], warp: str, box_size: float) -> None:
    volume = HyPlaneSettings(warp=warp, resolution=64, num_features=8, box_size=box_size).open()  # type: ignore[arg-type]
    got = volume.sample(volume.prepare(arrays["in.map"]), arrays["in.points"])[0]
    wanted = arrays[f"out.{warp}{'' if box_size == 1 else '.bw1.3'}.fused"][0]
    kept = [k for k in range(1000) if k not in UNDEFINED[warp]]
    assert float((got - wanted)[kept].norm() / wanted[kept].norm()) < 1e-5
    assert torch.isfinite(got).all()


def test_places_are_the_closed_form_in_double_precision(arrays: Mapping[str, torch.Tensor]) -> None:
    x, y, z = arrays["in.points"][0].unbind(-1)
    # the square's roots hold 1e-8, as published, which near the neck outweighs rounding
    for place, name, bound in ((crown_disc(x, y, z), "disc_uv", 1e-6), (crown_square(x, y, z), "square_uv", 5e-5)):
        error = (torch.stack(place, -1).double() - arrays[f"ref64.{name}"]).abs().amax(-1)
        assert float(error[torch.isfinite(error)].max()) < bound
        assert int(torch.isfinite(error).sum()) >= 997


def test_points_where_the_published_map_gives_nan_are_finite_with_bounded_gradients(arrays: Mapping[str, torch.Tensor]) -> None:
    points = arrays["in.nan_points"].clone().requires_grad_()
    place = torch.stack(crown_square(*points.unbind(-1)), -1)
    assert torch.isfinite(place).all() and float(place.detach().abs().max()) <= 1
    (grad,) = torch.autograd.grad(place.sum(), points)
    assert torch.isfinite(grad).all() and float(grad.abs().max()) < 10 / SOFT / CORNER


VARIANTS = [
    HyPlaneSettings(planes=planes, split=split, resolution=32, num_features=3, **more)  # type: ignore[arg-type]
    for planes, split, more in (
        ("3+1", "even", {}),
        ("3+1", "area", {}),
        ("3+1", "even", {"warp": "theta_phi"}),
        ("2+2", "even", {}),
        ("2+2", "even", {"warp": "laea_disc", "rolls_degrees": (30.0, -45.0)}),
        ("2+2", "area", {"cap_degrees": 60.0, "sphere_votes": 1}),
    )
]


@pytest.mark.parametrize("settings", VARIANTS, ids=lambda s: f"{s.planes}-{s.split}-{s.warp}")
def test_cuts_cover_the_map_once_and_weights_sum_to_one(settings: HyPlaneSettings) -> None:
    volume = settings.open()
    covered = torch.zeros(32, 32)
    for _, top, left, height, width in volume.regions:
        covered[top : top + height, left : left + width] += 1
    assert bool((covered == 1).all())
    points = torch.rand(1, 500, 3, generator=torch.Generator().manual_seed(1)) * 0.8 - 0.4
    ones = volume.sample(volume.prepare(torch.ones(1, 3, 32, 32)), points)
    assert float(ones.max()) <= 1 + 1e-5
    assert float(ones.median()) == pytest.approx(1, abs=1e-5)  # below it only where a border fades


@pytest.mark.parametrize("settings", VARIANTS, ids=lambda s: f"{s.planes}-{s.split}-{s.warp}")
def test_poles_axes_and_origin_have_finite_values_and_bounded_gradients(settings: HyPlaneSettings) -> None:
    volume = settings.open()
    maps = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2)).requires_grad_()
    axes = torch.cat([torch.eye(3), -torch.eye(3)])
    points = torch.cat([torch.zeros(1, 3), 0.3 * axes, 0.3 * axes + 1e-9, 1e-8 * axes])[None].requires_grad_()
    read = volume.sample(volume.prepare(maps), points)
    assert torch.isfinite(read).all()
    to_maps, to_points = torch.autograd.grad(read.sum(), (maps, points))
    assert torch.isfinite(to_maps).all() and torch.isfinite(to_points).all()
    assert float(to_points.abs().max()) < 32 / SOFT / CORNER


def test_area_bias_gives_the_sphere_nine_sixteenths_and_both_strips_fine_y() -> None:
    volume = HyPlaneSettings(split="area").open()
    shapes = {name: (height, width) for name, _, _, height, width in volume.regions}
    assert shapes == {"sphere": (384, 384), "xy": (384, 128), "yz": (128, 384), "xz": (128, 128)}


def test_every_plane_is_read_along_its_own_axes() -> None:
    for settings in VARIANTS:
        volume = settings.open()
        for name, top, left, height, width in volume.regions:
            maps = torch.zeros(1, 3, 32, 32)
            maps[:, 0, top : top + height, left : left + width] = torch.linspace(0, 1, width)
            maps[:, 1, top : top + height, left : left + width] = torch.linspace(0, 1, height)[:, None]
            point = torch.tensor([[[0.11, -0.07, 0.2]]])
            read = volume.sample(volume.prepare(maps), point)[0, 0]
            if name not in ("xy", "xz", "yz"):
                continue
            across, down = ("xyz".index(letter) for letter in name)
            share = 1 / (2 + settings.sphere_votes) if settings.planes == "2+2" else 1 / 4
            for value, axis, count in ((read[0], across, width), (read[1], down, height)):
                texel = (float(point[0, 0, axis]) * 2 + 1) * count / 2 - 0.5
                assert float(value) == pytest.approx(share * texel / (count - 1), abs=1e-5)


def test_two_discs_of_opposite_centres_share_the_sphere() -> None:
    directions = torch.nn.functional.normalize(torch.randn(500, 3, generator=torch.Generator().manual_seed(3)), dim=-1)
    x, y, z = directions.unbind(-1)
    face, nape = disc(x, -y, z), disc(-x, -y, -z)
    radii = [(place[0].square() + place[1].square()) for place in (face, nape)]
    torch.testing.assert_close(radii[0] + radii[1], torch.ones(500))
    total = rim_weight(face, 1.0) + rim_weight(nape, 1.0)
    assert float(total.min()) > 0.171 and float(total.max()) <= 1 + 1e-6


def test_neither_sphere_of_two_shows_its_own_rim() -> None:
    volume = HyPlaneSettings(planes="2+2", resolution=64, num_features=4).open()
    maps = torch.zeros(1, 4, 64, 64)
    maps[:, :, 32:] = torch.randn(1, 4, 32, 64, generator=torch.Generator().manual_seed(5))  # the two spheres
    for z in (-0.3, 0.3):
        angle = torch.linspace(0, 6.28, 40)
        ring = torch.stack([1e-4 * angle.cos(), 1e-4 * angle.sin(), torch.full_like(angle, z)], -1)[None]
        read = volume.sample(volume.prepare(maps), ring)
        assert float((read.amax(1) - read.amin(1)).max()) < 0.01


def test_settings_are_checked_and_told_apart_in_a_file() -> None:
    for message, changes in (
        ("that 4 divides", {"resolution": 30}),
        ("two spheres need a disc", {"planes": "2+2", "warp": "theta_phi"}),
        ("cap_degrees <= 180", {"cap_degrees": 5.0}),
    ):
        with pytest.raises(ConfigError, match=message):
            HyPlaneSettings(**changes)  # type: ignore[arg-type]
    for kind in VolumeSettings.kinds.values():
        chosen = kind()
        read = [from_plain(other, to_plain(chosen)) for other in VolumeSettings.kinds.values() if other is kind]
        assert read == [chosen]
        for other in VolumeSettings.kinds.values():
            if other is not kind:
                with pytest.raises(ConfigError):
                    from_plain(other, to_plain(chosen))
