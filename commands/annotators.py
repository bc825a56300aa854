"""Commands about the networks that label heads of any side: `annotators views`, `train`, `evaluate`, `export`, `add-beards`,
`adapt`, `retrain`.

Rendering is `pipeline.synthetic.training_views`' affair, learning `model.annotators`'; the pipeline takes what `export` wrote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .common import echo, echo_text
from .retraining import Retraining, annotators_adapt

if TYPE_CHECKING:
    from ..model.annotators.shown.views import Views

annotators = typer.Typer(help="Train the networks that find, pose and parse heads from every side.", no_args_is_help=True)
Data = Annotated[list[Path], typer.Option("--data", metavar="DIR", help="Folder of shards; may be given again.")]
Task = Annotated[str, typer.Argument(metavar="TASK", help="head (pose, points), parser (classes, matte), finder or quality.")]
Half = Annotated[
    Literal["fp32", "bf16"], typer.Option("--precision", help="Of the convolutions; bf16 is faster on processors with AMX.")
]
TASKS = ("head", "parser", "finder", "quality")
EVALUATED = ("head", "parser", "finder")
"""Tasks whose networks `evaluate` judges."""
RATE = 1e-3
"""Learning rate of a training from first weights."""
SHIPPED = "shipped"
"""Word for the networks of the package."""


@annotators.command("views")
def annotators_views(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the shards.")],
    count: Annotated[int, typer.Option(min=1, help="Number of heads.")] = 1600,
    views: Annotated[int, typer.Option(min=1, help="Pictures of each head.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of people and cameras.")] = 41,
    first: Annotated[int, typer.Option(min=0, help="Number of the first head.")] = 0,
    hair: Annotated[str, typer.Option(help="cards (MakeHuman's styles) or grown (strands, beards; 2 s a head).")] = "cards",
    styles: Annotated[str, typer.Option(metavar="A+B", help="Kinds of grown hair, such as afro+mane; all where empty.")] = "",
    beards: Annotated[
        float, typer.Option(min=0, max=1, help="Share of men with a beard or stubble, of those with grown hair.")
    ] = 0.45,
    children: Annotated[bool, typer.Option("--children", help="Draw children too.")] = False,
    pitch: Annotated[float, typer.Option(min=0, max=60, help="Standard deviation of the elevation in degrees.")] = 18.0,
    wear: Annotated[
        bool, typer.Option("--wear", help="Draw head-wear, glasses, jewellery, masks, skins and wide expressions (2 s a head).")
    ] = False,
    size: Annotated[int, typer.Option(min=32, help="Side of the pictures in pixels; 320 for the parser.")] = 192,
    sides: Annotated[float, typer.Option(min=0, max=1, help="Share of the views that are turned to a side.")] = 0.0,
    steep: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the views spread over the sphere, far above and below too.")
    ] = 0.0,
    covered: Annotated[
        float, typer.Option(min=0.0, max=3.5, help="Factor on the shares of head-wear, with --wear; 2.5 covers about half.")
    ] = 1.0,
    necks: Annotated[bool, typer.Option("--necks", help="Turn heads on their bodies.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Render people without light, with normals and exact labels, to train annotators on; rerun the command to resume.

    Example: spherehead annotators views --out views --count 1600
    """
    from dataclasses import replace

    from ..pipeline.synthetic.assets.library import open_assets
    from ..pipeline.synthetic.people.settings import PopulationSettings
    from ..pipeline.synthetic.training_views import TrainingViews, render_views
    from ..pipeline.synthetic.wear.wardrobe import more_head_wear

    if covered != 1.0 and not wear:
        raise typer.BadParameter("expected --wear too; without it nobody wears anything", param_hint="--covered")
    people = PopulationSettings(
        bald=0.08, hats=0.0 if wear else 0.08, hair=hair, styles=styles, beards=beards, children=children,
        necks="drawn" if necks else "assets",
    )  # fmt: skip
    if wear:
        people = replace(people, wear="drawn", skins="drawn", faces="wide", shares=more_head_wear(covered))
    settings = TrainingViews(
        count=count, views=views, seed=seed, first=first, size=size, pitch_degrees=pitch, people=people, sides=sides,
        steep=steep,
    )  # fmt: skip
    written = render_views(open_assets(None), settings, out, workers)
    echo(f"{written:,} shards written to {out}")


