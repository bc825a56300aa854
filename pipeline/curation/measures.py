"""Measures of a picture's technical quality inside a region: blur, exposure, halos, skin texture, compression blocks.

Pure functions of pixels, each with a unit that means the same for every picture. Which region is measured, and what is good
enough, is left to the quality stage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...datasets.arrays import Array, Pixels

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
_HALO_EDGES = 400
_HALO_PLACES = 2400
_HALO_REACH = 1 / 25
_MIN_STEP = 10.0
_HALO_QUANTILE = 0.65
_SKIN_BAND = 1.5
_SKIN_QUANTILE = 0.30
_SKIN_SAMPLES = 20_000
_SKIN_NORMAL = 0.3853
"""The 30 % quantile of |x| for a standard normal x."""
_FLOOR_SIDE = 15
"""Side in pixels of the squares of which the calmest tell the noise."""
_FLOOR_SHARE = 0.10
_MIN_SQUARES = 8
_BLOCK = 8
_BLOCK_CLIP = np.uint8(20)


def luma(image: Pixels) -> Luma:
    """Return the (H, W) float32 luma (Rec. 601) of an (H, W, 3) uint8 picture, 0 to 255."""
    return np.asarray(cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY))


def at_source_scale(image: Array, upscale: float, nearest: bool = False) -> Array:
    """Shrink an enlarged picture back to the scale of its source, so that measures speak of what the source holds.

    Args:
        image: (H, W) or (H, W, 3) luma, picture or map.
        upscale: picture pixels per source pixel; at 1.05 and below the picture is returned as it is.
        nearest: take the nearest pixel: for maps.
    """
    if upscale <= 1.05:
        return image
    height, width = (max(8, round(side / upscale)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST if nearest else cv2.INTER_AREA))


@dataclass(frozen=True, eq=False)
class Edges:
    """Gradients of a picture and of the picture blurred once more: made once, read by several measures."""

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

    def noise_floor(self, region: Region) -> float | None:
        """Return the standard deviation of white noise in the calmest parts of a region, in grey levels.

        It is the 10 % quantile, over squares of 15 px that lie within the region, of what `noise` tells of each: hair and cloth
        have texture in most squares, noise is in all.

        Returns:
            About 0.5 for a good photograph, 7.5 for white noise of 15 levels in each channel, 2 to 3 where a crop's warp has
            averaged it; None where fewer than 8 squares fit.
        """
        p, side = self.picture, _FLOOR_SIDE // 3
        height, width = p.shape[0] // _FLOOR_SIDE * _FLOOR_SIDE, p.shape[1] // _FLOOR_SIDE * _FLOOR_SIDE
        rows = p[0:height:3] - 2.0 * p[1:height:3] + p[2:height:3]
        response = np.abs(rows[:, 0:width:3] - 2.0 * rows[:, 1:width:3] + rows[:, 2:width:3])
        squares = response.reshape(height // _FLOOR_SIDE, side, width // _FLOOR_SIDE, side).swapaxes(1, 2)
        inside = region[:height, :width].reshape(height // _FLOOR_SIDE, _FLOOR_SIDE, width // _FLOOR_SIDE, _FLOOR_SIDE)
        chosen = squares[inside.all(axis=(1, 3))].reshape(-1, side * side)
        if len(chosen) < _MIN_SQUARES:
            return None
        return float(np.quantile(np.median(chosen, axis=1), _FLOOR_SHARE)) / (6.0 * _MEDIAN_NORMAL)

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


def blur_sigma(edges: Edges, region: Region, places: Places | None = None) -> float:
    """Return the blur along the worst direction as the standard deviation, in pixels, of an equivalent Gaussian.

    An edge under a Gaussian of deviation s carries gradient energy in proportion to 1/s, so blurring once more by r lowers it
    by sqrt(1 + r^2 / s^2), whatever the contrast (the re-blur idea of Crete et al. 2007, with the step-edge model of Zhuo and
    Sim 2011). Both energies are summed as 2 x 2 gradient tensors over the strongest edges; the smaller generalised eigenvalue
    is the worst direction, which is how motion blur shows.

    Args:
        edges: gradients of the picture.
        region: (H, W) where to look; edges outside do not count.
        places: what `edges.strongest(region)` said, where it is known.

    Returns:
        About 0.5 for a picture as sharp as its pixels allow; `MAX_SIGMA` where there is nothing to measure.
    """
    places = edges.strongest(region) if places is None else places
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


def halo(edges: Edges, region: Region, places: Places | None = None) -> float:
    """Return the overshoot on both sides of strong edges as a share of their height: what sharpening leaves behind.

    Profiles are read across the ridges of the gradient, as far as a 25th of the region's size but 4 to 8 px to either side, at
    most 400 of them. Each side's plateau is the median of its outer half, its overshoot the extreme of the inner half beyond
    it. Of the two sides the smaller counts, because sharpening does both while lines, lashes and glints do one; the 65 %
    quantile over all profiles is returned, because many are no plain edges.

    Args:
        edges: gradients of the picture.
        region: (H, W) where to look.
        places: what `edges.strongest(region)` said, where it is known.

    Returns:
        Below 0.06 for a plain photograph, 0.1 and more after heavy unsharp masking, negative where edges are soft.
    """
    height, width = edges.picture.shape
    reach = int(np.clip(round(_HALO_REACH * math.sqrt(np.count_nonzero(region))), 4, 8))
    places = _stronger_half(edges, edges.strongest(region) if places is None else places)
    rows, columns = np.divmod(places, width)
    inside = (np.minimum(rows, columns) >= reach) & (rows < height - reach) & (columns < width - reach)
    rows, columns = rows[inside], columns[inside]
    if rows.size < MIN_PLACES:
        return 0.0
    gx, gy = edges.after[0][rows, columns], edges.after[1][rows, columns]
    weight = edges.strength[rows, columns]
    length = np.sqrt(weight)
    normal = np.stack([gx / length, gy / length])
    centre = np.stack([columns, rows]).astype(np.float32)
    ridge = (weight >= _sample(edges.strength, centre + normal)) & (weight >= _sample(edges.strength, centre - normal))
    if np.count_nonzero(ridge) < MIN_PLACES:
        return 0.0
    centre, normal = centre[:, ridge], normal[:, ridge]
    step = max(1, centre.shape[1] // _HALO_EDGES)
    along = np.arange(-reach, reach + 1, dtype=np.float32)
    profile = _sample(edges.picture, np.asarray(centre[:, ::step, None] + normal[:, ::step, None] * along, dtype=np.float32))
    inner, outer = reach // 2, reach - reach // 2
    high, low = np.median(profile[:, -outer:], axis=1), np.median(profile[:, :outer], axis=1)
    rise = high - low
    clear = rise > _MIN_STEP
    if clear.sum() < MIN_PLACES:
        return 0.0
    over = (profile[:, reach + 1 : reach + 1 + inner].max(axis=1) - high)[clear] / rise[clear]
    under = (low - profile[:, outer:reach].min(axis=1))[clear] / rise[clear]
    return float(np.quantile(np.minimum(over, under), _HALO_QUANTILE))


def skin_texture(picture: Luma, region: Region, blur: float) -> float:
    """Return the fine texture of the smoothest part of a face in grey levels, made up for the blur of the picture.

    It is the 30 % quantile of the absolute residual of a Gaussian of 1.5 px, scaled to a standard deviation, so that features
    and beards do not enter. Blur lowers it about as 1/s^2, which is undone, so that what remains low is skin that was smoothed
    while edges were kept: filters and generators. Sensor noise and pores keep it above 2 levels in ordinary photographs.

    Args:
        picture: (H, W) luma.
        region: (H, W) the face.
        blur: what `blur_sigma` said of the picture.

    Returns:
        0 for a region too small to measure.
    """
    values = cv2.absdiff(picture, cv2.GaussianBlur(picture, (0, 0), _SKIN_BAND))[region]
    if values.size < MIN_PIXELS:
        return 0.0
    values = values[:: max(1, values.size // _SKIN_SAMPLES)]
    place = int(_SKIN_QUANTILE * values.size)
    gain = max(1.0, min(blur, 4.0)) ** 2
    return gain * float(np.partition(values, place)[place]) / _SKIN_NORMAL


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
        pixels: (H, W, 3) uint8, at least 24 pixels a side.

    Returns:
        Mean of both axes: about 0.1 for raw pixels, 1 for JPEG quality 85, 2 for 50, above 4 for 10.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if min(grey.shape) < 3 * _BLOCK:
        return 0.0
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


def _stronger_half(edges: Edges, places: Places) -> Places:
    """Return the half of some places where edges are strongest, thinned to a few thousand."""
    if not places.size:
        return places
    strength = edges.strength.reshape(-1)[places]
    middle = strength.size // 2
    chosen = places[strength >= np.partition(strength, middle)[middle]]
    return np.asarray(chosen[:: max(1, chosen.size // _HALO_PLACES)])


def _sample(picture: Luma, points: NDArray[np.float32]) -> Luma:
    """Return bilinear samples of a picture at (2, N) or (2, N, M) positions x, y in pixel indices."""
    x, y = (points[0], points[1]) if points.ndim == 3 else (points[0][:, None], points[1][:, None])
    mapped = cv2.remap(picture, np.ascontiguousarray(x), np.ascontiguousarray(y), cv2.INTER_LINEAR)
    values = np.asarray(mapped, dtype=np.float32)
    return values if points.ndim == 3 else values[:, 0]
