"""Which of a few classes a pixel's colour and texture speak for, learnt from the picture itself.

Where each class is likely is given by the caller as a prior; what the classes are is left to `mesh_parser`. Everything is
counted in histograms: no random start, the same answer every time.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ....datasets.arrays import Array, Pixels

_BINS = 32
"""Bins along each axis of the colour histogram."""
_CHROMA_RANGE = 64.0
"""Largest distance from grey along a and b of CIE Lab that is told apart."""
_TEXTURE_BINS = 12
"""Bins of the texture histogram."""


@dataclass(frozen=True)
class ColourModel:
    """How histograms are smoothed and believed."""

    lightness_blur: float = 1.6
    """Deviation in bins (8 of 256 levels) along lightness: shading moves colours far."""
    chroma_blur: float = 1.0
    """Deviation in bins (4 units) along a and b."""
    trust: float = 0.7
    """Power of the likelihoods: under 1 because neighbouring pixels are no independent witnesses."""
    texture_trust: float = 0.5
    """Power of the texture's likelihood."""
    floor: float = 0.03
    """Share of an even distribution mixed into each histogram, so that an unseen colour decides nothing."""
    rounds: int = 2
    """How often the histograms are counted: from the seeds first, then from the classes of the round before too."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            ValueError: with the field, what was expected and what came.
        """
        if not (self.lightness_blur > 0.0 and self.chroma_blur > 0.0):
            came = f"{self.lightness_blur} and {self.chroma_blur}"
            raise ValueError(f"lightness_blur and chroma_blur: expected more than 0, got {came}")
        if not 0.0 <= self.floor <= 0.2:
            raise ValueError(f"floor: expected a share of 0 to 0.2, of which the texture takes five times, got {self.floor}")
        if self.rounds < 1:
            raise ValueError(f"rounds: expected 1 or more, got {self.rounds}")


class PixelFeatures:
    """Histogram bins of every pixel of a small picture."""

    def __init__(self, image: Pixels, texture: Array) -> None:
        """Bin colours and texture.

        Args:
            image: (h, w, 3) uint8 RGB.
            texture: (h, w) float32 standard deviation of the lightness in the pixel's surroundings, in levels of 256.
        """
        lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.int32)
        lightness = lab[:, :, 0] * _BINS // 256
        step = 2.0 * _CHROMA_RANGE / _BINS
        a, b = (np.clip(((lab[:, :, i] - 128 + _CHROMA_RANGE) / step).astype(np.int32), 0, _BINS - 1) for i in (1, 2))
        self.shape = image.shape[:2]
        self.colour = ((lightness * _BINS + a) * _BINS + b).ravel()
        """Flat index of each pixel's colour bin."""
        self.texture = np.clip((2.0 * np.log2(1.0 + texture)).astype(np.int32), 0, _TEXTURE_BINS - 1).ravel()
        """Index of each pixel's texture bin."""


def local_deviation(lightness: Pixels, radius: int) -> Array:
    """Return the (H, W) float32 standard deviation of a (H, W) uint8 plane in windows of 2 radius + 1 pixels."""
    values = lightness.astype(np.float32)
    window = (2 * radius + 1, 2 * radius + 1)
    mean = cv2.blur(values, window, borderType=cv2.BORDER_REFLECT)
    square = cv2.blur(values * values, window, borderType=cv2.BORDER_REFLECT)
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0.0)))


def colour_density(features: PixelFeatures, weights: Array, model: ColourModel) -> Array:
    """Return the smoothed density of the weighted pixels' colours, (bins,) float32 with mean 1 over all bins."""
    counts: Array = np.bincount(features.colour, weights=weights.ravel(), minlength=_BINS**3).astype(np.float32)
    counts = counts.reshape(_BINS, _BINS * _BINS)
    counts = cv2.GaussianBlur(counts, (1, 0), sigmaX=0.01, sigmaY=model.lightness_blur, borderType=cv2.BORDER_REPLICATE)
    counts = counts.reshape(_BINS * _BINS, _BINS)
    counts = cv2.GaussianBlur(counts, (0, 1), sigmaX=model.chroma_blur, sigmaY=0.01, borderType=cv2.BORDER_REPLICATE)
    turned: Array = np.ascontiguousarray(counts.reshape(_BINS, _BINS, _BINS).transpose(0, 2, 1)).reshape(_BINS * _BINS, _BINS)
    turned = cv2.GaussianBlur(turned, (0, 1), sigmaX=model.chroma_blur, sigmaY=0.01, borderType=cv2.BORDER_REPLICATE)
    density = turned.reshape(_BINS, _BINS, _BINS).transpose(0, 2, 1).reshape(-1)
    return _normalised(density, model.floor)


def texture_density(features: PixelFeatures, weights: Array, model: ColourModel) -> Array:
    """Return the smoothed density of the weighted pixels' texture, (bins,) float32 with mean 1 over all bins."""
    counts = np.bincount(features.texture, weights=weights.ravel(), minlength=_TEXTURE_BINS).astype(np.float32)
    blurred = cv2.GaussianBlur(counts[None], (5, 1), sigmaX=0.8, borderType=cv2.BORDER_REPLICATE)[0]
    return _normalised(blurred, 5.0 * model.floor)


def _normalised(counts: Array, floor: float) -> Array:
    total = float(counts.sum())
    even = np.float32(1.0)
    if total <= 0.0:
        return np.full(counts.shape, even, dtype=np.float32)
    return np.asarray((1.0 - floor) * counts * np.float32(counts.size / total) + floor * even, dtype=np.float32)


def likelihoods(features: PixelFeatures, weights: Array, model: ColourModel) -> Array:
    """Return the (n, h, w) likelihood of every pixel's colour and texture under the n classes of (n, h, w) weights."""
    out = np.empty((len(weights), features.colour.size), dtype=np.float32)
    for index, weight in enumerate(weights):
        colour = colour_density(features, weight, model) ** np.float32(model.trust)
        texture = texture_density(features, weight, model) ** np.float32(model.texture_trust)
        out[index] = colour[features.colour] * texture[features.texture]
    return out.reshape(len(weights), *features.shape)


def classify(features: PixelFeatures, prior: Array, seeds: Array, region: Array, model: ColourModel) -> Array:
    """Share out pixels among classes by prior and by colours learnt from seeds, then from the classes found so far.

    Args:
        features: bins of the picture's pixels.
        prior: (n, h, w) float32 chance of each class at each place; any positive scale.
        seeds: (n, h, w) float32 weights from which the first histograms are counted; they keep a say in later rounds.
        region: (h, w) float32 weight of each pixel; 0 outside the head's matte.

    Returns:
        (n, h, w) float32 posterior, summing to 1 at each pixel.
    """
    weights = seeds
    posterior = prior
    for _ in range(model.rounds):
        joint = prior * likelihoods(features, weights * region, model)
        posterior = joint / np.maximum(joint.sum(axis=0), np.float32(1e-12))
        weights = seeds + posterior * posterior
    return np.asarray(posterior)


def separation(features: PixelFeatures, first: Array, second: Array, model: ColourModel) -> float:
    """Return how well colour tells two sets of weighted pixels apart: 1 - Bhattacharyya coefficient, 0 alike, 1 disjoint."""
    if first.sum() <= 0 or second.sum() <= 0:
        return 1.0
    a, b = (colour_density(features, weights, model) for weights in (first, second))
    return float(1.0 - np.mean(np.sqrt(a * b), dtype=np.float64))
