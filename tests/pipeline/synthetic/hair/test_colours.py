"""Colours of strands that stand for many hairs."""

from __future__ import annotations

import numpy as np
import pytest
from spherehead.datasets.images.colour_space import srgb_to_linear
from spherehead.pipeline.synthetic.hair.head_hair import BUNDLE, salted


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
