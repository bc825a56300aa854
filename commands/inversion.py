"""The command `invert`: photographs of one person to a head that can be turned.

Photographs become samples by the pipeline's own stages, in a data set inside the head's folder; how the head is found is
`model.export.invert`'s affair.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import echo

if TYPE_CHECKING:
    from ..model.export.invert_request import How, Photographs
    from ..model.inversion.inverted import InversionSettings
    from ..model.inversion.search import Tick
    from ..pipeline.recipe import Recipe

PHOTOGRAPHS = "photographs"
"""Folder of the data set inside the head's."""
SHEET, EACH_RECORD = "heads.png", "heads.json"
"""With --each: the sheet of all heads, and the record that says that the sheet is ours."""
TASK = "task."
"""What names of settings begin with that say how an encoder's pictures are drawn."""


def invert(
    photographs: Annotated[
        list[Path], typer.Argument(metavar="PHOTO...", help="Photographs of one person, or a folder of them; one head is made.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the head.")],
    run: Annotated[
        Path, typer.Option("--run", metavar="DIR|NAME", help="Folder of a training run or of a model, or a shipped model.")
    ] = Path("tiny-64"),
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a setting: --set tuning.steps=0")
    ] = None,
    method: Annotated[
        str, typer.Option(help="optimise: by descent; encode: what an encoder reads off the photographs, at once.")
    ] = "optimise",
    encoder: Annotated[
        Path | None,
        typer.Option(
            "--encoder",
            metavar="DIR",
            help="What train-encoder wrote, the start of optimise too; else encode takes the model's.",
        ),
    ] = None,
    from_encoder: Annotated[
        bool, typer.Option("--from-encoder", help="Start optimise at what the model's encoder reads.")
    ] = False,
    each: Annotated[
        bool, typer.Option("--each", help="A head for every photograph, in folders of their names, and heads.png of them all.")
    ] = False,
    mesh: Annotated[
        bool | None, typer.Option("--mesh/--no-mesh", help="Write the head as mesh.glb too; optimise does unless told not to.")
    ] = None,
    video: Annotated[
        bool | None, typer.Option("--video/--no-video", help="Write a film of a turn too; optimise does unless told not to.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where the model runs, e.g. cuda.")] = "cpu",
) -> None:
    """Find the head that photographs show, and turn it; rerun the same command to resume.

    Example: spherehead invert me.jpg --run runs/heads --out me
    """
    from ..manifests.config import override
    from ..model.export.generate import find_model
    from ..model.export.invert_request import How
    from ..model.inversion.inverted import InversionSettings

    settings = override(InversionSettings(), assignments or [])
    folder, how = find_model(run), How(method, encoder, device, mesh, from_encoder, video)  # type: ignore[arg-type]
    if each:
        _invert_each(_files(photographs), out, folder, settings, how)
        return
    _invert(labelled(photographs, out / PHOTOGRAPHS, how.device), out, folder, settings, how)
    echo(f"{out / 'inversion.html'}")


def _invert(samples: Photographs, out: Path, folder: Path, settings: InversionSettings, how: How) -> None:
    """Find one head of labelled photographs, and say how well."""
    from ..model.export.invert import invert as run_it

    for row in run_it(folder, samples, out, settings, how, _tick()).photographs:
        face = "" if row.identity is None else f", identity distance {row.identity:.2f}"
        moved = f"moved {row.moved_degrees:.1f} degrees"
        echo(f"{row.name}: {row.psnr:.1f} dB in the matte, outline IoU {row.mask_iou:.2f}, {moved}{face}")
        for text in row.suspect:
            echo(f"{row.name}: suspect {text}", to_error=True)


def _invert_each(photographs: Sequence[Path], out: Path, folder: Path, settings: InversionSettings, how: How) -> None:
    """Find a head for every photograph, each in a folder of its name, and lay them out on one sheet."""
    from ..datasets.report.tiles import write_png
    from ..manifests.config import ConfigError
    from ..model.export.invert_sheet import heads_picture

    names = [path.stem for path in photographs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"expected photographs of different names with --each, got two called {twice}; rename one")
    _claim_sheet(out)
    heads, without = [], []
    for name, path in zip(names, photographs, strict=True):
        try:
            samples = labelled([path], out / name / PHOTOGRAPHS, how.device)
        except ConfigError as error:  # the other photographs are not its affair
            echo(f"{path.name}: {error}", to_error=True)
            without.append(path.name)
            continue
        _invert(samples, out / name, folder, settings, how)
        heads.append((name, samples.samples[0].image, out / name))
    if heads:
        write_png(out / SHEET, heads_picture(heads))
        echo(f"{out / SHEET}")
    if without:
        raise ConfigError(f"no head was found for {len(without)} of {len(photographs)} files: {', '.join(without)}; see above")


