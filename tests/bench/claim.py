"""The mission's claim in one table: how runs differ in Frechet distance, mirror scores and faces on the backs of heads.

    python tests/bench/claim.py --data SET dual=runs/dual-0 dual=runs/dual-1 planes=runs/planes-0 --out claim

Runs of one name are seeds of one thing; their mean is a row of its own. The rows above them hold the same numbers for the data:
halves of it by persons, rendered heads from exactly in front and behind (`--pairs N`, needs Mitsuba and the assets), and the
same heads with their mirrored face painted on the back. Every run is measured with the same latents, cameras and pictures.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from spherehead.datasets.arrays import Array, Pixels
from spherehead.datasets.report.sheets import write_png
from spherehead.datasets.shards.inspect import PLACE, read
from spherehead.manifests.identity import unit_interval
from spherehead.manifests.store import write_bytes, write_json
from spherehead.manifests.summary import read_frame
from spherehead.model.evaluation.evaluation import Distances, Evaluation, EvaluationSettings, ViewFeatures, compare
from spherehead.model.evaluation.features import open_features
from spherehead.model.evaluation.front_back_similarity import MirrorScores, MirrorSummary, mirror_scores, summarise
from spherehead.model.export.generate import find_model, present_look, seeded_condition
from spherehead.model.store import load_generator
from spherehead.model.visualization.pictures import heads_sheet, sheet, tile
from spherehead.model.visualization.views import View, each_view, head_styles, look_from, seeded_latents
from spherehead.pipeline.backends.mediapipe_models import FaceFinder
from spherehead.pipeline.synthetic.source import Shot

FRONT = (0.0, 20.0, -20.0)
"""Yaws in degrees at which a head must show a face."""
BEHIND = (180.0, 160.0, -160.0, 145.0, -145.0, 130.0, -130.0)
"""Yaws in degrees at which it must not."""
CERTAIN = 0.85
"""Score from which MediaPipe's short-range detector counts. At its usual 0.5 it fires on half of all rendered views of the back
of a head; at 0.85 on none of 300, and on 84 % of 300 fronts."""
FIRST_SEED = 2_000_000
"""Seed of the first head that is looked at all round."""


@dataclass(frozen=True)
class Count:
    """A count out of a total."""

    hits: int = 0
    total: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.hits + other.hits, self.total + other.total)

    def __str__(self) -> str:
        return f"{100 * self.hits / self.total:.1f} % ({self.hits}/{self.total})" if self.total else "-"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    images: int | None = None
    distances: dict[str, Distances] = field(default_factory=dict)
    mirror: MirrorSummary | None = None
    behind: Count = Count()
    """Views beyond 120 degrees on which the detector fires: the multiple-face rate."""
    front: Count = Count()
    """Views within 30 degrees on which it fires: whether there is a face at all."""


class Detector:
    """MediaPipe's face detector for small pictures of single heads."""

    def __init__(self) -> None:
        self.finder = FaceFinder("short", 0.5)

    def count(self, pictures: Iterable[Pixels]) -> Count:
        """Count the pictures with a certain face. Each is brought to 64 pixels first, so that sets of any side compare."""
        total = Count()
        for picture in pictures:
            small = picture if len(picture) == 64 else cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)
            large = cv2.resize(small, (256, 256), interpolation=cv2.INTER_CUBIC)
            framed = cv2.copyMakeBorder(large, 64, 64, 64, 64, cv2.BORDER_REPLICATE)
            faces = self.finder.find(framed)
            total += Count(int(bool(faces) and faces[0].score >= CERTAIN), 1)
        return total


def judge_run(
    name: str, run: Path, evaluation: Evaluation, detector: Detector, heads: int, out: Path, device: str
) -> tuple[Row, list[list[View]]]:
    """Measure one run's newest checkpoint; the first heads' fronts and backs come with the row."""
    folder = find_model(run)
    generator, look = load_generator(folder).to(device), present_look(folder)
    position = folder / "position.json"
    images = json.loads(position.read_bytes())["position"]["images"] if position.is_file() else None
    distances = evaluation.measure(generator, look, lambda model, seeds: seeded_condition(model, seeds)[0])
    cameras = look_from([math.radians(yaw) for yaw in (*FRONT, *BEHIND)])
    scores, behind, front, shown = [], Count(), Count(), []
    for seed in range(FIRST_SEED, FIRST_SEED + heads):
        condition = seeded_condition(generator, [seed])[0]
        ws = head_styles(generator, seeded_latents([seed], generator.settings.z_dim), condition)
        views = list(each_view(generator, ws, cameras, look))
        face, back = views[0], views[len(FRONT)]
        scores.append(mirror_scores(face.image, back.image, face.mask, back.mask, back.parsing))
        front += detector.count(view.image for view in views[: len(FRONT)])
        behind += detector.count(view.image for view in views[len(FRONT) :])
        if len(shown) < 8:
            shown.append([face, back])
    show_pairs(out / f"pairs-{name}-{run.name}.png", shown, name)
    return Row(name, images, distances, summarise(scores), behind, front), shown


