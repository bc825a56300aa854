"""The toolkit from Python: the commands' work as functions, and the classes that they give and take.

`import spherehead` offers what stands here; nothing heavy is imported before it is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .datasets.camera import Camera
from .datasets.sample import Drop, Sample, SourceImage
from .datasets.sources.base import Source, register_source
from .manifests.config import ConfigError
from .manifests.registry import load_plugins
from .pipeline.presets import preset
from .pipeline.recipe import Recipe
from .pipeline.stage import OpenStage, Stage, register_stage

if TYPE_CHECKING:
    import pandas as pd

    from .datasets.shards.codec import Decoded
    from .datasets.shards.verify_shards import Problem
    from .model.export.generate import GenerateRecord
    from .model.generator import Generator
    from .model.train.state import TrainState
    from .pipeline.building.request import Summary

PathLike = str | os.PathLike[str]

__all__ = [
    "Camera",
    "ConfigError",
    "Drop",
    "OpenStage",
    "Recipe",
    "Sample",
    "Source",
    "SourceImage",
    "Stage",
    "build_dataset",
    "generate",
    "load_generator",
    "load_plugins",
    "preset",
    "read_manifest",
    "register_source",
    "register_stage",
    "samples",
    "train",
    "verify",
    "write_report",
]


def assignments_of(settings: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """Return settings as `--set` takes them.

    Args:
        settings: {"detect.faces": "all"}, or texts such as "detect.faces=all".
    """
    import json

    if isinstance(settings, Mapping):
        return [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in settings.items()]
    return list(settings)


def build_dataset(
    sources: PathLike | Sequence[PathLike],
    out: PathLike,
    recipe: str | Recipe = "heads",
    settings: Mapping[str, Any] | Sequence[str] = (),
    *,
    workers: int = 1,
    limit: int = 0,
    update: bool = False,
    report: bool = True,
    device: str = "cpu",
) -> Summary:
    """Build a data set, or resume the build of one; what `spherehead build-dataset` does.

    Call it under `if __name__ == "__main__":` when `workers` is above 0, as with any process pool; 0 works in this process.

    Args:
        sources: folders, pictures, archives, lists, data sets, or texts such as "makehuman:count=50".
        out: folder of the data set, or a prefix of an object store such as "s3://bucket/heads".
        recipe: a preset's name or a recipe.
        settings: changes to it.
        workers: processes; 0 for none.
        limit: look at the first inputs up to this number; 0 for all.
        update: let a folder that was built otherwise change.
        report: also write the HTML report.
        device: where models run that can choose.

    Returns:
        Counts by outcome, samples by split, and the number of shards.

    Raises:
        ConfigError: a source, a setting or the number of workers does not fit.
        BuildAborted: nearly every file failed for one reason.
    """
    from .pipeline.building.build import build
    from .pipeline.building.request import BuildRequest
    from .pipeline.publishing.place import place_of, prepare
    from .pipeline.publishing.publish import publish

    if workers < 0:
        raise ConfigError(f"expected workers of 0 or more, got {workers}")
    place = place_of(os.fspath(out))
    prepare(place, update)
    asked = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    chosen = (preset(recipe) if isinstance(recipe, str) else recipe).override(assignments_of(settings))
    summary = build(
        BuildRequest(
            tuple(os.fspath(source) for source in asked), place.folder, chosen, workers=max(workers, 1), limit=limit,
            engine="local" if workers else "inline", update=update, device=device,
        )
    )  # fmt: skip
    if report and any(summary.samples.values()):
        write_report(place.folder)
    if place.url:
        publish(place)
    return summary


def read_manifest(folder: PathLike, columns: str | Sequence[str] | None = None) -> pd.DataFrame:
    """Return the manifest of a data set: one row a head, kept or not.

    Args:
        folder: the data set.
        columns: those wanted, or the only one; None for all.

    Raises:
        ManifestError: there is no finished data set, or it is damaged.
        ConfigError: a column that it does not have.
    """
    from .manifests.config import unknown
    from .manifests.frames import present_columns
    from .manifests.store import read, read_header

    place = Path(folder)
    read_header(place)
    if columns is not None:
        columns, known = [columns] if isinstance(columns, str) else list(columns), present_columns(place)
        for name in columns:
            if name not in known:
                raise ConfigError(unknown(name, known, f"the manifest of {place}"))
    table: pd.DataFrame = read(place, columns).table.to_pandas()
    return table


def samples(folder: PathLike, split: str = "") -> Iterator[Decoded]:
    """Yield the samples of a data set in order, decoded.

    Args:
        folder: the data set.
        split: train or val; empty for all.

    Raises:
        ConfigError: the set has no such split.
        ManifestError: there is no finished data set, or it is damaged.
    """
    from .datasets.shards.inspect import iterate

    return iterate(Path(folder), split)


def verify(folder: PathLike, deep: bool = False) -> list[Problem]:
    """Check a data set against its manifest: every byte, every label and, if asked for, every picture.

    Args:
        folder: the data set.
        deep: also decode all pictures.

    Returns:
        What is wrong, empty where the set is sound.
    """
    from .datasets.shards.verify import verify as check

    return check(Path(folder), deep=deep)


def write_report(folder: PathLike, out: PathLike | None = None) -> Path:
    """Write the HTML report of a data set.

    Args:
        folder: the data set.
        out: folder for the report; None for `report` in the data set.

    Returns:
        The page's path.
    """
    from .datasets.report.report import write_report as write

    return write(Path(folder), None if out is None else Path(out))


def train(
    data: PathLike | Sequence[PathLike],
    out: PathLike,
    model: str = "spherehead-512",
    settings: Mapping[str, Any] | Sequence[str] = (),
    *,
    workers: int = 2,
    update: bool = False,
    device: str = "auto",
    **run: Any,
) -> TrainState:
    """Train a generator, or resume a run; what `spherehead train` does in one process.

    Args:
        data: data sets: folders or URLs.
        out: folder of the run, or a prefix of an object store such as "s3://bucket/run".
        model: name of a model preset.
        settings: changes to its config, such as {"images": 100_000}.
        workers: data processes.
        update: let a run resume with changed settings.
        device: auto, cpu or cuda.
        run: further fields of `RunSettings`, such as `threads=1` or `save_images=2000`.

    Raises:
        ConfigError: settings or data do not fit.
        TrainDiverged: a loss or gradient is no finite number.
    """
    from .model.train.config import RunSettings
    from .model.train.distributed import open_world
    from .model.train.nodes.store import open_run
    from .model.train.recipes import configured
    from .model.train.trainer import train as learn

    places = [data] if isinstance(data, str | os.PathLike) else list(data)
    config = configured(model, assignments=assignments_of(settings))
    folder, store = open_run(os.fspath(out))
    kept = RunSettings(workers=workers, **run)
    world = open_world(device)
    try:
        return learn([os.fspath(place) for place in places], config, folder, kept, world, update, store=store)
    finally:
        world.close()


def load_generator(run: PathLike, device: str = "cpu") -> Generator:
    """Load the averaged generator of a run, or of a converted model, ready for inference.

    Args:
        run: folder of a run or of a model.
        device: where it shall be.

    Raises:
        ModelStoreError: there is no model, or it is damaged.
    """
    from .model.export.generate import find_model
    from .model.store import load_generator as load

    return load(find_model(Path(run))).to(device)


def generate(run: PathLike, out: PathLike, device: str = "cpu", **settings: Any) -> GenerateRecord:
    """Write pictures of a model's heads; what `spherehead generate` does.

    Args:
        run: folder of a run or of a model.
        out: folder for the pictures.
        device: where the model runs.
        settings: fields of `GenerateSettings`, such as `seeds=(0, 1)`, `views=8`, `orbit=True`.
    """
    from .model.export.generate import GenerateSettings
    from .model.export.generate import generate as write

    return write(Path(run), Path(out), GenerateSettings(**settings), device)
