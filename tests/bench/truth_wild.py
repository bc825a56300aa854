"""The photograph stages against rendered photographs of the wild framing: one to six heads, any side, tilt, size and crop.

Prints by band of yaw, of pitch and of the head's height: heads found, and rotation, centre and scale errors of the label, as
medians with the border of the worst tenth. Counted are heads of which at least half is seen, of 48 pixels and more where no
band of height is told; a head is found where a detected one holds its middle and overlaps it, with hair or without (IoU 0.3).
Last, of photographs with heads of several sizes, how often `faces=largest` picks one of the largest of those half seen.

    spherehead render-photographs makehuman:count=24,views=6,size=512,seed=9101,people.hair=grown,people.wear=drawn --out wild
    python tests/bench/truth_wild.py wild

The table in docs/reference/benchmarks.md has people of more settings, which stand there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from spherehead.datasets.camera import FOCAL, geodesic
from spherehead.datasets.sample import Drop, Photo, Sample
from spherehead.datasets.shards.photographs import HeadLabel, Photograph
from spherehead.datasets.streaming.photographs import PhotographStream
from spherehead.manifests import store
from spherehead.manifests.identity import rng
from spherehead.pipeline.annotators.heads.boxes import overlap
from spherehead.pipeline.presets import heads as heads_recipe
from spherehead.pipeline.stage import OpenStage

YAWS = ((0, 30), (30, 60), (60, 90), (90, 181))
PITCHES = ((0, 15), (15, 30), (30, 60), (60, 91))
HEIGHTS = ((24, 48), (48, 96), (96, 192), (192, 2000))
LEAST_SEEN, LEAST_HEIGHT, LEAST_OVERLAP = 0.5, 48.0, 0.3
LEAST_SHARE = 0.8
"""Share of the largest head's height from which another one is as large."""

Row = dict[str, float | str]


def about(label: HeadLabel) -> Row:
    """Return what bands are made of."""
    yaw, pitch, roll = (abs(float(np.degrees(getattr(label.camera, name)))) for name in ("yaw", "pitch", "roll"))
    return {"yaw": yaw, "pitch": pitch, "roll": roll, "height": label.box[3], "seen": label.seen, "inside": label.inside}


def measured(label: HeadLabel, side: int, sample: Sample) -> Row:
    """Compare the label of a crop with the head's own: its direction along its line of sight, turned as the crop turns it."""
    to_pixels = np.diag([side, side, 1.0])
    to_crop = np.diag([1 / sample.crop.size, 1 / sample.crop.size, 1.0]) @ sample.crop.matrix @ to_pixels
    between = to_crop @ np.linalg.inv(label.crop)
    here = np.array([[0.5, 0.5], [0.501, 0.5], [0.5, 0.501]])
    placed = np.column_stack([here, np.ones(3)]) @ between.T
    middle, right, down = placed[:, :2] / placed[:, 2:]
    jacobian = np.column_stack([right - middle, down - middle]) / 0.001
    angle = np.arctan2(jacobian[1, 0] - jacobian[0, 1], jacobian[0, 0] + jacobian[1, 1])
    true = label.camera.rolled(float(angle))
    growth = float(np.sqrt(abs(np.linalg.det(jacobian)))) * label.camera.intrinsics[0, 0]
    return {
        "rotation": float(np.degrees(geodesic(true.cam2world[:3, :3], sample.camera.cam2world[:3, :3]))),
        "centre": 100.0 * float(np.linalg.norm(middle - 0.5)), "scale": 100.0 * abs(growth / FOCAL - 1.0),
        "confidence": float(sample.scores.get("pose_confidence", np.nan)),
    }  # fmt: skip


def same(label: HeadLabel, side: int, box: tuple[float, float, float, float]) -> float:
    """Return how far a box is a head's, 0 to 1: none of it where the middle of the head lies outside."""
    x, y = side * label.photo_camera.project(np.zeros((1, 3)))[0][0]
    holds = box[0] < x < box[0] + box[2] and box[1] < y < box[1] + box[3]
    return max(overlap(label.box, box), overlap(label.skull, box)) if holds else 0.0


def through(stages: Sequence[OpenStage], photo: Photograph, seed: int) -> list[Row]:
    """Take a photograph through the stages and return a row for each head that it shows."""
    picture = photo.image
    samples = [Sample("", Photo.of_pixels(picture, hashlib.sha256(picture.tobytes()).hexdigest()))]
    detected, refused = list[Sample](), dict[int, str]()
    for opened in stages:
        found: list[Sample] = []
        for sample in samples:
            try:
                found += opened.one(sample, rng(seed, sample.id or sample.photo.sha256, "truth"))
            except Drop as drop:
                refused[sample.head_index] = drop.reason
        samples = found
        detected = samples if opened.stage.name == "detect" else detected
    labelled = {sample.head_index: sample for sample in samples}
    rows, taken = [], set[int]()
    for number, label in enumerate(photo.heads):
        row: Row = {"photo": photo.id, "head": number, "heads": len(photo.heads), **about(label), "found": 0.0, "labelled": 0.0}
        free = [sample for sample in detected if sample.head_index not in taken]
        best = max(free, key=lambda sample: same(label, len(picture), sample.head.box), default=None)
        if best is not None and same(label, len(picture), best.head.box) >= LEAST_OVERLAP:
            taken.add(best.head_index)
            row |= {"found": 1.0, "kind": str(best.notes["head_kind"]), "refused": refused.get(best.head_index, "")}
            if best.head_index in labelled:
                row |= {"labelled": 1.0, **measured(label, len(picture), labelled[best.head_index])}
        rows.append(row)
    if rows:
        rows[0]["more"] = float(len(detected) - len(taken))
    return rows


