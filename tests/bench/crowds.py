"""The finding of heads in large photographs of crowds, rendered for it: 24 to 180 pixels high, from every side.

Prints by band of the head's height and of its yaw how many are found, what is found besides, and seconds of a core for each
photograph. People stand as on a stand, the near ones low; each is seen from any side, some from far above or below, some turned
by any angle. The camera's faults are those of a photograph of 512 pixels, pixel by pixel. Photographs are rendered once, a
minute of a core each, into a cache folder.

    python tests/bench/crowds.py --cache crowds --photographs 4 --seed 9201

A head counts as found where `truth_wild.py` says so; counted are those of which at least half is seen.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from spherehead.datasets.camera import Camera
from spherehead.datasets.sample import Drop, Photo, Sample
from spherehead.datasets.shards.photographs import HeadLabel
from spherehead.manifests.identity import rng
from spherehead.pipeline.presets import heads as heads_recipe
from spherehead.pipeline.stage import OpenStage
from spherehead.pipeline.synthetic.assets.library import open_assets
from spherehead.pipeline.synthetic.rendering.exposure import LINEAR
from spherehead.pipeline.synthetic.rendering.light import draw_light
from spherehead.pipeline.synthetic.wild.backgrounds import draw_ground
from spherehead.pipeline.synthetic.wild.camera_chain import expose_and_store
from spherehead.pipeline.synthetic.wild.layout import APART, HEAD_HEIGHT, Place, place_head
from spherehead.pipeline.synthetic.wild.people import Sitter
from spherehead.pipeline.synthetic.wild.photographs import CAST, cast_of
from spherehead.pipeline.synthetic.wild.scene import draw_scene
from spherehead.pipeline.synthetic.wild.writer import parse_wild
from truth_wild import LEAST_OVERLAP, LEAST_SEEN, YAWS, about, same

PEOPLE = (
    "makehuman:count=12,views=1,size=512,seed={seed},people.hair=grown,people.wear=drawn,people.skins=drawn,people.faces=wide"
)
FOCAL = 1.3
"""Focal length in sides of the picture."""
HEIGHTS = ((24, 48), (48, 96), (96, 192), (192, 2000))
TRIES = 60
CASTS = 2
BLUR_SIDE = 512


@dataclass(frozen=True, eq=False)
class Crowd:
    """A photograph and its labels."""

    image: np.ndarray
    heads: tuple[HeadLabel, ...]


def draw_crowd(random: np.random.Generator, size: int, members: int, count: int, least: float, most: float) -> list[Place]:
    """Draw where up to `count` people stand, the nearest first.

    Args:
        random: source of chance.
        size: side of the photograph in pixels.
        members: people at hand; each may stand in it more than once.
        count: heads that are wanted.
        least, most: heights of heads in pixels.
    """
    heights = np.sort(np.exp(random.uniform(math.log(least), math.log(most), count)))[::-1]
    places, taken = list[Place](), list[tuple[float, float, float, float]]()
    for height in heights.tolist():
        share = height / size
        distance = FOCAL * HEAD_HEIGHT / share
        for _ in range(TRIES):
            near = math.log(height / least) / math.log(most / least)
            x, y = float(random.uniform(0.04, 0.96)), float(0.10 + 0.62 * near + random.normal(0.0, 0.10))
            if 0.03 < y < 0.95 and all(_clear((x, y, share, distance), other) for other in taken):
                taken.append((x, y, share, distance))
                places.append(Place(int(random.integers(members)), _camera(random, x, y, distance)))
                break
    return sorted(places, key=lambda place: place.camera.radius)


def _clear(one: tuple[float, float, float, float], nearer: tuple[float, float, float, float]) -> bool:
    """Tell whether a person does not stand in another one, and is not mostly hidden behind that one's head or body."""
    across, down = abs(one[0] - nearer[0]), one[1] - nearer[1]
    apart = across > 1.4 * (one[2] + nearer[2]) or abs(one[3] - nearer[3]) > APART
    width = 0.35 * nearer[2] if down < 0.6 * nearer[2] else 1.2 * nearer[2]
    hidden = down > -0.4 * nearer[2] and across < width
    return apart and not hidden


def _camera(random: np.random.Generator, x: float, y: float, distance: float) -> Camera:
    ray = np.array([(x - 0.5) / FOCAL, (y - 0.5) / FOCAL, 1.0])
    yaw = float(random.uniform(-np.pi, np.pi))
    level, anywhere = float(random.normal(0.0, 0.18)), math.asin(float(random.uniform(-0.9, 0.9)))
    turned, tilted = float(random.uniform(-np.pi, np.pi)), float(random.normal(0.0, 0.14))
    looking = Camera.look_at(yaw, anywhere if random.random() < 0.1 else level, turned if random.random() < 0.06 else tilted)
    return place_head(looking, ray / np.linalg.norm(ray), distance, FOCAL)


