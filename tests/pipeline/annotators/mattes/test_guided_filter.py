"""Guarantees of the guided filter: it equals the definition, keeps constants and edges, and refuses what cannot work."""

from __future__ import annotations

import numpy as np
import pytest
from spherehead.pipeline.annotators.mattes.guided_filter import GuidedFilter


def slow_guided_filter(guide: np.ndarray, source: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """He et al. 2013, eq. 14 to 16, window by window in float64, borders reflected with the edge pixel repeated."""
    height, width = source.shape
    pad = ((radius, radius), (radius, radius))
    wide_guide = np.pad(guide.astype(np.float64), (*pad, (0, 0)), mode="symmetric")
    wide_source = np.pad(source.astype(np.float64), pad, mode="symmetric")
    side = 2 * radius + 1
    slopes, offsets = np.zeros((height, width, 3)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            colours = wide_guide[y : y + side, x : x + side].reshape(-1, 3)
            values = wide_source[y : y + side, x : x + side].reshape(-1)
            covariance = np.cov(colours.T, bias=True) + epsilon * np.eye(3)
            cross = ((colours - colours.mean(axis=0)) * (values - values.mean())[:, None]).mean(axis=0)
            slopes[y, x] = np.linalg.solve(covariance, cross)
            offsets[y, x] = values.mean() - slopes[y, x] @ colours.mean(axis=0)
    wide_slopes = np.pad(slopes, (*pad, (0, 0)), mode="symmetric")
    wide_offsets = np.pad(offsets, pad, mode="symmetric")
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            mean = wide_slopes[y : y + side, x : x + side].reshape(-1, 3).mean(axis=0)
            out[y, x] = mean @ guide[y, x] + wide_offsets[y : y + side, x : x + side].mean()
    return out


@pytest.mark.parametrize(("radius", "epsilon"), [(1, 1e-2), (3, 1e-3)])
def test_equals_the_definition_window_by_window(radius: int, epsilon: float) -> None:
    rng = np.random.default_rng(3)
    guide = rng.random((19, 23, 3)).astype(np.float32)
    source = rng.random((19, 23)).astype(np.float32)
    assert np.allclose(
        GuidedFilter(guide, radius, epsilon)(source), slow_guided_filter(guide, source, radius, epsilon), atol=2e-4
    )


@pytest.mark.parametrize("subsample", [1, 2, 4])
def test_constants_and_sums_are_kept(subsample: int, astronaut: np.ndarray) -> None:
    guided = GuidedFilter(astronaut[:128, :128], 8, 1e-3, subsample)
    first = np.random.default_rng(0).random((128, 128)).astype(np.float32)
    assert np.allclose(guided(np.full((128, 128), 0.7, dtype=np.float32)), 0.7, atol=1e-4)
    assert np.allclose(guided(first) + guided(1.0 - first), 1.0, atol=1e-3)


def test_flat_guide_gives_the_mean_of_means() -> None:
    source = np.random.default_rng(1).random((32, 32)).astype(np.float32)
    wide = np.pad(source, 4, mode="symmetric").astype(np.float64)
    once = np.array([[wide[y : y + 9, x : x + 9].mean() for x in range(32)] for y in range(32)])
    wide = np.pad(once, 4, mode="symmetric")
    twice = np.array([[wide[y : y + 9, x : x + 9].mean() for x in range(32)] for y in range(32)])
    assert np.allclose(GuidedFilter(np.full((32, 32, 3), 99, dtype=np.uint8), 4, 1e-3)(source), twice, atol=1e-4)


def test_blurred_mask_snaps_to_the_pictures_edge() -> None:
    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    picture[:, 32:] = (200, 120, 60)
    ramp = np.clip((np.arange(64) - 24) / 16, 0, 1).astype(np.float32)
    filtered = GuidedFilter(picture, 12, 1e-4, 2)(np.broadcast_to(ramp, (64, 64)).copy())[32]
    assert filtered[32] - filtered[31] > 0.5
    assert abs(filtered[33] - filtered[40]) < 0.2


def test_maps_in_the_reduced_size_are_taken_as_they_are(astronaut: np.ndarray) -> None:
    guided = GuidedFilter(astronaut, 12, 1e-3, 4)
    assert guided.reduced_size == (128, 128)
    small = np.random.default_rng(2).random((128, 128)).astype(np.float32)
    assert guided(small).shape == (512, 512)


def test_bad_sizes_are_refused_with_what_came(astronaut: np.ndarray) -> None:
    with pytest.raises(ValueError, match="guide"):
        GuidedFilter(astronaut[:, :, 0], 4, 1e-3)
    with pytest.raises(ValueError, match="subsample 4 and radius 2"):
        GuidedFilter(astronaut, 2, 1e-3, 4)
    with pytest.raises(ValueError, match=r"\(7, 7\)"):
        GuidedFilter(astronaut, 4, 1e-3)(np.zeros((7, 7), dtype=np.float32))
