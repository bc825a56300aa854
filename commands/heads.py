"""Commands about models of heads: `convert`, `generate` and `model ...`.

Reading and writing them is `model.store`'s and `model.interop`'s affair, pictures are `model.export`'s; weights of the
pipeline's stages are in `machine`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import MISMATCH, Json, echo, echo_text, table

if TYPE_CHECKING:
    from ..datasets.arrays import Pixels
    from ..model.evaluation.reading import HeadReading

model = typer.Typer(help="Show models of heads.", no_args_is_help=True)


def convert(
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT", help="Published .pkl of EG3D or a successor.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder for the model.")],
    no_discriminator: Annotated[bool, typer.Option("--no-discriminator", help="Leave the discriminator out.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Also keep the generator as trained, before averaging.")] = False,
    like: Annotated[
        str | None, typer.Option("--like", metavar="PRESET", help="Settings of a bare state dict, which says nothing of them.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a setting: --set generator.volume.axes=xy_xz_yz"),
    ] = None,
) -> None:
    """Turn a published checkpoint into safetensors and config.json, without running any code in it.

    Example: spherehead convert spherehead-ckpt-025000.pkl --out spherehead-512
    """
    from ..model.interop.convert import convert as run

    done = run(checkpoint, out, discriminator=not no_discriminator, live=live, like=like, changes=assignments or [])
    parts = ", ".join(f"{name} {entry.num_numbers:,} numbers" for name, entry in done.config.parts.items())
    echo(f"{done.folder}: {parts}" + (f"; not asked for: {', '.join(done.ignored)}" if done.ignored else ""))


def generate(
    run: Annotated[
        Path, typer.Option("--run", metavar="DIR|NAME", help="Folder of a training run or of a model, or a shipped model.")
    ] = Path("tiny-128"),
    seeds: Annotated[str, typer.Option(metavar="LIST", help="Heads to make, e.g. 0-7,12.")] = "0-7",
    views: Annotated[int, typer.Option(min=1, max=360, help="Cameras around each head; the first is in front.")] = 8,
    orbit: Annotated[bool, typer.Option("--orbit", help="Also make a video of a full turn.")] = False,
    psi: Annotated[float, typer.Option(help="Truncation towards the mean head; 1 for none.")] = 0.7,
    pitch: Annotated[float, typer.Option(metavar="DEGREES", help="Elevation of the cameras.")] = 0.0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="For the pictures.  [default: DIR/generated]")
    ] = None,
    neural_resolution: Annotated[
        int | None,
        typer.Option("--neural-resolution", "--resolution", metavar="RAYS", help="Rays per side.  [default: the model's]"),
    ] = None,
    device: Annotated[str, typer.Option(help="Where the model runs, e.g. cuda.")] = "cpu",
) -> None:
    """Make pictures of a trained model's heads: views, a sheet, and a video of a turn. One seed is one head.

    Example: spherehead generate --run runs/heads --seeds 0-7 --views 8 --orbit
    """
    from ..model.export.generate import GenerateSettings, parse_seeds
    from ..model.export.generate import generate as run_it
    from ..model.shipped import is_shipped

    settings = GenerateSettings(parse_seeds(seeds), views, psi, pitch, orbit, neural_resolution=neural_resolution)
    target = out or (Path("generated") if is_shipped(run) else run / "generated")
    done = run_it(run, target, settings, device)
    echo(f"{target}: {len(settings.seeds)} heads of {done.model}, {len(done.files)} files, {done.files[-1]} last")


def evaluate(
    run: Annotated[Path, typer.Option("--run", metavar="DIR", help="Folder of a training run, or of a model.")],
    data: Annotated[list[Path], typer.Option("--data", metavar="SET", help="Finished data set to compare with; repeatable.")],
    against: Annotated[
        list[Path] | None, typer.Option("--against", metavar="RUN", help="Further run in the same table; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="For the table.  [default: DIR/evaluation]")] = None,
    count: Annotated[int, typer.Option(min=64, help="Pictures for the distances.")] = 768,
    heads: Annotated[int, typer.Option(min=1, help="Heads that are looked at from in front and behind.")] = 48,
    psi: Annotated[float, typer.Option(help="Truncation towards the mean head; 1 for none.")] = 1.0,
    features: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TorchScript Inception for FID.  [default: random-conv-v1]")
    ] = None,
    sha256: Annotated[str, typer.Option(help="Digest of that file.")] = "",
    no_faces: Annotated[bool, typer.Option("--no-faces", help="Leave the face detector out.")] = False,
    device: Annotated[str, typer.Option(help="Where the models run, e.g. cuda.")] = "cpu",
) -> None:
    """Measure generators against data: distances, precision and recall, backs, face rates, what a reader of heads sees, costs.

    Example: spherehead evaluate --run runs/heads --data people --against runs/before
    """
    from ..model.evaluation.features import open_features
    from ..model.export.evaluate import JudgeSettings
    from ..model.export.evaluate import evaluate as run_it
    from ..model.export.evaluate_page import HEAD, table_rows
    from ..model.fetched import identity_net_if_fetched

    target = out or run / "evaluation"
    extractor = open_features(path=features, sha256=sha256, device=device)
    settings = JudgeSettings(count, heads, psi)
    finder = None if no_faces else _face_score()
    faces = identity_net_if_fetched(device)
    scores = run_it([run, *(against or [])], data, target, extractor, finder, settings, device, _reader(), faces)
    echo(*table(HEAD, table_rows(scores)))
    if scores.identity:
        echo(scores.identity)
    echo(f"{target / 'evaluate.html'}")


def _face_score() -> Callable[[Pixels], float]:
    """Return MediaPipe's short-range detector as a score of pictures; `model` itself knows no detector."""
    from ..pipeline.backends.mediapipe_models import FaceFinder

    finder = FaceFinder("short", 0.05)
    return lambda picture: max((face.score for face in finder.find(picture)), default=0.0)


