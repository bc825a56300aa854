"""Measures of a picture's technical quality inside a region: blur of edges, noise, exposure, compression blocks.

Pure functions of pixels, each with a unit that means the same for every picture. Which region is measured, and what is good
enough, is left to the quality stage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...datasets.arrays import Pixels

Luma = NDArray[np.float32]
"""(H, W) float32 luma, 0 to 255."""
Region = NDArray[np.bool_]
"""(H, W) which pixels are measured."""

Places = NDArray[np.intp]
"""(N,) flat pixel indices."""

MIN_PIXELS = 64
"""A region with fewer pixels gives no measure."""
MAX_SIGMA = 64.0
"""Blur beyond this is not told apart."""
MIN_PLACES = 20
"""Fewer edges than this give no measure."""

_REBLUR = 1.0
_NOISE_AFTER = 1.0 / (8.0 * math.pi * _REBLUR**4)
"""Variance of a derivative of white noise of variance 1 after the re-blur."""
_MEDIAN_NORMAL = 0.6745
"""The median of |x| for a standard normal x."""
_EDGE_SHARE = 0.10
_FLAT = 1e-6
_THINNING = 4
_BLOCK = 8
_BLOCK_CLIP = np.uint8(20)


def luma(image: Pixels) -> Luma:
    """Return the (H, W) float32 luma (Rec. 601) of an (H, W, 3) uint8 picture, 0 to 255."""
    return np.asarray(cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY))


@dataclass(frozen=True, eq=False)
class Edges:
    """Gradients of a picture and of the picture blurred once more."""

    picture: Luma
    """(H, W) luma."""
    before: tuple[Luma, Luma]
    """(H, W) central differences in x and y."""
    after: tuple[Luma, Luma]
    """The same after a Gaussian of 1 px."""
    strength: Luma
    """(H, W) squared length of `after`."""

    @classmethod
    def of(cls, picture: Luma) -> Edges:
        """Take the gradients of an (H, W) luma."""
        before, after = _gradients(picture), _gradients(np.asarray(cv2.GaussianBlur(picture, (0, 0), _REBLUR), np.float32))
        return cls(picture, before, after, cv2.multiply(after[0], after[0]) + cv2.multiply(after[1], after[1]))

    def strongest(self, region: Region) -> Places:
        """Return flat indices of the tenth of a region's pixels with the strongest edges; none for a tiny or flat region."""
        values = cv2.bitwise_and(self.strength, self.strength, mask=region.view(np.uint8)).reshape(-1)
        thinned = values[::_THINNING][region.reshape(-1)[::_THINNING]]
        if thinned.size * _THINNING < MIN_PIXELS:
            return np.zeros(0, dtype=np.intp)
        place = int(thinned.size * (1.0 - _EDGE_SHARE))
        return np.flatnonzero(values >= max(float(np.partition(thinned, place)[place]), _FLAT))

    def noise(self, region: Region) -> float:
        """Return the standard deviation of white noise in a region (Immerkaer 1996, by the median, on one pixel in nine)."""
        p = self.picture
        height, width = p.shape[0] // 3 * 3, p.shape[1] // 3 * 3
        rows = p[0:height:3] - 2.0 * p[1:height:3] + p[2:height:3]
        response = rows[:, 0:width:3] - 2.0 * rows[:, 1:width:3] + rows[:, 2:width:3]
        chosen = np.abs(response[region[1:height:3, 1:width:3]])
        if chosen.size < MIN_PLACES:
            return 0.0
        return float(np.partition(chosen, chosen.size // 2)[chosen.size // 2]) / (6.0 * _MEDIAN_NORMAL)


def blur_sigma(edges: Edges, region: Region) -> float:
    """Return the blur along the worst direction as the standard deviation, in pixels, of an equivalent Gaussian.

    An edge under a Gaussian of deviation s carries gradient energy in proportion to 1/s, so blurring once more by r lowers it
    by sqrt(1 + r^2 / s^2), whatever the contrast (the re-blur idea of Crete et al. 2007, with the step-edge model of Zhuo and
    Sim 2011). Both energies are summed as 2 x 2 gradient tensors over the strongest edges; the smaller generalised eigenvalue
    is the worst direction, which is how motion blur shows.

    Args:
        edges: gradients of the picture.
        region: (H, W) where to look; edges outside do not count.

    Returns:
        About 0.5 for a picture as sharp as its pixels allow; `MAX_SIGMA` where there is nothing to measure.
    """
    places = edges.strongest(region)
    if places.size < MIN_PLACES:
        return MAX_SIGMA
    variance = places.size * edges.noise(region) ** 2
    first = _tensor(edges.before, places) - 0.5 * variance * np.eye(2)
    second = _tensor(edges.after, places) - _NOISE_AFTER * variance * np.eye(2)
    determinant = float(np.linalg.det(second))
    if determinant <= 1e-9 * max(float(np.trace(second)) ** 2, 1e-12):
        return MAX_SIGMA
    relative = np.linalg.solve(second, first)
    half = 0.5 * float(np.trace(relative))
    smaller = half - math.sqrt(max(half * half - float(np.linalg.det(relative)), 0.0))
    return min(MAX_SIGMA, _REBLUR / math.sqrt(smaller * smaller - 1.0)) if smaller > 1.0 + 1e-6 else MAX_SIGMA


@dataclass(frozen=True)
class Exposure:
    """Where a region's luma lies, 0 to 255, and how much of it sits at the ends."""

    mean: float
    shadows: float
    """The 5 % quantile."""
    highlights: float
    """The 95 % quantile."""
    clipped_low: float
    """Share of pixels at 2 or below, 0 to 1."""
    clipped_high: float
    """Share of pixels at 253 or above, 0 to 1."""


def exposure(picture: Luma, region: Region) -> Exposure | None:
    """Return the exposure of a region, or None where the region is too small."""
    levels = np.rint(picture[region]).astype(np.uint8)
    if levels.size < MIN_PIXELS:
        return None
    histogram = np.bincount(levels, minlength=256)
    below = np.cumsum(histogram)
    return Exposure(
        mean=float(histogram @ np.arange(256)) / levels.size,
        shadows=float(np.searchsorted(below, 0.05 * levels.size)),
        highlights=float(np.searchsorted(below, 0.95 * levels.size)),
        clipped_low=float(below[2]) / levels.size,
        clipped_high=1.0 - float(below[252]) / levels.size,
    )


def blockiness(pixels: Pixels) -> float:
    """Return how much higher, in grey levels, neighbouring pixels step on an 8 x 8 grid than off it.

    Works on pixels at the scale at which they were compressed, for any offset of the grid (crops, rotated pictures); a picture
    that was resized after compression has no such grid and scores low. Steps are capped at 20 levels, so that real edges count
    little.

    Args:
        pixels: (H, W, 3) uint8.

    Returns:
        Mean of both axes: about 0.1 for raw pixels, 1 for JPEG quality 85, 2 for 50, above 4 for 10; 0 for less than 24 pixels
        a side, which tell nothing.
    """
    if min(pixels.shape[:2]) < 3 * _BLOCK:
        return 0.0
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    excess = 0.0
    for before, after, axis in ((grey[:, :-1], grey[:, 1:], 0), (grey[:-1], grey[1:], 1)):
        steps = np.minimum(cv2.absdiff(before, after), _BLOCK_CLIP)
        profile = cv2.reduce(steps, axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).reshape(-1).astype(np.float64)
        phase = np.arange(profile.size) % _BLOCK
        mean = np.bincount(phase, profile, _BLOCK) / np.bincount(phase, minlength=_BLOCK)
        excess += float(mean.max() - (mean.sum() - mean.max()) / (_BLOCK - 1))
    return excess / 2.0


def _gradients(picture: Luma) -> tuple[Luma, Luma]:
    """Return the central differences in x and y."""
    return (
        np.asarray(cv2.Sobel(picture, cv2.CV_32F, 1, 0, ksize=1, scale=0.5)),
        np.asarray(cv2.Sobel(picture, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)),
    )


def _tensor(gradients: tuple[Luma, Luma], places: Places) -> NDArray[np.float64]:
    """Return the (2, 2) sum of gradient outer products at flat indices, in a summation order that threads cannot change."""
    gx, gy = (gradient.reshape(-1)[places].astype(np.float64) for gradient in gradients)
    cross = np.sum(gx * gy)
    return np.array([[np.sum(gx * gx), cross], [cross, np.sum(gy * gy)]])
