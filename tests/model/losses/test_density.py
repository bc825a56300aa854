"""Density smoothness is the mean change of raw density over small moves."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from spherehead.model.losses.density import DensitySmoothness
from spherehead.model.losses.step import Step


def test_a_linear_density_changes_as_the_formula_says(make_step: Callable[..., Step], monkeypatch: pytest.MonkeyPatch) -> None:
    """E|s n_x| = s d sqrt(2 / pi) for a density that rises by s along one axis and normal moves of deviation d."""
    step = make_step("generator")
    seen = []

    def field(planes: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(points)
        return points, 7.0 * points[..., :1]

    monkeypatch.setattr(step.generator, "field", field)
    got = float(DensitySmoothness(points=5000, distance=0.01, extent=0.3)(step))
    assert got == pytest.approx(7.0 * 0.01 * math.sqrt(2 / math.pi), rel=0.02)
    first = seen[0][:, :5000]
    assert 0.299 < float(first.abs().max()) <= 0.3 and abs(float(first.mean())) < 0.01


def test_the_term_follows_the_generators_own_field(make_step: Callable[..., Step]) -> None:
    step = make_step("generator")
    state = step.random.get_state()
    step.planes  # noqa: B018  made first, so that the state below is the one before the points
    state = step.random.get_state()
    loss = DensitySmoothness(points=50, extent=0.5)(step)
    random = torch.Generator()
    random.set_state(state)
    points = torch.rand(6, 50, 3, generator=random) - 0.5
    moved = points + 0.004 * torch.randn(6, 50, 3, generator=random)
    field, planes = step.generator.field, step.planes
    total = 0.0
    for row in range(6):
        for here, there in zip(points[row], moved[row], strict=True):
            ends = [float(field(planes[row : row + 1], x[None, None])[1].detach()) for x in (here, there)]
            total += abs(ends[0] - ends[1])
    assert float(loss) == pytest.approx(total / 300, rel=1e-3)
    loss.backward()
    reached = {name.split(".")[0] for name, p in step.generator.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached >= {"mapping", "backbone", "decoder"} and "upsampler" not in reached
    assert "fake" not in step.__dict__


def test_settings_are_checked() -> None:
    assert (DensitySmoothness().weight, DensitySmoothness().every) == (0.25, 4)
    with pytest.raises(ValueError, match="positive points"):
        DensitySmoothness(points=0)
