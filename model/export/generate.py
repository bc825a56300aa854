"""Pictures of a saved model for eyes: single views by seed, sheets, turns, and a record of how they were made.

Which folder is a model is left to `model.store` and `train.checkpoint`; sheets and turns are those of the modules beside this.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ...datasets.arrays import Pixels
from ...datasets.report.tiles import write_png
from ...manifests.config import ConfigError
from ...manifests.store import write_json
from ..generator import Generator
from ..shipped import SHIPPED, is_shipped, shipped
from ..store import CONFIG, GENERATOR, ModelStoreError, load_generator, read_config
from ..train.checkpoint import CHECKPOINTS, POSITION, newest
from ..train.record import read_record, saved_config
from ..train.schedule import schedule_state
from ..train.step import subject_vectors
from ..visualization.orbit import orbit_frames, tiles
from ..visualization.pictures import heads_sheet
from ..visualization.snapshot import SnapshotSettings
from ..visualization.video import write_video
from ..visualization.views import RenderSettings, View, each_view, head_styles, ring, seeded_latents, usual_condition
from ..volume_rendering.rays import LABEL_SIZE

TOGETHER = 8
"""Heads on one sheet and in one video."""
LARGEST_SEED = 2**53
"""Seeds beyond are no exact numbers in JSON."""


@dataclass(frozen=True)
class GenerateSettings:
    """What is made of a model."""

    seeds: tuple[int, ...] = tuple(range(8))
    """One head each."""
    views: int = 8
    """Cameras around each head, evenly; the first is in front."""
    psi: float = 0.7
    """Truncation towards the mean head; 1 for none."""
    pitch_degrees: float = 0.0
    """Elevation of all cameras."""
    orbit: bool = False
    """Also make a video of a turn."""
    frames: int = 72
    """Pictures of the turn."""
    fps: int = 24
    """Pictures a second."""
    neural_resolution: int | None = None
    """Rays per side; null for the model's own."""
    part: str = GENERATOR
    """Part of the model: the averaged generator, or the one as trained."""

    def __post_init__(self) -> None:
        if not self.seeds or self.views < 1 or self.frames < 1 or self.fps < 1:
            raise ConfigError(f"expected a seed and views, frames and fps of 1 or more, got {self}")
        if not 0.0 <= self.psi <= 2.0 or not abs(self.pitch_degrees) < 90:
            raise ConfigError(f"expected psi in [0, 2] and a pitch under 90 degrees, got {self.psi} and {self.pitch_degrees}")
        if self.neural_resolution is not None and not 8 <= self.neural_resolution <= 512:
            raise ConfigError(f"expected a neural_resolution of 8 to 512 rays per side, got {self.neural_resolution}")


