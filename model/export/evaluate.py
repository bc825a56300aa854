"""How good trained generators are: one table of distances, coverage, backs, faces and costs, with JSON, a page and grids.

Measures are those of `evaluation`; the face detector and the reader of heads are given by the caller. The same data, latents
and cameras serve every run, so that rows differ by the generators alone and the same call gives the same numbers.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ...datasets.arrays import Floats, Pixels
from ...datasets.report.tiles import write_png
from ...datasets.shards.inspect import PLACE, read
from ...manifests.frames import read_frame
from ...manifests.identity import unit_interval
from ...manifests.store import write_bytes, write_json
from ..evaluation.coverage import Coverage, precision_recall
from ..evaluation.evaluation import SIDES, Distances, Evaluation, EvaluationSettings, ViewFeatures, compare
from ..evaluation.faces import BACK_DEGREES, FRONT_DEGREES, FaceRates, FaceScore, calibrated, count, prepared
from ..evaluation.features import Features, features_of
from ..evaluation.front_back_similarity import MirrorSummary, mirror_scores, summarise
from ..evaluation.identity_consistency import IdentitySummary, data_identities, picture_vector, summarise_identities
from ..evaluation.known_persons import PersonSummary, rebuilt_persons
from ..evaluation.reading import HeadReader, ReadingSummary, ReadView, summarise_readings
from ..fetched import HOW_TO_GET
from ..generator import Generator
from ..nets.face_recognition import FaceRecognition
from ..store import load_generator
from ..visualization.pictures import heads_sheet
from ..visualization.views import RenderSettings, View, each_view, head_styles, look_from, ring, seeded_latents
from .evaluate_page import page
from .generate import find_model, present_settings, seeded_condition

FRONTS = (0.0, 20.0, -20.0)
"""Yaws in degrees at which a head must show a face."""
BACKS = (180.0, 160.0, -160.0, 145.0, -145.0)
"""Yaws in degrees at which it must not."""
LOOKS = look_from([math.radians(yaw) for yaw in (*FRONTS, *BACKS)]).numpy()
"""(8, 25) cameras of these."""
TURNS = (45.0, -45.0)
"""Further yaws in degrees at which a head must show the face that it shows at `FRONTS`."""
TURNED = look_from([math.radians(yaw) for yaw in TURNS]).numpy()
"""(2, 25) cameras of these."""
FACES = np.concatenate([LOOKS[: len(FRONTS)], TURNED])
"""(5, 25) cameras of the faces that are compared."""
READ_SIDE = 128
"""Side in pixels that readers are shown. Pictures of the data are brought to the models' side first: sharpness compares."""
FIRST_SEED = 2_000_000
"""Seed of the first head that is looked at all round."""


@dataclass(frozen=True)
class JudgeSettings:
    """What is measured of each run."""

    count: int = 768
    """Pictures for distances and coverage."""
    heads: int = 48
    """Heads that are looked at from in front and behind."""
    psi: float = 1.0
    """Truncation; 1 measures what was learned."""
    shown: int = 8
    """Heads on the grid."""


@dataclass(frozen=True)
class RunScores:
    """One row of the table."""

    name: str
    images: int | None = None
    """Pictures that the run had been shown."""
    distances: dict[str, Distances] = field(default_factory=dict)
    coverage: dict[str, Coverage] = field(default_factory=dict)
    mirror: MirrorSummary | None = None
    faces: FaceRates | None = None
    reading: ReadingSummary | None = None
    """What a reader of heads says of the pictures for the distances."""
    seconds: float | None = None
    """Seconds a picture, mean over the pictures for the distances."""
    peak_bytes: int | None = None
    """Most memory of the process so far, or of the device."""
    identity: IdentitySummary | None = None
    """How far faces of one head are apart from view to view, beside those of different heads."""
    persons: PersonSummary | None = None
    """Rebuilt views of the persons that it learned from."""


@dataclass(frozen=True)
class Scores:
    """What evaluate.json holds, where numbers that do not exist (NaN here) are null."""

    data: tuple[str, ...]
    features: str
    """Name of the extractor; distances of two names must not be compared."""
    face_threshold: float | None
    """Score that 84 % of the data's fronts reach; null without a detector, or where the data show nobody from in front."""
    settings: JudgeSettings
    rows: tuple[RunScores, ...]
    identity: str = ""
    """Why identities were not compared; empty where they were."""


