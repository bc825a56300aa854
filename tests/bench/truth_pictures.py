"""Rendered heads with exact labels for the truth bench, each view rendered once and kept in a folder.

A view is kept without its background, so that the same head can be laid on several; what is measured is `truth`'s business.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from spherehead.datasets.camera import FOCAL, Camera
from spherehead.manifests.identity import rng
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.people.figure import build_figure
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.rendering.denoise import denoise
from spherehead.pipeline.synthetic.rendering.exact_pass import SUPERSAMPLING, Drawing, look
from spherehead.pipeline.synthetic.rendering.exposure import composite, expose, metered_gain
from spherehead.pipeline.synthetic.rendering.light import draw_background, draw_light
from spherehead.pipeline.synthetic.rendering.render import Studio
from spherehead.pipeline.synthetic.shading.deferred import photograph
from spherehead.pipeline.synthetic.shading.surfaces import Surfaces, surfaces_of
from spherehead.pipeline.synthetic.source import RASTER, parse

WIDER = 1.7
"""Side of the picture in sides of the canonical crop."""
LABEL_GROWTH = 2
"""The exact class map is drawn this many times finer than the picture, because it is warped into crops."""
CALM = 0.7
"""Strength of the denoiser: photographs have some noise too."""


@dataclass(frozen=True)
class Held:
    """Which views are rendered, and how."""

    seed: int
    views: int
    size: int
    """Side of the picture in pixels."""
    samples: int
    people: str = ""
    """Settings of people and light, as after "makehuman:"; path-traced people of the assets' hair and wear where empty."""
    pitch: float = 0.0
    """Degrees up and down to which cameras are spread evenly over the sphere; about level, by 9 degrees, where 0."""

    @property
    def folder(self) -> str:
        """Name of the folder that holds these views."""
        more = f"-{hashlib.sha256(f'{self.people} {self.pitch}'.encode()).hexdigest()[:8]}" if self.people or self.pitch else ""
        return f"seed{self.seed}-views{self.views}-size{self.size}-samples{self.samples}{more}"


@dataclass(frozen=True, eq=False)
class TrueView:
    """A head without background, with its exact labels."""

    name: str
    camera: Camera
    """Of the whole picture."""
    linear: np.ndarray
    """(S, S, 4) float32 premultiplied linear sRGB, highlights compressed, and opacity."""
    mask: np.ndarray
    """(S, S) uint8 soft coverage."""
    parsing: np.ndarray
    """(L, L) uint8 class map, L a multiple of S."""

    def on(self, kind: str, seed: int) -> np.ndarray:
        """Return the (S, S, 3) sRGB picture before a background of a kind."""
        backdrop = draw_background(rng(seed, self.name, f"truth-{kind}"), len(self.linear), kind)
        return composite(self.linear[..., :3].astype(np.float64), self.linear[..., 3:], backdrop)


def wide_camera(held: Held, head: int, view: int) -> Camera:
    """Return the camera of a view: all around, level on average, seeing more than the canonical crop."""
    random = rng(held.seed, str(head), f"truth-{view}")
    yaw = -np.pi + 2 * np.pi * (view + random.random()) / held.views
    pitch, roll = float(np.clip(random.normal(0, 0.15), -0.4, 0.4)), float(random.normal(0, 0.08))
    if held.pitch:
        highest = np.sin(np.radians(held.pitch))
        pitch = float(np.arcsin(random.uniform(-highest, highest)))
    camera = Camera.look_at(yaw, pitch, roll)
    intrinsics = camera.intrinsics.copy()
    intrinsics[[0, 1], [0, 1]] = FOCAL / WIDER
    return Camera(camera.cam2world, intrinsics)


def held_views(assets: Assets, held: Held, heads: range, cache: Path) -> Iterator[TrueView]:
    """Return every view of some heads, rendering what the cache folder lacks."""
    folder = cache / held.folder
    folder.mkdir(parents=True, exist_ok=True)
    for head in heads:
        if not all(_paths(folder, head, view)[-1].exists() for view in range(held.views)):
            _render(assets, held, head, folder)
        for view in range(held.views):
            yield _read(folder, head, view)


def _paths(folder: Path, head: int, view: int) -> tuple[Path, Path, Path, Path]:
    """Return the files of a view; the last one is written last."""
    picture, mask, seg, label = (f"{head:03d}-{view:03d}{end}" for end in (".png", ".mask.png", ".seg.png", ".json"))
    return folder / picture, folder / mask, folder / seg, folder / label


def _render(assets: Assets, held: Held, head: int, folder: Path) -> None:
    settings = parse(f"makehuman:{held.people}")
    figure = build_figure(assets, draw_person(assets, held.seed, head, settings.people), held.size)
    drawing = Drawing(figure)
    studio = surfaces_of(drawing) if settings.light == RASTER else Studio(figure)
    for view in range(held.views):
        camera, light = wide_camera(held, head, view), draw_light(rng(held.seed, str(head), f"truth-light-{view}"))
        near = look(drawing, camera, held.size, with_albedo=True)
        fine = look(drawing, camera, held.size * LABEL_GROWTH, supersampling=1)
        if isinstance(studio, Surfaces):
            seen = drawing.see(camera, held.size * SUPERSAMPLING, with_clear=False)
            exposed = photograph(studio, seen, camera, light, SUPERSAMPLING)
            exposed[..., :3] *= np.float32(metered_gain(exposed, light, camera))
        else:
            exposed = expose(studio.photograph(camera, light, held.size, held.samples, view), camera, light)
            exposed = denoise(exposed, near, CALM)
        colours = np.minimum(exposed[..., :3], 0.7) + 0.3 * (1.0 - np.exp(-np.maximum(exposed[..., :3] - 0.7, 0.0) / 0.3))
        picture, mask, seg, label = _paths(folder, head, view)
        four = np.dstack([colours, exposed[..., 3:]])
        cv2.imwrite(str(picture), np.round(65535.0 * np.clip(four, 0.0, 1.0)).astype(np.uint16))
        cv2.imwrite(str(mask), near.mask)
        cv2.imwrite(str(seg), fine.parsing)
        label.write_text(json.dumps(camera.label().astype(float).tolist()))


def _read(folder: Path, head: int, view: int) -> TrueView:
    picture, mask, seg, label = _paths(folder, head, view)
    linear = cv2.imread(str(picture), cv2.IMREAD_UNCHANGED).astype(np.float32) / 65535.0
    grey = cv2.IMREAD_GRAYSCALE
    camera = Camera.from_label(np.array(json.loads(label.read_text())))
    return TrueView(f"{head:03d}-{view:03d}", camera, linear, cv2.imread(str(mask), grey), cv2.imread(str(seg), grey))
