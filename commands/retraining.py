"""Retrain the annotator networks whole from a seed, or adapt the head network to photographs without labels.

Each step is that of a command of its own (`annotators views`, `train`, `evaluate`, `export`) or keeps what is finished, so
that the same command resumes after a stop.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .common import echo

if TYPE_CHECKING:
    from ..model.annotators.adapting.run import Adapting, Judged
    from ..pipeline.stages.loose_heads import Cut

KINDS = ("cards", "grown", "dressed")
"""Kinds of held-out people that all networks are measured on."""
LIT_SIZE = 416
"""Side in pixels of the lit heads."""
COUNTED = ("photographs", "heads", "faces")
"""What `annotators adapt` counts of photographs that it learns from; all else is left out."""
FULL = "afro+big afro+mane+blow-out+curls+locs"
"""Kinds of hair that a crop holds most of."""


@dataclass(frozen=True)
class Retraining:
    """What is made and learned."""

    seed: int = 41
    """Seed of people, cameras, first weights and everything drawn while training."""
    cards: int = 1600
    """Heads with MakeHuman's styles of hair."""
    grown: int = 400
    """Heads with grown hair and beards, children among them."""
    dressed: int = 800
    """Heads with grown hair, drawn wear and skins, and wide expressions; their views are shown twice as often."""
    full: int = 320
    """Heads with hair that stands far out, dressed like those; their views are shown twice as often too."""
    street: int = 400
    """Heads of which about half wear something on them, dressed like those, a third of their views turned to a side."""
    held_out: int = 40
    """Heads of each kind that nothing is trained on."""
    images: int = 100_000
    """Pictures shown to the head network."""
    parser_images: int = 48_000
    """Pictures shown to the parser."""
    photographs: int = 240
    """People of rendered photographs with one to six heads, eight of each person, that the finder sees windows of."""
    finder_images: int = 54_000
    """Pictures shown to the finder."""
    lit: int = 150
    """Lit heads, three pictures of each, that are spoilt by known strengths for the quality network."""
    quality_images: int = 24_000
    """Spoilt pictures that the quality network is fitted to."""
    crops: int = 400
    """Crops of held-out people of each kind that numbers are measured on."""
    calibration: int = 48
    """Pictures of training that the ranges of the parser's eight bits are taken from."""
    threads: int = 1
    """Threads of the trainings, and processes that render."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the trainings' convolutions, as `annotators train` takes it."""


def views(plan: Retraining, out: Path) -> None:
    """Render what is trained and judged on."""
    from ..pipeline.synthetic.assets.library import open_assets
    from ..pipeline.synthetic.people.settings import PopulationSettings
    from ..pipeline.synthetic.training_views import TrainingViews, render_views
    from ..pipeline.synthetic.wear.wardrobe import more_head_wear

    assets, grown = open_assets(None), PopulationSettings(bald=0.06, hats=0.0, hair="grown", children=True)
    dressed = replace(grown, bald=0.08, wear="drawn", skins="drawn", faces="wide")
    street = replace(dressed, shares=more_head_wear(2.5))
    turned = TrainingViews(seed=plan.seed, pitch_degrees=22.0)
    fine = replace(turned, count=plan.dressed, views=6, seed=plan.seed + 30, size=320, heads_per_shard=25, people=dressed)
    for folder, settings in (
        ("cards", TrainingViews(plan.cards, 10, plan.seed)),
        ("grown", replace(turned, count=plan.grown, seed=plan.seed + 2, people=grown)),
        ("dressed", fine),
        ("full", replace(fine, count=plan.full, seed=plan.seed + 50, people=replace(dressed, bald=0.0, styles=FULL))),
        ("street", replace(fine, count=plan.street, seed=plan.seed + 60, sides=0.33, people=street)),
        ("held-out/cards", TrainingViews(plan.held_out, 10, plan.seed + 4201)),
        ("held-out/grown", replace(turned, count=plan.held_out, seed=plan.seed + 4202, people=grown)),
        ("held-out/dressed", replace(fine, count=plan.held_out, seed=plan.seed + 4203)),
        ("held-out/full", replace(fine, count=plan.held_out, seed=plan.seed + 4204, people=replace(dressed, styles=FULL))),
    ):
        written = render_views(assets, settings, out / folder, plan.threads)
        echo(f"{folder}: {written:,} shards written")


def photographs(plan: Retraining, out: Path) -> Path:
    """Render the photographs that the finder sees windows of, and return their folder."""
    from ..pipeline.synthetic.wild.writer import parse_wild, write_photographs

    text = (
        f"makehuman:count={plan.photographs},views=8,size=256,seed={plan.seed + 6},people.hair=grown,people.wear=drawn,"
        "people.skins=drawn,people.teeth=drawn,people.faces=wide,people.children=true"
    )
    done = write_photographs(parse_wild(text), out / "photographs", 96, plan.threads, lambda *_: None)
    echo(f"photographs: {done.photographs:,} of {done.heads:,} heads")
    return out / "photographs"


