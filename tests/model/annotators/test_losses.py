"""Losses of annotator networks against formulas: rotations by their axis and angle, likelihoods by their integral."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from spherehead.model.annotators.losses import class_loss, focal_loss, geodesic, laplace_nll
from spherehead.model.annotators.networks import rotation_of


@settings(max_examples=60, deadline=None)
@given(angle=st.floats(0.001, 3.13), seed=st.integers(0, 1000))
def test_geodesic_is_the_angle_about_the_axis(angle: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    axis = random.normal(size=3)
    first = Rotation.random(random_state=seed)
    second = first * Rotation.from_rotvec(angle * axis / np.linalg.norm(axis))
    found = geodesic(torch.tensor(first.as_matrix())[None], torch.tensor(second.as_matrix())[None])
    assert abs(float(found) - angle) < 1e-4


@pytest.mark.parametrize("angle", [0.0, math.pi])
def test_geodesic_has_a_finite_gradient_where_the_arc_cosine_has_none(angle: float) -> None:
    turn = torch.tensor(Rotation.from_rotvec([0.0, angle, 0.0]).as_matrix())[None].requires_grad_()
    geodesic(torch.eye(3, dtype=torch.float64)[None], turn).sum().backward()
    assert turn.grad is not None and torch.isfinite(turn.grad).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_six_numbers_make_a_rotation_whose_first_row_they_point_along(seed: int) -> None:
    six = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rotation = rotation_of(six)
    assert torch.allclose(rotation @ rotation.transpose(1, 2), torch.eye(3, dtype=torch.float64).expand(4, 3, 3), atol=1e-9)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(4, dtype=torch.float64), atol=1e-9)
    along = six[:, :3] / six[:, :3].norm(dim=1, keepdim=True)
    assert torch.allclose(rotation[:, 0], along, atol=1e-9)


@pytest.mark.parametrize(("dimensions", "surface"), [(2, 2 * math.pi), (3, 4 * math.pi)])
@pytest.mark.parametrize("scale", [0.1, 0.7])
def test_laplace_likelihood_integrates_to_the_same_constant_at_every_scale(
    dimensions: int, surface: float, scale: float
) -> None:
    lengths = torch.linspace(0.0, 40.0 * scale, 200_001, dtype=torch.float64)
    density = torch.exp(-laplace_nll(lengths, torch.full_like(lengths, math.log(scale)), dimensions))
    integral = torch.trapezoid(density * surface * lengths ** (dimensions - 1), lengths)
    assert float(integral) == pytest.approx(surface * math.factorial(dimensions - 1), rel=1e-6)


def test_laplace_likelihood_is_best_where_the_scale_is_the_mean_length_over_the_dimensions() -> None:
    lengths = torch.rand(5000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scales = torch.linspace(0.05, 0.5, 451, dtype=torch.float64)
    total = torch.stack([laplace_nll(lengths, torch.log(scale), 3).mean() for scale in scales])
    assert float(scales[total.argmin()]) == pytest.approx(float(lengths.mean()) / 3.0, abs=0.001)


def test_class_loss_vanishes_for_a_sure_right_answer_and_not_for_a_wrong_one() -> None:
    classes = torch.randint(0, 19, (2, 8, 8), generator=torch.Generator().manual_seed(1))
    right = 50.0 * torch.nn.functional.one_hot(classes, 19).permute(0, 3, 1, 2).float()
    assert float(class_loss(right, classes, torch.ones(19))) < 0.01
    assert float(class_loss(right.roll(1, dims=1), classes, torch.ones(19))) > 10.0


def test_focal_loss_of_one_centre_is_its_formula() -> None:
    heat = torch.zeros(1, 2, 2)
    heat[0, 0, 0], heat[0, 0, 1] = 1.0, 0.5
    chance = torch.tensor([[[0.7, 0.2], [0.1, 0.3]]])
    logits = torch.log(chance / (1 - chance))
    expected = -(0.3**2 * math.log(0.7))
    for value, near in ((0.2, 0.5), (0.1, 0.0), (0.3, 0.0)):
        expected -= (1 - near) ** 4 * value**2 * math.log(1 - value)
    assert float(focal_loss(logits, heat)) == pytest.approx(expected, rel=1e-5)
