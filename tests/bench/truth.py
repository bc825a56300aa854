"""The photograph stages against truth: rendered heads, whose labels are exact, taken as if they were photographs.

Prints by band of yaw: heads found, rotation, centre and scale errors of the label, IoU and edge error of the matte on plain and
on cluttered backgrounds, and IoU of the class map, as medians with the border of the worst tenth. Views are rendered once into
a cache folder; delete it after a change of the renderer. Run: python tests/bench/truth.py ASSETS --cache DIR --heads 30

With --people TEXT other people than those of the assets, and their light; with --pitch 75 seen from above and below too, and a
second table by pitch. Whole photographs with several heads are measured by truth_wild.py.
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
from spherehead.datasets import warp
from spherehead.datasets.camera import FOCAL, geodesic
from spherehead.datasets.classes import CLASSES
from spherehead.datasets.sample import Drop, Photo, Sample
from spherehead.manifests.identity import rng
from spherehead.pipeline.presets import heads as heads_recipe
from spherehead.pipeline.stage import OpenStage
from spherehead.pipeline.synthetic.assets.library import open_assets
from truth_pictures import Held, TrueView, held_views

BANDS = ((0, 30), (30, 60), (60, 90), (90, 180.1))
PITCHES = ((-90, -45), (-45, -20), (-20, 20), (20, 45), (45, 90))
KINDS = ("plain", "cluttered")
GROUPS = {
    "skin": ("skin",), "brows": ("left_brow", "right_brow"), "eyes": ("left_eye", "right_eye"), "glasses": ("glasses",),
    "ears": ("left_ear", "right_ear"), "nose": ("nose",), "lips and mouth": ("mouth", "upper_lip", "lower_lip"),
    "neck": ("neck",), "cloth": ("cloth",), "hair": ("hair",), "hat": ("hat",),
}  # fmt: skip
"""Classes that are counted together; left and right must still agree."""
LEAST_PIXELS = 30
"""Classes of which a crop shows less are not counted there."""
LINES = ("rotation", "centre", "scale", *(f"{what} {kind}" for what in ("matte IoU", "soft edge") for kind in KINDS))
UNITS = {"rotation": "degrees", "centre": "% of the frame", "scale": "%", "soft edge": "mean error of opacity"}

Row = dict[str, float | str]


def through(stages: Sequence[OpenStage], view: TrueView, kind: str, seed: int) -> Row:
    """Take a picture through the stages and measure what each of them gave, up to the one that refuses it."""
    picture = view.on(kind, seed)
    sample = Sample("", Photo.of_pixels(picture, hashlib.sha256(picture.tobytes()).hexdigest()))
    row: Row = {"name": view.name, "kind": kind, **angles(view), "refused": ""}
    try:
        for opened in stages:
            found = list(opened.one(sample, rng(seed, sample.id or sample.photo.sha256, "truth")))
            if not found:
                raise Drop("no_head", "a stage returned nothing")
            sample = found[0]
            row |= measured(view, sample, opened.stage.name)
    except Drop as drop:
        row["refused"], row["detail"] = drop.reason, drop.detail
    return row


def angles(view: TrueView) -> Row:
    """Return where the camera of a view stands, in degrees."""
    return {"yaw": abs(float(np.degrees(view.camera.yaw))), "pitch": float(np.degrees(view.camera.pitch))}


def measured(view: TrueView, sample: Sample, stage: str) -> Row:
    """Compare what a stage gave with the truth."""
    side = len(view.linear)
    if stage == "detect":
        x, y, width, height = sample.head.box
        middle = side * view.camera.project(np.zeros((1, 3)))[0][0]
        here = x < middle[0] < x + width and y < middle[1] < y + height
        return {"found": float(here), "head": sample.notes["head_kind"]}
    size = sample.crop.size
    if stage == "matte":
        return _matte(warp.warp(view.mask, sample.crop.matrix, size, border="black"), sample.mask)
    if stage == "estimate_camera":
        true = view.camera.warped(np.diag([1 / size, 1 / size, 1.0]) @ sample.crop.matrix @ np.diag([side, side, 1.0]))
        origin, _ = true.project(np.zeros((1, 3)))
        given = {name: np.degrees(getattr(sample.camera, name) - getattr(true, name)) for name in ("pitch", "roll")}
        turned = np.degrees(np.angle(np.exp(1j * (sample.camera.yaw - true.yaw))))
        return {
            "rotation": float(np.degrees(geodesic(true.cam2world[:3, :3], sample.camera.cam2world[:3, :3]))),
            "centre": 100.0 * float(np.linalg.norm(origin[0] - 0.5)), "scale": 100.0 * abs(true.intrinsics[0, 0] / FOCAL - 1.0),
            "x off": float(100.0 * (origin[0, 0] - 0.5)), "y off": float(100.0 * (origin[0, 1] - 0.5)),
            "scale off": float(100.0 * (true.intrinsics[0, 0] / FOCAL - 1.0)), "yaw off": float(turned),
            "pitch off": float(given["pitch"]), "roll off": float(given["roll"]), "source": sample.notes["pose_source"],
        }  # fmt: skip
    return _classes(view, sample) if stage == "parse" else {}


def _matte(true: np.ndarray, mask: np.ndarray) -> Row:
    solid, found = true >= 128, mask >= 128
    edge = (true > 12) & (true < 243)
    error = float(np.abs(true[edge] / 255.0 - mask[edge] / 255.0).mean()) if edge.any() else 0.0
    return {"matte IoU": float((solid & found).sum() / max((solid | found).sum(), 1)), "soft edge": error}


def _classes(view: TrueView, sample: Sample) -> Row:
    growth = len(view.parsing) // len(view.linear)
    matrix = sample.crop.matrix @ np.diag([1 / growth, 1 / growth, 1.0])
    true = warp.warp(view.parsing, matrix, sample.crop.size, border="black", nearest=True)
    row: Row = {}
    for name, members in GROUPS.items():
        ids = [CLASSES.index(member) for member in members]
        wanted, found = (np.where(np.isin(labels, ids), labels, 0) for labels in (true, sample.parsing))
        if (wanted > 0).sum() >= LEAST_PIXELS:
            row[f"IoU {name}"] = float(((wanted == found) & (wanted > 0)).sum() / ((wanted > 0) | (found > 0)).sum())
    return row


def in_band(rows: Sequence[Row], band: tuple[float, float], name: str = "yaw") -> list[Row]:
    """Return the rows of a band of an angle."""
    return [row for row in rows if band[0] <= float(row[name]) < band[1]]


def values_of(rows: Sequence[Row], line: str) -> np.ndarray:
    """Return the numbers of a line of the table; its last word may name a background."""
    name, _, kind = line.rpartition(" ")
    if kind in KINDS:
        return np.array([row[name] for row in rows if name in row and row["kind"] == kind])
    return np.array([row[line] for row in rows if line in row])


def cell(rows: Sequence[Row], line: str) -> str:
    """Return median and border of the worst tenth."""
    some = values_of(rows, line)
    if not len(some):
        return "-"
    digits = 1 if line in ("rotation", "scale") else 2 if line == "centre" else 3
    return f"{np.median(some):.{digits}f} ({np.percentile(some, 10 if 'IoU' in line else 90):.{digits}f})"


def table(rows: Sequence[Row], name: str = "yaw", limits: Sequence[tuple[float, float]] = BANDS) -> str:
    """Return the whole table by bands of an angle as Markdown."""
    bands = [in_band(rows, band, name) for band in limits]
    lines = [[f"{name}, degrees", *(f"{low:.0f} to {high:.0f}" for low, high in limits)], ["---"] * (1 + len(limits))]
    lines.append(["pictures", *(str(len(band)) for band in bands)])
    for title, has in (("head found", lambda row: row.get("found")), ("labelled", lambda row: not row["refused"])):
        lines.append([title, *(f"{100 * sum(bool(has(row)) for row in band) / max(len(band), 1):.1f} %" for band in bands)])
    for limit in (20.0, 30.0):
        turned = [np.array([float(row["rotation"]) for row in band if "rotation" in row]) for band in bands]
        lines.append([f"rotation within {limit:.0f} degrees", *(f"{100 * (some < limit).mean():.0f} %" for some in turned)])
    for line in (*LINES, *(f"IoU {name}" for name in GROUPS)):
        unit = next((unit for name, unit in UNITS.items() if line.startswith(name)), "")
        lines.append([line + (f", {unit}" if unit else ""), *(cell(band, line) for band in bands)])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps rendered views")
    parser.add_argument("--heads", type=int, default=30)
    parser.add_argument("--first", type=int, default=0, help="number of the first head")
    parser.add_argument("--views", type=int, default=12)
    parser.add_argument("--seed", type=int, default=9001)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--people", default="", help="settings of people and light, as after makehuman:")
    parser.add_argument("--pitch", type=float, default=0.0, help="degrees up and down that views are spread to; 0: about level")
    parser.add_argument("--networks", default="", help="folder of annotators export, measured in place of the package's")
    parser.add_argument("--render-only", action="store_true")
    parser.add_argument("--json", type=Path, help="write every number of every picture here")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    held = Held(options.seed, options.views, options.size, options.samples, options.people, options.pitch)
    views = held_views(open_assets(options.assets), held, range(options.first, options.first + options.heads), options.cache)
    if options.render_only:
        print(f"{sum(1 for _ in views)} views in {options.cache}")
        return
    recipe = heads_recipe().override([f"stages.networks={options.networks}"] if options.networks else [])
    stages = [stage.open() for stage in recipe.resolved().stages if stage.name != "quality"]
    rows = [through(stages, view, kind, options.seed) for view in views for kind in KINDS]
    print(table(rows))
    if options.pitch:
        print(table(rows, "pitch", PITCHES))
    for band in BANDS:
        print(
            f"refused at {band[0]:.0f}-{band[1]:.0f}:", dict(Counter(r["refused"] for r in in_band(rows, band) if r["refused"]))
        )
    if options.json is not None:
        options.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