def lit_heads(plan: Retraining) -> str:
    """Return the source of the heads that the quality network learns from, as `build-dataset` takes it."""
    return (
        f"makehuman:count={plan.lit},views=3,size={LIT_SIZE},light=raster,background=plain,people.hair=grown,people.children=true,"
        f"seed={plan.seed + 9059}"
    )


def quality(plan: Retraining, out: Path) -> None:
    """Render lit heads and fit the quality network to them, unless its card tells that this was done."""
    from ..model.annotators.quality.export import is_fitted, retrain
    from ..model.annotators.quality.network import FitSettings
    from ..model.annotators.shown.views import Views
    from ..pipeline.building.build import build
    from ..pipeline.building.request import BuildRequest
    from ..pipeline.presets import preset

    source, settings = lit_heads(plan), FitSettings(pictures=plan.quality_images, seed=plan.seed)
    if is_fitted(out / "exported", settings, source):
        return
    recipe = preset("frames").override([f"frame.size={LIT_SIZE}", "encoding.image=webp"])
    build(BuildRequest((source,), out / "lit", recipe, engine="inline"))
    path = retrain(Views([out / "lit"]), settings, out / "exported", source, plan.threads)
    echo(f"{path.name}: fitted to {plan.quality_images:,} pictures")


def networks(plan: Retraining, out: Path) -> None:
    """Train the networks, parser and finder from what the head network has learned."""
    from ..model.annotators.parsing import ParserTask, parser_settings, small_pictures
    from ..model.annotators.shown.photo_scenes import Shots
    from ..model.annotators.shown.views import Views
    from ..model.annotators.tasks import FinderTask, HeadTask
    from ..model.annotators.training import TrainingSettings, train

    kinds = [out / name for name in ("dressed", "dressed", "full", "full", "street", "street", "grown", "cards")]
    shown = Views(kinds, each=6 * plan.dressed)
    settings = TrainingSettings(threads=plan.threads, precision=plan.precision)
    train(HeadTask(shown, plan.seed), replace(settings, images=plan.images), out / "run-head")
    parser = ParserTask(shown, plan.seed, start=str(out / "run-head"), small=small_pictures(plan.parser_images))
    train(parser, parser_settings(replace(settings, images=plan.parser_images)), out / "run-parser")
    settings = replace(settings, images=plan.finder_images, warmup=400, save=1_000)
    seen, shots = Views([out / "cards", out / "grown", out / "grown"]), Shots([photographs(plan, out)])
    train(FinderTask(seen, plan.seed, shots=shots, encoder=str(out / "run-head")), settings, out / "run-finder")


def exported(plan: Retraining, out: Path) -> dict[str, Any]:
    """Measure the networks on held-out people, write all with their cards, and return the numbers."""
    from ..manifests.config import to_plain
    from ..model.annotators.evaluation import calm, evaluate_head
    from ..model.annotators.export import export
    from ..model.annotators.finding import evaluate_finder
    from ..model.annotators.parsing import ParserTask, calm_parser, evaluate_parser
    from ..model.annotators.published import averaged
    from ..model.annotators.shown.views import Views
    from ..model.annotators.tasks import FinderTask, HeadTask

    _, network, _ = averaged(out / "run-head")
    found: dict[str, Any] = {}
    for kind in KINDS:
        task = calm(HeadTask(Views([out / "held-out" / kind]), seed=1))
        found[kind] = evaluate_head(network, task, plan.crops)
    card = {"data": to_plain(plan), "seed": plan.seed, "command": "annotators retrain"}
    factor = sum(numbers.pop("spread_factor") for numbers in found.values()) / len(found)
    seen = [out / "dressed", out / "full", out / "street", out / "grown"]
    told = {**card, "held_out": found, "spread_factor": round(factor, 3)}
    export(out / "run-head", out / "exported", told, seen, plan.calibration)
    _, parser, _ = averaged(out / "run-parser")
    parsed = {
        kind: evaluate_parser(parser, calm_parser(ParserTask(Views([out / "held-out" / kind]), seed=1)), plan.crops)
        for kind in (*KINDS, "full")
    }
    export(out / "run-parser", out / "exported", {**card, "held_out": parsed}, seen, plan.calibration)
    _, finder, _ = averaged(out / "run-finder")
    seeks = {kind: evaluate_finder(finder, FinderTask(Views([out / "held-out" / kind]), seed=1), plan.crops) for kind in KINDS}
    export(out / "run-finder", out / "exported", {**card, "held_out": seeks})
    return {"head": found, "parser": parsed, "finder": seeks}


def retrain(plan: Retraining, out: Path) -> str:
    """Take every step and return the numbers on held-out people as JSON."""
    views(plan, out)
    networks(plan, out)
    quality(plan, out)
    return json.dumps(exported(plan, out), indent=1)


