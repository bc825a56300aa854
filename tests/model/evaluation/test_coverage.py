"""Precision and recall by hand-made sets."""

from __future__ import annotations

import numpy as np
import pytest
from spherehead.model.evaluation.coverage import precision_recall, radii, spread_choice, squared_distances


def test_distances_and_radii_are_those_of_a_slow_twin() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(size=(7, 3)), random.normal(size=(5, 3))
    slow = np.array([[((a - b) ** 2).sum() for b in second] for a in first])
    np.testing.assert_allclose(squared_distances(first, second), slow, atol=1e-12)
    own = np.sort(np.array([[((a - b) ** 2).sum() for b in first] for a in first]), axis=1)
    np.testing.assert_allclose(radii(first, 2), own[:, 2], atol=1e-12)


def test_equal_sets_cover_each_other_and_far_ones_do_not() -> None:
    data = np.random.default_rng(1).normal(size=(60, 4))
    same, far = precision_recall(data, data), precision_recall(data + 100.0, data)
    assert (same.precision, same.recall) == (1.0, 1.0) and (far.precision, far.recall) == (0.0, 0.0)


def test_one_mode_of_two_has_precision_without_recall() -> None:
    random = np.random.default_rng(2)
    first, second = random.normal(size=(50, 3)), random.normal(size=(50, 3)) + 50.0
    found = precision_recall(np.concatenate([first, first[::-1] + 1e-3]), np.concatenate([first, second]))
    assert found.precision > 0.95 and found.recall == pytest.approx(0.5, abs=0.05)


def test_sets_are_cut_to_one_size_at_even_distances() -> None:
    rows = np.arange(10.0)[:, None]
    assert spread_choice(rows, 4)[:, 0].tolist() == [0.0, 3.0, 6.0, 9.0]
    with pytest.raises(ValueError, match="more than 3"):
        precision_recall(rows[:3], rows)
