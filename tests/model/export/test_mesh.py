"""`mesh`: one seed one head whatever else is asked for, files with a record, numbers that agree with them, refusals."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from spherehead import cli
from spherehead.datasets.arrays import Floats
from spherehead.datasets.camera import Camera
from spherehead.manifests.config import ConfigError, override, to_plain
from spherehead.manifests.store import file_sha256
from spherehead.model.export.mesh import MeshSettings, _measures, write_meshes
from spherehead.model.generator import Generator
from spherehead.model.meshes.density import SEEN, SurfaceSettings, density_grid, depth_gap, fitting_level, head_box, ray_maxima
from spherehead.model.meshes.mesh import CENTIMETRE, Mesh, MeshError
from spherehead.model.meshes.surface import Box, Grid
from spherehead.model.presets import preset
from spherehead.model.shipped import shipped
from spherehead.model.visualization.views import View

FILES = {
    "head.glb", "head.obj", "head.mtl", "head.ply", "texture.png", "classes.png", "sheet.png", "mesh.json", "splats.ply",
}  # fmt: skip
QUICK = MeshSettings(SurfaceSettings(spacing=1.0), faces=1500, texture=128, splats=2.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("meshes")
    write_meshes(shipped("tiny-64"), [5, 0], out, QUICK)
    return out


def test_every_head_has_its_files_and_a_record_of_what_they_are_worth(made: Path) -> None:
    for seed in (0, 5):
        folder = made / f"seed-{seed:04d}"
        assert {path.name for path in folder.iterdir()} == FILES
        told = json.loads((folder / "mesh.json").read_text())["measures"]
        assert told["watertight"]
        assert told["faces"] <= 1500
        assert told["silhouette_iou"] > 0.85
        assert 1000 < told["volume_cm3"] < 15_000
    assert json.loads((made / "meshes.json").read_text())["seeds"] == [5, 0]


def test_a_seed_is_one_head_whatever_else_is_asked_for(made: Path, tmp_path: Path) -> None:
    write_meshes(shipped("tiny-64"), [0], tmp_path, QUICK)
    for name in FILES:
        assert file_sha256(tmp_path / "seed-0000" / name) == file_sha256(made / "seed-0000" / name), name


def test_the_command_takes_a_shipped_model_and_prints_one_row_a_head(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["mesh", "--run", "tiny-64", "--seeds", "3", "--out", str(tmp_path), "--faces", "800", "--texture", "64"]
    assert cli.main([*words, "--spacing", "1.5", "--unit", "m", "--splats", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["3", "800", "yes"]
    text = (tmp_path / "seed-0003" / "head.obj").read_text()
    heights = [float(line.split()[2]) for line in text.splitlines() if line.startswith("v ")]
    assert 0.2 < max(heights) - min(heights) < 0.5


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--unit", "inch"], 2, "expected one of cm, m, head"),
        (["--faces", "7"], 2, "expected 100 to"),
        (["--spacing", "9"], 2, "expected a spacing"),
        (["--opacity", "1.5"], 2, "expected an opacity"),
        (["--run", "nothing-here"], 2, "no model in"),
    ],
)
def test_mistakes_are_named(words: list[str], code: int, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["mesh", "--out", str(tmp_path / "out"), *words]) == code
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def ball_grid(radius: float, slope: float) -> Grid:
    box = Box((-0.3, -0.3, -0.3), (0.3, 0.3, 0.3))
    return Grid.sample(lambda points: slope * (radius - np.linalg.norm(points, axis=1)), box, 0.01)


def disc(camera: Camera, radius: float, size: int = 48) -> View:
    """The mask of a ball: pixels whose rays pass the origin within its radius."""
    centres = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(centres, centres)
    local = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(camera.intrinsics).T
    rays = local @ camera.cam2world[:3, :3].T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    miss = np.linalg.norm(np.cross(rays, -camera.position), axis=-1)
    mask = (miss < radius).astype(np.float32)
    picture = np.zeros((size, size, 3), np.uint8)
    return View(picture, picture, mask, mask, None)


def test_the_fitting_level_is_the_one_whose_silhouettes_are_the_masks() -> None:
    """Density falls by 100 a world unit, so masks of a ball that is 0.03 smaller mean a level 3 higher."""
    cameras = [Camera.look_at(yaw, pitch) for yaw, pitch in ((0, 0), (2, 0.4), (4, -0.3))]
    level, overlap = fitting_level(ball_grid(0.25, 100.0), cameras, [disc(camera, 0.2) for camera in cameras])
    assert level == pytest.approx(5.0, abs=0.6)
    assert overlap > 0.97
    with pytest.raises(MeshError, match="half opaque"):
        fitting_level(ball_grid(0.25, 100.0), cameras[:1], [disc(cameras[0], 0.0)])


def test_the_largest_value_along_a_ray_is_the_field_where_it_passes_nearest() -> None:
    camera = Camera.look_at(0.7, 0.3)
    found = ray_maxima(ball_grid(0.25, 100.0), camera, 48)
    centres = (np.arange(48) + 0.5) / 48
    u, v = np.meshgrid(centres, centres)
    local = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(camera.intrinsics).T
    rays = local @ camera.cam2world[:3, :3].T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    miss = np.linalg.norm(np.cross(rays, -camera.position), axis=-1)
    near = miss < 0.28
    assert np.abs(found[near] - 100 * (0.25 - miss[near])).max() < 0.7


def test_the_grid_ends_where_the_march_does_and_holds_the_fields_densities() -> None:
    settings = override(preset("tiny-64"), ["generator.z_dim=16", "generator.w_dim=16"]).generator
    settings = dataclasses.replace(settings, backbone=dataclasses.replace(settings.backbone, channel_base=256, channel_max=8))
    torch.manual_seed(0)
    generator = Generator(settings).eval()
    surface = SurfaceSettings(spacing=3.0)
    box = head_box(generator, surface)
    assert (box.low[0], box.high[2]) == (-0.4, 0.4)
    assert box.low[1] == pytest.approx(-SEEN)
    planes = generator.planes(generator.styles(torch.zeros(1, 16), torch.zeros(1, 25)))
    grid = density_grid(generator, planes, surface)
    assert (grid.steps() <= 3.0 * CENTIMETRE + 1e-9).all()
    point = torch.tensor([[[grid.axes[0][2], grid.axes[1][3], grid.axes[2][4]]]], dtype=torch.float32)
    with torch.no_grad():
        assert float(generator.field(planes, point)[1]) == pytest.approx(float(grid.values[2, 3, 4]), abs=1e-4)


def slope(side: int) -> Floats:
    """Distances of a plane that recedes to the right, at the centres of `side` pixels."""
    return np.tile(2.5 + 0.3 * (np.arange(side) + 0.5) / side, (side, 1)).astype(np.float32)


def seen(mask: Floats) -> View:
    picture = np.full((64, 64, 3), 90, np.uint8)
    return View(picture, picture, mask, slope(len(mask)), None)


@pytest.mark.parametrize("rays", [8, 24, 64])
def test_depths_of_one_surface_agree_whatever_the_number_of_rays(rays: int) -> None:
    """A picture's pixel may lie half a pixel off a ray's, along which the plane recedes by 0.3 / 64 / 2."""
    gap = depth_gap(slope(64), seen(np.ones((rays, rays), np.float32)))
    assert gap <= 0.3 / 64 / 2 / CENTIMETRE + 1e-6


@pytest.mark.parametrize("rays", [16, 24, 45])
def test_a_mesh_is_measured_at_rays_that_do_not_divide_the_picture(rays: int) -> None:
    """Schedules end at such numbers: tiny-64 trains with 24 rays a side."""
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    mesh = Mesh(corners, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))
    depth = np.where(np.arange(64) < 32, slope(64), np.inf)  # the left half
    mask = np.tile((np.arange(rays) + 0.5) / rays < 0.5, (rays, 1)).astype(np.float32)
    told = _measures(mesh, [(np.full((64, 64, 3), 91, np.uint8), depth)], [seen(mask)], 0.5, 1.0)
    assert told.silhouette_iou > 1 - 2 / rays
    assert told.picture_psnr == pytest.approx(20 * math.log10(255))  # one level off everywhere


def test_a_head_that_is_nowhere_opaque_has_no_depth_to_compare_but_files() -> None:
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    mesh = Mesh(corners, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))
    told = _measures(mesh, [(np.full((64, 64, 3), 91, np.uint8), slope(64))], [seen(np.full((16, 16), 0.7))], 0.5, 1.0)
    assert told.depth_gap_cm is None and told.picture_psnr is not None
    assert to_plain(told)["depth_gap_cm"] is None  # JSON has no NaN


def test_settings_are_checked() -> None:
    for change in ({"texture": 7}, {"faces": -1}, {"unit": "ell"}, {"splats": 9.0}):
        with pytest.raises(ConfigError):
            dataclasses.replace(MeshSettings(), **change)
