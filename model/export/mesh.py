"""Heads of a saved model as meshes: surface, texture and classes in the files of other programs, and what the result is worth.

Surfaces, textures and files are those of `meshes`; every number in mesh.json is measured on what was written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...datasets.arrays import Floats, Pixels
from ...datasets.camera import Camera
from ...datasets.classes import colourise
from ...datasets.report.tiles import png, write_png
from ...manifests.config import ConfigError, to_plain
from ...manifests.store import write_bytes, write_json
from ..generator import Generator
from ..meshes import mesh_files
from ..meshes.density import (
    REACH,
    SurfaceSettings,
    at_centres,
    density_grid,
    depth_gap,
    fitting_level,
    opacity_of,
    raw_density,
)
from ..meshes.gltf import glb
from ..meshes.mesh import CENTIMETRE, METRE, UNITS, Mesh
from ..meshes.mesh_files import CLASSES_NAME, MTL_NAME, OBJ_NAME, TEXTURE_NAME
from ..meshes.splats import splat_ply, volume_splats
from ..meshes.surface import simplified, surface
from ..meshes.texture import Samples, Texture, drawn, paint
from ..meshes.unwrap import Atlas, unwrap
from ..store import GENERATOR, load_generator, read_config
from ..visualization.pictures import sheet
from ..visualization.views import RenderSettings, View, each_view, head_styles, seeded_latents
from .generate import find_model, present_settings, seeded_condition, to_device

RINGS = ((0.0, 10), (25.0, 6), (-25.0, 6), (65.0, 3))
"""Pitch in degrees and number of cameras of each ring from which heads are painted."""
SHOWN = 8
"""Views on a head's sheet."""


@dataclass(frozen=True)
class MeshSettings:
    """What is made of a head."""

    surface: SurfaceSettings = field(default_factory=SurfaceSettings)
    """Where the surface lies."""
    faces: int = 20_000
    """Faces after simplification; 0 keeps those of the grid. A mesh that the model itself draws is never simplified."""
    texture: int = 0
    """Texels a side; 0 for eight times the model's picture, 512 to 2,048."""
    psi: float = 0.7
    """Truncation towards the mean head; 1 for none."""
    splats: float = 0.5
    """Centimetres between Gaussian splats of the volume; 0 for no splats."""
    unit: Literal["cm", "m", "head"] = "cm"
    """Unit of OBJ and PLY; GLB is in metres, as its format demands."""

    def __post_init__(self) -> None:
        if self.faces and not 100 <= self.faces <= 10_000_000:
            raise ConfigError(f"expected 100 to 10,000,000 faces, or 0 for all, got {self.faces}")
        if self.texture and not 64 <= self.texture <= 8192:
            raise ConfigError(f"expected a texture of 64 to 8,192 texels a side, or 0 for a fitting one, got {self.texture}")
        if self.splats and not 0.1 <= self.splats <= 5.0:
            raise ConfigError(f"expected 0.1 to 5 centimetres between splats, or 0 for none, got {self.splats}")
        if self.unit not in UNITS:
            raise ConfigError(f"expected one of {', '.join(UNITS)} as unit, got {self.unit!r}")


@dataclass(frozen=True)
class MeshMeasures:
    """What is known of a mesh; areas and volumes by the mean head's centimetre."""

    vertices: int
    faces: int
    watertight: bool
    handles: int
    """Genus of the surface: 0 for a ball."""
    area_cm2: float
    volume_cm3: float
    size_cm: tuple[float, float, float]
    """Extent in x, y, z."""
    opacity_per_cm: float
    """Opacity of one centimetre of the density on which the surface lies."""
    silhouette_iou: float
    """Mean IoU of the finished mesh's silhouettes with rendered masks."""
    depth_gap_cm: float | None
    """Mean over views of the median distance between mesh and rendered depth; null where no view shows a head that is nine
    tenths opaque."""
    texture_seen: float
    """Share of the texture that some view shows; the rest is taken from the nearest seen texel."""
    picture_psnr: float | None
    """Of the textured mesh against the rendered views, in dB, inside both outlines; null where these never overlap."""