@dataclass(frozen=True)
class GenerateRecord:
    """What generate.json holds: enough to make the same pictures again."""

    model: str
    """Name of the model's folder."""
    part: str
    sha256: str
    """Digest of the part's file."""
    settings: GenerateSettings
    cameras: tuple[tuple[float, ...], ...]
    """Labels of the views, in order."""
    condition: str
    """What the mapping network saw: frontal camera, vector of a person by seed, or nothing."""
    rendering: RenderSettings
    files: tuple[str, ...] = field(default=())
    """What was written beside, in order."""


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read a list of seeds such as 0-7,12; order is kept, repeats are dropped.

    Raises:
        ConfigError: it is none, or has more than 10,000 seeds.
    """
    seeds: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        wanted = (first, last) if dash else (first,)
        if not all(piece.isascii() and piece.isdigit() and int(piece) < LARGEST_SEED for piece in wanted):
            raise ConfigError(f"expected seeds such as 0-7,12, got {text!r}")
        low, high = int(wanted[0]), int(wanted[-1])
        if high < low:
            raise ConfigError(f"expected the first seed of a span before the last, got {part.strip()!r}")
        if high - low >= 10_000 or len(seeds) > 10_000:
            raise ConfigError(f"expected at most 10,000 seeds at a time, got {text!r}")
        seeds |= dict.fromkeys(range(low, high + 1))
    return tuple(seeds)


def find_model(run: Path) -> Path:
    """Return the model folder that a path means: a run's newest checkpoint, the folder itself, or a shipped model by name.

    Raises:
        ModelStoreError: it is neither.
    """
    if is_shipped(run):
        return shipped(str(run))
    if (run / CHECKPOINTS).is_dir():
        return newest(run)
    if not (run / CONFIG).is_file():
        raise ModelStoreError(
            f"no model in {run}: expected a training run's folder, one that `convert` wrote, or a shipped model "
            f"({', '.join(sorted(SHIPPED))})"
        )
    return run


def seeded_condition(generator: Generator, seeds: Sequence[int]) -> tuple[Tensor | None, str]:
    """Return the condition of seeded heads and its name: the frontal camera, or a vector of a person by seed."""
    size = generator.settings.condition_dim
    if size in (0, LABEL_SIZE):
        return usual_condition(generator, len(seeds)), "frontal camera" if size else "nothing"
    return subject_vectors(torch.tensor(list(seeds)), size), "vector of a person by seed"


def present_settings(folder: Path) -> RenderSettings:
    """Return how far a checkpoint's networks had grown, by its run's schedules; fully where it belongs to no run."""
    run, position = folder.parent.parent, folder / POSITION
    if read_record(run) is None or not position.is_file():
        return RenderSettings()
    config = saved_config(run)
    now = schedule_state(config.schedule, int(json.loads(position.read_bytes())["position"]["images"]), config.resolution)
    return RenderSettings(now.neural_resolution, now.image_resolution, now.fade)


def generate(run: Path, out: Path, settings: GenerateSettings, device: str = "cpu") -> GenerateRecord:
    """Write views, sheets and, where asked for, videos of a saved model.

    Args:
        run: a training run's folder or a model's.
        out: where seed-0000/view-00.png ..., sheet.png, orbit.webm and generate.json go; further sheets and videos, one for
            every eight heads, are numbered.
        settings: what to make.
        device: where the model runs.

    Raises:
        ModelStoreError: there is no whole model.
        ConfigError: the device is not there.
    """
    folder = find_model(run)
    generator = to_device(load_generator(folder, settings.part), device)
    rendering = present_settings(folder)
    rendering = RenderSettings(
        settings.neural_resolution or rendering.neural_resolution, rendering.image_resolution, rendering.fade
    )
    written: list[str] = []
    for start in range(0, len(settings.seeds), TOGETHER):
        chosen = slice(start, start + TOGETHER)
        written += _write_some(generator, settings.seeds[chosen], out, start // TOGETHER, settings, rendering)
    cameras = ring(settings.views, math.radians(settings.pitch_degrees))
    record = GenerateRecord(
        folder.name, settings.part, read_config(folder).parts[settings.part].sha256, settings,
        tuple(tuple(row) for row in cameras.tolist()), seeded_condition(generator, settings.seeds[:1])[1], rendering,
        tuple(written),
    )  # fmt: skip
    write_json(out / "generate.json", record)
    return record


def to_device(generator: Generator, device: str) -> Generator:
    """Move a generator to where it is to run.

    Raises:
        ConfigError: the device is not there.
    """
    try:
        return generator.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        raise ConfigError(f"cannot use device {device!r}: {str(error).splitlines()[0]}") from error


def _write_some(
    generator: Generator, seeds: Sequence[int], out: Path, number: int, settings: GenerateSettings, rendering: RenderSettings
) -> list[str]:
    """Write the pictures of up to `TOGETHER` heads, and their sheet and video; return the names."""
    pitch = math.radians(settings.pitch_degrees)
    size = SnapshotSettings().tile_size(rendering.image_resolution or generator.settings.upsampler.resolution)
    ending = f"-{number:02d}" if number else ""
    written: list[str] = []
    rows: list[list[View]] = []
    turns: list[list[Pixels]] = []
    for seed in seeds:
        # each head alone and each view alone: sums of other sizes round otherwise, and a seed must give one picture
        latents, condition = seeded_latents([seed], generator.settings.z_dim), seeded_condition(generator, [seed])[0]
        ws = head_styles(generator, latents, condition, settings.psi)
        row = list(each_view(generator, ws, ring(settings.views, pitch), rendering, at_once=1))
        for index, view in enumerate(row):
            written.append(f"seed-{seed:04d}/view-{index:02d}.png")
            write_png(out / written[-1], view.image)
        rows.append(row)
        if settings.orbit:
            turns.append(tiles(each_view(generator, ws, ring(settings.frames, pitch), rendering), size))
    written.append(f"sheet{ending}.png")
    write_png(out / written[-1], heads_sheet(rows, [f"seed {seed}" for seed in seeds], size))
    if settings.orbit:
        written.append(write_video(out / f"orbit{ending}.webm", orbit_frames(turns, 4), settings.fps).name)
    return written
