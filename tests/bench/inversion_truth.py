"""Held-out rendered people for `inversion`: their views, and what a head scores against them."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from spherehead.datasets.camera import CANONICAL_SCALE, Camera
from spherehead.datasets.shards.codec import Decoded
from spherehead.model.generator import Generator
from spherehead.model.inversion.scores import mask_iou, psnr
from spherehead.model.inversion.targets import targets_of
from spherehead.model.nets.face_chips import face_chips, face_visible
from spherehead.model.nets.face_recognition import FaceRecognition
from spherehead.model.nets.perceptual import PerceptualNet
from spherehead.model.nets.upsampler import resize
from spherehead.model.visualization.views import look_from
from spherehead.model.volume_rendering.rays import ray_distance

SIDES = {"front": 0.0, "profile": math.pi / 2, "back": math.pi}
HIDDEN = 16
SOURCE = "makehuman:count=1,views=8,seed=90210,size=128,light=raster,lighting=person,background=plain"
MEASURES = ("psnr", "perceptual", "class IoU", "mask IoU", "depth cm", "identity")
"""Identity is the distance of the face from the truth's at views within `FACE_DEGREES`; NaN where there is none."""
FACE_DEGREES = (45.0, 30.0)
"""Azimuth and elevation."""


@dataclass(frozen=True, eq=False)
class Truth:
    """One person from the input cameras and the hidden ones."""

    labels: torch.Tensor
    """(N, 25): `SIDES`, then `HIDDEN` around."""
    image: np.ndarray
    mask: np.ndarray
    parsing: np.ndarray
    depth: np.ndarray
    """(N, S, S) distance along the optical axis."""


def true_labels() -> torch.Tensor:
    """Return the input cameras, then hidden ones evenly around, between them and alternately from above and below."""
    hidden = [Camera.look_at(2 * math.pi * (index + 0.5) / HIDDEN, 0.2 * (-1) ** index).label() for index in range(HIDDEN)]
    return torch.cat([look_from(list(SIDES.values())), torch.from_numpy(np.stack(hidden))])


def rendered(assets: str, number: int, cache: Path) -> Truth:
    """Return a held-out person, rendered once."""
    path = cache / f"person-{number:03d}.npz"
    labels = true_labels()
    if not path.is_file():
        from spherehead.pipeline.synthetic.people.figure import build_figure
        from spherehead.pipeline.synthetic.people.population import draw_person
        from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing, look
        from spherehead.pipeline.synthetic.shading.surfaces import surfaces_of
        from spherehead.pipeline.synthetic.source import opened, parse, shoot

        settings = parse(SOURCE)
        library = opened(assets)
        figure = build_figure(library, draw_person(library, settings.seed, number, settings.people))
        drawing = Drawing(figure)
        surfaces = surfaces_of(drawing)
        parts: dict[str, list[np.ndarray]] = {"image": [], "mask": [], "parsing": [], "depth": []}
        for index, label in enumerate(labels.numpy()):
            camera = Camera.from_label(label)
            shot = shoot(settings, figure, surfaces, drawing, camera, index)
            parts["image"].append(shot.image)
            parts["mask"].append(shot.mask)
            parts["parsing"].append(shot.parsing)
            parts["depth"].append(look(drawing, camera, settings.size, 1).depth)
        aside = path.with_suffix(f".{os.getpid()}.npz")
        np.savez_compressed(aside, **{name: np.stack(values) for name, values in parts.items()})
        aside.replace(path)
    found = np.load(path)
    return Truth(labels, found["image"], found["mask"], found["parsing"], found["depth"])


def sample(truth: Truth, index: int) -> Decoded:
    """Return one view as a sample."""
    camera = Camera.from_label(truth.labels[index].numpy())
    return Decoded(f"view-{index:02d}", truth.image[index], truth.mask[index], truth.parsing[index], camera, {})


