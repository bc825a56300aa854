"""From rendered light to a developed picture: a camera's meter, its highlights, and a head laid on a background.

Rendering is left to `render` and `shading`.
"""

from __future__ import annotations

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.camera import Camera
from ....datasets.images.colour_space import linear_to_srgb, srgb_to_linear
from .light import Light

Window = tuple[int, int, int, int]
"""Left, top, right, bottom of a part of a picture in pixels."""
METERED, METERING = 0.22, 0.35
"""Linear grey that a camera's own meter aims at, and how much of the way it goes."""
BRIGHT = ((0.85, 0.60), (0.95, 0.72))
"""Shares of the head and the linear grey under which a camera keeps them: pale skin beside dark hair is not washed out."""
LINEAR = srgb_to_linear(np.arange(256) / 255.0)
"""Linear light of 8-bit sRGB values."""


def window_of(mask: Pixels, margin: int = 4) -> Window | None:
    """Return the part of a picture in which an (S, S) mask covers anything, with a margin; None where it covers nothing."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    left, top = max(int(columns[0]) - margin, 0), max(int(rows[0]) - margin, 0)
    return left, top, min(int(columns[-1]) + 1 + margin, mask.shape[1]), min(int(rows[-1]) + 1 + margin, mask.shape[0])


def expose(picture: Array, camera: Camera, light: Light) -> Array:
    """Bring a rendered picture to the exposure that a camera would choose, and clean single bright specks away.

    Args:
        picture: (S, S, 4) as from `Studio.photograph`.
        camera: where it was taken from.
        light: gives the exposure.

    Returns:
        (S, S, 4) float32: premultiplied linear colours with white at 1, and opacity.
    """
    gain = metered_gain(picture, light, camera)
    colours = _without_specks(picture[..., :3] * np.float32(gain))
    return np.dstack([colours, np.clip(picture[..., 3], 0.0, 1.0)]).astype(np.float32)


def metered_gain(picture: Array, light: Light, camera: Camera) -> float:
    """Return the factor on an (S, S, 4) picture that a camera would choose, from that of a meter beside the head."""
    gain = light.gain(camera.position / camera.radius)
    if light.steady:
        return gain
    solid = picture[..., 3] > 0.9
    if solid.any():  # cameras meter what they see: a dark head is lightened by a part of what it lacks
        grey = picture[solid][:, :3].mean(axis=1) * gain
        factor = (METERED / max(float(np.mean(np.minimum(grey, 1.0))), 0.01)) ** METERING
        limits = [most / max(float(np.quantile(grey, share)), 0.01) for share, most in BRIGHT]
        gain *= min(factor, *limits)
    return gain


def develop(exposed: Array, background: Pixels) -> Pixels:
    """Lay an exposed (S, S, 4) picture on an (S, S, 3) sRGB background and return (S, S, 3) sRGB."""
    developed = background.copy()
    window = window_of((exposed[..., 3] > 0).astype(np.uint8), margin=0)
    if window is not None:
        left, top, right, bottom = window
        part = np.s_[top:bottom, left:right]
        developed[part] = composite(_shoulder(exposed[part][..., :3]), exposed[part][..., 3:4], background[part])
    return developed


def _without_specks(linear: Array) -> Array:
    """Replace pixels far brighter than all their neighbours, which few samples leave behind, by the neighbours' median."""
    median = np.dstack([cv2.medianBlur(channel, 3) for channel in cv2.split(np.ascontiguousarray(linear))])
    specks = linear.max(axis=2) > 2.5 * median.max(axis=2) + 0.08
    linear[specks] = median[specks]
    return linear


def _shoulder(linear: Array) -> Array:
    """Compress highlights above 0.7 smoothly towards 1, as cameras do, keeping everything below."""
    above = np.maximum(linear - 0.7, 0.0)
    return np.minimum(linear, 0.7) + 0.3 * (1.0 - np.exp(-above / 0.3))


def composite(linear: Floats, alpha: Array, background: Pixels) -> Pixels:
    """Lay premultiplied linear colours over an sRGB background, in linear light, and return sRGB."""
    mixed = np.clip(linear + (1.0 - alpha) * LINEAR[background], 0.0, 1.0)
    return np.round(255.0 * linear_to_srgb(mixed)).astype(np.uint8)