def show_runs(path: Path, runs: dict[str, list[list[list[View]]]], pairs: int = 6, side: int = 96) -> None:
    """Write one sheet of all runs: a row for each name, fronts beside backs, as many heads of each seed."""
    rows = []
    for seeds in runs.values():
        each = max(1, pairs // len(seeds))
        rows.append([tile(view, side) for heads in seeds for pair in heads[:each] for view in pair])
    columns = ["front", "back"] * (max(map(len, rows)) // 2)
    write_png(path, sheet(rows, list(runs), columns))


def show_pairs(path: Path, pairs: list[list[View]], title: str) -> None:
    """Write a sheet of heads from the front and from behind."""
    write_png(path, heads_sheet(pairs, [f"head {index}" for index in range(len(pairs))], 128, title))


def judge_data(folder: Path, evaluation: Evaluation, detector: Detector, most: int = 300) -> list[Row]:
    """Measure the data against themselves: halves by persons, faces where backs should be, and the detector on single views."""
    frame = read_frame(folder, [*PLACE, "yaw_degrees", "identity"])
    frame = frame[frame["status"] == "kept"]
    frame = frame.assign(order=[unit_interval(f"claim/{key}") for key in frame["id"]]).sort_values("order")
    counts = []
    for chosen in (frame["yaw_degrees"].abs() > 120, frame["yaw_degrees"].abs() < 30):
        ids = frame[chosen]["id"].tolist()[:most]
        counts.append(detector.count(sample.image for sample in read(folder, ids, frame)))
    reference = evaluation.reference
    people = dict(zip(frame["id"], frame["identity"].astype("string").fillna(frame["id"]), strict=True))
    first = np.array([unit_interval(f"half/{people[key]}") < 0.5 for key in evaluation.ids])
    halves = [ViewFeatures(reference.features[part], reference.labels[part]) for part in (first, ~first)]
    faces, backs = (reference.chosen(side) for side in ("front", "back"))
    wrong = ViewFeatures(reference.features[faces], reference.labels[backs][np.arange(faces.sum()) % backs.sum()])
    return [
        Row("data: half against half", None, compare(*halves), None, *counts),
        Row("data: fronts where backs should be", None, {"back": compare(wrong, reference)["back"]}),
    ]


Pair = tuple[View, View]


def kept_pairs(path: Path, count: int) -> list[Pair]:
    """Return rendered pairs from a file, which is written where it is not there: rendering takes seconds per head."""
    if not path.is_file():
        shots = [shot for pair in rendered_pairs(count, 128, 1_000_000) for shot in pair]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, *(part for shot in shots for part in (shot.image, shot.mask, shot.parsing)))
    with np.load(path) as file:
        parts = [file[f"arr_{index}"] for index in range(6 * count)]
    return [(as_view(*parts[at : at + 3]), as_view(*parts[at + 3 : at + 6])) for at in range(0, len(parts), 6)]


def rendered_pairs(count: int, size: int, first: int) -> Iterator[tuple[Shot, Shot]]:
    """Render heads from exactly in front and behind, under one light each; people that no training set of `first` heads has."""
    from spherehead.datasets.camera import Camera
    from spherehead.pipeline.synthetic.people.figure import build_figure
    from spherehead.pipeline.synthetic.people.population import draw_person
    from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing
    from spherehead.pipeline.synthetic.rendering.render import Studio
    from spherehead.pipeline.synthetic.source import opened, parse, shoot

    settings = parse(f"makehuman:size={size},samples=36")
    assets = opened("")
    for head in range(first, first + count):
        figure = build_figure(assets, draw_person(assets, settings.seed, head, settings.people))
        studio, drawing = Studio(figure, settings.variant), Drawing(figure)
        front, back = (shoot(settings, figure, studio, drawing, Camera.look_at(yaw, 0.0), 0) for yaw in (0.0, math.pi))
        yield front, back


def as_view(image: Pixels, mask: Pixels, parsing: Pixels) -> View:
    """Return a picture of the data as a view at 64 pixels, mask and classes at 32."""
    small, low = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA), (32, 32)
    share: Array = cv2.resize(mask, low, interpolation=cv2.INTER_AREA) / np.float32(255)
    classes = cv2.resize(parsing, low, interpolation=cv2.INTER_NEAREST)
    return View(small, cv2.resize(small, low, interpolation=cv2.INTER_AREA), share, 2.7 * np.ones_like(share), classes)


def painted(pair: Pair, share: float) -> Pair:
    """Paint the mirrored front over a head's back, so that it shows through by a share."""
    front, back = pair
    inside = cv2.resize(back.mask * front.mask[:, ::-1], (64, 64), interpolation=cv2.INTER_LINEAR)[..., None] * share
    image = np.round((1 - inside) * back.image + inside * front.image[:, ::-1]).astype(np.uint8)
    parsing = front.parsing[:, ::-1] if share > 0.5 and front.parsing is not None else back.parsing
    return front, dataclasses.replace(back, image=image, parsing=parsing)


