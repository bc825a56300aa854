"""A renderer's penalty is a term of every phase, with the renderer's own learning rate and clip beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from spherehead.model.losses import DepthAgreement, RendererPenalty
from spherehead.model.losses.step import Step
from spherehead.model.nets.persons import PersonTable
from spherehead.model.portrait import Portrait
from spherehead.model.presets import ModelSettings, with_renderer
from spherehead.model.train.recipes import configured
from spherehead.model.train.state import make_optimiser
from spherehead.model.train.terms import Terms
from spherehead.model.volume_rendering import ManifoldSettings

SURFACES = ManifoldSettings(surfaces=4, hidden=4, grid=4, samples=8)


def penalised(make_step: Callable[..., Step], smallest: ModelSettings, bias: float, **given: object) -> Step:
    step = make_step("generator", model=with_renderer(smallest, SURFACES), **given)
    with torch.no_grad():
        step.generator.renderer.predictor.layers[-1].bias.fill_(bias)  # type: ignore[union-attr, operator]
    return step


def test_the_term_is_the_mean_of_the_renderers_penalty(make_step: Callable[..., Step], smallest: ModelSettings) -> None:
    assert float(RendererPenalty()(penalised(make_step, smallest, 0.0)).detach()) == 0.0
    step = penalised(make_step, smallest, 9.0)
    loss = RendererPenalty()(step)
    assert float(loss.detach()) == pytest.approx(float(step.fake.penalties["levels"].mean().detach()))
    assert float(loss.detach()) > 0
    loss.backward()
    assert float(step.generator.renderer.predictor.layers[-1].bias.grad) > 0  # type: ignore[union-attr, arg-type]


def test_rebuilt_views_are_penalised_where_an_update_makes_them(
    make_step: Callable[..., Step], smallest: ModelSettings
) -> None:
    people = {"persons": PersonTable(torch.arange(6), 8), "person": torch.tensor([0, 1, -1, 2, 3, -1]), "rebuilds": True}
    step = penalised(make_step, smallest, 9.0, **people)
    assert float(RendererPenalty()(step).detach()) > 0
    assert len(step.views.made.penalties["levels"]) == 4 and "fake" not in vars(step)
    assert set(step.views.made.detach().chosen(torch.tensor([1, 2])).penalties) == {"levels"}
    assert len(step.views.made.chosen(torch.tensor([1, 2])).penalties["levels"]) == 2


def test_exact_depth_moves_the_surfaces(
    make_step: Callable[..., Step], smallest: ModelSettings, data: Callable[..., Portrait]
) -> None:
    people = {"persons": PersonTable(torch.arange(6), 8), "person": torch.arange(6), "rebuilds": True}
    real = dataclasses.replace(data(), depth=torch.full((6, 1, 8, 8), 2.6))
    step = penalised(make_step, smallest, 0.0, real=real, **people)
    DepthAgreement()(step).backward()
    slope = step.generator.renderer.predictor.layers[-1].bias.grad  # type: ignore[union-attr, operator]
    assert bool(slope.isfinite().all()) and float(slope) != 0  # type: ignore[operator, union-attr, arg-type]


def test_a_penalty_that_the_renderer_does_not_give_is_refused(make_step: Callable[..., Step]) -> None:
    with pytest.raises(ValueError, match="expected a penalty 'levels' of the renderer, it gives none"):
        RendererPenalty()(make_step("generator"))


def test_the_term_is_due_in_every_phase() -> None:
    terms = Terms(extra={"levels": RendererPenalty()})
    for phase in ("views", "joint", "adversarial"):
        assert "levels" in terms.due("generator", 0, phase)  # type: ignore[arg-type]


def test_a_preset_brings_what_its_renderer_asks_for(smallest: ModelSettings) -> None:
    config, usual = configured("tiny-64-manifolds"), configured("tiny-64")
    assert config.terms.extra == {"levels": RendererPenalty()} and usual.terms.extra == {}
    assert (config.optimiser.renderer_lr, config.optimiser.renderer_clip) == (0.001, 1.0)
    assert (usual.optimiser.renderer_lr, usual.optimiser.renderer_clip) == (1.0, None)


def test_the_renderers_parameters_have_their_own_learning_rate(make_step: Callable[..., Step], smallest: ModelSettings) -> None:
    settings = dataclasses.replace(configured("tiny-64-manifolds").optimiser, renderer_lr=0.1)
    usual = make_step("generator").generator
    assert len(make_optimiser(usual, 0.002, settings).param_groups) == 1
    generator = penalised(make_step, smallest, 0.0).generator
    others, own = make_optimiser(generator, 0.002, settings).param_groups
    assert own["lr"] == pytest.approx(0.0002) and others["lr"] == 0.002
    assert {id(parameter) for parameter in own["params"]} == {id(parameter) for parameter in generator.renderer.parameters()}
    assert len(own["params"]) + len(others["params"]) == len(list(generator.parameters()))
