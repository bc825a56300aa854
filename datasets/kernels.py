"""Kernels of the blur that defocus and motion leave, for rendered photographs and for what the quality network learns from.

How often and how strongly a picture is blurred is left to `pipeline.synthetic.wild` and `model.annotators.quality`.
"""

from __future__ import annotations

import math

import numpy as np

from .arrays import Array


def disk(radius: float) -> Array:
    """Return the symmetric kernel of an evenly lit disk, soft at its rim over a pixel; its standard deviation is radius / 2."""
    reach = math.ceil(radius + 0.5)
    away = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1])
    kernel = np.clip(radius + 0.5 - away, 0.0, 1.0)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def line(length: float, angle: float) -> Array:
    """Return the symmetric kernel of an even motion through the middle.

    Its standard deviation along the way is the length over the root of 12.

    Args:
        length: of the way in pixels.
        angle: of the way in radians from the x axis to the y axis.
    """
    reach = math.ceil(length / 2.0 + 0.5)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, aside = x * math.cos(angle) + y * math.sin(angle), -x * math.sin(angle) + y * math.cos(angle)
    kernel = np.clip(1.0 - np.abs(aside), 0.0, 1.0) * np.clip(length / 2.0 + 0.5 - np.abs(along), 0.0, 1.0)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)
