"""Directions become numbers by the textbook formulas, and stay finite with bounded gradients where those break down."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.model.volumes.angles import CORNER, SOFT, azimuth, colatitude, disc, length, square

directions = st.tuples(st.floats(0.01, math.pi - 0.01), st.floats(-math.pi, math.pi), st.floats(0.05, 3.0))


def double(*values: float) -> list[torch.Tensor]:
    return [torch.tensor([value], dtype=torch.float64) for value in values]


@given(directions)
@settings(max_examples=60, deadline=None)
def test_the_disc_is_lamberts_projection(where: tuple[float, float, float]) -> None:
    theta, phi, r = where  # theta from the centre of the disc
    right, down, towards = double(r * math.sin(theta) * math.cos(phi), r * math.sin(theta) * math.sin(phi), r * math.cos(theta))
    u, v = disc(right, down, towards)
    assert float(u) == pytest.approx(math.sin(theta / 2) * math.cos(phi), abs=1e-9)
    assert float(v) == pytest.approx(math.sin(theta / 2) * math.sin(phi), abs=1e-9)


@given(st.floats(0.01, 3.0), st.floats(-math.pi, math.pi))
@settings(max_examples=40, deadline=None)
def test_the_disc_keeps_area(theta: float, phi: float) -> None:
    angles = torch.tensor([theta, phi], dtype=torch.float64)

    def place(angles: torch.Tensor) -> torch.Tensor:
        theta, phi = angles
        return torch.stack(disc(theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()))

    jacobian = torch.autograd.functional.jacobian(place, angles)
    # the disc's pi over the sphere's 4 pi; nearer to the rim's axis than 0.14 the softened gradient shows
    assert float(jacobian.det().abs()) / math.sin(theta) == pytest.approx(0.25, rel=2e-3)


@given(st.floats(0, 1), st.floats(-math.pi, math.pi))
@settings(max_examples=60, deadline=None)
def test_the_square_is_the_inverse_of_the_elliptical_grid_map(radius: float, phi: float) -> None:
    u, v = double(radius * math.cos(phi), radius * math.sin(phi))
    x, y = square(u, v)
    assert max(abs(float(x)), abs(float(y))) <= 1 + 1e-9
    torch.testing.assert_close(x * (1 - y * y / 2).sqrt(), u, rtol=0, atol=2e-4)  # 1e-8 under the root costs 1e-4 at a corner
    torch.testing.assert_close(y * (1 - x * x / 2).sqrt(), v, rtol=0, atol=2e-4)


@given(directions)
@settings(max_examples=40, deadline=None)
def test_angles_and_their_gradients_are_those_of_atan2(where: tuple[float, float, float]) -> None:
    theta, phi, r = where
    x, y, z = double(r * math.sin(theta) * math.cos(phi), r * math.sin(theta) * math.sin(phi), r * math.cos(theta))
    for leaf in (x, y, z):
        leaf.requires_grad_()
    mine = torch.stack([azimuth(y, x), colatitude(length(x, y), z)])
    plain = torch.stack([torch.atan2(y, x), torch.atan2((x * x + y * y).sqrt(), z)])
    torch.testing.assert_close(mine, plain, rtol=0, atol=1e-9)
    distance = r * math.sin(theta)
    for one, other in zip(torch.autograd.grad(mine.sum(), (x, y, z)), torch.autograd.grad(plain.sum(), (x, y, z)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=3 * SOFT**2 / distance**3 + 1e-9)


SINGULAR = [(0.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, -1.0), (1e-9, 0.0, -1.0), (0.0, -1e-25, -0.5), (1e-30, 1e-30, 1e-30)]


@pytest.mark.parametrize("point", SINGULAR)
def test_singular_places_have_finite_values_and_bounded_gradients(point: tuple[float, float, float]) -> None:
    leaf = torch.tensor(point).requires_grad_()
    x, y, z = leaf[0:1], leaf[1:2], leaf[2:3]
    u, v = disc(x, y, z)
    assert float((u.square() + v.square()).detach().sqrt()) <= 1 + 1e-6
    for value in (azimuth(y, x), colatitude(length(x, y), z), length(x, y, z), u, v):
        assert torch.isfinite(value).all()
        (grad,) = torch.autograd.grad(value.sum(), leaf, retain_graph=True)
        assert float(grad.abs().max()) <= 2 / SOFT


def test_the_opposite_pole_lies_on_the_rim_not_at_the_centre() -> None:
    near = torch.tensor([1e-3, 1e-5, 1e-7, 1e-12])
    u, v = disc(near, torch.zeros(4), torch.full((4,), -1.0))
    torch.testing.assert_close(u.square() + v.square(), torch.ones(4))
    u, v = disc(torch.zeros(1), torch.zeros(1), torch.full((1,), -1.0))
    assert (float(u), float(v)) == (0.0, 1.0)


def test_the_square_has_bounded_gradients_at_its_corners() -> None:
    angle = torch.arange(4) * math.pi / 2 + math.pi / 4
    place = torch.stack([angle.cos(), angle.sin()]).requires_grad_()
    x, y = square(place[0] * (1 + 1e-7), place[1] * (1 + 1e-7))  # an ulp outside, where the published roots give NaN
    assert torch.isfinite(x).all() and torch.isfinite(y).all()
    (grad,) = torch.autograd.grad((x + y).sum(), place)
    assert float(grad.abs().max()) <= 4 / CORNER
