"""Guarantees of the colour models: densities that sum to one, classes told apart by colour, priors that decide ties."""

from __future__ import annotations

import numpy as np
import pytest
from spherehead.pipeline.annotators.parsers.colour_models import (
    ColourModel,
    PixelFeatures,
    classify,
    colour_density,
    likelihoods,
    local_deviation,
    separation,
    texture_density,
)


def two_colours() -> tuple[PixelFeatures, np.ndarray]:
    """A (32, 32) picture, left half skin-like, right half blue, with noise; and the boolean of the left half."""
    picture = np.empty((32, 32, 3), dtype=np.float64)
    picture[:, :16], picture[:, 16:] = (200, 150, 120), (40, 60, 150)
    picture += np.random.default_rng(0).normal(0, 6, picture.shape)
    left = np.zeros((32, 32), dtype=bool)
    left[:, :16] = True
    return PixelFeatures(np.clip(picture, 0, 255).astype(np.uint8), np.full((32, 32), 6.0, dtype=np.float32)), left


def test_densities_have_mean_one_over_the_bins() -> None:
    features, left = two_colours()
    assert np.isclose(colour_density(features, left.astype(np.float32), ColourModel()).mean(), 1.0, atol=0.02)
    assert np.isclose(texture_density(features, left.astype(np.float32), ColourModel()).mean(), 1.0, atol=0.02)


def test_no_weight_gives_the_even_density() -> None:
    features, _ = two_colours()
    assert (colour_density(features, np.zeros((32, 32), dtype=np.float32), ColourModel()) == 1.0).all()


def test_few_seeds_suffice_to_share_out_two_colours() -> None:
    features, left = two_colours()
    seeds = np.zeros((2, 32, 32), dtype=np.float32)
    seeds[0, 10:14, 4:8], seeds[1, 10:14, 24:28] = 1.0, 1.0
    prior, region = np.full((2, 32, 32), 0.5, dtype=np.float32), np.ones((32, 32), dtype=np.float32)
    posterior = classify(features, prior, seeds, region, ColourModel())
    assert np.allclose(posterior.sum(axis=0), 1.0, atol=1e-5)
    assert ((posterior[0] > 0.5) == left).mean() > 0.99


def test_alike_colours_leave_the_prior_in_charge() -> None:
    features = PixelFeatures(np.full((8, 8, 3), 120, dtype=np.uint8), np.zeros((8, 8), dtype=np.float32))
    seeds = np.ones((2, 8, 8), dtype=np.float32)
    prior = np.stack([np.full((8, 8), 0.8), np.full((8, 8), 0.2)]).astype(np.float32)
    posterior = classify(features, prior, seeds, np.ones((8, 8), dtype=np.float32), ColourModel(rounds=1))
    assert np.allclose(posterior[0], 0.8, atol=1e-4)


def test_likelihood_is_higher_for_the_own_colour() -> None:
    features, left = two_colours()
    first, second = likelihoods(features, np.stack([left, ~left]).astype(np.float32), ColourModel())
    assert (first > second)[left].mean() > 0.99 and (first < second)[~left].mean() > 0.99


def test_separation_is_nothing_for_equal_and_all_for_distant_colours() -> None:
    features, left = two_colours()
    weights = left.astype(np.float32)
    assert separation(features, weights, weights, ColourModel(floor=0.0)) < 1e-6
    assert separation(features, weights, 1.0 - weights, ColourModel(floor=0.0)) > 0.99


def test_local_deviation_equals_the_windows_deviation() -> None:
    plane = np.random.default_rng(1).integers(0, 256, (12, 13)).astype(np.uint8)
    wide = np.pad(plane, 2, mode="symmetric").astype(np.float64)
    slow = np.array([[wide[y : y + 5, x : x + 5].std() for x in range(13)] for y in range(12)])
    assert np.allclose(local_deviation(plane, 2), slow, atol=0.05)


@pytest.mark.parametrize(("setting", "value"), [("lightness_blur", 0.0), ("chroma_blur", 0.0), ("floor", 0.3), ("rounds", 0)])
def test_settings_that_cannot_work_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{setting}.*expected .*, got"):
        ColourModel(**{setting: value})  # type: ignore[arg-type]
