"""The look of some photographs, colours and spectrum, measured and given to rendered crops, whose truth stays what it is.

Colours follow by a linear map of mean and covariance (the Monge-Kantorovich map; Pitie & Kokaram 2007), sharpness and noise
by the radial power spectrum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....datasets.arrays import Array, Floats, Pixels

LAYOUT = 6
"""Cycles per picture under which the spectrum is that of the scene, not of the camera, and stays."""
LEAST_VARIANCE = 9.0
"""Added to the variance of each channel that is mapped, in squared levels of 255, so that flat pictures have a map."""
NOISE = 14
"""Cycles per picture from which what a photograph has more is noise; below, it is what it shows."""
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
SMOOTH = 7
"""Rings that a single photograph's spectrum is averaged over."""
MOST_GAIN = 30.0
"""Power of a band over the rendered picture's from which no more noise is added."""


@dataclass(frozen=True, eq=False)
class Colours:
    """Mean and covariance of one picture's colours."""

    mean: Floats
    """(3,) levels."""
    covariance: Floats
    """(3, 3)."""


def colours_of(picture: Pixels) -> Colours:
    """Measure an (S, S, 3) picture."""
    flat = picture.reshape(-1, 3).astype(np.float64)
    return Colours(flat.mean(axis=0), np.cov(flat.T))


def colour_map(source: Colours, target: Colours) -> Floats:
    """Return the symmetric (3, 3) matrix M that gives colours of one covariance the other: M C M = D."""
    covariance = source.covariance + LEAST_VARIANCE * np.eye(3)
    root, inverse = _power(covariance, 0.5), _power(covariance, -0.5)
    return np.asarray(inverse @ _power(root @ target.covariance @ root, 0.5) @ inverse)


def _power(matrix: Array, exponent: float) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(values, 1e-6) ** exponent) @ vectors.T)


def recoloured(picture: Array, target: Colours) -> Array:
    """Return (S, S, 3) float32 levels of a picture in another one's colours."""
    source = colours_of(np.clip(picture, 0, 255).astype(np.uint8))
    matrix = colour_map(source, target).astype(np.float32)
    return np.asarray((picture - source.mean.astype(np.float32)) @ matrix + target.mean.astype(np.float32), dtype=np.float32)


def spectrum(picture: Array) -> Floats:
    """Return the (S / 2 + 1,) logarithm of power of an (S, S, 3) picture's luminance by cycles per picture."""
    size = picture.shape[0]
    window = np.hanning(size)[:, None] * np.hanning(size)[None, :]
    ring, count = _rings(size)
    grey = np.asarray(picture, dtype=np.float64) @ LUMA
    power = np.abs(np.fft.rfft2((grey - grey.mean()) * window)) ** 2
    return np.asarray(np.log(np.bincount(ring.ravel(), power.ravel(), minlength=len(count)) / count + 1e-3))


def _rings(size: int) -> tuple[Array, Array]:
    """Return the ring of each of rfft2's numbers, the last one holding all beyond, and the rings' sizes."""
    across, down = np.fft.rfftfreq(size) * size, np.fft.fftfreq(size) * size
    ring = np.minimum(np.hypot(across[None, :], down[:, None]).round().astype(np.int64), size // 2)
    return ring, np.bincount(ring.ravel(), minlength=size // 2 + 1)


@dataclass(frozen=True, eq=False)
class Look:
    """How photographs of a camera look beside rendered crops."""

    colours: tuple[Colours, ...]
    """Of the photographs."""
    gains: Array
    """(N, S / 2 + 1) power of each photograph over that of rendered crops in such colours, by cycles per picture."""

    def __call__(self, random: np.random.Generator, picture: Pixels) -> Pixels:
        """Return an (S, S, 3) picture with the colours, the blur and the noise of one of the photographs."""
        index = int(random.integers(len(self.colours)))
        levels = recoloured(picture.astype(np.float32), self.colours[index])
        return np.asarray(np.clip(_filtered(random, levels, self.gains[index]), 0.0, 255.0).astype(np.uint8))


def measured(photographs: Sequence[Pixels], rendered: Sequence[Pixels], random: np.random.Generator) -> Look:
    """Measure the look of photographs.

    Args:
        photographs: (S, S, 3) crops.
        rendered: (S, S, 3) crops that are to look like these.
        random: which photograph's colours a rendered crop gets while spectra are compared.
    """
    colours = tuple(colours_of(picture) for picture in photographs)
    there = [recoloured(picture.astype(np.float32), colours[int(random.integers(len(colours)))]) for picture in rendered]
    plain = np.mean([spectrum(picture) for picture in there], axis=0)
    above = np.stack([spectrum(picture) for picture in photographs]) - plain
    gains = np.exp(np.stack([smoothed(row) for row in above]))
    gains[:, :LAYOUT] = 1.0
    gains[:, :NOISE] = np.minimum(gains[:, :NOISE], 1.0)
    return Look(colours, np.minimum(gains, MOST_GAIN))


def smoothed(row: Floats) -> Floats:
    """Return the running mean over `SMOOTH` numbers, the ends repeated."""
    return np.convolve(np.pad(row, SMOOTH // 2, "edge"), np.full(SMOOTH, 1.0 / SMOOTH), "valid")


def _filtered(random: np.random.Generator, levels: Array, gain: Floats) -> Array:
    """Weaken bands of a picture that are to be weaker, and add noise to those that are to be stronger."""
    size = levels.shape[0]
    ring, _ = _rings(size)
    weaker = np.sqrt(np.minimum(gain, 1.0))[ring].astype(np.float32)
    waves = np.fft.rfft2(levels, axes=(0, 1)) * weaker[..., None]
    if gain.max() > 1.05:
        grey = np.abs(np.fft.rfft2(levels @ LUMA)) ** 2
        ring_power = np.bincount(ring.ravel(), grey.ravel()) / np.bincount(ring.ravel())
        added = np.sqrt(np.maximum(gain - 1.0, 0.0) * ring_power)[ring] / size
        noise = np.fft.rfft2(random.standard_normal((size, size), dtype=np.float32)) * added
        waves = waves + noise[..., None]
    return np.asarray(np.fft.irfft2(waves, s=(size, size), axes=(0, 1)), dtype=np.float32)
