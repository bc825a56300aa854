"""View bins have equal area, mirror onto each other, and the weights even them out as far as the cap allows."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera
from spherehead.pipeline.curation.balance import (
    BalanceSettings,
    balance_views,
    bin_edges,
    lacking_views,
    mirror_bins,
    view_bins,
)

angles = st.tuples(st.floats(-math.pi, math.pi), st.floats(-math.pi / 2, math.pi / 2))


def some_directions(seed, count=2000):
    rng = np.random.default_rng(seed)
    return rng.vonmises(0.2, 3.0, count), np.clip(rng.normal(0.1, 0.3, count), -1.5, 1.5)


def test_bins_have_equal_area():
    direction = np.random.default_rng(0).normal(size=(400_000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    grid = BalanceSettings(num_azimuths=12, num_elevations=5)
    bins = view_bins(np.arctan2(direction[:, 0], direction[:, 2]), np.arcsin(direction[:, 1]), grid)
    share = np.bincount(bins, minlength=60) / len(bins)
    assert np.abs(share * 60 - 1).max() < 5 * math.sqrt(60 / len(bins))


def test_edges_are_where_the_bins_change():
    grid = BalanceSettings(num_azimuths=8, num_elevations=4)
    yaw_edges, pitch_edges = bin_edges(grid)
    for i, (low, high) in enumerate(itertools.pairwise(yaw_edges)):
        assert view_bins(np.array([low + 1e-9, high - 1e-9]), np.zeros(2), grid).tolist() == [16 + i, 16 + i]
    for i, (low, high) in enumerate(itertools.pairwise(pitch_edges)):
        assert view_bins(np.full(2, 0.1), np.array([low + 1e-9, high - 1e-9]), grid).tolist() == [8 * i + 4] * 2


@settings(max_examples=200, deadline=None)
@given(angles, st.integers(1, 20), st.integers(1, 9))
def test_every_direction_has_a_bin_and_whole_turns_change_nothing(direction, half, elevations):
    grid = BalanceSettings(num_azimuths=2 * half, num_elevations=elevations)
    found = view_bins(*np.array(direction)[:, None], grid)
    assert 0 <= found[0] < grid.num_bins
    edge = np.array(direction[0]) / (2 * math.pi) * grid.num_azimuths
    if abs(edge - round(edge)) > 1e-6:
        assert view_bins(np.array([direction[0] + 4 * math.pi]), np.array([direction[1]]), grid) == found


def test_a_mirrored_camera_falls_into_the_mirrored_bin():
    grid = BalanceSettings()
    for yaw, pitch in zip(*some_directions(1, 50), strict=True):
        camera = Camera.look_at(yaw, pitch)
        bins = view_bins(np.array([camera.yaw, camera.mirrored().yaw]), np.array([camera.pitch, camera.mirrored().pitch]), grid)
        assert mirror_bins(grid)[bins[0]] == bins[1]


@pytest.mark.parametrize("mirror", [False, True])
def test_weights_even_out_the_bins_and_keep_the_sum(mirror):
    yaw, pitch = some_directions(2)
    found = balance_views(yaw, pitch, BalanceSettings(cap=1e9, mirror=mirror))
    assert found.weights.mean() == pytest.approx(1.0, abs=1e-12)
    assert found.effective.sum() == pytest.approx(len(yaw))
    assert found.counts.sum() == pytest.approx(len(yaw))
    assert found.imbalance > 20
    assert found.effective_imbalance == pytest.approx(1.0, abs=1e-9)


def test_weights_follow_the_formula_with_its_cap():
    grid = BalanceSettings(num_azimuths=4, num_elevations=1, cap=2.0, mirror=False)
    yaw = np.array([-3.0] * 10 + [-1.0] * 2 + [1.0] * 60)  # bins 0, 1, 2; target 72 / 3 = 24
    found = balance_views(yaw, np.zeros(72), grid)
    plain = np.array([2.0] * 10 + [2.0] * 2 + [24 / 60] * 60)  # 24 / 10 and 24 / 2 are above the cap
    np.testing.assert_allclose(found.weights, plain / plain.mean(), rtol=1e-12)
    np.testing.assert_allclose(found.effective[:3], np.array([20.0, 4.0, 24.0]) / plain.mean(), rtol=1e-12)
    assert found.imbalance == 30.0 and found.effective_imbalance == pytest.approx(6.0)


def test_mirroring_lends_a_bin_the_pictures_of_its_mirror_image():
    grid = BalanceSettings(num_azimuths=4, num_elevations=1, mirror=True)
    found = balance_views(np.array([0.5] * 6 + [-0.5] * 2), np.zeros(8), grid)
    assert found.counts.tolist() == [0.0, 4.0, 4.0, 0.0]
    np.testing.assert_allclose(found.weights, 1.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter(seed):
    yaw, pitch = some_directions(seed, 300)
    order = np.random.default_rng(seed).permutation(300)
    plain, shuffled = balance_views(yaw, pitch), balance_views(yaw[order], pitch[order])
    np.testing.assert_array_equal(shuffled.weights, plain.weights[order])
    np.testing.assert_array_equal(shuffled.effective, plain.effective)


def test_an_empty_set_has_no_weights_and_bad_settings_are_refused():
    empty = balance_views(np.zeros(0), np.zeros(0))
    assert empty.weights.size == 0 and empty.imbalance == 1.0 and empty.effective.sum() == 0
    for bad in ({"num_azimuths": 7}, {"num_elevations": 0}, {"cap": 0.5}):
        with pytest.raises(ValueError, match="expected"):
            BalanceSettings(**bad)
    with pytest.raises(ValueError, match="finite"):
        balance_views(np.array([math.nan]), np.zeros(1))


@given(
    st.lists(st.integers(0, 30), min_size=24, max_size=24), st.integers(0, 200), st.floats(0.0, 40.0), st.booleans(),
    st.permutations(range(24)), st.integers(1, 24),
)  # fmt: skip
def test_lacking_views_fill_the_emptiest_bins_like_water(
    counts: list[int], most: int, level: float, mirror: bool, order: list[int], num_fillable: int
) -> None:
    grid = BalanceSettings(num_azimuths=6, num_elevations=4, mirror=mirror)
    held = np.array(counts)
    fillable = np.array(order[:num_fillable])
    shown = 0.5 * (held + held[mirror_bins(grid)]) if mirror else held.astype(float)
    added = lacking_views(held, grid, fillable, most, level)
    assert added.sum() <= most
    assert (np.delete(added, fillable) == 0).all()
    assert (added >= 0).all()
    wanted = math.ceil(level or (shown[shown > 0].mean() if shown.any() else 0.0))
    after = (shown + added)[fillable]
    grown = after[added[fillable] > 0]
    if grown.size:
        assert grown.max() < wanted + 1  # nothing is filled beyond the level
        assert after.min() > grown.max() - 2  # nor while another bin is emptier by two
    if added.sum() < most:
        assert (after >= wanted).all() or wanted == 0  # nothing is left over while a bin lacks
    if most:
        assert (added >= lacking_views(held, grid, fillable, most - 1, level)).all()  # one more moves no other


def test_a_grid_that_no_memory_holds_is_refused():
    with pytest.raises(ValueError, match="at most 1,000,000 view bins, got num_azimuths 100000000"):
        BalanceSettings(num_azimuths=10**8)