def evaluate(
    runs: Sequence[Path],
    data: Sequence[Path],
    out: Path,
    features: Features,
    face_score: FaceScore | None = None,
    settings: JudgeSettings = JudgeSettings(),
    device: str = "cpu",
    reader: HeadReader | None = None,
    recognition: FaceRecognition | None = None,
) -> Scores:
    """Measure runs against data sets and write evaluate.json, evaluate.html and a grid a run.

    Args:
        runs: folders of training runs or of models; their names are those of the rows.
        data: finished data sets.
        out: where to write.
        features: what pictures are compared by.
        face_score: the detector; None leaves face rates out.
        settings: what to measure.
        device: where the models run.
        reader: reads rotation and classes off pictures; None leaves its columns out.
        recognition: the face recognition network; None leaves the comparison of identities out.

    Raises:
        ModelStoreError: a run holds no model.
        ManifestError, ConfigError: the data hold no finished set, or too few pictures.
    """
    evaluation = Evaluation(data, features, EvaluationSettings(settings.count, psi=settings.psi))
    rows, threshold = [_of_data(evaluation)], None
    first = load_generator(find_model(runs[0]))
    resolution = first.settings.upsampler.resolution
    if face_score is not None:
        fronts, backs = (_data_scores(data, face_score, resolution, front) for front in (True, False))
        threshold = calibrated(fronts) if fronts else None
    if threshold is not None:
        rows[0] = dataclasses.replace(rows[0], faces=FaceRates(count(fronts, threshold), count(backs, threshold)))
    else:
        face_score = None  # nothing says which score means a face
    if reader is not None:
        rows[0] = dataclasses.replace(rows[0], reading=_data_reading(data, reader, resolution))
    if recognition is not None:
        rows[0] = dataclasses.replace(rows[0], identity=data_identities(data, recognition, resolution))
    grids = []
    for name, run in zip(_names(runs), runs, strict=True):
        folder = find_model(run)
        generator, rendering = load_generator(folder).to(torch.device(device)), present_settings(folder)
        metrics = HeadMetrics(resolution, face_score, threshold, reader, recognition)
        rows.append(_of_run(name, folder, generator, rendering, evaluation, settings, metrics))
        rows[-1] = dataclasses.replace(rows[-1], persons=rebuilt_persons(generator, folder, data, rendering))
        grids.append(f"{name}.png")
        write_png(out / grids[-1], _grid(generator, rendering, settings))
    missing = "" if recognition is not None else f"Identities were not compared; to compare them: {HOW_TO_GET}"
    scores = Scores(tuple(map(str, data)), features.name, threshold, settings, tuple(rows), missing)
    write_json(out / "evaluate.json", _without_nan(dataclasses.asdict(scores)))
    write_bytes(out / "evaluate.html", page(scores, grids).encode())
    return scores


def _names(runs: Sequence[Path]) -> list[str]:
    """Name runs by their folders, with a number where two are alike."""
    names: list[str] = []
    for run in runs:
        plain = run.resolve().name
        numbered = (f"{plain}-{number}" for number in itertools.count(len(names)))
        names.append(next(name for name in itertools.chain([plain], numbered) if name not in names))
    return names


def _of_data(evaluation: Evaluation) -> RunScores:
    """Measure one half of the data against the other: what a perfect generator could reach."""
    reference = evaluation.reference
    first = np.array([unit_interval(f"half/{key}") < 0.5 for key in evaluation.ids])
    halves = [ViewFeatures(reference.features[part], reference.labels[part]) for part in (first, ~first)]
    return RunScores("data, half against half", None, compare(*halves), _coverage(*halves))


def _coverage(seen: ViewFeatures, reference: ViewFeatures) -> dict[str, Coverage]:
    found = {}
    for side in SIDES:
        first, second = seen.features[seen.chosen(side)], reference.features[reference.chosen(side)]
        if min(len(first), len(second)) >= 8:
            found[side] = precision_recall(first, second)
    return found


@dataclass(frozen=True)
class HeadMetrics:
    """What heads of a run are measured by; what is None is left out."""

    resolution: int
    """Side that pictures are brought to first."""
    face_score: FaceScore | None
    threshold: float | None
    """Score from which there is a face."""
    reader: HeadReader | None
    recognition: FaceRecognition | None


def _of_run(
    name: str, folder: Path, generator: Generator, rendering: RenderSettings, evaluation: Evaluation, settings: JudgeSettings,
    metrics: HeadMetrics,
) -> RunScores:  # fmt: skip
    """Measure one model."""
    position = folder / "position.json"
    images = int(json.loads(position.read_bytes())["position"]["images"]) if position.is_file() else None
    begun = time.perf_counter()
    pictures = list(evaluation.generated(generator, rendering, lambda model, seeds: seeded_condition(model, seeds)[0]))
    seconds = (time.perf_counter() - begun) / len(pictures)
    seen = ViewFeatures(features_of(pictures, evaluation.features), evaluation.labels.numpy())
    mirror, fronts, backs, read_views, vectors = [], [], [], [], []
    reader, face_score, recognition, resolution = metrics.reader, metrics.face_score, metrics.recognition, metrics.resolution
    for views, turned in _all_round(generator, rendering, settings, with_turned=recognition is not None):
        front, back = views[0], views[len(FRONTS)]
        mirror.append(mirror_scores(front.image, back.image, front.mask, back.mask, back.parsing))
        if reader is not None:
            read_views += [
                ReadView(reader(_large(view.image)), camera, view.parsing) for view, camera in zip(views, LOOKS, strict=True)
            ]
        if face_score is not None:
            found = [face_score(prepared(view.image, resolution)) for view in views]
            fronts += found[: len(FRONTS)]
            backs += found[len(FRONTS) :]
        if recognition is not None:
            seen_faces = zip((*views[: len(FRONTS)], *turned), FACES, strict=True)
            vectors += [picture_vector(recognition, view.image, camera, resolution) for view, camera in seen_faces]
    threshold = metrics.threshold
    faces = None if threshold is None else FaceRates(count(fronts, threshold), count(backs, threshold))
    return RunScores(
        name, images, compare(seen, evaluation.reference), _coverage(seen, evaluation.reference), summarise(mirror), faces,
        summarise_readings(read_views) if read_views else None, seconds, _peak(generator), _identities(vectors),
    )  # fmt: skip


