"""Pictures a second by raster light, whole: person, view, light, labels, encoded members; path tracing beside it in one run.

Canonical crops and photographs (framing=wild), 20 views a person, CPU time of one process, medians of people or casts with
their spread; assets and loops are warm. Rates are 1 over the median cost of a picture, its share of the person included.

Then heads of 30,000 strands, each of one style: growing them, drawing them before a camera, and a whole picture with light and
labels, at each size.

Run: python tests/bench/raster.py ASSETS --heads 12 --sizes 128,256
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import cv2
import numpy as np
from spherehead.datasets.camera import Camera
from spherehead.datasets.shards.codec import Encoding, camera_json, encode_grey, encode_image
from spherehead.datasets.shards.photographs import photograph_members
from spherehead.pipeline.synthetic.hair.look import Growth
from spherehead.pipeline.synthetic.hair.styles import STYLES, draw_hair
from spherehead.pipeline.synthetic.people.figure import build_figure
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing
from spherehead.pipeline.synthetic.rendering.render import Studio
from spherehead.pipeline.synthetic.rendering.ribbons import draw_strands
from spherehead.pipeline.synthetic.shading.surfaces import surfaces_of
from spherehead.pipeline.synthetic.source import MakeHumanSettings, Shot, opened, shoot, turn_of
from spherehead.pipeline.synthetic.wild.photographs import cast_of, compose
from spherehead.pipeline.synthetic.wild.writer import parse_wild

VIEWS = 20


def encoded(shot: Shot) -> int:
    parts = (encode_image(shot.image, Encoding()), encode_grey(shot.mask), encode_grey(shot.parsing), camera_json(shot.camera))
    return sum(map(len, parts))


def canonical(settings: MakeHumanSettings, head: int, views: int) -> float:
    """Return CPU seconds a picture of one person."""
    started = time.process_time()
    assets = opened(settings.assets)
    figure = build_figure(assets, draw_person(assets, settings.seed, head, settings.people), settings.size)
    drawing = Drawing(figure)
    studio = surfaces_of(drawing) if settings.light == "raster" else Studio(figure, settings.variant)
    for view in range(views):
        encoded(shoot(settings, figure, studio, drawing, Camera.look_at(*turn_of(settings, figure.person.name, view)), view))
    return (time.process_time() - started) / views


def wild(settings: MakeHumanSettings, number: int) -> tuple[float, float]:
    """Return CPU seconds a photograph of a cast, and heads in one."""
    started, heads, count = time.process_time(), 0, 0
    cast = cast_of(settings, opened(settings.assets), number)
    for lead in range(len(cast)):
        for view in range(settings.views):
            photo, picture = compose(settings, cast, lead, view)
            photograph_members(photo, picture)
            heads, count = heads + len(photo.heads), count + 1
    return (time.process_time() - started) / count, heads / count


def hairy(settings: MakeHumanSettings, style: str) -> tuple[float, float, float]:
    """Return CPU seconds of a person with 30,000 strands of a style: growing all of the person, drawing strands, a picture."""
    assets, camera = opened(settings.assets), Camera.look_at(0.6, 0.1)
    person = draw_person(assets, settings.seed, 1, settings.people)
    look = draw_hair(0.5, 0.3, 0.5, (0.2, 0.1, 0.1), 0.0, np.random.default_rng(1), (style,))
    growth = Growth(dataclasses.replace(look, count=30000))
    started = time.process_time()
    figure = build_figure(assets, dataclasses.replace(person, hair="", hat="", scalp="covered", growth=growth))
    drawing = Drawing(figure)
    grown = time.process_time()
    nothing = np.full((3 * settings.size, 3 * settings.size), np.inf, dtype=np.float32)
    draw_strands(drawing.strands, camera, nothing)
    drawn = time.process_time()
    surfaces = surfaces_of(drawing)
    ready = time.process_time()
    shoot(settings, figure, surfaces, drawing, camera, 0)
    return grown - started, drawn - grown, time.process_time() - ready


def told(name: str, seconds: list[float], more: str = "") -> None:
    middle, (low, high) = float(np.median(seconds)), np.percentile(seconds, [10, 90])
    print(f"{name:34s} {1e3 * middle:7.1f} ms ({1e3 * low:.1f} to {1e3 * high:.1f}), {1.0 / middle:5.1f} pictures/s{more}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assets")
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--sizes", default="128,256")
    parser.add_argument("--casts", type=int, default=3)
    parser.add_argument("--skip-paths", action="store_true", help="leave path tracing out")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    folder = str(Path(options.assets))
    warm = MakeHumanSettings(seed=1, size=64, light="raster", assets=folder)
    for head in range(1000, 1000 + 2 * options.heads):
        canonical(warm, head, 1)
    for size in map(int, options.sizes.split(",")):
        settings = MakeHumanSettings(seed=1, size=size, light="raster", assets=folder)
        told(f"raster, canonical, {size} px", [canonical(settings, head, VIEWS) for head in range(options.heads)])
        street = parse_wild(f"makehuman:count=6000,views={VIEWS},size={size},seed=1,assets={folder}")
        wild(street, 0)
        photo_costs, heads = zip(*(wild(street, number) for number in range(1, 1 + options.casts)), strict=True)
        told(f"raster, wild, {size} px", list(photo_costs), f", {np.mean(heads):.2f} heads in one")
        rows = [hairy(settings, style) for style in ["short", *STYLES]][1:]
        for what, costs in zip(("grown", "drawn", "whole picture"), zip(*rows, strict=True), strict=True):
            told(
                f"30,000 strands, {what}, {size} px", list(costs), f", at most {1e3 * max(costs):.0f} ms of {len(rows)} styles"
            )
        if not options.skip_paths:
            traced = MakeHumanSettings(seed=1, size=size, samples=16, assets=folder)
            canonical(traced, 1000, 1)
            told(
                f"path tracing, 16 samples, {size} px",
                [canonical(traced, head, 2) for head in range(max(2, options.heads // 3))],
            )


if __name__ == "__main__":
    main()
