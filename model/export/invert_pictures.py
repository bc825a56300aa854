"""What is shown of an inverted head: photographs beside what was found, the head from all sides, a turn, a mesh.

Finding it is left to `invert`, the page around it all to `invert_page`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...datasets.arrays import Pixels
from ...datasets.report.tiles import fit, write_png
from ...manifests.store import write_bytes
from ..generator import Generator
from ..inversion.targets import Targets
from ..meshes.mesh import MeshError
from ..visualization.orbit import orbit_frames, tiles
from ..visualization.pictures import heads_sheet, sheet
from ..visualization.snapshot import SnapshotSettings
from ..visualization.video import write_video
from ..visualization.views import RenderSettings, each_view, ring, to_pixels
from .mesh import MeshSettings, make_mesh

log = logging.getLogger(__name__)

VIEWS, FRAMES, FPS = 8, 72, 24
VIDEO, MESH, MESH_FACES = "orbit", "mesh.glb", 10_000
"""How the name of the turn begins; the mesh's name; its number of triangles."""
PHOTOGRAPHS_SHEET, VIEWS_SHEET, VIEWS_FOLDER = "photographs.png", "views.png", "views"
"""Names of the two sheets, and of the folder of single views."""


@dataclass(frozen=True, eq=False)
class Stage:
    """A head as one stage of the inversion left it."""

    name: str
    generator: Generator
    ws: Tensor
    """(B, num_ws, w_dim) style vectors: one head, the grounds of B photographs."""
    cameras: Tensor
    """(B, 25) labels of the photographs."""


@torch.no_grad()
def write_pictures(
    out: Path, names: Sequence[str], targets: Targets, mean: Stage, found: Sequence[Stage], rendering: RenderSettings
) -> list[str]:
    """Write the photographs beside what was found, and the head from all sides; return the names of the files.

    Args:
        out: the head's folder.
        names: of the photographs.
        targets: the photographs.
        mean: the model's mean head.
        found: what each stage left, the last one last.
        rendering: how far the networks have grown.
    """
    side = SnapshotSettings().tile_size(targets.image.shape[-1])
    columns: list[list[Pixels]] = [list(to_pixels(targets.image)), list(to_pixels(targets.image * targets.mask))]
    for stage in (mean, *found):
        made = stage.generator.synthesise(
            stage.ws,
            stage.cameras,
            neural_resolution=rendering.neural_resolution,
            image_resolution=rendering.image_resolution,
            fade=rendering.fade,
        )
        columns.append(list(to_pixels(made.image)))
    rows = [[fit(picture, side) for picture in row] for row in zip(*columns, strict=True)]
    titles = ("photograph", "matte", *(stage.name for stage in (mean, *found)))
    write_png(out / PHOTOGRAPHS_SHEET, sheet(rows, names, titles))
    turns = [list(each_view(stage.generator, stage.ws[:1], ring(VIEWS), rendering)) for stage in found]
    write_png(out / VIEWS_SHEET, heads_sheet(turns, [stage.name for stage in found], side))
    written = [PHOTOGRAPHS_SHEET, VIEWS_SHEET]
    for index, view in enumerate(turns[-1]):
        written.append(f"{VIEWS_FOLDER}/view-{index:02d}.png")
        write_png(out / written[-1], view.image)
    return written


@torch.no_grad()
def write_turn(out: Path, generator: Generator, head: Tensor, rendering: RenderSettings) -> list[str]:
    """Write a film of one turn around a head of (1, num_ws, w_dim) style vectors; return its name."""
    resolution = rendering.image_resolution or generator.settings.upsampler.resolution
    turn = tiles(each_view(generator, head, ring(FRAMES), rendering), SnapshotSettings().tile_size(resolution))
    return [write_video(out / f"{VIDEO}.webm", orbit_frames([turn], 1), FPS).name]


def write_mesh(out: Path, generator: Generator, head: Tensor, rendering: RenderSettings) -> list[str]:
    """Write a head as a mesh; return its name, or nothing where there is no surface or a package is missing."""
    try:
        made = make_mesh(generator, head, MeshSettings(faces=MESH_FACES), rendering)
    except MeshError as error:
        log.warning("there is no mesh: %s", error)
        return []
    write_bytes(out / MESH, made.glb())
    return [MESH]