def take(cast: Sequence[Sitter], seed: int, number: int, size: int, count: int, least: float, most: float) -> tuple[bytes, str]:
    """Render a photograph; returns its JPEG and its heads as JSON."""

    def chance(step: str) -> np.random.Generator:
        return rng(seed, f"crowd-{number}", step)

    places = draw_crowd(chance("layout"), size, len(cast), count, least, most)
    scene = draw_scene(cast, places, draw_light(chance("light")), size)
    ground = LINEAR[cv2.resize(draw_ground(chance("ground"), 768), (size, size), interpolation=cv2.INTER_LINEAR)]
    light = scene.light + scene.ground[..., None] * ground.astype(np.float32)
    _, picture = expose_and_store(light, chance("camera"), BLUR_SIDE)
    return picture, json.dumps([head.to_plain() for head in scene.heads])


def crowds(cache: Path, seed: int, number: int, size: int, count: int, least: float, most: float) -> list[Crowd]:
    """Return photographs, rendered or out of the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    names = [cache / f"{seed}-{size}-{count}-{least:g}-{most:g}-{index:03d}.jpg" for index in range(number)]
    missing = [(index, name) for index, name in enumerate(names) if not name.with_suffix(".json").is_file()]
    if missing:
        assets, people = open_assets(None), parse_wild(PEOPLE.format(seed=seed))
        assert people.count == CASTS * CAST
        cast = [sitter for each in range(CASTS) for sitter in cast_of(people, assets, each)]
        for index, name in missing:
            picture, heads = take(cast, seed, index, size, count, least, most)
            name.write_bytes(picture)
            name.with_suffix(".json").write_text(heads)
    return [read(name) for name in names]


def read(name: Path) -> Crowd:
    """Return a photograph of the cache."""
    image = cv2.imdecode(np.frombuffer(name.read_bytes(), dtype=np.uint8), cv2.IMREAD_COLOR)
    plain = json.loads(name.with_suffix(".json").read_text())
    heads = tuple(HeadLabel.from_plain(head, np.zeros((478, 4), dtype=np.float32)) for head in plain)
    return Crowd(np.ascontiguousarray(image[..., ::-1]), heads)


def found_in(stage: OpenStage, crowd: Crowd) -> tuple[list[dict[str, float]], int, float]:
    """Return a row for each head, how many detected ones are none of them or a second of one, and seconds of a core."""
    sample = Sample("", Photo.of_pixels(crowd.image, hashlib.sha256(crowd.image.tobytes()).hexdigest()))
    start = time.process_time()
    try:
        detected = list(stage.one(sample, rng(0, "crowd", "detect")))
    except Drop:
        detected = []
    seconds = time.process_time() - start
    boxes = [found.require("head").box for found in detected]
    kinds = [str(found.notes["head_kind"]) for found in detected]
    rows, free = list[dict[str, float]](), set(range(len(boxes)))
    for label in crowd.heads:
        fits = {index: same(label, len(crowd.image), boxes[index]) for index in free}
        best = max(fits, key=lambda index: fits[index], default=-1)
        row = {**about(label), "found": 0.0}
        if best >= 0 and fits[best] >= LEAST_OVERLAP:
            free.discard(best)
            row |= {"found": 1.0, "kind": kinds[best]}
        rows.append(row)
    return rows, len(free), seconds


def line(rows: Sequence[dict[str, float]], name: str, bands: Sequence[tuple[int, int]]) -> str:
    """Return a table of how many are found by bands of a number, as Markdown."""
    some = [[row["found"] for row in rows if low <= row[name] < high] for low, high in bands]
    found = [f"{100.0 * float(np.mean(band)):.1f} %" if band else "-" for band in some]
    lines = [[name, *(f"{low}-{high}" for low, high in bands)], ["---"] * (1 + len(bands))]
    lines += [["heads", *(str(len(band)) for band in some)], ["found", *found]]
    return "\n".join("| " + " | ".join(words) + " |" for words in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--photographs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=9201)
    parser.add_argument("--size", type=int, default=2000, help="side in pixels")
    parser.add_argument("--heads", type=int, default=28, help="heads that are wanted in each")
    parser.add_argument("--least", type=float, default=24.0, help="least height of a head in pixels")
    parser.add_argument("--most", type=float, default=180.0, help="greatest; larger people take minutes each")
    parser.add_argument("--set", action="append", default=[], help="setting of the recipe, as build-dataset takes it")
    parser.add_argument("--json", type=Path, help="write every head here")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    photographs = crowds(
        options.cache, options.seed, options.photographs, options.size, options.heads, options.least, options.most
    )
    recipe = heads_recipe().override(["detect.faces=all", *options.set]).resolved()
    stage = next(stage for stage in recipe.stages if stage.name == "detect").open()
    rows, more, seconds = list[dict[str, float]](), 0, list[float]()
    for number, crowd in enumerate(photographs):
        here, extra, took = found_in(stage, crowd)
        rows += [{**row, "photo": number} for row in here]
        more += extra
        seconds.append(took)
    seen = [row for row in rows if row["seen"] >= LEAST_SEEN]
    print(line(seen, "height", HEIGHTS), "\n")
    print(line([row for row in seen if row["height"] >= 48.0], "yaw", YAWS), "\n")
    print(f"{len(seen)} heads, half seen, in {len(photographs)} photographs of {options.size} x {options.size}")
    print(f"detected where no head is, or twice: {more}; seconds of a core a photograph: median {np.median(seconds):.1f}")
    print("seen by:", dict(Counter(str(row.get("kind", "nothing")) for row in seen if row["height"] >= 48.0)))
    if options.json is not None:
        options.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
