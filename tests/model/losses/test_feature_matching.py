"""Feature matching: its formula of batch means and of known persons' views, and whom it moves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from spherehead.model.losses.feature_matching import FeatureMatching, flat, picture_errors
from spherehead.model.losses.step import ScheduleState, Step, blurred
from spherehead.model.nets.persons import PersonTable


def test_means_of_a_batch_are_compared_channel_by_channel(make_step: Callable[..., Step]) -> None:
    step = make_step("generator")
    value = float(FeatureMatching()(step).detach())
    made, wanted = (step.discriminator.activations(seen)[0] for seen in (step.fake_seen, step.real_seen))
    errors = []
    for one, other in zip(made, wanted, strict=True):
        numbers = [float((one[:, channel].mean() - other[:, channel].mean()).detach()) for channel in range(one.shape[1])]
        errors.append(sum(map(abs, numbers)) / len(numbers))
    assert value == pytest.approx(sum(errors) / len(errors), rel=1e-5) and len(errors) == 2  # 16 to 8 to 4 pixels
    assert value > 0


def test_the_same_pictures_in_another_order_have_no_error(make_step: Callable[..., Step]) -> None:
    step = make_step("generator")
    step.__dict__["fake"] = step.real.chosen(torch.tensor([3, 0, 5, 1, 2, 4]))
    assert float(FeatureMatching()(step).detach()) < 1e-6


def rebuilding(make_step: Callable[..., Step], player: str = "generator", **given: object) -> Step:
    """A step that knows five persons of its six pictures."""
    known = {"persons": PersonTable(torch.arange(6), 8), "person": torch.tensor([0, 1, -1, 2, 3, 4]), "rebuilds": True}
    return make_step(player, **known, **given)


def test_a_known_persons_view_is_compared_with_its_own_picture(make_step: Callable[..., Step]) -> None:
    schedule = ScheduleState(image_resolution=16, neural_resolution=8, blur=0.1)
    step = rebuilding(make_step, schedule=schedule)
    value = float(FeatureMatching()(step).detach())
    total = 0.0
    for place, row in enumerate((0, 1, 3, 4, 5)):
        made = step.views.made.chosen(torch.tensor([place]))
        made = dataclasses.replace(made, image=blurred(made.image, 0.1))
        pair = [flat(step.discriminator.activations(one)) for one in (made, step.real.chosen(torch.tensor([row])))]
        errors = [float((one - other).abs().mean().detach()) for one, other in zip(*pair, strict=True)]
        total += sum(errors) / len(errors)
    assert value == pytest.approx(total / 6, rel=1e-4)
    assert "fake" not in step.__dict__


def test_only_the_generator_and_the_persons_are_moved(make_step: Callable[..., Step]) -> None:
    for step in (make_step("generator"), rebuilding(make_step)):
        step.discriminator.requires_grad_(False)
        loss = FeatureMatching()(step)
        loss.backward()
        grads = [part.grad for part in step.generator.parameters() if part.grad is not None]
        assert any(bool(grad.any()) for grad in grads) and all(bool(grad.isfinite().all()) for grad in grads)
        assert all(part.grad is None for part in step.discriminator.parameters())
        if step.persons is not None:
            moved = step.persons.styles.grad
            assert moved is not None and moved.abs().sum(dim=1).gt(0).tolist() == [True, True, True, True, True, False]


def test_pictures_errors_are_the_same_in_any_micro_batch(make_step: Callable[..., Step]) -> None:
    step = rebuilding(make_step)
    made, wanted = step.views.made, step.views.wanted
    whole = picture_errors(*(flat(step.discriminator.activations(one)) for one in (made, wanted)))
    for rows in (torch.tensor([0, 1]), torch.tensor([2, 3])):
        part = picture_errors(*(flat(step.discriminator.activations(one.chosen(rows))) for one in (made, wanted)))
        torch.testing.assert_close(part, whole[rows], rtol=1e-4, atol=1e-6)


def test_pictures_of_strangers_alone_cost_nothing(make_step: Callable[..., Step]) -> None:
    step = make_step("generator", persons=PersonTable(torch.arange(6), 8), person=torch.full((6,), -1), rebuilds=True)
    assert float(FeatureMatching()(step)) == 0.0
