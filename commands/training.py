"""The command that trains: `train`.

It turns options into a config, runs it, and words what came of it; the run is `model.train`'s affair.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import echo

if TYPE_CHECKING:
    from ..model.train.config import TrainConfig


def train(
    data: Annotated[list[str], typer.Option("--data", metavar="DIR_OR_URL", help="A finished data set; may be given again.")],
    out: Annotated[str, typer.Option("--out", metavar="DIR|URL", help="Folder of the run, or a prefix as s3://bucket/run.")],
    preset: Annotated[str, typer.Option(help="Name of a model preset; its system's recipe comes with it.")] = "spherehead-512",
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a setting: --set terms.vico=null")
    ] = None,
    condition: Annotated[str, typer.Option(help="The generator's condition: camera, subject or none.")] = "camera",
    grow: Annotated[int, typer.Option(min=0, help="Resolution that progressive growing starts from; 0 for not at all.")] = 0,
    warm_start: Annotated[str, typer.Option(help="views: learn rendered people's views before the game; or none.")] = "none",
    init: Annotated[
        str,
        typer.Option(metavar="NAME|DIR|CKPT", help="Begin from a shipped model, a model, a run or a checkpoint."),
    ] = "",
    workers: Annotated[int, typer.Option(min=0, help="Data processes for each training process.")] = 2,
    save_images: Annotated[int, typer.Option(min=1, help="Save and draw at this interval of pictures shown.")] = 200_000,
    log_images: Annotated[int, typer.Option(min=1, help="Write metrics at this interval of pictures shown.")] = 1_000,
    keep: Annotated[int, typer.Option(min=1, help="Checkpoints that are kept.")] = 3,
    threads: Annotated[int, typer.Option(min=0, help="Threads of a process on a CPU; 0 is PyTorch's choice.")] = 0,
    max_seconds: Annotated[float, typer.Option(min=0, help="Save and stop after this many seconds; 0 for no limit.")] = 0.0,
    no_pictures: Annotated[bool, typer.Option("--no-pictures", help="Draw no grids and orbits.")] = False,
    no_parsing: Annotated[bool, typer.Option("--no-parsing", help="Leave classes out, for data without class maps.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    plan: Annotated[bool, typer.Option("--plan", help="Print parameters, memory and time on this machine, and exit.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Let the folder resume with changed settings.")] = False,
) -> None:
    """Train a generator of heads on data sets; rerun the command to resume, under torchrun on several GPUs.

    Example: spherehead train --data heads --preset tiny-64 --out run --set images=100000
    """
    from ..model.train.config import RunSettings
    from ..model.train.distributed import open_world
    from ..model.train.initial import digest_of, initial_folder
    from ..model.train.nodes.store import open_run
    from ..model.train.plan import make_plan
    from ..model.train.trainer import train as run

    config = _config(preset, condition, grow, assignments or [], not no_parsing, warm_start)
    settings = RunSettings(workers, save_images, keep, log_images, not no_pictures, True, threads, max_seconds)
    folder, store = open_run(out)
    begin = initial_folder(Path(init), folder) if init else None
    if begin is not None:
        config = dataclasses.replace(config, init=digest_of(begin))
    world = open_world(device)
    try:
        if plan:
            echo(f"measuring micro-batches of {config.micro_batch} pictures ...", to_error=True, flush=True)
            echo(*make_plan(data, config, settings, world).lines())
            return
        state = run(data, config, folder, settings, world, update, begin, store)
    finally:
        world.close()
    if world.is_first:
        echo(f"{state.images:,} pictures in {state.step:,} steps; newest checkpoint and pictures in {folder}")


def _config(preset: str, condition: str, grow: int, assignments: list[str], parsing: bool, warm_start: str) -> TrainConfig:
    """Return the config of a preset by name, or of a file."""
    from ..manifests.config import from_plain, load_plain
    from ..model.old_names import with_present_names
    from ..model.train.config import TrainConfig
    from ..model.train.recipes import configured, with_assignments, without_parsing

    if not preset.endswith((".yaml", ".yml", ".json")):
        return configured(preset, condition, grow, assignments, parsing=parsing, warm_start=warm_start)
    config = from_plain(TrainConfig, with_present_names(load_plain(Path(preset))), preset)
    return with_assignments(config if parsing else without_parsing(config), assignments)