def _identities(vectors: Sequence[Floats]) -> IdentitySummary | None:
    """Compare the faces of every head from in front: `FACES` of one after those of another; None where there are none."""
    if not vectors:
        return None
    heads = len(vectors) // len(FACES)
    return summarise_identities(np.stack(vectors), np.repeat(np.arange(heads), len(FACES)), np.tile((*FRONTS, *TURNS), heads))


def _all_round(
    generator: Generator, rendering: RenderSettings, settings: JudgeSettings, with_turned: bool
) -> Iterator[tuple[list[View], list[View]]]:
    """Yield the views of every head: at `LOOKS`, and, where they are wanted, at `TURNED`.

    The two are rendered apart: more views at once round otherwise, and other measures would change with the network's presence.
    """
    for seed in range(FIRST_SEED, FIRST_SEED + settings.heads):
        ws = head_styles(
            generator, seeded_latents([seed], generator.settings.z_dim), seeded_condition(generator, [seed])[0], settings.psi
        )
        looks = list(each_view(generator, ws, torch.from_numpy(LOOKS), rendering))
        yield looks, list(each_view(generator, ws, torch.from_numpy(TURNED), rendering)) if with_turned else []


def _grid(generator: Generator, rendering: RenderSettings, settings: JudgeSettings) -> Pixels:
    """Return the sheet of the first heads from eight sides."""
    rows, seeds = [], range(FIRST_SEED, FIRST_SEED + settings.shown)
    for seed in seeds:
        latents, condition = seeded_latents([seed], generator.settings.z_dim), seeded_condition(generator, [seed])[0]
        rows.append(list(each_view(generator, head_styles(generator, latents, condition, settings.psi), ring(8), rendering)))
    return heads_sheet(rows, [f"seed {seed}" for seed in seeds], 128)


def _data_scores(folders: Sequence[Path], face_score: FaceScore, resolution: int, front: bool, most: int = 150) -> list[float]:
    """Return the detector's scores of the data's views from in front, or from behind; chosen by a hash of their ids."""
    found: list[float] = []
    for folder in folders:
        frame = read_frame(folder, [*PLACE, "yaw_degrees", "pitch_degrees"])
        yaw = frame["yaw_degrees"].abs()
        level = frame["pitch_degrees"].abs() < FRONT_DEGREES
        chosen = frame[(frame["status"] == "kept") & level & ((yaw < FRONT_DEGREES) if front else (yaw > BACK_DEGREES))]
        ids = sorted(chosen["id"].tolist(), key=lambda key: (unit_interval(f"faces/{key}"), key))
        found += [face_score(prepared(sample.image, resolution)) for sample in read(folder, ids[: most // len(folders)], frame)]
    return found


def _data_reading(folders: Sequence[Path], reader: HeadReader, resolution: int, most: int = 192) -> ReadingSummary | None:
    """Read pictures of the data from all sides, chosen by a hash of their ids; None where none has a label."""
    views = []
    for folder in folders:
        frame = read_frame(folder, PLACE)
        ids = sorted(frame[frame["status"] == "kept"]["id"].tolist(), key=lambda key: (unit_interval(f"read/{key}"), key))
        for sample in read(folder, ids[: most // len(folders)], frame):
            if sample.camera is not None:
                small = cv2.resize(sample.image, (resolution, resolution), interpolation=cv2.INTER_AREA)
                views.append(ReadView(reader(_large(np.asarray(small))), sample.camera.label(), sample.parsing))
    return summarise_readings(views) if views else None


def _large(picture: Pixels) -> Pixels:
    """Return a picture at the side that readers are shown."""
    return np.asarray(cv2.resize(picture, (READ_SIDE, READ_SIDE), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _peak(generator: Generator) -> int:
    """Return the most memory that was in use: on the device where there is one, else of this process."""
    device = next(generator.parameters()).device
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _without_nan(plain: Any) -> Any:
    """Return plain data with None for every NaN: a model without class maps has no share of face parts, and JSON no NaN."""
    if isinstance(plain, dict):
        return {name: _without_nan(value) for name, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [_without_nan(value) for value in plain]
    return None if isinstance(plain, float) and math.isnan(plain) else plain


def comparable(scores: Scores) -> Any:
    """Return the scores without what a clock or the machine decides: equal for equal runs and data."""
    plain = _without_nan(dataclasses.asdict(scores))
    for row in plain["rows"]:
        del row["seconds"], row["peak_bytes"]
    return plain
