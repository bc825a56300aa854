"""The photograph stages against truth: rendered heads, whose labels are exact, taken as if they were photographs.

Prints by band of yaw: heads found, rotation, centre and scale errors of the label, IoU and edge error of the matte, and IoU of
the class map. Run: python tests/bench/truth.py ASSETS --heads 8 --views 12
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from spherehead.datasets.camera import FOCAL, Camera, geodesic
from spherehead.datasets.classes import CLASSES
from spherehead.datasets.sample import Drop, Photo, Sample
from spherehead.manifests.identity import rng
from spherehead.pipeline.presets import heads as heads_recipe
from spherehead.pipeline.synthetic.assets import open_assets
from spherehead.pipeline.synthetic.denoise import denoise
from spherehead.pipeline.synthetic.figure import build_figure
from spherehead.pipeline.synthetic.geometry import Drawing, look
from spherehead.pipeline.synthetic.light import draw_background, draw_light
from spherehead.pipeline.synthetic.population import draw_person
from spherehead.pipeline.synthetic.render import Studio, develop, expose

BANDS = ((0, 30), (30, 60), (60, 90), (90, 180.1))
WIDER = 1.7
"""Side of the picture in sides of the canonical crop."""
GROUPS = {
    "skin": ("skin",), "brows": ("left_brow", "right_brow"), "eyes": ("left_eye", "right_eye"), "glasses": ("glasses",),
    "ears": ("left_ear", "right_ear"), "nose": ("nose",), "lips and mouth": ("mouth", "upper_lip", "lower_lip"),
    "neck": ("neck",), "cloth": ("cloth",), "hair": ("hair",), "hat": ("hat",),
}  # fmt: skip
"""Classes that are counted together; left and right must still agree."""


def wide_camera(camera: Camera) -> Camera:
    """Return a camera at the same place that sees more around the head."""
    intrinsics = camera.intrinsics.copy()
    intrinsics[[0, 1], [0, 1]] = FOCAL / WIDER
    return Camera(camera.cam2world, intrinsics)


def views(seed: int, head: int, count: int) -> Iterator[Camera]:
    for view in range(count):
        random = rng(seed, str(head), f"truth-{view}")
        yaw = -np.pi + 2 * np.pi * (view + random.random()) / count
        yield wide_camera(Camera.look_at(yaw, float(np.clip(random.normal(0, 0.15), -0.4, 0.4)), float(random.normal(0, 0.08))))


def through(stages: list, sample: Sample, seed: int) -> Sample:
    """Take a sample through stages; the first head counts."""
    for stage in stages:
        found = list(stage.one(sample, rng(seed, sample.id or sample.photo.sha256, "truth")))
        if not found:
            raise Drop("no_head", "a stage returned nothing")
        sample = found[0]
    return sample


def measure(sample: Sample, drawing: Drawing, camera: Camera, side: int) -> dict[str, float]:
    """Compare a finished sample with the exact labels of its own crop."""
    size = sample.crop.size
    crop = np.diag([1 / size, 1 / size, 1.0]) @ sample.crop.matrix @ np.diag([side, side, 1.0])
    true = camera.warped(crop)
    origin, _ = true.project(np.zeros((1, 3)))
    seen = look(drawing, true, size)
    solid, found = seen.mask >= 128, sample.mask >= 128
    edge = (seen.mask > 12) & (seen.mask < 243)
    numbers = {
        "rotation": float(np.degrees(geodesic(true.cam2world[:3, :3], sample.camera.cam2world[:3, :3]))),
        "centre": 100.0 * float(np.linalg.norm(origin[0] - 0.5)),
        "scale": 100.0 * abs(true.intrinsics[0, 0] / FOCAL - 1.0),
        "matte IoU": float((solid & found).sum() / max((solid | found).sum(), 1)),
        "soft edge": float(np.abs(seen.mask[edge] / 255.0 - sample.mask[edge] / 255.0).mean()) if edge.any() else 0.0,
    }
    for name, members in GROUPS.items():
        ids = [CLASSES.index(member) for member in members]
        true_map, map_found = (np.where(np.isin(labels, ids), labels, 0) for labels in (seen.parsing, sample.parsing))
        union = (true_map > 0) | (map_found > 0)
        if (true_map > 0).sum() >= 30:
            numbers[f"IoU {name}"] = float(((true_map == map_found) & (true_map > 0)).sum() / union.sum())
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--views", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--samples", type=int, default=9)
    parser.add_argument("--background", default="")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    assets = open_assets(options.assets)
    stages = [stage.open() for stage in heads_recipe().resolved().stages if stage.name != "quality"]
    tried: Counter[int] = Counter()
    reasons: Counter[str] = Counter()
    values: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for head in range(options.heads):
        figure = build_figure(assets, draw_person(assets, options.seed, head))
        studio, drawing = Studio(figure), Drawing(figure)
        for view, camera in enumerate(views(options.seed, head, options.views)):
            random = rng(options.seed, str(head), f"truth-light-{view}")
            light, backdrop = draw_light(random), draw_background(random, options.size, options.background)
            exact = look(drawing, camera, options.size, with_albedo=True)
            shot = studio.photograph(camera, light, options.size, options.samples, view)
            picture = develop(denoise(expose(shot, camera, light), exact), backdrop)
            band = next(k for k, (low, high) in enumerate(BANDS) if low <= abs(np.degrees(camera.yaw)) < high)
            tried[band] += 1
            photo = Photo.of_pixels(picture, hashlib.sha256(picture.tobytes()).hexdigest())
            try:
                sample = through(stages, Sample("", photo), options.seed)
            except Drop as drop:
                reasons[f"{BANDS[band][0]}-{BANDS[band][1]:.0f} {drop.reason}"] += 1
                continue
            for name, value in measure(sample, drawing, camera, options.size).items():
                values[band][name].append(value)
    report(tried, reasons, values, options.json)


def report(tried: Counter[int], reasons: Counter[str], values: dict[int, dict[str, list[float]]], path: Path | None) -> None:
    """Print the table: medians, and in brackets the worst tenth's border."""
    names = ["rotation", "centre", "scale", "matte IoU", "soft edge", *(f"IoU {name}" for name in GROUPS)]
    heads = [f"{low}-{high:.0f}" for low, high in BANDS]
    print(f"{'yaw, degrees':16s}" + "".join(f"{head:>18s}" for head in heads))
    found = [len(values[band]["rotation"]) for band in range(len(BANDS))]
    shares = "".join(f"{f'{100 * found[k] / max(tried[k], 1):.0f} % of {tried[k]}':>18s}" for k in range(len(BANDS)))
    print(f"{'labelled':16s}" + shares)
    for name in names:
        cells = []
        for band in range(len(BANDS)):
            some = values[band][name]
            worst = 10 if "IoU" in name else 90
            cells.append(f"{np.median(some):.2f} ({np.percentile(some, worst):.2f})" if some else "-")
        print(f"{name:16s}" + "".join(f"{cell:>18s}" for cell in cells))
    print("refused:", dict(reasons))
    if path is not None:
        plain = {heads[band]: {name: list(some) for name, some in values[band].items()} for band in values}
        path.write_text(json.dumps(plain))


if __name__ == "__main__":
    main()