def judge_pairs(name: str, pairs: list[Pair], detector: Detector) -> Row:
    """Measure heads of which only front and back are there."""
    scores = [mirror_scores(f.image, b.image, f.mask, b.mask, b.parsing) for f, b in pairs]
    front, back = (detector.count(pair[side].image for pair in pairs) for side in (0, 1))
    return Row(name, None, {}, summarise(scores), back, front)


def mean_row(name: str, rows: list[Row]) -> Row:
    """Return the mean over seeds, with the standard deviation of its mean as the error of the mirror scores."""

    def middle(values: list[float]) -> float:
        return statistics.fmean(values)

    def spread(values: list[float]) -> float:
        return statistics.stdev(values) / math.sqrt(len(values))

    def scores(how: Callable[[list[float]], float]) -> MirrorScores:
        means = [row.mirror.mean for row in rows if row.mirror]
        return MirrorScores(*(how([getattr(item, part.name) for item in means]) for part in dataclasses.fields(MirrorScores)))

    distances = {
        side: Distances(
            *(middle([getattr(row.distances[side], part) for row in rows]) for part in ("frechet", "endless", "kernel")),
            rows[0].distances[side].count, rows[0].distances[side].reference,
        )
        for side in rows[0].distances
    }  # fmt: skip
    mirror = MirrorSummary(scores(middle), scores(spread), sum(row.mirror.count for row in rows if row.mirror))
    totals = (sum((getattr(row, part) for row in rows), Count()) for part in ("behind", "front"))
    return Row(f"**{name}, mean of {len(rows)}**", rows[0].images, distances, mirror, *totals)


def as_table(rows: list[Row], features: str) -> str:
    """Lay rows out as a Markdown table."""
    lines = [
        f"| run | images | Frechet ({features}) all / front / back | mirror: luminance | detail | face parts on the back "
        "| faces behind | faces in front |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        far = " / ".join(
            f"{row.distances[side].infinity:.1f}" if side in row.distances else "-" for side in ("all", "front", "back")
        )
        if row.mirror is None:
            scores = ["-"] * 3
        else:
            mean, error = (dataclasses.astuple(part) for part in (row.mirror.mean, row.mirror.error))
            scores = [f"{m:.3f} ± {e:.3f}" for m, e in zip(mean, error, strict=True)]
        images = f"{row.images:,}" if row.images is not None else "-"
        lines.append("| " + " | ".join([row.name, images, far, *scores, str(row.behind), str(row.front)]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", metavar="NAME=DIR")
    parser.add_argument("--data", type=Path, required=True, help="finished data set that the runs were trained on")
    parser.add_argument("--out", type=Path, required=True, help="folder for claim.md, claim.json and sheets of heads")
    parser.add_argument("--heads", type=int, default=128, help="heads that are looked at all round")
    parser.add_argument("--count", type=int, default=1024, help="pictures for the distances")
    parser.add_argument("--pairs", type=int, default=0, help="heads to render from front and back; 0 for none")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1 if asked.device == "cpu" else torch.get_num_threads())
    features, detector = open_features(device=asked.device), Detector()
    evaluation = Evaluation([asked.data], features, EvaluationSettings(asked.count))
    rows = judge_data(asked.data, evaluation, detector)
    if asked.pairs:
        pairs = kept_pairs(asked.out / f"pairs-{asked.pairs}.npz", asked.pairs)
        show_pairs(asked.out / "pairs-data.png", [list(pair) for pair in pairs[:8]], "rendered heads")
        rows.append(judge_pairs("data: front and back", pairs, detector))
        for share in (0.5, 1.0):
            both = [painted(pair, share) for pair in pairs]
            show_pairs(asked.out / f"pairs-painted-{share}.png", [list(pair) for pair in both[:8]], "painted")
            rows.append(judge_pairs(f"data: face painted on the back, {share:.0%}", both, detector))
    groups: dict[str, list[Row]] = {}
    shown: dict[str, list[list[list[View]]]] = {}
    for text in asked.runs:
        name, _, place = text.rpartition("=")
        start = time.perf_counter()
        row, heads = judge_run(
            name or Path(place).name, Path(place), evaluation, detector, asked.heads, asked.out, asked.device
        )
        print(f"{text}: {time.perf_counter() - start:.0f} s", flush=True)
        groups.setdefault(row.name, []).append(row)
        shown.setdefault(row.name, []).append(heads)
    for name, members in groups.items():
        rows += members + ([mean_row(name, members)] if len(members) > 1 else [])
    if shown:
        show_runs(asked.out / "runs.png", shown)
    text = as_table(rows, features.name)
    write_bytes(asked.out / "claim.md", text.encode())
    write_json(asked.out / "claim.json", [dataclasses.asdict(row) for row in rows])
    print(text)


if __name__ == "__main__":
    main()
