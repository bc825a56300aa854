"""The camera-shift penalty is the squared mean shift, and moves the mean shift towards nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from spherehead.model.losses.shift import CameraShift
from spherehead.model.losses.step import Step
from spherehead.model.presets import ModelSettings


def stir(step: Step) -> None:
    """Give the shift, which starts at zero, some size."""
    assert step.generator.camera_shift is not None
    for parameter in step.generator.camera_shift.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(0))


def test_the_penalty_is_the_squared_mean_over_the_batch(make_step: Callable[..., Step]) -> None:
    step = make_step("generator")
    stir(step)
    rows = step.shift.detach().double().tolist() if step.shift is not None else []
    wanted = sum((sum(row[axis] for row in rows) / len(rows)) ** 2 for axis in range(3))
    loss = CameraShift()(step)
    assert float(loss) == pytest.approx(wanted, rel=1e-4) and wanted > 1e-6
    loss.backward()
    with torch.no_grad():
        for parameter in step.generator.camera_shift.parameters():
            parameter -= 1e-3 * parameter.grad
    again = make_step("generator")
    again.generator.load_state_dict(step.generator.state_dict())
    assert float(CameraShift()(again).detach()) < float(loss.detach())


def test_no_shift_no_penalty(make_step: Callable[..., Step], smallest: ModelSettings) -> None:
    assert float(CameraShift()(make_step("generator"))) == 0.0
    fixed = dataclasses.replace(smallest, generator=dataclasses.replace(smallest.generator, camera_shift=False))
    assert float(CameraShift()(make_step("generator", model=fixed))) == 0.0
    assert CameraShift().weight == 10.0