def _reader() -> Callable[[Pixels], HeadReading]:
    """Return the pipeline's own network as a reader of canonical pictures; `model` itself knows none."""
    from ..model.evaluation.reading import HeadReading
    from ..pipeline.annotators.heads.reader import HeadReader, whole

    network = HeadReader()

    def read(picture: Pixels) -> HeadReading:
        found = network.read(picture, whole(picture))
        return HeadReading(found.rotation, found.classes.argmax(axis=0).astype("uint8"))

    return read


@model.command("show")
def model_show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a model or a training run.")],
    json_: Json = False,
) -> None:
    """Print a model's settings, the size of its parts, and whether the files are the ones it was saved with.

    Example: spherehead model show spherehead-512
    """
    from ..datasets.shards.inspect import record_text
    from ..manifests.config import to_plain
    from ..model.export.generate import find_model
    from ..model.store import part_rows, problems, read_config

    folder = find_model(folder)
    config = read_config(folder)
    rows = part_rows(config)
    wrong = problems(folder, config)
    if json_:
        plain = {"folder": str(folder), "config": to_plain(config), "rows": to_plain(rows), "problems": wrong}
        echo_text(record_text(plain))
    else:
        settings = {"generator": to_plain(config.generator), "discriminator": to_plain(config.discriminator)}
        echo(str(folder))
        echo_text(record_text(settings))
        lines = [(row.part, row.child or "all", f"{row.num_parameters:,}", f"{row.num_buffers:,}") for row in rows]
        echo(*table(("part", "network", "parameters", "buffers"), lines))
        files = [(entry.file, f"{entry.num_tensors:,}", entry.sha256) for _, entry in sorted(config.parts.items())]
        echo("", *table(("file", "tensors", "sha256"), files))
    for problem in wrong:
        echo(f"error: {problem}", to_error=True)
    if wrong:
        raise typer.Exit(MISMATCH)


@model.command("pack")
def model_pack(
    run: Annotated[Path, typer.Option("--run", metavar="DIR", help="Folder of a training run, or of a model.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder for the model.")],
    licence: Annotated[str, typer.Option("--license", metavar="ID", help="Licence on the model card, e.g. apache-2.0.")] = "",
) -> None:
    """Write a run's averaged generator alone, in fp16, with a model card: the form in which models are handed on.

    Example: spherehead model pack --run runs/heads --out heads-fp16
    """
    from ..model.export.generate import find_model
    from ..model.export.model_card import write_card
    from ..model.shipped import pack
    from ..model.store import GENERATOR

    entry = pack(find_model(run), out).parts[GENERATOR]
    path = write_card(out, run, licence=licence)
    echo(f"{out}: {entry.num_numbers:,} numbers, sha256 {entry.sha256}; {path.name} is its card")


@model.command("presets")
def model_presets(json_: Json = False) -> None:
    """List the model presets that `train --preset` takes, with their sizes and the length of their recipes.

    Example: spherehead model presets
    """
    from ..datasets.shards.inspect import record_text
    from ..model.presets import PRESETS
    from ..model.store import outline
    from ..model.train.recipes import train_preset

    rows = []
    for name in PRESETS:
        config = train_preset(name)
        networks = (outline(config.model.generator), outline(config.model.discriminator))
        generator, discriminator = (sum(part.numel() for part in network.parameters()) for network in networks)
        volume = config.model.generator.volume.kind
        rows.append({"name": name, "resolution": config.resolution, "volume": volume,
                     "renderer": config.model.generator.renderer.kind, "generator": generator,
                     "discriminator": discriminator, "batch": config.batch, "images": config.images})  # fmt: skip
    if json_:
        echo_text(record_text({"presets": rows}))
        return
    head = ("preset", "pixels", "volume", "renderer", "generator", "discriminator", "batch", "pictures of its recipe")
    echo(*table(head, [tuple(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row.values()) for row in rows]))