@dataclass(frozen=True, eq=False)
class MadeMesh:
    """One head as a textured mesh, and the views that it was painted from."""

    mesh: Mesh
    atlas: Atlas
    texture: Texture
    corners: Samples
    cameras: list[Camera]
    views: list[View]
    pictures: list[tuple[Pixels, Floats]]
    """The mesh's own picture and depth from every camera."""
    measures: MeshMeasures

    def glb(self) -> bytes:
        """Return the bytes of a GLB file."""
        return glb(self.mesh, self.atlas, self.texture, self.corners.classes(), {"measures": to_plain(self.measures)})


def make_mesh(generator: Generator, ws: Tensor, settings: MeshSettings, rendering: RenderSettings | None = None) -> MadeMesh:
    """Return one head as a mesh, painted from views all around.

    Args:
        generator: any generator.
        ws: (1, num_ws, w_dim) style vectors of the head.
        settings: what to make.
        rendering: how views are rendered; None for the generator's settings.

    Raises:
        MeshError: the head has no surface, or a package is missing.
    """
    cameras = [camera for pitch, count in RINGS for camera in _ring(count, math.radians(pitch))]
    labels = torch.from_numpy(np.stack([camera.label() for camera in cameras]))
    views = list(each_view(generator, ws, labels, rendering or RenderSettings()))
    mesh, opacity = _surface_of(generator, ws, settings, cameras, views)
    size = settings.texture or min(2048, max(512, 8 * views[0].image.shape[0]))
    atlas = unwrap(mesh, size)
    texture, corners = paint(mesh, atlas, cameras, views, size)
    pictures = [
        drawn(mesh, atlas, texture.colours, camera, view.image.shape[0]) for camera, view in zip(cameras, views, strict=True)
    ]
    measures = _measures(mesh, pictures, views, opacity, texture.seen)
    return MadeMesh(mesh, atlas, texture, corners, cameras, views, pictures, measures)


def write_head(
    generator: Generator, ws: Tensor, folder: Path, settings: MeshSettings, rendering: RenderSettings | None = None
) -> MeshMeasures:
    """Write one head as GLB, OBJ and PLY with its textures, a sheet and mesh.json.

    Args:
        generator: any generator.
        ws: (1, num_ws, w_dim) style vectors of the head.
        folder: where the files go.
        settings: what to make.
        rendering: how views are rendered; None for the generator's settings.

    Raises:
        MeshError: the head has no surface, or a package is missing.
    """
    made = make_mesh(generator, ws, settings, rendering)
    classes, texture, unit = made.corners.classes(), made.texture, UNITS[settings.unit]
    write_bytes(folder / "head.glb", made.glb())
    write_bytes(folder / OBJ_NAME, mesh_files.obj(made.mesh, made.atlas, classes, unit))
    write_bytes(folder / MTL_NAME, mesh_files.mtl())
    write_bytes(folder / TEXTURE_NAME, png(texture.colours))
    if texture.classes is not None:
        write_bytes(folder / CLASSES_NAME, png(colourise(texture.classes)))
    write_bytes(folder / "head.ply", mesh_files.ply(made.mesh, made.corners.colours, classes, unit))
    if settings.splats:
        write_bytes(folder / "splats.ply", splat_ply(volume_splats(generator, ws, settings.splats), METRE))
    write_png(folder / "sheet.png", _sheet(made))
    write_json(folder / "mesh.json", {"settings": settings, "unit": unit, "measures": made.measures})
    return made.measures


def _sheet(made: MadeMesh) -> Pixels:
    """Return some of the views above the mesh's own pictures and its classes."""
    chosen = np.linspace(0, len(made.cameras) - 1, min(SHOWN, len(made.cameras))).round().astype(int).tolist()
    rows = [[made.views[index].image for index in chosen], [made.pictures[index][0] for index in chosen]]
    if made.texture.classes is not None:
        side = made.views[0].image.shape[0]
        rows.append([drawn(made.mesh, made.atlas, made.texture.classes, made.cameras[index], side)[0] for index in chosen])
    columns = [
        f"{math.degrees(made.cameras[index].yaw):.0f}, {math.degrees(made.cameras[index].pitch):.0f}" for index in chosen
    ]
    return sheet(rows, ["model", "mesh", "classes"][: len(rows)], columns)