class Scorer:
    """What a head, by its style vectors, scores against the truth."""

    def __init__(
        self, truth: Truth, generator: Generator, net: PerceptualNet, recognition: FaceRecognition | None = None
    ) -> None:
        shape = generator.settings
        self.recognition, self.front = recognition, face_visible(truth.labels, FACE_DEGREES).tolist()
        self.net, self.side, self.raw = net, shape.upsampler.resolution, shape.neural_resolution
        channels = shape.parsing.channels if shape.parsing else 0
        self.targets = targets_of([sample(truth, index) for index in range(len(truth.labels))], self.side, self.raw, channels)
        self.depth = ray_distance(torch.from_numpy(truth.depth), truth.labels, self.raw)[:, 0]

    @torch.no_grad()
    def __call__(self, generator: Generator, ws: torch.Tensor, row: int) -> dict[str, dict[str, float]]:
        """Return measures of the input view and the mean over hidden views, for the input in a row of `SIDES`."""
        planes = generator.planes(ws)
        found: dict[str, list[dict[str, float]]] = {"input": [], "hidden": []}
        for index in [row, *range(len(SIDES), len(SIDES) + HIDDEN)]:
            kind = "input" if index == row else "hidden"
            found[kind].append(self._view(generator, ws, planes, index))
        return {kind: {name: known_mean([view[name] for view in views]) for name in MEASURES} for kind, views in found.items()}

    @torch.no_grad()
    def identities(self, generator: Generator, ws: torch.Tensor, row: int) -> dict[str, float]:
        """Return the identity distance alone, by kind of view: for heads that were scored before it was a measure."""
        planes = generator.planes(ws)
        found: dict[str, list[float]] = {"input": [], "hidden": []}
        for index in [row, *range(len(SIDES), len(SIDES) + HIDDEN)]:
            if self.front[index]:
                image = generator.synthesise(ws, self.targets.camera[index : index + 1], planes=planes).image
                found["input" if index == row else "hidden"].append(self._identity(image, index))
        return {kind: known_mean(values) for kind, values in found.items()}

    def _identity(self, image: torch.Tensor, index: int) -> float:
        if self.recognition is None or not self.front[index]:
            return math.nan
        one = slice(index, index + 1)
        seen, wanted = (
            self.recognition(face_chips(picture.clamp(-1, 1), self.targets.camera[one]))
            for picture in (image, self.targets.image[one])
        )
        return float((seen - wanted).norm())

    def _view(self, generator: Generator, ws: torch.Tensor, planes: torch.Tensor, index: int) -> dict[str, float]:
        one = slice(index, index + 1)
        made = generator.synthesise(ws, self.targets.camera[one], planes=planes)
        image, mask = self.targets.image[one], self.targets.mask[one]
        assert made.mask is not None and made.depth is not None
        small = resize(mask, self.raw)
        both = (made.mask[0, 0] > 0.5) & (small[0, 0] > 0.5) & self.depth[index].isfinite()
        classes = math.nan
        if made.parsing is not None and self.targets.parsing is not None:
            classes = class_iou(made.parsing.argmax(dim=1)[0], self.targets.parsing[one].argmax(dim=1)[0])
        return {
            "psnr": float(psnr(made.image, image, mask)[0]),
            "perceptual": float(self.net(made.image.clamp(-1, 1) * mask, image * mask, mask)[0]),
            "class IoU": classes,
            "mask IoU": float(mask_iou(made.mask, small)[0]),
            "depth cm": float((made.depth[0, 0] - self.depth[index])[both].abs().mean()) / CANONICAL_SCALE,
            "identity": self._identity(made.image, index),
        }


def known_mean(values: Sequence[float]) -> float:
    """Return the mean of values that are not NaN; NaN where there are none."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.fmean(known) if known else math.nan


def class_iou(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the mean IoU over the classes that the truth shows in eight pixels or more, the background left out."""
    ious = []
    for index in wanted.unique().tolist():
        one, two = found == index, wanted == index
        if index and int(two.sum()) >= 8:
            ious.append(float((one & two).sum()) / float((one | two).sum()))
    return statistics.fmean(ious) if ious else math.nan
