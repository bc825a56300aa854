"""Colours of strands that stand for many hairs."""

from __future__ import annotations

import numpy as np
import pytest
from spherehead.datasets.images.colour_space import srgb_to_linear
from spherehead.pipeline.synthetic.hair.head_hair import BUNDLE, WET_DARK, colours, salted
from spherehead.pipeline.synthetic.hair.look import HairLook
from spherehead.pipeline.synthetic.hair.styles import WET, draw_hair, wetted


@pytest.mark.parametrize("grey", [0.02, 0.4])
def test_grey_hairs_lie_in_bundles_with_others(grey: float) -> None:
    """A strand's share of grey is binomial: its mean is the share of grey hairs, and few of them make no strand white."""
    pair = np.tile(srgb_to_linear(np.array([[0.06, 0.05, 0.05], [0.08, 0.07, 0.06]])), (20000, 1, 1))
    white = srgb_to_linear(np.array((0.68, 0.67, 0.66)))
    mixed = salted(pair, grey, (0.68, 0.67, 0.66), np.random.default_rng(1))
    share = (mixed[:, 0, 0] - pair[:, 0, 0]) / (white[0] - pair[:, 0, 0])
    assert share.mean() == pytest.approx(grey, rel=0.05)
    assert share.std() == pytest.approx(np.sqrt(grey * (1.0 - grey) / BUNDLE), rel=0.05)
    assert np.allclose(share, (mixed[:, 1, 2] - pair[:, 1, 2]) / (white[2] - pair[:, 1, 2]))
    assert share.max() < (0.35 if grey < 0.1 else 0.9)


def test_wet_hair_is_darker_and_calmer_and_the_dry_stay_as_they_are() -> None:
    look = HairLook(colour=(0.5, 0.4, 0.3), tip=(0.5, 0.4, 0.3), frizz=0.1)
    assert wetted(look, 0.0) is look
    wet = wetted(look, 1.0)
    assert wet.wet == 1.0 and wet.frizz < 0.5 * look.frizz and wet.volume < look.volume and wet.clumps > 0
    dry, dark = (colours(each, 500, np.random.default_rng(1)) for each in (look, wet))
    assert dark == pytest.approx((1.0 - WET_DARK) * dry, rel=1e-5)


def test_a_few_people_have_wet_hair() -> None:
    random = np.random.default_rng(0)
    looks = [draw_hair(0.5, 0.4, 0.3, (0.2, 0.1, 0.1), 0.1, random) for _ in range(3000)]
    share = np.mean([look.wet > 0.0 for look in looks])
    assert abs(share - WET) < 4.0 * np.sqrt(WET / 3000)
    assert all(look.wet == 0.0 or 0.4 <= look.wet <= 1.0 for look in looks)
