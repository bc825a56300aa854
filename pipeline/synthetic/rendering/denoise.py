"""Takes the noise of few samples out of a rendered picture, guided by what is known exactly: colours and normals of surfaces.

Light is parted from surface colour, smoothed where neighbours face alike and are of one class, and put back on the colours:
textures and outlines stay as sharp as they are (the idea of Schied et al. 2017 and its forerunners, without time).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....datasets.arrays import Array
from ....datasets.classes import INDEX
from ....datasets.compiled import compiled
from .exact_pass import View

_FLOOR = np.float32(0.012)
"""Added to colours before dividing by them: what is nearly black keeps its light as it is."""
_SHARP = np.isin(np.arange(256), [INDEX[name] for name in ("left_eye", "right_eye", "glasses")])
"""Classes whose highlights must not be smeared."""
_SOLID = 0.9
"""Opacity above which a pixel is cleaned and helps to clean others."""


def denoise(picture: Array, view: View, strength: float = 1.0) -> Array:
    """Return an (S, S, 4) float32 rendered picture with smoother light.

    Args:
        picture: premultiplied linear colours and opacity, exposed so that white is near 1.
        view: the exact labels of the same camera, with albedo.
        strength: 1 for 16 samples per pixel; less for more samples.
    """
    assert view.albedo is not None
    calm = picture.astype(np.float32)
    colour = view.albedo + _FLOOR
    smooth = np.zeros_like(view.albedo)  # logarithms: one bright sample must not outweigh its neighbours
    radius = max(2, round(2.5 * strength * picture.shape[0] / 256.0))
    away = np.arange(-radius, radius + 1) ** 2
    near = np.exp(-(away[:, None] + away) / (2.0 * (0.6 * radius) ** 2)).astype(np.float32)
    solid = calm[..., 3] > _SOLID
    smooth[solid] = np.log1p(calm[solid][:, :3] / colour[solid])
    compiled(spread)(smooth, view.normals, view.parsing, solid, solid & ~_SHARP[view.parsing], near, colour, calm)
    return calm


def spread(smooth: Any, facing: Any, parsing: Any, solid: Any, wanted: Any, near: Any, colour: Any, out: Any) -> None:
    """Write cleaned colours into `out` (S, S, 4) where `wanted`.

    Args:
        smooth: (S, S, 3) logarithms of light.
        facing: (S, S, 3) unit normals.
        parsing: (S, S) classes.
        solid: (S, S) pixels that may help others.
        wanted: (S, S) pixels to clean.
        near: (2 R + 1, 2 R + 1) weights by distance.
        colour: (S, S, 3) what light is multiplied by.
        out: changed in place.
    """
    height, width = parsing.shape
    radius = near.shape[0] // 2
    for row in range(height):
        for column in range(width):
            if not wanted[row, column]:
                continue
            red = green = blue = weight = np.float32(0.0)
            for y in range(max(row - radius, 0), min(row + radius + 1, height)):
                for x in range(max(column - radius, 0), min(column + radius + 1, width)):
                    if not solid[y, x] or parsing[y, x] != parsing[row, column]:
                        continue
                    alike = (
                        facing[row, column, 0] * facing[y, x, 0]
                        + facing[row, column, 1] * facing[y, x, 1]
                        + facing[row, column, 2] * facing[y, x, 2]
                    )
                    if alike <= 0.0:
                        continue
                    cube = alike * alike * alike
                    share = cube * cube
                    share *= share
                    share *= share * near[y - row + radius, x - column + radius]
                    red += share * smooth[y, x, 0]
                    green += share * smooth[y, x, 1]
                    blue += share * smooth[y, x, 2]
                    weight += share
            if weight >= 1e-3:
                out[row, column, 0] = np.expm1(red / weight) * colour[row, column, 0]
                out[row, column, 1] = np.expm1(green / weight) * colour[row, column, 1]
                out[row, column, 2] = np.expm1(blue / weight) * colour[row, column, 2]