@torch.no_grad()
def _surface_of(
    generator: Generator, ws: Tensor, settings: MeshSettings, cameras: Sequence[Camera], views: Sequence[View]
) -> tuple[Mesh, float]:
    """Return a head's surface and the opacity of a centimetre there: the drawn mesh itself, else a level of the density."""
    planes = generator.planes(ws)
    drawn_one = generator.mesh(planes)
    if drawn_one is not None:
        return Mesh(drawn_one.vertices.double().cpu().numpy(), drawn_one.faces.cpu().numpy()), 1.0
    grid = density_grid(generator, planes, settings.surface)
    opacity = settings.surface.opacity
    level = fitting_level(grid, cameras, views)[0] if opacity is None else raw_density(opacity)
    mesh = surface(grid, level, REACH)
    return simplified(mesh, settings.faces) if settings.faces else mesh, opacity_of(level)


def _ring(count: int, pitch: float) -> list[Camera]:
    return [Camera.look_at(2 * math.pi * index / count, pitch) for index in range(count)]


def _measures(
    mesh: Mesh, pictures: Sequence[tuple[Pixels, Floats]], views: Sequence[View], opacity: float, seen: float
) -> MeshMeasures:
    """Measure a mesh and its pictures against the rendered views."""
    overlaps, gaps, errors = [], [], []
    for (picture, depth), view in zip(pictures, views, strict=True):
        shown, truth = at_centres(np.isfinite(depth), len(view.mask)), view.mask > 0.5
        overlaps.append(float((shown & truth).sum() / max(1, (shown | truth).sum())))
        gaps.append(depth_gap(depth, view))
        inside = np.isfinite(depth) & at_centres(truth, len(depth))
        errors.append(
            float(((picture[inside].astype(np.float64) - view.image[inside]) ** 2).mean()) if inside.any() else math.nan
        )
    extent = (np.ptp(mesh.vertices, axis=0) / CENTIMETRE).tolist()
    gap, error = _known_mean(gaps), _known_mean(errors)
    return MeshMeasures(
        len(mesh.vertices), len(mesh.faces), mesh.is_watertight(), mesh.genus(), mesh.area() / CENTIMETRE**2,
        mesh.volume() / CENTIMETRE**3, (extent[0], extent[1], extent[2]), opacity, float(np.mean(overlaps)),
        gap, seen, None if error is None else 10 * math.log10(255**2 / max(error, 1e-9)),
    )  # fmt: skip


def _known_mean(values: Sequence[float]) -> float | None:
    """Return the mean of the views that have a value, which are not NaN; None where none has."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else None


def write_meshes(run: Path, seeds: Sequence[int], out: Path, settings: MeshSettings, device: str = "cpu") -> list[MeshMeasures]:
    """Write meshes of a saved model's heads, one folder a seed, and meshes.json, which says how they were made.

    Args:
        run: a training run's folder, a model's, or a shipped model by name.
        seeds: one head each; the heads that `generate` draws for them.
        out: where seed-0000/head.glb ... go.
        settings: what to make.
        device: where the model runs.

    Raises:
        ModelStoreError: there is no whole model.
        MeshError: a head has no surface, or a package is missing.
    """
    folder = find_model(run)
    generator = to_device(load_generator(folder, GENERATOR), device)
    rendering, made = present_settings(folder), []
    for seed in seeds:
        latents, condition = seeded_latents([seed], generator.settings.z_dim), seeded_condition(generator, [seed])[0]
        ws = head_styles(generator, latents, condition, settings.psi)
        made.append(write_head(generator, ws, out / f"seed-{seed:04d}", settings, rendering))
    record = {
        "model": folder.name,
        "sha256": read_config(folder).parts[GENERATOR].sha256,
        "seeds": list(seeds),
        "settings": settings,
    }
    write_json(out / "meshes.json", record)
    return made
