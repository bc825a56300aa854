"""Known persons: the Gaussian of their table, and which row is whose."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.model.generator import Generator
from spherehead.model.nets.persons import GaussianStyles, PersonTable, principal_factor
from spherehead.model.presets import preset
from spherehead.model.train.first_styles import SPREAD, principal_components


def test_drawn_styles_have_the_tables_mean_and_covariance() -> None:
    random = torch.Generator().manual_seed(0)
    table = torch.randn(500, 6, generator=random) @ torch.randn(6, 6, generator=random) + 3.0
    styles = GaussianStyles(z_dim=6, w_dim=6)
    styles.fit(table)
    torch.testing.assert_close(styles.w_mean, table.mean(dim=0))
    torch.testing.assert_close(styles.w_factor @ styles.w_factor.T, torch.cov(table.T), rtol=1e-4, atol=1e-4)
    drawn = styles(torch.randn(200_000, 6, generator=random))
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(table.T), rtol=0.05, atol=0.05)
    torch.testing.assert_close(styles(torch.zeros(1, 6))[0], styles.w_mean)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(1, 8), st.integers(0, 2**31))
def test_fewer_latents_keep_the_largest_axes(dim: int, count: int, seed: int) -> None:
    root = torch.randn(dim, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    covariance = root @ root.T
    factor = principal_factor(covariance, count)
    assert factor.shape == (dim, count)
    lost = torch.linalg.eigvalsh(covariance).flip(0)[count:].sum()
    assert float((covariance - factor @ factor.T).trace()) == pytest.approx(float(lost), rel=1e-6, abs=1e-6)


def test_grounds_are_drawn_with_the_moments_of_the_pictures_grounds() -> None:
    random = torch.Generator().manual_seed(2)
    persons, styles = PersonTable(torch.tensor([1, 2]), 64), GaussianStyles(z_dim=30, w_dim=64, ground_dim=16)
    colours = torch.randn(400, 3, generator=random).repeat_interleave(16, dim=1) * 0.3 + 0.1
    for some in colours.split(8):
        persons.track(persons.moments_of(some), decay=1.0)
    persons.fit(styles)
    seen = persons.to_ground(colours).detach()
    torch.testing.assert_close(styles.ground_mean, seen.mean(dim=0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(styles.ground_factor @ styles.ground_factor.T, torch.cov(seen.T), rtol=2e-2, atol=2e-3)


def test_persons_are_found_by_number_and_strangers_are_not() -> None:
    persons = PersonTable(torch.tensor([50, 2**62, 7, 50]), 4)
    assert persons.subjects.tolist() == [7, 50, 2**62]
    assert persons.rows(torch.tensor([50, 7, 8, -1, 2**62, 2**62 + 1])).tolist() == [1, 0, -1, -1, 2, -1]


def test_a_generator_draws_heads_from_the_gaussian_and_truncates_to_its_mean() -> None:
    plain = preset("tiny-64").generator
    background = plain.background
    assert background is not None
    wanted = dataclasses.replace(plain, styles="gaussian", background=dataclasses.replace(background, own_style=True))
    generator = Generator(wanted)
    assert isinstance(generator.mapping, GaussianStyles) and generator.num_ws == Generator(plain).num_ws + 1
    generator.mapping.fit(torch.randn(300, 128))
    z = torch.randn(2, 128)
    whole, half, mean = (generator.styles(z, None, psi=psi) for psi in (1.0, 0.5, 0.0))
    torch.testing.assert_close(half[:, :-1], (whole[:, :-1] + mean[:, :-1]) / 2)
    torch.testing.assert_close(mean[0, 0], generator.mapping.w_mean)
    assert torch.equal(whole[:, -1], half[:, -1])  # the ground is not truncated


def test_a_ground_of_its_own_needs_the_gaussian() -> None:
    plain = preset("tiny-64").generator
    assert plain.background is not None
    with pytest.raises(ValueError, match="styles=gaussian"):
        dataclasses.replace(plain, background=dataclasses.replace(plain.background, own_style=True))


def test_first_vectors_are_flattened_principal_components_of_one_size() -> None:
    features = torch.randn(40, 100, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = principal_components(features, 8)
    assert found.shape == (40, 8) and float(found.square().mean()) == pytest.approx(SPREAD**2)
    gram = found.T @ found
    torch.testing.assert_close(gram, torch.diag(gram.diagonal()), rtol=0, atol=1e-9)
    singular = torch.linalg.svdvals(features - features.mean(dim=0))[:8]
    ratio = gram.diagonal() / singular
    torch.testing.assert_close(ratio, ratio[:1].expand(8))
    assert principal_components(features[:3], 8)[:, 3:].abs().max() == 0
