"""Known persons as the data and several runs show them, side by side: one row a view, depth beside every picture.

    python tests/bench/rebuilt_persons.py OUT.png --data SET march=runs/march splats=runs/splats

Views are drawn by a hash of their ids from those of persons whom every run's table knows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from spherehead.datasets.report.tiles import write_png
from spherehead.datasets.shards.codec import Decoded
from spherehead.datasets.shards.inspect import PLACE, read
from spherehead.manifests.frames import read_frame
from spherehead.manifests.identity import unit_interval
from spherehead.model.evaluation.known_persons import TABLE, person_rows, rebuilt
from spherehead.model.generator import Generator
from spherehead.model.nets.persons import PersonTable
from spherehead.model.portrait import Portrait
from spherehead.model.store import load_generator, read_tensors
from spherehead.model.train.checkpoint import newest
from spherehead.model.visualization.pictures import sheet
from spherehead.model.visualization.views import RenderSettings, to_pixels
from spherehead.model.volume_rendering.rays import ray_distance

SIDE = 128
NEAR, FAR = 2.2, 3.2
"""Distances that are drawn white and black, in world units."""


def shaded(depth: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) uint8 of (H, W) distances: near is bright, what is not seen is black."""
    light = np.clip((FAR - depth) / (FAR - NEAR), 0.0, 1.0) * seen
    grey = np.repeat((light * 255).astype(np.uint8)[..., None], 3, axis=2)
    return cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)


def plane(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).float().permute(2, 0, 1)[None]


def made(generator: Generator, table: PersonTable, row: int, sample: Decoded) -> Portrait:
    side = generator.settings.upsampler.resolution
    assert sample.camera is not None and sample.mask is not None
    picture = plane(cv2.resize(sample.image, (side, side), interpolation=cv2.INTER_AREA)) / 127.5 - 1.0
    mask = plane(cv2.resize(sample.mask, (side, side), interpolation=cv2.INTER_AREA)[..., None]) / 255.0
    camera = torch.from_numpy(sample.camera.label())[None]
    return rebuilt(generator, table, row, picture, mask, camera, RenderSettings())


def tiles(sample: Decoded, runs: list[tuple[Generator, PersonTable]], rows: list[int]) -> list[np.ndarray]:
    """Return picture and depth of the data and of each run."""
    assert sample.camera is not None and sample.depth is not None
    label = torch.from_numpy(sample.camera.label())[None]
    exact = ray_distance(torch.from_numpy(sample.depth)[None], label, 64)[0, 0].numpy()
    out = [cv2.resize(sample.image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), shaded(exact, exact > 0)]
    for (generator, table), row in zip(runs, rows, strict=True):
        portrait = made(generator, table, row, sample)
        assert portrait.depth is not None and portrait.mask is not None
        picture = to_pixels(portrait.image)[0]
        out.append(cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))
        out.append(shaded(portrait.depth[0, 0].numpy(), portrait.mask[0, 0].numpy() > 0.5))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--views", type=int, default=6)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    names, runs, places = [], [], []
    for text in asked.runs:
        name, _, place = text.partition("=")
        folder = newest(Path(place))
        table = PersonTable.of(read_tensors(folder / TABLE))
        names.append(name)
        runs.append((load_generator(folder), table))
        places.append(person_rows(asked.data, table))
    known = set.intersection(*(set(rows) for rows in places))
    ids = sorted(known, key=lambda key: (unit_interval(f"picture/{key}"), key))[: asked.views]
    with torch.no_grad():
        grid = [
            tiles(sample, runs, [rows[sample.id] for rows in places])
            for sample in read(asked.data, ids, read_frame(asked.data, PLACE))
        ]
    columns = [part for name in ("data", *names) for part in (name, "")]
    write_png(asked.out, sheet(grid, [""] * len(grid), columns))


if __name__ == "__main__":
    main()
