"""Known persons from views that training never showed: PSNR inside the matte, alpha IoU and depth, against rendered truth.

    python tests/bench/unseen_views.py RUN --source makehuman:count=500,views=8,seed=1,size=128,samples=8,background=plain

Views are numbered on after those of the data set, so people are the same and cameras are new. Without lighting=person light is
new too and no vector tells it, so PSNR is also given after a gain a channel that fits each picture's mean colour.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path

import cv2
import numpy as np
import torch
from spherehead.datasets.camera import Camera
from spherehead.datasets.report.tiles import write_png
from spherehead.datasets.streaming.index import subject_number
from spherehead.model.evaluation.known_persons import TABLE, rebuilt
from spherehead.model.nets.persons import PersonTable
from spherehead.model.store import load_generator, read_tensors
from spherehead.model.train.checkpoint import newest
from spherehead.model.visualization.pictures import sheet
from spherehead.model.visualization.views import RenderSettings, to_pixels
from spherehead.pipeline.synthetic.people.figure import build_figure
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing
from spherehead.pipeline.synthetic.rendering.render import Studio
from spherehead.pipeline.synthetic.shading.surfaces import surfaces_of
from spherehead.pipeline.synthetic.source import RASTER, opened, parse, person_id, shoot, turn_of


def psnr(first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> float:
    """Return the PSNR in dB of (H, W, 3) pictures in [0, 1], inside a (H, W) bool mask."""
    return -10.0 * math.log10(max(float(((first - second) ** 2)[mask].mean()), 1e-12))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--source", required=True, help="source line that the data set was built with")
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--assets", default="")
    parser.add_argument("--out", type=Path, help="PNG of truth beside what is made")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    settings, folder = parse(asked.source), newest(asked.run)
    generator = load_generator(folder)
    table = PersonTable.of(read_tensors(folder / TABLE))
    assets = opened(asked.assets)
    values: dict[str, list[float]] = {"psnr": [], "psnr with gains": [], "alpha IoU": []}
    rows, names = [], []
    for head in range(0, settings.count, max(settings.count // asked.people, 1)):
        person = draw_person(assets, settings.seed, head, settings.people)
        row = int(table.rows(torch.tensor([subject_number(person_id(person.name))])))
        if row < 0:
            row = int(table.rows(torch.tensor([subject_number(person.name)])))
        if row < 0:
            continue  # a person of another split
        figure = build_figure(assets, person)
        view = settings.views + head % settings.views
        camera = Camera.look_at(*turn_of(settings, person.name, view))
        drawing = Drawing(figure)
        studio = surfaces_of(drawing) if settings.light == RASTER else Studio(figure, settings.variant)
        shot = shoot(settings, figure, studio, drawing, camera, view)
        side = generator.settings.upsampler.resolution
        truth = cv2.resize(shot.image, (side, side), interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(shot.mask, (side, side), interpolation=cv2.INTER_AREA) / 255.0
        picture = torch.from_numpy(truth).permute(2, 0, 1)[None].float() / 127.5 - 1.0
        mask = torch.from_numpy(alpha)[None, None].float()
        made = rebuilt(generator, table, row, picture, mask, torch.from_numpy(camera.label())[None], RenderSettings())
        image = to_pixels(made.image)[0]
        assert made.mask is not None
        seen = cv2.resize(made.mask[0, 0].numpy(), (side, side), interpolation=cv2.INTER_LINEAR)
        inside = alpha > 0.99
        first, second = truth / 255.0, image / 255.0
        gains = first[inside].mean(axis=0) / np.maximum(second[inside].mean(axis=0), 1e-3)
        values["psnr"].append(psnr(first, second, inside))
        values["psnr with gains"].append(psnr(first, np.clip(second * gains, 0, 1), inside))
        hit, wanted = seen > 0.5, alpha > 0.5
        values["alpha IoU"].append(float((hit & wanted).sum() / (hit | wanted).sum()))
        rows.append([cv2.resize(part, (128, 128)) for part in (truth, image)])
        names.append(person.name[-6:])
    for name, found in values.items():
        print(f"{name}: mean {statistics.fmean(found):.3f}, median {statistics.median(found):.3f}, of {len(found)} persons")
    if asked.out:
        write_png(asked.out, sheet(rows, names, ["truth", "made"]))


if __name__ == "__main__":
    main()
