"""Distances between sets of features: closed forms, scipy's matrix root, a plain twin, and no bias where none is expected."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from spherehead.model.evaluation.frechet import Moments, frechet, frechet_infinity, kernel_distance


def drawn(count: int, seed: int, mean: float = 0.0, scale: float = 1.0, size: int = 4) -> np.ndarray:
    return mean + scale * np.random.default_rng(seed).standard_normal((count, size))


def with_moments(mean: np.ndarray, covariance: np.ndarray, count: int = 1000) -> Moments:
    return Moments(count, mean, covariance * (count - 1))


def test_moments_are_numpys() -> None:
    features = drawn(57, 0, 3.0, 2.0)
    moments = Moments.of(features)
    assert moments.count == 57 and np.allclose(moments.mean, features.mean(axis=0))
    assert np.allclose(moments.covariance, np.cov(features.T))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.floats(-1e6, 1e6))
def test_moments_gathered_in_pieces_are_those_of_the_whole(counts: list[int], offset: float) -> None:
    features = drawn(sum(counts), 1) + offset
    pieces = np.split(features, np.cumsum(counts)[:-1])
    total = Moments.of(pieces[0])
    for piece in pieces[1:]:
        total = total + Moments.of(piece)
    whole = Moments.of(features)
    assert total.count == whole.count and np.allclose(total.mean, whole.mean)
    assert np.allclose(total.scatter, whole.scatter, atol=1e-9 * (1 + offset**2))


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0, 9), st.floats(0, 9))
def test_in_one_dimension_it_is_the_textbooks_formula(m: float, n: float, s: float, t: float) -> None:
    first, second = (with_moments(np.array([mean]), np.array([[deviation**2]])) for mean, deviation in ((m, s), (n, t)))
    assert frechet(first, second) == pytest.approx((m - n) ** 2 + (s - t) ** 2, abs=1e-9)


@pytest.mark.parametrize("rank", [6, 2])
def test_it_agrees_with_scipys_matrix_root(rank: int) -> None:
    random = np.random.default_rng(3)
    a, b = (random.standard_normal((6, rank)) for _ in range(2))
    a, b = a @ a.T, b @ b.T
    mean = random.standard_normal(6)
    ridge = 1e-9 * np.eye(6)  # scipy's root of a product without full rank is inaccurate
    wanted = mean @ mean + np.trace(a + b - 2 * np.real(sqrtm((a + ridge) @ (b + ridge))))
    assert frechet(with_moments(mean, a), with_moments(np.zeros(6), b)) == pytest.approx(wanted, abs=1e-3)


def test_it_is_symmetric_zero_for_equal_and_grows_with_the_shift() -> None:
    first, second = Moments.of(drawn(200, 0)), Moments.of(drawn(200, 1, 0.5, 2.0))
    assert frechet(first, second) == pytest.approx(frechet(second, first)) and frechet(first, first) == pytest.approx(
        0, abs=1e-9
    )
    shifted = [frechet(first, Moments.of(drawn(200, 0) + shift)) for shift in (0.1, 1.0, 3.0)]
    assert shifted == pytest.approx([4 * 0.01, 4 * 1.0, 4 * 9.0])


def test_the_endless_distance_is_nearer_to_the_truth_than_the_measured() -> None:
    errors = []
    for seed in range(6):
        first, second = drawn(400, 2 * seed, size=32), drawn(400, 2 * seed + 1, 0.2, 1.3, size=32)
        truth = 32 * (0.2**2 + 0.3**2)
        found = frechet_infinity(first, second, seed)
        errors.append((found.measured - truth, found.infinity - truth))
    measured, endless = np.mean(errors, axis=0)
    assert measured > 0.5 and abs(endless) < 0.35 * measured


def test_the_endless_distance_is_the_same_twice_and_needs_enough() -> None:
    first, second = drawn(40, 0), drawn(60, 1)
    assert frechet_infinity(first, second) == frechet_infinity(first, second)
    with pytest.raises(ValueError, match="8 features"):
        frechet_infinity(first[:7], second)


def test_the_kernel_distance_is_that_of_plain_loops() -> None:
    first, second = drawn(7, 0), drawn(5, 1, 1.0)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 4 + 1) ** 3)

    own = [sum(kernel(x, y) for i, x in enumerate(part) for j, y in enumerate(part) if i != j) / (len(part) * (len(part) - 1))
           for part in (first, second)]  # fmt: skip
    across = sum(kernel(x, y) for x in first for y in second) / 35
    for block in (2, 1024):
        assert kernel_distance(first, second, block) == pytest.approx(sum(own) - 2 * across)


def test_the_kernel_distance_has_no_bias() -> None:
    same = [kernel_distance(drawn(20, 2 * seed), drawn(30, 2 * seed + 1)) for seed in range(300)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(300) and min(same) < 0
    assert kernel_distance(drawn(50, 0), drawn(50, 1, 1.0)) > 5 * np.std(same)


def test_what_is_no_set_of_features_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(N, D\)"):
        Moments.of(np.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        Moments.of(np.array([[np.nan, 0.0]]))
    with pytest.raises(ValueError, match="two features"):
        _ = Moments.of(np.zeros((1, 2))).covariance
    with pytest.raises(ValueError, match="one size"):
        frechet(Moments.of(drawn(9, 0)), Moments.of(drawn(9, 0, size=3)))
    with pytest.raises(ValueError, match="two features"):
        kernel_distance(drawn(1, 0), drawn(3, 0))
