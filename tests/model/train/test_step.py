"""One step: what data become, who is moved by whom, and what draws depend on."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from spherehead.manifests.config import ConfigError
from spherehead.model.losses.step import ScheduleState
from spherehead.model.train.config import TrainConfig
from spherehead.model.train.distributed import World
from spherehead.model.train.schedule import Ramp, schedule_state
from spherehead.model.train.state import Average, new_state
from spherehead.model.train.step import NotFinite, draw_source, prepare, set_rates, subject_vectors, train_step
from spherehead.model.train.trainer import open_stream

CPU = torch.device("cpu")
ALONE = World(0, 1, CPU)


def test_data_become_the_moments_sides_in_the_discriminators_range(config: TrainConfig, heads: str) -> None:
    batch = open_stream([heads], config)[0]
    data = prepare(batch, config, ScheduleState(image_resolution=8, neural_resolution=4), CPU)
    assert data.real.image.shape == (4, 3, 8, 8) and data.real.raw.shape == (4, 3, 4, 4)
    wanted = batch.image.double().reshape(4, 8, 2, 8, 2, 3).mean(dim=(2, 4)).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(data.real.image.double(), wanted, atol=1e-5, rtol=0)
    assert data.real.parsing is not None and data.real.parsing.shape == (4, 20, 4, 4)
    assert batch.mask is not None and data.real.mask is not None
    from spherehead.model.nets.upsampler import resize

    shares = batch.mask.float().reshape(4, 1, 8, 2, 8, 2).mean(dim=(3, 5)) / 255
    torch.testing.assert_close(data.real.mask, resize(shares, 4), atol=1e-5, rtol=0)


def test_exact_depths_become_the_distances_that_a_renderer_gives(config: TrainConfig, heads: str) -> None:
    """A renderer's depth is along its rays, a map's along the optical axis."""
    batch = open_stream([heads], config)[0]
    depth = torch.full((4, 16, 16), 2.5)
    depth[:, :4] = 0.0
    data = prepare(dataclasses.replace(batch, depth=depth), config, ScheduleState(image_resolution=8, neural_resolution=4), CPU)
    assert data.real.depth is not None and prepare(batch, config, ScheduleState(image_resolution=8), CPU).real.depth is None
    camera = batch.camera.double()
    place = (torch.arange(4, dtype=torch.float64) + 0.5) / 4
    x = (place[None, None, :] - camera[:, 18, None, None]) / camera[:, 16, None, None]
    y = (place[None, :, None] - camera[:, 21, None, None]) / camera[:, 20, None, None]
    wanted = 2.5 * (1 + x.square() + y.square()).sqrt()
    wanted[:, 0] = 0.0
    torch.testing.assert_close(data.real.depth[:, 0].double(), wanted, atol=1e-5, rtol=0)


def test_pixels_that_nobody_labelled_are_of_the_spare_class(config: TrainConfig, heads: str) -> None:
    batch = open_stream([heads], config)[0]
    assert batch.parsing is not None
    batch.parsing[0] = 255
    parsing = prepare(batch, config, ScheduleState(image_resolution=16, neural_resolution=8), CPU).real.parsing
    assert parsing is not None and bool((parsing[0, 19] == 1).all()) and not bool(parsing[0, :19].any())
    assert not bool(parsing[1:, 19].any())


def test_a_mirrored_picture_shows_nobody_known(config: TrainConfig, heads: str) -> None:
    batch = open_stream([heads], config)[0]
    batch.synthetic[:], batch.mirrored[:] = True, torch.tensor([True, False, True, False])
    subject = prepare(batch, config, ScheduleState(image_resolution=16, neural_resolution=8), CPU).subject
    assert subject[[0, 2]].tolist() == [-1, -1] and torch.equal(subject[[1, 3]], batch.subject[[1, 3]])


def test_a_person_has_one_vector_and_persons_differ() -> None:
    subject = torch.tensor([5, 9, 5, 2**62 + 17])
    vectors = subject_vectors(subject, 64)
    assert torch.equal(vectors[0], vectors[2]) and not torch.equal(vectors[0], vectors[1])
    assert abs(float(subject_vectors(torch.arange(200), 64).var()) - 1) < 0.05


def test_draws_depend_on_seed_number_and_player_alone() -> None:
    draws = {key: float(torch.rand((), generator=draw_source(*key, CPU))) for key in
             [(0, 1, "discriminator"), (0, 1, "generator"), (0, 2, "discriminator"), (1, 1, "discriminator")]}  # fmt: skip
    assert len(set(draws.values())) == 4
    assert float(torch.rand((), generator=draw_source(0, 1, "discriminator", CPU))) == draws[(0, 1, "discriminator")]


def test_learning_rates_of_both_players_follow_their_schedule(config: TrainConfig) -> None:
    schedule = dataclasses.replace(config.schedule, learning_rate=Ramp(1.0, 0.1, 40, begin=20))
    decaying = dataclasses.replace(config, schedule=schedule)
    state = new_state(decaying, CPU)
    for images, factor in ((0, 1.0), (20, 1.0), (40, 0.55), (60, 0.1), (10**6, 0.1)):
        state.images = images
        set_rates(state, decaying)
        for optimiser, rate in ((state.generator_optimiser, 0.002), (state.discriminator_optimiser, 0.002)):
            assert [group["lr"] for group in optimiser.param_groups] == [pytest.approx(rate * factor)]
    with pytest.raises(ConfigError, match=r"schedule\.learning_rate"):
        dataclasses.replace(config.schedule, learning_rate=Ramp(1.0, -0.1, 40))


@pytest.mark.parametrize("reuse", [False, True])
def test_a_step_moves_both_players_and_the_average(config: TrainConfig, heads: str, reuse: bool) -> None:
    config = dataclasses.replace(config, batch=4, reuse_fakes=reuse)
    state = new_state(config, CPU)
    both = [*state.generator.named_parameters("g"), *state.discriminator.named_parameters("d")]
    before = {name: value.clone() for name, value in both}
    told = train_step(
        state, config, schedule_state(config.schedule, 40, config.resolution, 0.2), [open_stream([heads], config)[0]], ALONE
    )
    moved = {name for name, value in both if not torch.equal(value, before[name])}
    assert any(name.startswith("g.volume") or name.startswith("g.backbone") for name in moved)
    assert any(name.startswith("d.blocks") for name in moved)
    assert (state.step, state.images) == (1, 4)
    assert {"vico/sum", "r1/sum", "labeller/sum", "parsing/sum", "camera_shift/sum"} <= set(told.sums)


def test_the_average_is_a_geometric_mean_over_time_of_weights(config: TrainConfig) -> None:
    state = new_state(config, CPU)
    average = Average(state.generator)
    start = next(average.generator.parameters()).clone()
    with torch.no_grad():
        next(state.generator.parameters()).add_(1.0)
    state.generator.mapping.w_mean.fill_(3.0)
    average.update(state.generator, 0.75)
    torch.testing.assert_close(next(average.generator.parameters()), start + 0.25)
    assert bool((average.generator.mapping.w_mean == 3.0).all())


def test_a_loss_that_is_no_number_moves_nothing(config: TrainConfig, heads: str) -> None:
    state = new_state(config, CPU)
    with torch.no_grad():
        state.discriminator.out.bias.fill_(float("nan"))
    kept = {name: value.clone() for name, value in state.generator.named_parameters()}
    with pytest.raises(NotFinite, match="discriminator's loss"):
        stream = open_stream([heads], config)
        train_step(state, config, schedule_state(config.schedule, 0, config.resolution), [stream[0], stream[1]], ALONE)
    assert state.step == 0 and all(torch.equal(value, kept[name]) for name, value in state.generator.named_parameters())
