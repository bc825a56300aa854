"""How good an inversion is, in numbers, and what about its photographs looks wrong.

Pictures for eyes are left to `export.invert`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..generator import Generator
from ..nets.upsampler import resize
from ..visualization.views import RenderSettings
from .inverted import Drift

POOR_PSNR, POOR_IOU = 15.0, 0.85
"""Below these a reconstruction is called poor."""
FAR = 2.0
"""Standard deviations beyond which a camera's or crop's move is called large."""


def psnr(first: Tensor, second: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the (B,) PSNR in dB of (B, 3, R, R) pictures in [-1, 1], pixels weighted by a (B, 1, R, R) mask."""
    error = ((first.clamp(-1, 1) - second.clamp(-1, 1)) / 2).square().mean(dim=1)
    if mask is None:
        mean = error.mean(dim=(1, 2))
    else:
        mean = (error * mask[:, 0]).sum(dim=(1, 2)) / mask[:, 0].sum(dim=(1, 2)).clamp_min(1e-6)
    return -10.0 * mean.clamp_min(1e-10).log10()


def mask_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the (B,) IoU of (B, 1, r, r) masks, cut at one half."""
    one, two = first[:, 0] > 0.5, second[:, 0] > 0.5
    return (one & two).sum(dim=(1, 2)) / (one | two).sum(dim=(1, 2)).clamp_min(1)


@torch.no_grad()
def drift(before: Generator, after: Generator, ws: Tensor, cameras: Tensor, rendering: RenderSettings | None = None) -> Drift:
    """Return how far two generators differ in what they show of one head.

    Args:
        before, after: the generators.
        ws: (1, num_ws, w_dim) style vectors.
        cameras: (N, 25) labels to look from.
        rendering: how to render; None for the generator's settings.
    """
    rendering = rendering or RenderSettings()
    ious, depths, ratios = [], [], []
    first, second = before.planes(ws), after.planes(ws)
    for camera in cameras.split(1):
        one, two = (
            generator.synthesise(
                ws,
                camera,
                planes=planes,
                neural_resolution=rendering.neural_resolution,
                image_resolution=rendering.image_resolution,
                fade=rendering.fade,
            )
            for generator, planes in ((before, first), (after, second))
        )
        assert one.mask is not None and two.mask is not None and one.depth is not None and two.depth is not None
        inside = one.mask.clamp(0, 1)
        ious.append(float(mask_iou(one.mask, two.mask)))
        depths.append(float(((one.depth - two.depth).abs() * inside).sum() / inside.sum().clamp_min(1e-6)))
        ratios.append(float(psnr(one.image, two.image, resize(inside, one.image.shape[-1]))))
    count = len(ious)
    return Drift(sum(ious) / count, sum(depths) / count, sum(ratios) / count)


def suspicions(row: Mapping[str, Any], units: Tensor, psnr_found: float, iou: float, error_degrees: float) -> tuple[str, ...]:
    """Say what of crop, camera, matte or model may be wrong about one photograph.

    Args:
        row: the record of its sample, as the pipeline wrote it.
        units: (6,) moves of its camera in standard deviations (see `cameras.moved`).
        psnr_found: dB inside the matte at the end.
        iou: IoU of rendered mask and matte at the end.
        error_degrees: standard deviation that its camera was trusted with.
    """
    scores = row.get("scores") or {}
    turn = float(units[:3].norm())
    found = []
    if max(float(units[3:5].norm()), abs(float(units[5]))) > FAR or row.get("pad_ratio", 0.0) > 0.2:
        found.append("crop: moved or padded more than usual; look at the photographs' report")
    if row.get("upscale", 1.0) > 4.0:
        found.append(f"crop: enlarged {row['upscale']:.1f} times; a larger photograph shows more")
    disagreement = float(scores.get("pose_disagreement_degrees", 0.0))
    if turn > FAR or disagreement > 20.0 or float(scores.get("pose_confidence", 1.0)) < 0.3:
        detail = f"moved by {turn * error_degrees:.0f} degrees, two estimates {disagreement:.0f} degrees apart"
        found.append(f"camera: uncertain ({detail}); take another photograph or compare the views")
    if iou < POOR_IOU:
        found.append(f"matte or hair: outline agrees by IoU {iou:.2f} only")
    if psnr_found < POOR_PSNR or not math.isfinite(psnr_found):
        found.append(f"model: {psnr_found:.1f} dB inside the head; it may never have seen such a head")
    return tuple(found)
