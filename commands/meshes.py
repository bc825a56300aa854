"""The command that takes heads out of a model as meshes: `mesh`.

Surfaces, textures and files are `model.meshes`' and `model.export.mesh`'s affair.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import echo, table


def mesh(
    run: Annotated[
        Path, typer.Option("--run", metavar="DIR|NAME", help="Folder of a training run or of a model, or a shipped model.")
    ] = Path("tiny-64"),
    seeds: Annotated[str, typer.Option(metavar="LIST", help="Heads to make, e.g. 0-3,12.")] = "0-3",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="For the files, one folder a seed.")] = Path("meshes"),
    faces: Annotated[int, typer.Option(metavar="COUNT", help="Faces of a mesh; 0 keeps all of the grid's.")] = 20_000,
    texture: Annotated[int, typer.Option(metavar="TEXELS", help="Side of the texture; 0 for one that fits the model.")] = 0,
    spacing: Annotated[float, typer.Option(metavar="CM", help="Distance of the grid's points in centimetres.")] = 0.25,
    opacity: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Opacity of a centimetre beneath the surface.  [default: fits the rendered masks]"),
    ] = None,
    psi: Annotated[float, typer.Option(help="Truncation towards the mean head; 1 for none.")] = 0.7,
    splats: Annotated[float, typer.Option(metavar="CM", help="Distance of Gaussian splats in centimetres; 0 for none.")] = 0.5,
    unit: Annotated[str, typer.Option(help="Unit of OBJ and PLY: cm, m or head; GLB is in metres.")] = "cm",
    device: Annotated[str, typer.Option(help="Where the model runs, e.g. cuda.")] = "cpu",
) -> None:
    """Write heads as closed, textured meshes (GLB, OBJ, PLY) with classes, and as Gaussian splats. One seed is one head.

    Example: spherehead mesh --run runs/heads --seeds 0-3 --out meshes
    """
    from ..manifests.config import ConfigError
    from ..model.export.generate import parse_seeds
    from ..model.export.mesh import MeshSettings, write_meshes
    from ..model.meshes.density import SurfaceSettings
    from ..model.meshes.mesh import UNITS

    if unit not in UNITS:
        raise ConfigError(f"expected one of {', '.join(UNITS)} for --unit, got {unit!r}")
    chosen = parse_seeds(seeds)
    settings = MeshSettings(SurfaceSettings(spacing, opacity), faces, texture, psi, splats, unit)  # type: ignore[arg-type]
    made = write_meshes(run, chosen, out, settings, device)
    head = ("seed", "faces", "closed", "area cm2", "volume cm3", "silhouettes", "depth cm", "picture dB")
    rows = [
        (str(seed), f"{one.faces:,}", "yes" if one.watertight else "NO", f"{one.area_cm2:.0f}", f"{one.volume_cm3:.0f}",
         f"{one.silhouette_iou:.3f}", _number(one.depth_gap_cm, ".2f"), _number(one.picture_psnr, ".1f"))
        for seed, one in zip(chosen, made, strict=True)
    ]  # fmt: skip
    echo(*table(head, rows))
    echo(f"{out}: {len(made)} heads as head.glb, head.obj and head.ply")


def _number(value: float | None, form: str) -> str:
    """Write a measure; a dash where there is none."""
    return "-" if value is None else format(value, form)