def annotators_adapt(
    photos: Annotated[
        list[str], typer.Option("--photos", metavar="DIR", help="Folder, archive or list of photographs; may be given again.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the run and of the fitted head.onnx.")],
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="DIR", help="Rendered views (annotators views); without them some are rendered."),
    ] = None,
    start: Annotated[
        str, typer.Option(metavar="RUN", help="Run or ONNX file of the head network, or shipped (the package's).")
    ] = "shipped",
    images: Annotated[int, typer.Option(min=32, help="Crops shown, half of them of the photographs.")] = 4_000,
    rounds: Annotated[
        int, typer.Option(min=1, help="Times that photographs are labelled, after the first by what was learned so far.")
    ] = 1,
    people: Annotated[int, typer.Option(min=10, help="People to render where no --data is given.")] = 120,
    seed: Annotated[int, typer.Option(help="Seed of everything drawn.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the training, and processes that render.")] = 1,
) -> None:
    """Fit the head network to your photographs without labels, and keep it only where it got better; rerun to resume.

    Example: spherehead annotators adapt --photos photographs --out adapted
    """
    import logging

    from ..model.annotators.adapting.run import Adapting
    from ..pipeline.annotators.heads import files

    logging.getLogger("spherehead").setLevel(logging.INFO)
    begin = str(files.path_of("head")) if start == "shipped" else start
    adapted(photos, data or [], out, begin, people, Adapting(images=images, rounds=rounds, seed=seed, threads=threads))


def adapted(photos: Sequence[str], data: Sequence[Path], out: Path, start: str, people: int, settings: Adapting) -> None:
    """Take every step: heads of the photographs, rendered views where none are given, training, verdict, file."""
    from ..datasets.sources.open import open_source
    from ..model.annotators.adapting.loose_heads import read_heads
    from ..model.annotators.adapting.run import adapt, fitted, helps, run_of, write
    from ..model.annotators.shown.views import Views
    from ..pipeline.stages.loose_heads import cut_heads

    cut = cut_heads([open_source(text) for text in photos], out / "heads", tick=_tell)
    heads = read_heads(cut.files)
    echo(f"{len(heads):,} heads of {cut.counts['photographs']:,} photographs, {cut.counts['faces']:,} with a face mesh")
    others = [f"{count:,} {reason}" for reason, count in sorted(cut.counts.items()) if reason not in COUNTED]
    if others:
        echo(f"left out: {', '.join(others)}")
    views = Views(list(data) or [companions(out / "views", people, settings)])
    run = run_of(heads, views, settings, start, out)
    before, after = adapt(heads, views, settings, start, run)
    for line in verdict(before, after):
        echo(line)
    if not helps(before, after):
        earlier = "; head.onnx of an earlier call stays there" if (out / "head.onnx").exists() else ""
        echo(f"the fitted network is not the better one for these photographs: nothing written; use the package's{earlier}")
        return
    told = {"photographs": cut.counts["photographs"], "heads": len(heads), "start": Path(start).name}
    path = write(fitted(run, settings), out, after, settings, told)
    echo(f"{path}: use it by build-dataset ... --set stages.networks={out}")


def companions(out: Path, people: int, settings: Adapting) -> Path:
    """Render people with exact truth to learn from beside the photographs, and return their folder."""
    from ..pipeline.synthetic.assets.library import open_assets
    from ..pipeline.synthetic.people.settings import PopulationSettings
    from ..pipeline.synthetic.training_views import TrainingViews, render_views

    drawn = PopulationSettings(bald=0.08, hats=0.0, hair="grown", children=True, wear="drawn", skins="drawn", faces="wide")
    views = TrainingViews(people, 8, settings.seed + 6000, size=192, pitch_degrees=22.0, heads_per_shard=10)
    render_views(open_assets(None), replace(views, people=drawn), out, settings.threads)
    return out


def verdict(before: Judged, after: Judged) -> list[str]:
    """Return the lines of the verdict."""
    import numpy as np

    from ..model.annotators.adapting.run import gained

    lines = [f"{'held out':<44}{'before':>9}{'after':>9}"]
    for words, name in (("rendered in their look", "in_look"), ("as rendered", "plain")):
        first, second = getattr(before, name), getattr(after, name)
        for band in (band for band in ("front", "side", "behind") if band in first):
            title = f"{words}, {band}: degrees"
            lines.append(f"{title:<44}{first[band]['rotation_median']:>9.1f}{second[band]['rotation_median']:>9.1f}")
        lines.append(f"{words + ': mean IoU of classes':<44}{first['mean_iou']:>9.3f}{second['mean_iou']:>9.3f}")
    words = "rendered in their look: mean error, degrees"
    lines.append(f"{words:<44}{np.mean(before.angles):>9.2f}{np.mean(after.angles):>9.2f}")
    lines.append(
        f"{'  which fell by, and its standard error':<44}{gained(before, after)[0]:>9.2f}{gained(before, after)[1]:>9.2f}"
    )
    lines.append(f"{'photographs: single looks off their mean':<44}{before.steadiness:>9.1f}{after.steadiness:>9.1f}")
    lines.append(f"{'photographs: off the face mesh':<44}{before.off_mesh:>9.1f}{after.off_mesh:>9.1f}")
    return lines


def _tell(cut: Cut) -> None:
    echo(f"{cut.counts['photographs']:,} photographs looked at, {cut.counts['heads']:,} heads", flush=True)
