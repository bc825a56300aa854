"""What `annotators adapt` does to the head network on photographs of a camera that it has not seen, against exact truth.

Takes rendered photographs through an infrared or a surveillance camera, fits the network to one set without looking at its
labels, and measures it before and after on crops of views of other people through the same camera, and as rendered.

    S=size=384,people.hair=grown,people.wear=drawn,people.skins=drawn,people.faces=wide,people.children=true
    spherehead render-photographs makehuman:count=36,views=7,seed=6701,$S --out user
    spherehead annotators views --hair grown --children --wear --count 120 --views 8 --seed 6007 --out views
    spherehead annotators views --hair grown --children --wear --size 320 --count 60 --views 6 --seed 9701 --out judge
    python tests/bench/adapting.py infrared --user user --judge judge --data views --out adapted
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from spherehead.commands.retraining import verdict
from spherehead.datasets.arrays import Pixels
from spherehead.datasets.shards.photographs import Photograph
from spherehead.datasets.sources.open import open_source
from spherehead.datasets.streaming.photographs import PhotographStream
from spherehead.manifests import store
from spherehead.manifests.identity import rng
from spherehead.model.annotators.adapting.loose_heads import read_heads
from spherehead.model.annotators.adapting.run import Adapting, adapt, fitted, helps
from spherehead.model.annotators.evaluation import calm, evaluate_head
from spherehead.model.annotators.networks import CROP
from spherehead.model.annotators.published import averaged, begun
from spherehead.model.annotators.shown.augmentation import Crop
from spherehead.model.annotators.shown.views import Views
from spherehead.model.annotators.tasks import HeadTask
from spherehead.pipeline.annotators.heads import files
from spherehead.pipeline.stages.loose_heads import cut_heads

Camera = Callable[[np.random.Generator, Pixels], Pixels]


def infrared(random: np.random.Generator, picture: Pixels) -> Pixels:
    """Grey, noisy, skin bright, dark towards the corners."""
    levels = picture.astype(np.float32) / 255.0
    grey = (levels @ np.array([0.75, 0.2, 0.05], dtype=np.float32)) ** 0.65
    y, x = np.mgrid[-1 : 1 : len(grey) * 1j, -1 : 1 : grey.shape[1] * 1j].astype(np.float32)
    grey = cv2.GaussianBlur(grey * (1.0 - 0.25 * (x * x + y * y)), (0, 0), 0.9) * float(random.uniform(0.8, 1.1))
    noisy = 255.0 * grey + 13.0 * random.standard_normal(grey.shape, dtype=np.float32)
    return np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def surveillance(random: np.random.Generator, picture: Pixels) -> Pixels:
    """Dim, greenish, with a third of the pixels, and JPEG 30."""
    levels = picture.astype(np.float32) * float(random.uniform(0.35, 0.6)) * np.array([0.95, 1.0, 0.85], dtype=np.float32)
    side = len(levels) // 3
    small = cv2.resize(cv2.GaussianBlur(levels, (0, 0), 1.2), (side, side), interpolation=cv2.INTER_AREA)
    small = small + 4.0 * random.standard_normal(small.shape, dtype=np.float32)
    _, data = cv2.imencode(".jpg", np.clip(small, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 30])
    return np.asarray(cv2.resize(cv2.imdecode(data, cv2.IMREAD_COLOR), picture.shape[1::-1]), dtype=np.uint8)


def plain(random: np.random.Generator, picture: Pixels) -> Pixels:
    """As rendered."""
    return picture


CAMERAS: dict[str, Camera] = {"infrared": infrared, "surveillance": surveillance, "plain": plain}


def photographs(folder: Path) -> list[Photograph]:
    """Read all photographs of a set."""
    found = []
    for split in sorted(set(store.read(folder, columns=["status", "split"]).kept["split"].to_pylist())):
        stream = PhotographStream([folder], split=str(split), shuffle=False)
        found += [stream.read(number) for number in range(len(stream))]
    return found


@dataclass
class Taken(HeadTask):
    """Crops as the pipeline makes them, of heads of 60 to 230 pixels that a camera took."""

    camera: Camera = plain

    def crop(self, number: int) -> Crop:
        """Make a crop of 128 pixels by number."""
        made = super().crop(number)
        random = rng(self.seed, str(number), "taken")
        side = int(2 * CROP * random.uniform(0.3, 1.0))
        seen = cv2.resize(made.image, (side, side), interpolation=cv2.INTER_AREA)
        taken = self.camera(random, np.asarray(seen))
        image = cv2.resize(taken, (CROP, CROP), interpolation=cv2.INTER_AREA if side > CROP else cv2.INTER_LINEAR)
        return replace(made, image=np.asarray(image), classes=made.classes[::2, ::2], alpha=made.alpha[::2, ::2])


def truth_of(folders: list[Path], camera: Camera) -> Taken:
    """Return crops with exact truth of views that nothing was trained on."""
    views = Views(folders)
    crops = replace(calm(HeadTask(views, 1)).crops, size=2 * CROP, grey=0.0)
    return Taken(views, 1, crops, camera=camera)


def told(numbers: dict) -> str:
    """Return one line of the table."""
    bands = [numbers[name] for name in ("front", "side", "behind") if name in numbers]
    within = sum(band["num"] * band["within_20"] for band in bands) / sum(band["num"] for band in bands)
    medians = ", ".join(f"{band['rotation_median']:.1f}" for band in bands)
    behind = numbers.get("behind", {}).get("within_20", float("nan"))
    return f"{100 * within:5.1f} % within 20 degrees ({100 * behind:.0f} behind); {medians}; mean IoU {numbers['mean_iou']:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camera", choices=sorted(CAMERAS))
    for name in ("user", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("judge", "data"):
        parser.add_argument(f"--{name}", type=Path, action="append", required=True)
    parser.add_argument("--count", type=int, default=800, help="crops that are judged on")
    parser.add_argument("--images", type=int, default=Adapting.images)
    parser.add_argument("--rounds", type=int, default=Adapting.rounds)
    parser.add_argument("--rate", type=float, default=Adapting.rate)
    parser.add_argument("--taught", type=float, default=Adapting.taught)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--start", default="", help="ONNX file of the head network; the package's where empty")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    camera, folder = CAMERAS[options.camera], options.out / "photographs"
    folder.mkdir(parents=True, exist_ok=True)
    for photo in photographs(options.user):
        path = folder / f"{photo.id}.png"
        if not path.exists():
            cv2.imwrite(str(path), camera(rng(4, photo.id, "camera"), photo.image)[..., ::-1])
    cut = cut_heads([open_source(str(folder))], options.out / "heads")
    heads = read_heads(cut.files)
    print(dict(cut.counts), len(heads))
    start = options.start or str(files.path_of("head"))
    began = time.perf_counter()
    settings = Adapting(options.images, options.rounds, options.seed, options.rate, taught=options.taught)
    run = options.out / f"run-{options.images}-{options.rounds}-{options.rate}-{options.taught}-{options.seed}"
    before, after = adapt(heads, Views(options.data), settings, start, run)
    print(f"{time.perf_counter() - began:.0f} s")
    print("\n".join(verdict(before, after)), "\nhelps:", helps(before, after))
    rows = {}
    for name, taken in ((options.camera, camera), ("as rendered", plain)):
        truth = truth_of(options.judge, taken)
        for when, network in (("before", begun(start, "head")[1]), ("after", averaged(fitted(run, settings))[1])):
            numbers = evaluate_head(network, truth, options.count)
            rows[f"{name}, {when}"] = numbers
            print(f"{name + ', ' + when:<24} {options.count} crops: {told(numbers)}", flush=True)
    (run / "truth.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
