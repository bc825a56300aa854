"""What colours every skin unevenly: pores, blotches, blood and shade. What only some have is `people.skin_marks`' business."""

from __future__ import annotations

import math

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.images.colour_space import srgb_to_linear

COLOUR = 0.87
"""How much is kept of the colour of the assets' skins: red over blue is 1.9 there, 1.5 on skin in photographs."""
PORES, MOTTLING = 0.024, 0.012
"""Standard deviations of relative brightness: pores and what lies between, on four texels a texel of the assets' skins, and
blotches of half a centimetre."""
RUDDY = (0.02, -0.075, -0.06)
"""Relative change of red, green and blue where blood shows fully: nose, cheeks, ears, chin."""
DULL = (-0.055, -0.075, -0.045)
"""The same on lids and beneath eyes."""
SHAVEN = (-0.085, -0.055, -0.03)
"""The same where a man's beard would grow."""
PALE, FAIREST = 62.0, 73.0
"""CIELAB lightness of skin from which the assets' skins are too light, and that of the lightest: the lightest people's skins
reflect less than half of the light, these and their gains up to three quarters."""
SEAM = (0.06, 0.12)
"""World units from the middle plane, and z, within which blotches fade: skins are cut open behind, where they would end."""
FRONT, FAR = 0.05, 1.0
"""Places on the mean head whose z is between these are of the face; texels that show no head lie farther."""


def calm(skin: Array) -> Array:
    """Return a (H, W, 3) sRGB skin with less colour than the assets give it, as light as before."""
    grey = (skin @ np.array([0.299, 0.587, 0.114], dtype=np.float32))[..., None]
    return np.asarray(grey + np.float32(COLOUR) * (skin - grey), dtype=np.float32)


def fair(colour: tuple[float, float, float]) -> float:
    """Return the factor on sRGB values that makes a skin of an sRGB colour as dark as a skin may be; 1 up to `PALE`.

    Lightness nears `FAIREST` smoothly, so that lighter skins stay lighter.
    """
    red, green, blue = srgb_to_linear(np.array(colour))
    lightness = 116.0 * (0.2126 * red + 0.7152 * green + 0.0722 * blue) ** (1.0 / 3.0) - 16.0
    if lightness <= PALE:
        return 1.0
    reach = FAIREST - PALE
    wanted = PALE + reach * -np.expm1((PALE - lightness) / reach)
    return float(((wanted + 16.0) / (lightness + 16.0)) ** 1.25)  # lightness goes with light^(1/3), values with light^(1/2.4)


def complexion(seed: int, shape: tuple[int, int], places: Array, male: float) -> Array:
    """Return (H, W, 3) float32 relative changes of a skin's colour, about 0 on the mean.

    Args:
        seed: of the person's skin.
        shape: rows and columns; blotches and regions do not depend on it.
        places: (H / k, W / k, 3) places on the mean head of the texels.
        male: 0 woman, 1 man.
    """
    random = np.random.Generator(np.random.Philox(seed))
    rough = np.random.Generator(np.random.Philox(seed).jumped()).standard_normal(shape, dtype=np.float32)
    fine = _unit(cv2.GaussianBlur(rough, (0, 0), 0.7))
    pores = _unit(fine - 0.25 * np.minimum(np.square(fine), 2.0))  # pits are deeper than ridges are high
    small = (places.shape[0], places.shape[1])
    coarse, wide = (
        _unit(cv2.GaussianBlur(random.standard_normal(small, dtype=np.float32), (0, 0), sigma)) for sigma in (1.6, 6.0)
    )
    parts = np.stack([MOTTLING * coarse + shade for shade in _regions(random, places, male, small, wide)], axis=-1)
    found = np.asarray(cv2.resize(parts.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR))
    strength = PORES * math.sqrt(shape[0] / (4.0 * places.shape[0]))  # coarse texels mean over pores: pictures look alike
    return np.asarray(found + np.float32(strength) * pores[..., None], dtype=np.float32)


def _regions(random: np.random.Generator, places: Array, male: float, shape: tuple[int, int], wide: Array) -> list[Floats]:
    """Return the relative change of red, green and blue by where on a face each coarse texel lies, and by chance."""
    x, y, z = np.abs(places[..., 0]), places[..., 1], places[..., 2]
    face = ((z > FRONT) & (z < FAR)).astype(np.float32)

    def spot(at: tuple[float, float], reach: tuple[float, float]) -> Floats:
        return np.asarray(face * np.exp(-(((x - at[0]) / reach[0]) ** 2) - ((y - at[1]) / reach[1]) ** 2))

    ear = np.exp(-(((x - 0.175) / 0.03) ** 2) - ((y + 0.02) / 0.06) ** 2) * (z < FAR)
    blood = 0.9 * spot((0.0, -0.06), (0.035, 0.03)) + 0.7 * spot((0.075, -0.05), (0.045, 0.04)) + 0.8 * ear
    blood = (blood + 0.5 * spot((0.0, -0.185), (0.04, 0.03))) * random.uniform(0.5, 1.5)
    tired = spot((0.066, 0.005), (0.035, 0.011)) + 0.7 * spot((0.072, 0.045), (0.035, 0.013))
    tired = tired * random.uniform(0.3, 1.2)
    beard = np.clip((-0.075 - y) / 0.03, 0.0, 1.0) * np.clip((z - 0.0) / 0.06, 0.0, 1.0) * (z < FAR) * max(male - 0.5, 0.0)
    beard = beard * random.uniform(0.2, 1.6)
    seam = np.clip((SEAM[1] - z) / SEAM[1], 0.0, 1.0) * (1.0 - np.clip(x / SEAM[0], 0.0, 1.0))
    wide = wide * (1.0 - seam).astype(np.float32)
    changes = []
    for channel, red in enumerate((0.007, -0.018, -0.016)):
        whole = RUDDY[channel] * blood + DULL[channel] * tired + SHAVEN[channel] * beard
        even = cv2.GaussianBlur(whole.astype(np.float32), (0, 0), 2.5)  # places step from vertex to vertex
        changes.append(cv2.resize(even, shape[::-1], interpolation=cv2.INTER_LINEAR) + red * wide)
    return changes


def _unit(field: Array) -> Array:
    """Return a field with a mean of 0 and a standard deviation of 1."""
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-6), dtype=np.float32)
