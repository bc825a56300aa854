"""A run whose heads are rendered on manifolds: every term, growth, and a resume that is bit-exact with two parameter groups."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from spherehead.model.losses import DensitySmoothness, RendererPenalty
from spherehead.model.presets import with_renderer
from spherehead.model.train.checkpoint import load, save
from spherehead.model.train.config import TrainConfig
from spherehead.model.train.distributed import World
from spherehead.model.train.schedule import schedule_state
from spherehead.model.train.state import TrainState, new_state
from spherehead.model.train.step import train_step
from spherehead.model.train.trainer import open_stream
from spherehead.model.volume_rendering import ManifoldSettings
from torch import Tensor

CPU = torch.device("cpu")
ALONE = World(0, 1, CPU)


def on_manifolds(config: TrainConfig) -> TrainConfig:
    renderer = ManifoldSettings(surfaces=5, hidden=6, grid=5, samples=10)
    terms = dataclasses.replace(config.terms, density=DensitySmoothness(points=8), extra={"levels": RendererPenalty()})
    optimiser = dataclasses.replace(config.optimiser, renderer_lr=0.1, renderer_clip=1e-3)
    return dataclasses.replace(
        config, model=with_renderer(config.model, renderer), terms=terms, optimiser=optimiser, batch=4, micro_batch=4
    )


def advance(state: TrainState, config: TrainConfig, heads: str, steps: int) -> dict[str, float]:
    stream = open_stream([heads], config)
    told: dict[str, float] = {}
    for _ in range(steps):
        schedule = schedule_state(config.schedule, state.images, config.resolution, state.augment)
        told = train_step(state, config, schedule, [stream[state.step]], ALONE).sums
    return told


def norm(parameters: Iterable[Tensor]) -> float:
    return math.sqrt(sum(float(each.grad.double().square().sum()) for each in parameters if each.grad is not None))


def test_gradients_are_clipped_over_all_and_then_over_the_renderer(config: TrainConfig, heads: str) -> None:
    """Without a clip, each alone and both: factors that make the norms the settings'."""

    def norms(clip: float | None, own: float | None) -> tuple[float, float, float]:
        optimiser = dataclasses.replace(config.optimiser, clip=clip, renderer_clip=own)
        own_config = dataclasses.replace(on_manifolds(config), optimiser=optimiser)
        state = new_state(own_config, CPU)
        advance(state, own_config, heads, 1)
        generator = state.generator
        return (
            norm(generator.renderer.parameters()),
            norm(generator.parameters()),
            norm(state.discriminator_modules().parameters()),
        )

    renderer, whole, judge = norms(None, None)
    assert norms(None, renderer / 2) == pytest.approx((renderer / 2, math.sqrt(whole**2 - 0.75 * renderer**2), judge), rel=0.01)
    for clip in (whole / 3, judge / 3):
        _, every, judged = norms(clip, None)
        assert every == pytest.approx(min(clip, whole), rel=1e-3) and judged == pytest.approx(min(clip, judge), rel=1e-3)
    assert norms(whole / 3, renderer / 6)[0] == pytest.approx(renderer / 6, rel=0.02)  # PyTorch adds 1e-6 to a norm


@pytest.mark.slow
def test_every_term_learns_while_growing_and_a_resumed_run_has_the_same_bits(
    config: TrainConfig, heads: str, tmp_path: Path
) -> None:
    config = on_manifolds(config)
    whole = new_state(config, CPU)
    first = whole.generator.renderer.predictor.layers[-1].weight.detach().clone()  # type: ignore[union-attr, operator]
    advance(whole, config, heads, 2)
    folder = save(tmp_path, whole, config, keep=1)
    told = advance(whole, config, heads, 7)  # 36 pictures: the fade to 16 pixels begins at 32
    assert {"vico/sum", "labeller/sum", "parsing/sum", "camera_shift/sum", "levels/sum"} <= set(told)
    moved = whole.generator.renderer.predictor.layers[-1].weight.detach()  # type: ignore[union-attr, operator]
    assert 0 < float((moved - first).abs().max()) < 9 * 2 * config.optimiser.generator_lr * 0.1
    resumed = new_state(config, CPU)
    load(folder, resumed)
    advance(resumed, config, heads, 7)
    for name, value in whole.generator.state_dict().items():
        assert torch.equal(value, resumed.generator.state_dict()[name]), name
    for name, value in whole.average.generator.state_dict().items():
        assert torch.equal(value, resumed.average.generator.state_dict()[name]), name
