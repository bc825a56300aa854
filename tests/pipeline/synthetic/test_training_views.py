"""Views that annotators are trained on: where their cameras are."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from spherehead.manifests.config import ConfigError
from spherehead.pipeline.synthetic.training_views import SIDES, TrainingViews, cameras_of

PLAIN = TrainingViews(views=12, seed=3)


def test_cameras_of_a_person_are_spread_evenly_around() -> None:
    yaws = np.sort([camera.yaw for camera in cameras_of(PLAIN, "person")])
    gaps = np.diff(np.append(yaws, yaws[0] + 2.0 * math.pi))
    assert gaps.min() > 0.3 * 2.0 * math.pi / 12 and gaps.max() < 1.7 * 2.0 * math.pi / 12 + 1e-9


def test_a_share_of_the_views_is_turned_to_a_side_and_the_others_stay() -> None:
    turned = dataclasses.replace(PLAIN, sides=0.4)
    moved = 0
    for number in range(40):
        for plain, other in zip(cameras_of(PLAIN, str(number)), cameras_of(turned, str(number)), strict=True):
            assert abs(plain.pitch - other.pitch) < 1e-9
            if abs(plain.yaw - other.yaw) > 1e-9:
                moved += 1
                assert SIDES[0] - 1e-9 <= abs(other.yaw) <= SIDES[1] + 1e-9
    assert abs(moved / 480 - 0.4) < 0.07  # three standard deviations of 480 draws


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="share of sides"):
        TrainingViews(sides=1.5)
