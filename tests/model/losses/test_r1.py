"""R1 is the squared slope of the discriminator at the data, and its own slope is that of finite differences."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from spherehead.model.losses.adversarial import DiscriminatorAdversarial
from spherehead.model.losses.r1 import PARTS, R1
from spherehead.model.losses.step import Step
from spherehead.model.presets import ModelSettings


@pytest.fixture
def step(make_step: Callable[..., Step], monkeypatch: pytest.MonkeyPatch) -> Step:
    """A step in double precision all the way, for finite differences."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    return make_step("discriminator", double=True, wants_real_gradient=True)


@pytest.mark.parametrize("name", PARTS)
def test_the_penalty_is_the_squared_slope_by_finite_differences(step: Step, name: str) -> None:
    """Along its own direction g, a function with slope g rises by |g|^2."""
    penalty = float(R1(**{part: 3.0 if part == name else 0.0 for part in PARTS})(step).detach())
    part = getattr(step.real_seen, name)
    (slope,) = torch.autograd.grad(step.real_score.sum(), part)
    ends = []
    for h in (1e-5, -1e-5):
        moved = dataclasses.replace(step.real_seen, **{name: part + h * slope})
        ends.append(float(step.discriminator(moved, step.real.camera).sum().detach()))
    assert penalty == pytest.approx(3.0 / 2 * (ends[0] - ends[1]) / 2e-5 / step.batch, rel=1e-5)
    assert penalty > 1e-9


def test_the_penaltys_own_slope_is_that_of_finite_differences(step: Step, make_step: Callable[..., Step]) -> None:
    term = R1(image=1.0, raw=0.5, mask=2.0, parsing=0.25)
    parameters = list(step.discriminator.parameters())
    slopes = torch.autograd.grad(term(step), parameters, allow_unused=True)
    random = torch.Generator().manual_seed(5)
    moves = [torch.randn(p.shape, generator=random, dtype=p.dtype) for p in parameters]
    wanted = sum(float((slope * move).sum()) for slope, move in zip(slopes, moves, strict=True) if slope is not None)
    ends = []
    for sign in (1, -1):
        other = make_step("discriminator", double=True, wants_real_gradient=True)
        with torch.no_grad():
            for parameter, move in zip(other.discriminator.parameters(), moves, strict=True):
                parameter += sign * 1e-6 * move
        ends.append(float(term(other)))
    assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(wanted, rel=1e-4)
    assert abs(wanted) > 1e-6


def test_parts_add_up_with_their_gammas(make_step: Callable[..., Step]) -> None:
    step = make_step("discriminator", wants_real_gradient=True)
    none = dict.fromkeys(PARTS, 0.0)
    alone = {part: float(R1(**{**none, part: 1.0})(step)) for part in PARTS}
    gammas = {"image": 1.0, "raw": 2.0, "mask": 3.0, "parsing": 4.0}
    wanted = sum(gammas[part] * alone[part] for part in PARTS)
    assert float(R1(**gammas)(step)) == pytest.approx(wanted, rel=1e-5)
    assert min(alone.values()) > 0 and float(R1(**none)(step)) == 0.0


def test_the_heuristic_follows_the_pictures_side_and_the_updates_batch(make_step: Callable[..., Step]) -> None:
    """Karras et al. 2020: 0.0002 R^2 / B of a gamma of one; six pictures of 16 pixels, then as a part of 24."""
    values = [
        float(R1(rule=rule)(make_step("discriminator", wants_real_gradient=True, total=total)))
        for rule, total in (("fixed", None), ("heuristic", None), ("heuristic", 24))
    ]
    assert values[1] == pytest.approx(values[0] * 0.0002 * 16**2 / 6, rel=1e-5)
    assert values[2] == pytest.approx(values[1] / 4, rel=1e-5)


def test_scores_are_shared_with_the_adversarial_term(make_step: Callable[..., Step]) -> None:
    step = make_step("discriminator", wants_real_gradient=True)
    total = DiscriminatorAdversarial()(step) + 16 * R1()(step)
    total.backward()
    assert all(bool(p.grad.isfinite().all()) for p in step.discriminator.parameters() if p.grad is not None)


def test_what_the_discriminator_does_not_see_has_no_slope(make_step: Callable[..., Step], smallest: ModelSettings) -> None:
    blind = dataclasses.replace(
        smallest, discriminator=dataclasses.replace(smallest.discriminator, mask=False, parsing_channels=0)
    )
    step = make_step("discriminator", wants_real_gradient=True, model=blind)
    both = R1(image=1.0, raw=1.0, mask=5.0, parsing=5.0)(step)
    assert float(both) == float(R1(mask=0.0)(step)) > 0
    assert float(R1(image=0.0, raw=0.0)(step)) == 0.0


def test_what_cannot_be_is_named(make_step: Callable[..., Step]) -> None:
    with pytest.raises(ValueError, match="gamma of mask to be 0 or more, got -1"):
        R1(mask=-1.0)
    with pytest.raises(ValueError, match="make the step with wants_real_gradient"):
        R1()(make_step("discriminator"))
    assert R1().every == 16 and R1.wants_real_gradient