@annotators.command("train")
def annotators_train(
    task: Task,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the run.")],
    images: Annotated[int, typer.Option(min=1, help="Number of pictures shown in all.")] = 60_000,
    seed: Annotated[int, typer.Option(help="Seed of first weights and of everything drawn.")] = 7,
    start: Annotated[
        str,
        typer.Option("--start", "--encoder", metavar="RUN", help="Start from a run, an ONNX file, or shipped (the package's)."),
    ] = "",
    grounds: Annotated[str, typer.Option(metavar="DIR", help="Pictures without heads for backgrounds.")] = "",
    photographs: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Set of render-photographs that half of the finder's pictures are cut out of."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the process.")] = 1,
    max_seconds: Annotated[float, typer.Option(min=0, help="Seconds after which it saves and stops; 0 for no limit.")] = 0.0,
    precision: Half = "fp32",
    rate: Annotated[float, typer.Option(min=1e-6, max=0.1, help="Learning rate until it falls; 0.0003 with --start.")] = RATE,
) -> None:
    """Train a network on rendered truth; rerun the command to resume.

    Example: spherehead annotators train head --data views --out run-head
    """
    import logging
    from dataclasses import replace

    from ..model.annotators.parsing import ALIGNED, ParserTask, parser_settings, small_pictures
    from ..model.annotators.shown.augmentation import CropSettings
    from ..model.annotators.shown.photo_scenes import Shots
    from ..model.annotators.shown.scenes import SceneSettings
    from ..model.annotators.shown.views import Views
    from ..model.annotators.tasks import FinderTask, HeadTask
    from ..model.annotators.training import TrainingSettings, train

    _known(task, photographs)
    if task == "quality":
        _refuse_for_quality({"--start": (start, ""), "--grounds": (grounds, ""), "--precision": (precision, "fp32")})
        _refuse_for_quality({"--rate": (rate, RATE), "--max-seconds": (max_seconds, 0.0)})
    logging.getLogger("spherehead").setLevel(logging.INFO)
    views = Views(data)
    if task == "quality":
        return _fit_quality(views, ", ".join(folder.resolve().name for folder in data), images, seed, out, threads)
    start = _start(task, start)
    settings = TrainingSettings(images, lr=rate, max_seconds=max_seconds, threads=threads, precision=precision)
    if task == "head":
        progress = train(HeadTask(views, seed, CropSettings(grounds=grounds), start=start), settings, out)
    elif task == "parser":
        crops, settings = replace(ALIGNED, grounds=grounds), parser_settings(settings)
        progress = train(ParserTask(views, seed, crops, start=start, small=small_pictures(images)), settings, out)
    else:
        settings, shots = replace(settings, warmup=400, save=1_000), Shots(photographs) if photographs else None
        progress = train(FinderTask(views, seed, SceneSettings(grounds=grounds), shots=shots, encoder=start), settings, out)
    echo(f"{progress.images:,} pictures; checkpoint and sheets in {out}")


def _refuse_for_quality(given: Mapping[str, tuple[str | float, str | float]]) -> None:
    """Refuse options, given with their defaults, that a network which is fitted whole in minutes has no use for."""
    for name, (value, default) in given.items():
        if value != default:
            words = f"expected none with quality, which is fitted whole, without backgrounds, got {value}; leave it out"
            raise typer.BadParameter(words, param_hint=name)


