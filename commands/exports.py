"""The command that writes finished data sets in the forms of other programs: `export`.

What a format demands is known in `datasets.exchange`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import Folder, echo

FORMATS = ("eg3d", "nerfstudio", "colmap", "hub")


def export(
    folder: Folder,
    format_: Annotated[str, typer.Option("--format", metavar="NAME", help=f"One of {', '.join(FORMATS)}.")],
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="New folder, or new file that ends with .zip.")],
    masks: Annotated[
        Path | None, typer.Option("--masks", metavar="PATH", help="eg3d: also write masks to this new folder or zip.")
    ] = None,
    names: Annotated[
        str, typer.Option("--names", help="numbered: as EG3D's tool does; original: as their source named them.")
    ] = "numbered",
    split: Annotated[str, typer.Option("--split", help="Only this split.")] = "",
    identity: Annotated[str, typer.Option("--identity", help="Only pictures of this person: nerfstudio, colmap.")] = "",
) -> None:
    """Write a data set for EG3D and its successors, nerfstudio or COLMAP, or a data card and Croissant file for a hub.

    Pictures are the shards' files, byte for byte.

    Example: spherehead export heads --format eg3d --out heads.zip
    """
    from ..datasets.exchange.eg3d import write_eg3d
    from ..datasets.exchange.scenes import write_colmap, write_nerfstudio
    from ..manifests.config import ConfigError, unknown

    if format_ not in FORMATS:
        raise ConfigError(unknown(format_, FORMATS, "formats"))
    if names not in ("numbered", "original"):
        raise ConfigError(f"expected numbered or original for --names, got {names!r}")
    if format_ == "hub":
        from ..datasets.exchange.hub import write_hub

        if masks is not None or split or identity or names != "numbered":
            raise ConfigError("--masks, --names, --split and --identity are for formats that hold pictures")
        echo(f"{out}: {', '.join(write_hub(folder, out))}; upload them beside {folder}'s manifest and shards")
        return
    if format_ == "eg3d":
        if identity:
            raise ConfigError("--identity is for nerfstudio and colmap, which hold one scene")
        done = write_eg3d(folder, out, masks, names, split)  # type: ignore[arg-type]
    else:
        if masks is not None:
            raise ConfigError("--masks is for eg3d; nerfstudio and colmap get their masks beside the pictures")
        write = write_nerfstudio if format_ == "nerfstudio" else write_colmap
        done = write(folder, out, names, split, identity)  # type: ignore[arg-type]
    echo(f"{out}: {done.pictures:,} pictures of {done.side} px, {done.masks:,} masks")
