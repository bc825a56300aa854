"""Guarantees of the numbers that tell how sharp, noisy and smooth a region is: power means variance, whatever the place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from spherehead.datasets import spectra

EVERYWHERE = np.ones((160, 160), dtype=bool)
BANDS = 7


def noise(deviation: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(128.0, deviation, (160, 160)).astype(np.float32)


@pytest.mark.parametrize("deviation", [1.0, 4.0, 10.0])
def test_power_of_white_noise_is_its_variance_in_every_band(deviation: float) -> None:
    found = spectra.numbers(noise(deviation), EVERYWHERE)[: 6 * BANDS].reshape(6, BANDS)
    middle = found[2:4].mean(axis=0)  # the parts between the strongest and the calmest windows
    # the mean of the logarithm of a mean of n exponential draws lies below its logarithm, the less the more there are
    assert np.all(np.abs(middle - 2.0 * np.log(deviation)) < 0.35)


def test_a_gaussian_takes_from_each_band_what_its_transfer_function_says() -> None:
    sigma = 1.2
    sharp, soft = noise(20.0), cv2.GaussianBlur(noise(20.0), (0, 0), sigma)
    before, after = (spectra.numbers(p, EVERYWHERE)[2 * BANDS : 3 * BANDS] for p in (sharp, soft))
    centres = np.array([0.075, 0.13, 0.19, 0.25])
    expected = -((2.0 * np.pi * sigma * centres) ** 2)
    assert (after - before)[:4] == pytest.approx(expected, abs=0.45)


def test_nothing_outside_of_the_region_counts() -> None:
    inside = np.zeros((160, 160), dtype=bool)
    inside[32:128, 32:128] = True
    plain, other = noise(3.0), noise(3.0)
    other[~cv2.dilate(inside.astype(np.uint8), np.ones((9, 9))).astype(bool)] = 255.0
    first, second = spectra.numbers(plain, inside), spectra.numbers(other, inside)
    assert first.shape == (spectra.COUNT,)
    assert np.abs(first - second).max() < 3.0 and np.median(np.abs(first - second)) < 1e-5


@pytest.mark.parametrize("side", [3, 16, 20, 700])
def test_every_size_of_region_and_picture_gives_finite_numbers(side: int) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (side, side), dtype=np.uint8)
    for region in (np.ones((side, side), dtype=bool), np.zeros((side, side), dtype=bool)):
        found = spectra.numbers(picture, region)
        assert found.shape == (spectra.COUNT,) and np.isfinite(found).all()


@pytest.mark.parametrize(("rows", "columns"), [(1, 9), (9, 1)])
def test_a_motion_takes_detail_from_its_own_direction_and_leaves_the_other(rows: int, columns: int) -> None:
    plain, moved = (
        spectra.numbers(picture, EVERYWHERE)[-80:].reshape(4, 4, 5)[:, 1:]
        for picture in (noise(20.0), cv2.blur(noise(20.0), (columns, rows)))
    )
    assert np.all(np.ptp(plain, axis=2) < 0.7) and np.all(moved[..., 4] - moved[..., 0] > 2.0)


def test_a_picture_turned_by_a_right_angle_has_the_same_numbers() -> None:
    hair = cv2.GaussianBlur(noise(60.0), (0, 0), sigmaX=0.4, sigmaY=3.0)
    first, turned = (spectra.numbers(picture, EVERYWHERE) for picture in (hair, np.ascontiguousarray(np.rot90(hair))))
    assert first == pytest.approx(turned, abs=0.02)
