"""A sheet of rendered people, seen from all around: for the README, and for looking at many heads at once.

Run: P=light=raster,people.hair=grown,people.wear=drawn,people.glasses=0.15,people.skins=drawn,people.teeth=drawn
     P=$P,people.faces=units,people.bodies=drawn      # these two need: spherehead assets fetch morphs
     python tests/bench/people.py ASSETS docs/people.jpg --heads 60,276,356,43,364,290 --views 8 --backdrop --size 512 \
         --cell 256 --zoom 0.8 --people $P
     python tests/bench/people.py ASSETS docs/people-100.jpg --heads 100 --views 5 --columns 20 --turned --backdrop --size 240 \
         --cell 80 --zoom 0.8 --quality 84 --people $P
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from spherehead.datasets.camera import Camera
from spherehead.datasets.shards.codec import IMAGE_SUFFIXES, decode_image
from spherehead.datasets.shards.tar import iterate
from spherehead.pipeline.synthetic.assets.library import open_assets
from spherehead.pipeline.synthetic.people.figure import build_figure
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing
from spherehead.pipeline.synthetic.rendering.preview import preview
from spherehead.pipeline.synthetic.rendering.render import Studio
from spherehead.pipeline.synthetic.shading.surfaces import surfaces_of
from spherehead.pipeline.synthetic.source import MakeHumanSettings, parse, shoot


def studio_wall(size: int) -> np.ndarray:
    """Return an (S, S, 3) sRGB grey wall, lighter behind the head."""
    axis = (np.arange(size) + 0.5) / size - 0.5
    away = np.hypot(axis[None, :], axis[:, None] + 0.05)
    return np.round(np.array([148, 154, 164]) - 95.0 * np.minimum(away, 0.7)[..., None] ** 1.2).astype(np.uint8)


def finished(folder: Path, heads: Sequence[int], views: int) -> list[np.ndarray]:
    """Return the pictures of heads in a finished set, each head's by azimuth from the front round its left."""
    found: dict[int, list[tuple[float, np.ndarray]]] = {head: [] for head in heads}
    for shard in sorted(folder.glob("*.tar")):
        with shard.open("rb") as file:
            for _, members in iterate(file, shard.name):
                row = json.loads(members["json"])
                head = json.loads(row["derivation"] or "{}").get("head")
                if head in found:
                    picture = decode_image(next(members[suffix] for suffix in IMAGE_SUFFIXES if suffix in members))
                    found[head].append(((row["yaw_degrees"] + 15.0) % 360.0, picture))
    return [picture for head in heads for _, picture in sorted(found[head], key=lambda item: item[0])[:views]]


def from_text(text: str) -> dict[str, Any]:
    """Return the settings that a text tells beside the options of this script."""
    told = parse(f"makehuman:{text}")
    return {"light": told.light, "people": told.people}


def rendered(options: argparse.Namespace, heads: Sequence[int]) -> list[np.ndarray]:
    """Render the pictures of a sheet."""
    assets = open_assets(options.assets)
    plain = MakeHumanSettings(seed=options.seed, size=options.size, samples=options.samples, background=options.background)
    settings = dataclasses.replace(plain, **from_text(options.people))
    backdrop = studio_wall(options.size) if options.backdrop else None
    cells = []
    for place, head in enumerate(heads):
        figure = build_figure(assets, draw_person(assets, options.seed, head, settings.people))
        drawing = Drawing(figure)
        studio = surfaces_of(drawing) if settings.light == "raster" else None if options.quick else Studio(figure)
        start = 0.38197 * place if options.turned else 0.0  # the golden section: no two heads from the same sides
        for view in range(options.views):
            yaw = math.remainder(2.0 * math.pi * (start + view / options.views), 2.0 * math.pi)
            camera = Camera.look_at(yaw, 0.06)
            camera = dataclasses.replace(
                camera, intrinsics=camera.intrinsics * [[options.zoom, 1, 1], [1, options.zoom, 1], [1, 1, 1]]
            )
            if studio is None:
                picture = preview(drawing, camera, options.size)
            else:
                number = 1000 if options.backdrop else 1000 + view  # before a backdrop all views have one light
                picture = shoot(settings, figure, studio, drawing, camera, number, backdrop).image
            cells.append(picture)
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assets", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--heads", default="6", help="how many, or their numbers: 3,14,15")
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=256, help="side of a rendered picture")
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--cell", type=int, default=0, help="side of a picture on the sheet; 0: as rendered")
    parser.add_argument("--background", default="", help="plain, gradient, blurred or cluttered; empty for all")
    parser.add_argument("--backdrop", action="store_true", help="a grey wall, and one light for all views of a head")
    parser.add_argument("--columns", type=int, default=0, help="pictures a row; 0: one head a row")
    parser.add_argument("--set", type=Path, help="take the pictures from a finished set of makehuman: instead of rendering")
    parser.add_argument("--quick", action="store_true", help="previews instead of renders")
    parser.add_argument("--people", default="", help="settings of people and light, as after makehuman:")
    parser.add_argument("--zoom", type=float, default=1.0, help="factor on the canonical focal length")
    parser.add_argument("--quality", type=int, default=88)
    parser.add_argument("--turned", action="store_true", help="each head from other sides than the one before")
    options = parser.parse_args()
    heads = range(int(options.heads)) if options.heads.isdigit() else [int(text) for text in options.heads.split(",")]
    cells = finished(options.set, heads, options.views) if options.set else rendered(options, heads)
    if options.cell:
        cells = [cv2.resize(cell, (options.cell, options.cell), interpolation=cv2.INTER_AREA) for cell in cells]
    columns = options.columns or options.views
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    sheet = np.vstack([np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)])
    jpeg = [cv2.IMWRITE_JPEG_QUALITY, options.quality]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(options.out), sheet[..., ::-1], jpeg if options.out.suffix == ".jpg" else [])
    print(f"{options.out}: {len(cells)} pictures, {options.out.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
