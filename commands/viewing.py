"""The command `view`: heads, a mesh or a data set's cameras in a browser.

What is shown is `model.viewer`'s affair.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import echo

if TYPE_CHECKING:
    from ..datasets.shards.codec import Decoded
    from ..model.viewer.frames import Heads


def view(
    run: Annotated[
        Path | None, typer.Option("--run", metavar="DIR|NAME", help="Folder of a run or of a model, or a shipped model.")
    ] = None,
    head: Annotated[Path | None, typer.Option("--head", metavar="DIR", help="An inverted head of that model.")] = None,
    mesh: Annotated[Path | None, typer.Option("--mesh", metavar="FILE", help="A GLB, OBJ or PLY file.")] = None,
    data: Annotated[Path | None, typer.Option("--data", metavar="SET", help="A finished data set: its cameras.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Samples of a data set that are shown.")] = 200,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; the next free one where it is taken.")] = 8080,
    device: Annotated[str, typer.Option(help="Where the model runs, e.g. cuda.")] = "cpu",
) -> None:
    """Turn heads in the browser, with seeds, truncation, mixture, classes and depth; or a mesh, or a data set's cameras.

    Example: spherehead view --run tiny-64
    """
    from ..manifests.config import ConfigError
    from ..model.viewer.page import open_server, show_axes

    if sum(choice is not None for choice in (run, mesh, data)) != 1 or (head is not None and run is None):
        raise ConfigError("expected one of --run, --mesh and --data (and --head only with --run)")
    if mesh is not None and not mesh.is_file():
        raise ConfigError(f"no mesh at {mesh}; expected a GLB, OBJ or PLY file, such as export-mesh writes")
    server = open_server(host, port)
    address = f"http://{'localhost' if host == '0.0.0.0' else host}:{server.get_port()} (stop with Ctrl-C)"
    if run is not None:
        echo(address, flush=True)  # a browser connects while PyTorch is imported
    from ..model.viewer.server import read_mesh, show_heads, show_mesh, show_samples

    if run is not None:
        show_heads(server, _heads(run, head, device))
    elif mesh is not None:
        try:
            show_mesh(server, *read_mesh(mesh))
        except ValueError as error:
            raise ConfigError(str(error)) from error
    elif data is not None:
        show_samples(server, _samples(data, count))  # moves the first camera: nobody may have connected before
    show_axes(server, visible=run is None)
    if run is None:
        echo(address, flush=True)
    while True:
        time.sleep(3600)


def _heads(run: Path, head: Path | None, device: str) -> Heads:
    """Return what is shown of a model."""
    from ..model.export.generate import find_model, present_settings
    from ..model.inversion.inverted import load_inverted
    from ..model.store import load_generator
    from ..model.viewer.frames import Heads

    folder = find_model(run)
    if head is not None:
        found = load_inverted(head, folder, device)
        return Heads(found.generator, found.ws[:1], present_settings(folder))
    return Heads(load_generator(folder).to(device), rendering=present_settings(folder))


def _samples(data: Path, count: int) -> list[Decoded]:
    """Return up to `count` samples with cameras, chosen by a hash of their ids."""
    from ..datasets.shards.inspect import PLACE, pick_random, read
    from ..manifests.frames import read_frame

    frame = read_frame(data, PLACE)
    kept = frame[frame["status"] == "kept"]
    return [sample for sample in read(data, pick_random(kept, count), frame) if sample.camera is not None]
