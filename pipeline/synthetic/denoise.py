"""Takes the noise of few samples out of a rendered picture, guided by what is known exactly: colours and normals of surfaces.

Light is parted from surface colour, smoothed where neighbours face alike and are of one class, and put back on the colours:
textures and outlines stay as sharp as they are (the idea of Schied et al. 2017 and its forerunners, without time).
"""

from __future__ import annotations

import cv2
import numpy as np

from ...datasets.arrays import Array
from ...datasets.classes import INDEX
from .geometry import View

_FLOOR = 0.012
"""Added to colours before dividing by them: what is nearly black keeps its light as it is."""
_SHARP = ("left_eye", "right_eye", "glasses")
"""Classes whose highlights must not be smeared."""


def denoise(picture: Array, view: View, strength: float = 1.0) -> Array:
    """Return an (S, S, 4) rendered picture with smoother light.

    Args:
        picture: premultiplied linear colours and opacity, exposed so that white is near 1.
        view: the exact labels of the same camera, with albedo.
        strength: 1 for 16 samples a pixel; less for more samples.
    """
    assert view.albedo is not None
    alpha = np.clip(picture[..., 3], 0.0, 1.0)
    colour = view.albedo + _FLOOR
    light = picture[..., :3] / colour
    facing = view.normals
    total = np.zeros_like(light)
    weight = np.zeros(light.shape[:2], dtype=np.float32)
    radius = max(2, round(2.5 * strength * picture.shape[0] / 256.0))
    smooth = np.log1p(light)  # one bright sample must not outweigh its neighbours
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            nearby = _shifted(smooth, dy, dx)
            alike = np.clip((facing * _shifted(facing, dy, dx)).sum(axis=2), 0.0, 1.0) ** 24
            same = (view.parsing == _shifted(view.parsing, dy, dx)) & (_shifted(alpha, dy, dx) > 0.9)
            away = float(np.exp(-(dx * dx + dy * dy) / (2.0 * (0.6 * radius) ** 2)))
            share = away * alike * same
            total += share[..., None] * nearby
            weight += share
    found = np.expm1(total / np.maximum(weight, 1e-6)[..., None])
    keep = (alpha <= 0.9) | (weight < 1e-3) | np.isin(view.parsing, [INDEX[name] for name in _SHARP])
    calm = np.where(keep[..., None], light, found) * colour
    return np.dstack([calm.astype(np.float32), picture[..., 3]])


def _shifted(values: Array, dy: int, dx: int) -> Array:
    """Return the values `dy` rows below and `dx` columns to the right, edges repeated."""
    move = np.array([[1, 0, -dx], [0, 1, -dy]], dtype=np.float32)
    size = (values.shape[1], values.shape[0])
    return np.asarray(cv2.warpAffine(values, move, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE))
