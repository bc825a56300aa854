"""How truly a generator rebuilds the persons that it learned from: picture, outline and depth against their views in the data.

A person's style vector comes from the checkpoint's table and the camera from the label. Views may be those that training saw,
or new ones of the same persons in a set of their own. Persons whom the table does not know are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ...datasets.camera import CANONICAL_SCALE
from ...datasets.shards.codec import Decoded
from ...datasets.shards.inspect import PLACE, read
from ...datasets.shards.storage import open_source
from ...datasets.streaming.index import read_header, read_rows
from ...manifests.frames import read_frame
from ...manifests.identity import unit_interval
from ..generator import Generator
from ..nets.persons import PersonTable, ground_colours
from ..portrait import Portrait
from ..store import read_tensors
from ..visualization.views import RenderSettings
from ..volume_rendering.rays import ray_distance

TABLE = "persons_average.safetensors"
"""File of a checkpoint with the averaged table of persons."""
INSIDE = 0.99
"""Share of the head from which a pixel counts as inside."""


@dataclass(frozen=True)
class PersonSummary:
    """Means over rebuilt views."""

    psnr: float | None
    """dB inside the matte, at the model's resolution; None where no matte is as opaque as `INSIDE`."""
    mask_iou: float | None
    """IoU of rendered and exact mask, both cut at a half; None where the model renders no mask."""
    depth_cm: float | None
    """Mean absolute error of the distance along the ray where both have a head, in centimetres; None without depth maps."""
    count: int
    """Views."""


def rebuilt_persons(
    generator: Generator, folder: Path, data: Sequence[Path], rendering: RenderSettings, most: int = 96
) -> PersonSummary | None:
    """Rebuild views of known persons and hold them against the data.

    Args:
        generator: the model, on its device.
        folder: its checkpoint.
        data: finished sets.
        rendering: how far the networks had grown.
        most: views, chosen by a hash of their ids.

    Returns:
        None where the checkpoint has no table of persons, or the data show nobody of it.
    """
    if not (folder / TABLE).is_file():
        return None
    table = PersonTable.of(read_tensors(folder / TABLE)).to(next(generator.parameters()).device)
    found = []
    for place in data:
        rows = person_rows(place, table)
        ids = sorted(rows, key=lambda key: (unit_interval(f"persons/{key}"), key))[: most // len(data)]
        for sample in read(place, ids, read_frame(place, PLACE)):
            if sample.camera is not None and sample.mask is not None:
                found.append(_compare(generator, table, rows[sample.id], sample, rendering))
    if not found:
        return None
    psnr, iou, depth = zip(*found, strict=True)
    return PersonSummary(_known_mean(psnr), _known_mean(iou), _known_mean(depth), len(found))


def _known_mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else None


def person_rows(place: Path, table: PersonTable) -> dict[str, int]:
    """Return id -> row of the table of every picture of a set that shows a known person."""
    source, known = open_source(place), {}
    for split in sorted({entry.split for entry in read_header(source).shards}):
        rows = read_rows([source], split)
        numbers = table.rows(torch.from_numpy(rows.subject).to(table.subjects.device)).tolist()
        named = zip(rows.ids.tolist(), numbers, rows.synthetic.tolist(), strict=True)
        known.update({key.decode(): row for key, row, rendered in named if rendered and row >= 0})
    return known


@torch.no_grad()
def rebuilt(
    generator: Generator, table: PersonTable, row: int, picture: Tensor, mask: Tensor, camera: Tensor,
    rendering: RenderSettings,
) -> Portrait:  # fmt: skip
    """Return a known person as a view of the data shows it, before the view's ground.

    Args:
        generator: the model.
        table: its persons.
        row: the person's.
        picture: (1, 3, R, R) the view, in [-1, 1]; only its ground is read.
        mask: (1, 1, R, R) share of the head.
        camera: (1, 25) label.
        rendering: how far the networks had grown.
    """
    ws = table.styles[row].expand(1, generator.num_ws, -1).clone()
    if generator.settings.own_ground:
        ws[:, -1] = table.to_ground(ground_colours(picture, mask))
    return generator.synthesise(
        ws, camera, neural_resolution=rendering.neural_resolution, image_resolution=rendering.image_resolution,
        fade=rendering.fade,
    )  # fmt: skip


@torch.no_grad()
def _compare(
    generator: Generator, table: PersonTable, row: int, sample: Decoded, rendering: RenderSettings
) -> tuple[float, float, float]:
    """Return PSNR in dB, mask IoU and depth error in centimetres of one view."""
    assert sample.camera is not None and sample.mask is not None
    device, side = table.styles.device, rendering.image_resolution or generator.settings.upsampler.resolution
    truth = _plane(cv2.resize(sample.image, (side, side), interpolation=cv2.INTER_AREA), device) / 127.5 - 1.0
    mask = _plane(cv2.resize(sample.mask, (side, side), interpolation=cv2.INTER_AREA)[..., None], device) / 255.0
    camera = torch.from_numpy(sample.camera.label())[None].to(device)
    made = rebuilt(generator, table, row, truth, mask, camera, rendering)
    inside = (mask > INSIDE).expand_as(truth)
    error = float(((made.image.clamp(-1, 1) - truth) / 2.0).square()[inside].mean())
    if made.mask is None:
        return -10.0 * math.log10(max(error, 1e-12)), math.nan, math.nan
    seen = torch.nn.functional.interpolate(made.mask, size=(side, side), mode="bilinear") > 0.5
    iou = float((seen & (mask > 0.5)).sum() / (seen | (mask > 0.5)).sum().clamp_min(1))
    return -10.0 * math.log10(max(error, 1e-12)), iou, _depth_error(made, sample, camera)


def _depth_error(made: Portrait, sample: Decoded, camera: Tensor) -> float:
    """Return the mean absolute error in centimetres of the distance along rays that meet the head in both; NaN without maps."""
    if sample.depth is None or made.depth is None or made.mask is None:
        return math.nan
    exact = ray_distance(torch.from_numpy(sample.depth)[None].to(camera.device), camera, made.depth.shape[-1])
    both = (exact > 0) & (made.mask > 0.5)
    return float((made.depth - exact)[both].abs().mean()) / CANONICAL_SCALE if bool(both.any()) else math.nan


def _plane(pixels: np.ndarray, device: torch.device) -> Tensor:
    """Return the (1, C, S, S) float32 tensor of (S, S, C) pixels."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float().to(device)