def _claim_sheet(out: Path) -> None:
    """Put on record that the sheet of all heads is ours, or refuse a folder in which it is somebody's.

    Raises:
        ConfigError: a file has the name of the sheet or of its record, and we made neither.
    """
    from ..manifests.config import ConfigError
    from ..manifests.parsing import read_json
    from ..manifests.store import write_json

    ours = {"format": 1, "files": [SHEET]}
    with contextlib.suppress(ValueError, OSError):
        if read_json(out / EACH_RECORD) == ours:
            return
    there = [name for name in (SHEET, EACH_RECORD) if (out / name).exists()]
    if there:
        raise ConfigError(
            f"{out} holds {' and '.join(there)}, which invert --each has no record of and would write over; choose another "
            "--out, or move it away"
        )
    write_json(out / EACH_RECORD, ours)


def _files(photographs: Sequence[Path]) -> list[Path]:
    """Return photographs, and in the place of a folder the files in it by name."""
    found: list[Path] = []
    for path in photographs:
        found += sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    return found


def train_encoder(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the run and, in the end, of the encoder.")],
    run: Annotated[
        Path, typer.Option("--run", metavar="DIR|NAME", help="Folder of a training run or of a model, or a shipped model.")
    ] = Path("tiny-64"),
    data: Annotated[
        Path | None, typer.Option("--data", metavar="SET", help="Rendered people to learn from too, e.g. of makehuman:.")
    ] = None,
    persons: Annotated[
        Path | None,
        typer.Option("--persons", metavar="CHECKPOINT", help="Checkpoint whose table has the styles of the people in --data."),
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Number of pictures shown in all.")] = 200_000,
    resolution: Annotated[int, typer.Option(min=64, help="Side in pixels of what the encoder looks at.")] = 128,
    layers: Annotated[bool, typer.Option("--layers", help="Give every layer a style of its own (W+).")] = False,
    start: Annotated[
        Path | None, typer.Option("--start", metavar="RUN", help="Run of `annotators train head` whose features are the first.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of first weights and of everything drawn.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the process.")] = 1,
    max_seconds: Annotated[float, typer.Option(min=0, help="Seconds after which it saves and stops; 0 for no limit.")] = 0.0,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change how it learns: --set lr=0.0005, --set task.people=8"),
    ] = None,
) -> None:
    """Train a network that reads a model's style and camera off one picture; rerun the command to resume.

    Example: spherehead train-encoder --run tiny-64 --out encoder
    """
    import logging

    from ..manifests.config import override
    from ..model.annotators.training import TrainingSettings
    from ..model.export.generate import find_model
    from ..model.export.train_encoder import EncoderRun, train
    from ..model.inversion.encoder_task import EncoderTaskSettings

    logging.getLogger("spherehead").setLevel(logging.INFO)
    wanted = TrainingSettings(
        images=images, batch=64, lr=1e-3, save=40_000, threads=threads, max_seconds=max_seconds, tensorboard=False
    )
    given = assignments or []
    drawing = override(EncoderTaskSettings(), [text.removeprefix(TASK) for text in given if text.startswith(TASK)])
    asked = EncoderRun(find_model(run), out, data, persons, start, resolution, layers, seed, drawing)
    shown, record = train(asked, override(wanted, [text for text in given if not text.startswith(TASK)]))
    if record is None:
        echo(f"{shown:,} of {images:,} pictures; rerun the same command to resume")
        return
    echo(f"{out / record.part.file}: {record.images:,} pictures; use it with invert --encoder {out}")


def labelled(photographs: Sequence[Path], folder: Path, device: str = "cpu") -> Photographs:
    """Return photographs as samples, cut out and labelled by the pipeline; those that give no head are named on stderr.

    Args:
        photographs: files or folders.
        folder: for the data set; an unfinished one is resumed.
        device: where models run that can choose.

    Raises:
        ConfigError: a path does not exist, no head was found in any photograph, or the folder has that of others.
    """
    from ..datasets.shards.inspect import iterate
    from ..datasets.sources.names import from_native
    from ..manifests.config import ConfigError
    from ..model.export.invert_request import Photographs
    from ..pipeline.building.build import build
    from ..pipeline.building.request import BuildRequest

    missing = [str(path) for path in photographs if not path.exists()]
    if missing:
        raise ConfigError(f"no photograph at {missing[0]}; expected picture files or folders")
    asked = tuple(from_native(str(path)) for path in photographs)
    _refuse_other_photographs(folder, asked)
    if not _is_head_of(folder, asked):
        build(BuildRequest(asked, folder, one_person(), engine="inline", device=device, abort_share=1.0))
    names, samples = _names(folder), tuple(iterate(folder))
    if not samples:
        told = "; ".join(_refusals(folder, names)) or "no picture was given"
        raise ConfigError(f"found no head to invert: {told}; take a photograph in which the whole head is seen")
    for text in _refusals(folder, names):
        echo(f"left out {text}", to_error=True)
    samples = tuple(sorted(samples, key=lambda sample: (names[sample.id], sample.id)))
    return Photographs(samples, tuple(names[sample.id] for sample in samples))


