"""What a region of a picture holds at each spatial frequency, strong, soft and calm parts apart: the quality network's input.

Training and measuring take the same numbers. What they mean is learned in `model.annotators.quality` and read in
`pipeline.annotators.heads.strengths`.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import cv2
import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from .arrays import Array, Floats

MARGIN = 1 / 64
"""Regions are drawn in by this share of the crop, so that the outline against the background is not measured."""
SIDE, _STEP = 16, 8
"""Pixels of a window's side and between windows."""
_MOST = 600
"""Most windows of a picture; of more, every second, third and so on is taken."""
_COVERED = 0.8
"""Share of a window that the region must cover; where too few have it, the best covered ones are taken."""
_FEWEST = 16
_BANDS = (0.05, 0.10, 0.16, 0.22, 0.28, 0.34, 0.41, 0.5)
"""Edges of the bands in cycles per pixel."""
_RINGS, _RING_WIDTH = (0.08, 0.16, 0.25, 0.37), 0.04
"""Middles, in cycles per pixel, of the bands that are told by direction, and their standard deviation."""
_DIRECTIONS = 8
_SEEN = (0.5, 0.9)
"""Quantiles over the windows that are told by direction: what a motion takes from one direction, it takes everywhere."""
_STRONG, _MIDDLING = 0.15, 0.5
"""Shares of the windows, by structure, that are told by direction too."""
_PARTS = (0.0, 0.05, 0.15, 0.35, 0.65, 0.90, 1.0)
"""Shares of the windows, those with the strongest structure first, whose bands are averaged."""
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_TURNED = (len(_SEEN) + 2) * len(_RINGS) * (_DIRECTIONS // 2 + 1)
COUNT = (len(_PARTS) - 1) * (len(_BANDS) - 1) + 5 * len(_QUANTILES) + _TURNED
"""Numbers of a region."""
_FLOOR = 0.05
"""Power in squared grey levels that is added before logarithms are taken; rounding alone has 1/12."""


def drawn_in(region: Array) -> Array:
    """Return an (S, S) boolean map without what lies within `MARGIN` of its outline or of the crop's border."""
    eroded = cv2.erode(region.view(np.uint8), np.ones((reach(region), reach(region)), dtype=np.uint8), borderValue=0)
    return np.asarray(eroded).view(bool)


def reach(region: Array) -> int:
    """Return the odd side in pixels of the square by which a crop's regions are drawn in."""
    return 2 * round(float(region.shape[0]) * MARGIN / 2.0) + 1


def numbers(luma: Array, region: Array) -> Array:
    """Return the (147,) float32 numbers of a region.

    They are, all as natural logarithms: mean power in seven bands for six parts of the windows, by strength of structure;
    quantiles over all windows of power in the three highest bands and of two ratios; and power at four frequencies by
    direction, over the mean at the lowest, from the direction with least detail on: of strong and middling structure, and as
    quantiles over all windows.

    Args:
        luma: (H, W) uint8 or float32, 0 to 255; the edges of one of less than 16 pixels are repeated.
        region: (H, W) boolean map.
    """
    power = _power(_windows(luma, region))
    band, directed = _averages()
    bands = np.log(power @ band + _FLOOR)
    order = np.argsort(-bands[:, :2].mean(axis=1), kind="stable")
    ends = [round(share * len(order)) for share in _PARTS]
    parts = [bands[order[min(low, len(order) - 1) : max(high, low + 1)]].mean(axis=0) for low, high in pairwise(ends)]
    fine = np.concatenate([bands[:, 4:], bands[:, 5:6] - bands[:, 2:3], bands[:, 4:5] - bands[:, 1:2]], axis=1)
    spread = np.quantile(fine, _QUANTILES, axis=0)
    strong, middling = (max(1, round(share * len(order))) for share in (_STRONG, _MIDDLING))
    strong = min(strong, max(1, len(order) - 1))
    means = [power[chosen].mean(axis=0) for chosen in (order[:strong], order[min(strong, len(order) - 1) : middling + 1])]
    shown = np.log(np.stack(means) @ directed + _FLOOR)
    seen = np.quantile(np.log(power @ directed + _FLOOR), _SEEN, axis=0)
    return np.concatenate([*parts, spread.ravel(), _turned(np.concatenate([seen, shown])).ravel()]).astype(np.float32)


def _turned(logarithms: Floats) -> Floats:
    """Return (N, 4, 5) ratios to the lowest ring's mean by angle from the direction with least detail, both ways averaged.

    Args:
        logarithms: (N, 32) of power at each ring in each direction.
    """
    rings = logarithms.reshape(len(logarithms), len(_RINGS), _DIRECTIONS)
    ratios = rings - rings[:, :1].mean(axis=2, keepdims=True)
    ratios = np.roll(ratios, -int(np.argmin(ratios[:, 1:].sum(axis=(0, 1)))), axis=2)
    half = _DIRECTIONS // 2
    return np.asarray(0.5 * (ratios[..., : half + 1] + np.roll(ratios[..., ::-1], 1, axis=2)[..., : half + 1]))


def _windows(luma: Array, region: Array) -> Array:
    """Return (N, 16, 16) float32 windows of the region."""
    if min(luma.shape) < SIDE:
        short = [(0, max(0, SIDE - side)) for side in luma.shape]
        luma, region = np.pad(luma, short, mode="edge"), np.pad(region, short)
    every = sliding_window_view(luma, (SIDE, SIDE))[::_STEP, ::_STEP]
    sums = cv2.integral(np.ascontiguousarray(region).view(np.uint8))
    high, low = (sums[start : start + _STEP * (every.shape[0] - 1) + 1 : _STEP] for start in (SIDE, 0))
    right, left = (slice(start, start + _STEP * (every.shape[1] - 1) + 1, _STEP) for start in (SIDE, 0))
    cover = (high[:, right] - high[:, left] - low[:, right] + low[:, left]).ravel() / SIDE**2
    chosen = np.flatnonzero(cover >= _COVERED)
    if chosen.size < _FEWEST:
        chosen = np.sort(np.argsort(-cover, kind="stable")[:_FEWEST])
    chosen = chosen[:: -(-chosen.size // _MOST)]
    return np.asarray(every[chosen // every.shape[1], chosen % every.shape[1]], dtype=np.float32)


def _power(windows: Array) -> Floats:
    """Return (N, 144) power at each frequency of a half plane: the variance, for white noise."""
    taper = np.hanning(SIDE + 2)[1:-1].astype(np.float32)
    taper2 = taper[:, None] * taper
    centred = (windows - windows.mean(axis=(1, 2), keepdims=True)) * taper2
    found = scipy.fft.rfft2(centred)  # in single precision, unlike numpy's
    return np.asarray((found.real**2 + found.imag**2).reshape(len(windows), -1) / np.float32(np.sum(taper2**2)))


@cache
def _averages() -> tuple[Floats, Floats]:
    """Return (144, 7) weights that average power in each band, and (144, 32) around each ring in each direction."""
    down, right = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None, :]
    radius, angle = np.hypot(down, right), np.arctan2(down, right) % np.pi
    twice = np.where((right == 0.0) | (right == 0.5), 1.0, 2.0) * np.ones_like(radius)
    bands = [twice * ((radius >= low) & (radius < high)) for low, high in pairwise(_BANDS)]
    directed = []
    for middle in _RINGS:
        ring = twice * (radius > 0.0) * np.exp(-0.5 * ((radius - middle) / _RING_WIDTH) ** 2)
        for number in range(_DIRECTIONS):
            apart = np.abs((angle - np.pi * number / _DIRECTIONS + np.pi / 2) % np.pi - np.pi / 2)
            directed.append(ring * np.maximum(0.0, 1.0 - apart / (np.pi / _DIRECTIONS)))
    stacked = [np.stack([w.ravel() / w.sum() for w in found], axis=1) for found in (bands, directed)]
    return stacked[0].astype(np.float32), stacked[1].astype(np.float32)