def picks_largest(detect: OpenStage, photo: Photograph, seed: int) -> bool | None:
    """Tell whether `faces=largest` picks a head about as high as the largest; None where there is no choice."""
    labels = [label for label in photo.heads if label.seen >= LEAST_SEEN]
    highest = max((label.skull[3] for label in labels), default=0.0)
    if highest < LEAST_HEIGHT or all(label.skull[3] >= LEAST_SHARE * highest for label in labels):
        return None
    sample = Sample("", Photo.of_pixels(photo.image, hashlib.sha256(photo.image.tobytes()).hexdigest()))
    try:
        (picked,) = detect.one(sample, rng(seed, sample.photo.sha256, "largest"))
    except Drop:
        return False
    best = max(labels, key=lambda label: same(label, len(photo.image), picked.require("head").box))
    found = same(best, len(photo.image), picked.require("head").box) >= LEAST_OVERLAP
    return found and best.skull[3] >= LEAST_SHARE * highest


def cells(rows: Sequence[Row]) -> list[str]:
    """Return what a column of the table says of its heads."""
    share = [f"{100 * np.mean([row[name] for row in rows]):.1f} %" if rows else "-" for name in ("found", "labelled")]
    turned = np.array([row["rotation"] for row in rows if "rotation" in row])
    within = [f"{100 * np.mean(turned < limit):.0f} %" if len(turned) else "-" for limit in (20.0, 30.0)]
    numbers = []
    for name in ("rotation", "centre", "scale"):
        some = np.array([row[name] for row in rows if name in row])
        numbers.append(f"{np.median(some):.1f} ({np.percentile(some, 90):.1f})" if len(some) else "-")
    return [str(len(rows)), *share, *numbers, *within]


def table(rows: Sequence[Row], name: str, bands: Sequence[tuple[int, int]]) -> str:
    """Return a table by bands of a number as Markdown."""
    titles = (
        "heads",
        "found",
        "labelled",
        "rotation, degrees",
        "centre, % of the frame",
        "scale, %",
        "within 20 degrees",
        "within 30",
    )
    columns = [cells([row for row in rows if low <= float(row[name]) < high]) for low, high in bands]
    lines = [[name, *(f"{low}-{high}" for low, high in bands)], ["---"] * (1 + len(bands))]
    lines += [[title, *(column[number] for column in columns)] for number, title in enumerate(titles)]
    return "\n".join("| " + " | ".join(words) + " |" for words in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="finished set of render-photographs")
    parser.add_argument("--seed", type=int, default=9001)
    parser.add_argument("--photographs", type=int, default=0, help="how many, 0 for all")
    parser.add_argument("--set", action="append", default=[], help="setting of the recipe, as build-dataset takes it")
    parser.add_argument("--json", type=Path, help="write every number of every head here")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    recipe = heads_recipe().override(["detect.faces=all", *options.set]).resolved()
    stages = [stage.open() for stage in recipe.stages if stage.name in ("detect", "align", "matte", "estimate_camera")]
    largest = next(stage for stage in heads_recipe().resolved().stages if stage.name == "detect").open()
    rows, picks = list[Row](), list[bool | None]()
    splits = set(store.read(options.folder, columns=["status", "split"]).kept["split"].to_pylist())
    for split in sorted(splits):
        stream = PhotographStream([options.folder], split=str(split), shuffle=False)
        for number in range(min(len(stream), options.photographs or len(stream))):
            photo = stream.read(number)
            rows += through(stages, photo, options.seed)
            picks.append(picks_largest(largest, photo, options.seed))
    seen = [row for row in rows if float(row["seen"]) >= LEAST_SEEN]
    some = [row for row in seen if float(row["height"]) >= LEAST_HEIGHT]
    for name, bands in (("yaw", YAWS), ("pitch", PITCHES), ("roll", ((0, 20), (20, 60), (60, 181)))):
        print(table(some, name, bands), "\n")
    print(table(seen, "height", HEIGHTS), "\n")
    more, photographs = sum(float(row.get("more", 0.0)) for row in rows), len({row["photo"] for row in rows})
    print(f"detected where no head is, or twice: {more:.0f} in {photographs:,} photographs")
    chosen = [pick for pick in picks if pick is not None]
    print(f"faces=largest picks the largest head in {sum(chosen)} of {len(chosen)} photographs of several")
    print("seen by:", dict(Counter(str(row.get("kind", "nothing")) for row in some)))
    print("found, not labelled:", dict(Counter(str(row["refused"]) for row in some if row.get("refused"))))
    if options.json is not None:
        options.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
