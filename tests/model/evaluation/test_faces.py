"""Face rates: the calibrated score and the counts."""

from __future__ import annotations

import numpy as np
import pytest
from spherehead.model.evaluation.faces import calibrated, count, prepared


def test_the_calibrated_score_is_reached_by_its_share_of_fronts() -> None:
    scores = [value / 100 for value in range(100)]
    threshold = calibrated(scores, 0.84)
    assert count(scores, threshold).rate == pytest.approx(0.84) and threshold == 0.16
    assert calibrated([0.7], 0.84) == 0.7
    with pytest.raises(ValueError, match="got none"):
        calibrated([])


def test_no_face_is_none_whatever_the_threshold() -> None:
    assert (count([0.0, 0.0, 0.5], 0.0).faces, count([], 0.5).total) == (1, 0)
    assert np.isnan(count([], 0.5).rate)


def test_pictures_of_any_size_reach_the_detector_alike() -> None:
    small = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    large = small.repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(prepared(small, 64), prepared(large, 64)) and prepared(small, 64).shape == (384, 384, 3)