def _refuse_other_photographs(folder: Path, asked: Sequence[str]) -> None:
    """Refuse a folder that we did not make, or whose data set was made of other photographs: a head is found once."""
    from ..manifests.config import ConfigError, canonical_json
    from ..manifests.store import HEADER
    from ..model.inversion.inverted import read_inversion
    from ..pipeline.building.folder import is_own, read_request

    if folder.exists() and not (folder.is_dir() and (is_own(folder) or not any(folder.iterdir()))):
        raise ConfigError(
            f"{folder} is not invert's, which keeps labelled photographs there; choose another --out, or move it away"
        )
    try:
        request = read_request(folder)
    except ConfigError as error:
        raise ConfigError(f"{folder / 'build.json'} is damaged; move {folder} away and rerun the command") from error
    before = request.get("sources")
    if before is not None and before != list(asked):
        found, expected = ", ".join(map(str, before)), ", ".join(asked)
        raise ConfigError(f"{folder.parent} holds a head of {found}, expected one of {expected}; give a new folder")
    is_whole = (folder / HEADER).is_file() and read_inversion(folder.parent) is not None
    if before is not None and not is_whole and request["recipe"] != json.loads(canonical_json(one_person().to_plain())):
        raise ConfigError(f"{folder} was labelled by another version of this program; give a new folder")


def _is_head_of(folder: Path, asked: Sequence[str]) -> bool:
    """Return whether a head of these photographs is there, whose data set is whole: it is used as it is.

    Raises:
        ConfigError: a photograph is another now, came or went; nothing was changed.
    """
    from ..manifests.config import ConfigError
    from ..manifests.frames import read_origins
    from ..manifests.store import HEADER, read_header
    from ..model.inversion.inverted import read_inversion
    from ..pipeline.building.inputs import file_digests

    if read_inversion(folder.parent) is None or not (folder / HEADER).is_file():
        return False
    origins = read_origins(folder).astype(str)
    before = dict(zip(zip(origins["source"], origins["path"], strict=True), origins["sha256"], strict=True))
    now = file_digests(asked, one_person())
    changed = sorted(path for label, path in before.keys() & now if before[label, path] != now[label, path])
    if changed := changed + sorted(path for _, path in before.keys() ^ now):
        raise ConfigError(
            f"{folder.parent} holds a head of other photographs: {', '.join(changed)} changed, came or went since; give a new "
            "folder"
        )
    return all((folder / entry.name).is_file() for entry in read_header(folder).shards)


def one_person() -> Recipe:
    """Return the recipe `heads` without refusals for quality: what is wrong with a photograph is told beside the head."""
    import dataclasses

    from ..pipeline.presets import preset
    from ..pipeline.stages.quality import Quality

    recipe = preset("heads")
    open_limits = [
        f"quality.{field.name}={0.0 if field.name.startswith('min_') else 1e9}"
        for field in dataclasses.fields(Quality)
        if field.name.startswith(("min_", "max_"))
    ]
    return dataclasses.replace(recipe.override(open_limits), name="one-person")


def _names(folder: Path) -> dict[str, str]:
    """Return the name of each sample's file; of files that share one in several folders, source and path."""
    from ..manifests.frames import read_frame, read_origins

    frame, origins = read_frame(folder, ["id", "sha256"]).astype(str), read_origins(folder).astype(str)
    shared = Counter(Path(path).name for path in origins["path"])
    files: dict[str, str] = {}
    for label, path, sha256 in zip(origins["source"], origins["path"], origins["sha256"], strict=True):
        name = Path(path).name
        files.setdefault(sha256, name if shared[name] == 1 else f"{label}/{path}")
    return {key: files.get(sha256, key) for key, sha256 in zip(frame["id"], frame["sha256"], strict=True)}


def _refusals(folder: Path, names: Mapping[str, str]) -> list[str]:
    """Return the photographs that gave no head, each with why."""
    from ..manifests.frames import read_frame

    frame = read_frame(folder, ["id", "sha256", "status", "reason", "detail"]).astype(str)
    rows = list(frame.itertuples(index=False))
    kept = {sha256 for _, sha256, status, _, _ in rows if status == "kept"}
    return [f"{names[key]}: {reason} ({detail})" for key, sha256, _, reason, detail in rows if sha256 not in kept]


def _tick() -> Tick:
    """Return what tells of progress: one line a stage and tenth of it, on a terminal or not."""

    def tick(stage: str, done: int, steps: int, loss: float) -> None:
        if done == steps or done % max(steps // 10, 1) == 0:
            echo(f"{stage} {done}/{steps}: loss {loss:.4f}", to_error=True, flush=True)

    return tick