def _fit_quality(views: Views, names: str, images: int, seed: int, out: Path, threads: int) -> None:
    """Fit the quality network and write its file and card."""
    from ..model.annotators.quality.export import retrain
    from ..model.annotators.quality.network import FitSettings

    path = retrain(views, FitSettings(pictures=images, seed=seed), out, f"heads with classes of {names}", threads)
    echo(f"{images:,} pictures; network and card in {path.parent}")


@annotators.command("evaluate")
def annotators_evaluate(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="Folder of a run, an exported file, or shipped-head, shipped-parser, shipped-finder."
        ),
    ],
    data: Data,
    count: Annotated[int, typer.Option(min=1, help="Number of crops, or of scenes for a finder.")] = 640,
    seed: Annotated[int, typer.Option(help="Seed of the crops or scenes.")] = 1,
    photographs: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Set of render-photographs that half of the finder's pictures are cut out of."),
    ] = None,
    hard: Annotated[bool, typer.Option("--hard", help="Augment as in training instead of as the pipeline crops.")] = False,
) -> None:
    """Print a network's errors on views that it was not trained on: of heads and parsers by band of yaw, of finders by height.

    Example: spherehead annotators evaluate run-head --data held-out
    """
    from ..model.annotators.evaluation import calm, evaluate_head
    from ..model.annotators.finding import evaluate_finder
    from ..model.annotators.parsing import ParserTask, calm_parser, evaluate_parser
    from ..model.annotators.published import finished
    from ..model.annotators.shown.photo_scenes import Shots
    from ..model.annotators.shown.views import Views
    from ..model.annotators.tasks import FinderTask, HeadTask

    name, network, images = finished(_judged(run))
    _known(name, photographs)
    if hard and name == "finder":
        words = "expected none with a finder, whose scenes are drawn as in training anyway; leave it out"
        raise typer.BadParameter(words, param_hint="--hard")
    if name == "finder":
        shots = Shots(photographs) if photographs else None
        numbers = evaluate_finder(network, FinderTask(Views(data), seed, shots=shots), count)
    elif name == "parser":
        parser = ParserTask(Views(data), seed)
        numbers = evaluate_parser(network, parser if hard else calm_parser(parser), count)
    else:
        head = HeadTask(Views(data), seed)
        numbers = evaluate_head(network, head if hard else calm(head), count)
    echo_text(json.dumps({**({"pictures": images} if images else {}), **numbers}, indent=1))


@annotators.command("export")
def annotators_export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the ONNX file and its card.")],
    card: Annotated[Path | None, typer.Option(metavar="JSON", help="What the card says of data and numbers.")] = None,
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Folder of shards to calibrate eight bits on; may be given again; none for halves."),
    ] = None,
) -> None:
    """Write the averaged network as ONNX with half-precision weights, or in eight bits, and its card with the sha256.

    Example: spherehead annotators export run-head --out exported
    """
    from ..model.annotators.export import export

    told = json.loads(card.read_text(encoding="utf-8")) if card else {}
    path = export(run, out, told, calibrate or ())
    echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


@annotators.command("add-beards")
def annotators_add_beards(
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for parser.onnx and its card.")],
    start: Annotated[
        str, typer.Option("--start", metavar="FILE", help="Exported parser, or shipped (the package's).")
    ] = SHIPPED,
    pictures: Annotated[int, typer.Option(min=32, help="Number of crops that the new layers are fitted to.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Seed of the crops and of the first weights.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the process.")] = 1,
) -> None:
    """Add the output beard to an exported parser, or fit it anew; what else it says stays the same to the bit.

    Example: spherehead annotators add-beards --data views --out exported
    """
    from ..model.annotators.beards import BeardFit, add_beards
    from ..model.annotators.parsing import ParserTask
    from ..model.annotators.shown.views import Views

    task, settings = ParserTask(Views(data), seed), BeardFit(pictures, seed=seed)
    path = add_beards(Path(_start("parser", start)), task, settings, out, threads)
    echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


annotators.command("adapt")(annotators_adapt)


@annotators.command("retrain")
def annotators_retrain(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of views, runs and exported networks.")],
    seed: Annotated[int, typer.Option(help="Seed of people, first weights and of everything drawn.")] = Retraining.seed,
    cards: Annotated[int, typer.Option(min=1, help="Heads with MakeHuman's hair.")] = Retraining.cards,
    grown: Annotated[int, typer.Option(min=1, help="Heads with grown hair.")] = Retraining.grown,
    dressed: Annotated[
        int, typer.Option(min=1, help="Heads with grown hair, head-wear, glasses and jewellery.")
    ] = Retraining.dressed,
    full: Annotated[int, typer.Option(min=1, help="Heads with hair that stands far out.")] = Retraining.full,
    street: Annotated[int, typer.Option(min=1, help="Heads of which about half wear something on them.")] = Retraining.street,
    held_out: Annotated[int, typer.Option(min=1, help="Heads of each kind to measure on.")] = Retraining.held_out,
    images: Annotated[int, typer.Option(min=1, help="Pictures shown to the head network.")] = Retraining.images,
    parser_images: Annotated[int, typer.Option(min=1, help="Pictures shown to the parser.")] = Retraining.parser_images,
    photographs: Annotated[
        int, typer.Option(min=1, help="People of rendered photographs for the finder, eight of each.")
    ] = Retraining.photographs,
    finder_images: Annotated[int, typer.Option(min=1, help="Pictures shown to the finder.")] = Retraining.finder_images,
    lit: Annotated[
        int, typer.Option(min=1, help="Lit heads for the quality network, three pictures of each.")
    ] = Retraining.lit,
    quality_images: Annotated[
        int, typer.Option(min=1, help="Pictures that the quality network is fitted to.")
    ] = Retraining.quality_images,
    threads: Annotated[
        int, typer.Option(min=1, help="Threads of the trainings, and processes that render.")
    ] = Retraining.threads,
    precision: Half = Retraining.precision,
) -> None:
    """Retrain all networks from a seed: views, training, numbers on held-out people, export; rerun the command to resume.

    Example: spherehead annotators retrain --out annotators
    """
    import logging

    from .retraining import retrain

    logging.getLogger("spherehead").setLevel(logging.INFO)
    plan = Retraining(
        seed=seed, cards=cards, grown=grown, dressed=dressed, full=full, street=street, held_out=held_out, images=images,
        parser_images=parser_images, photographs=photographs, finder_images=finder_images, lit=lit,
        quality_images=quality_images, threads=threads, precision=precision,
    )  # fmt: skip
    echo_text(retrain(plan, out))
    echo(f"head.onnx, parser.onnx, finder.onnx, quality.onnx and their cards are in {out / 'exported'}")


def _start(task: str, start: str) -> str:
    """Return the file of the package's network of a task where the word for it is given."""
    from ..pipeline.annotators.heads import files

    return str(files.path_of(task)) if start == SHIPPED else start


def _judged(run: str) -> str:
    """Return what `evaluate` is to read: a run, a file, or the package's file where the word for it is given."""
    from ..manifests.config import ConfigError

    words = [f"{SHIPPED}-{task}" for task in EVALUATED]
    if run in words:
        return _start(run.removeprefix(f"{SHIPPED}-"), SHIPPED)
    if (run == SHIPPED or run.startswith(f"{SHIPPED}-")) and not Path(run).exists():
        raise ConfigError(f"expected {', '.join(words)}, the folder of a run or an exported file, got {run}")
    return run


def _known(task: str, photographs: list[Path] | None = None) -> None:
    from ..manifests.config import ConfigError, unknown

    if task not in TASKS:
        raise ConfigError(unknown(task, TASKS, "annotators"))
    if photographs and task != "finder":
        raise typer.BadParameter(f"expected none with {task}, which sees crops; leave it out", param_hint="--photographs")
