"""The adversarial terms are the non-saturating losses, and each reaches its own player."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from spherehead.manifests.config import ConfigError, from_plain, to_plain
from spherehead.model.losses import LossTerm
from spherehead.model.losses.adversarial import DiscriminatorAdversarial, GeneratorAdversarial
from spherehead.model.losses.step import Step


def softplus(value: float) -> float:
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))


def test_both_terms_are_means_of_softplus(make_step: Callable[..., Step]) -> None:
    step = make_step("discriminator")
    real, fake = step.real_score.flatten().tolist(), step.fake_score.flatten().tolist()
    wanted = sum(map(softplus, fake)) / 6 + sum(softplus(-score) for score in real) / 6
    assert float(DiscriminatorAdversarial()(step).detach()) == pytest.approx(wanted, rel=1e-5)
    step = make_step("generator")
    wanted = sum(softplus(-score) for score in step.fake_score.flatten().tolist()) / 6
    assert float(GeneratorAdversarial()(step).detach()) == pytest.approx(wanted, rel=1e-5)


def test_a_term_reaches_its_player_and_following_it_helps(make_step: Callable[..., Step]) -> None:
    step = make_step("discriminator")
    loss = DiscriminatorAdversarial()(step)
    loss.backward()
    assert all(parameter.grad is None for parameter in step.generator.parameters())
    with torch.no_grad():
        for parameter in step.discriminator.parameters():
            parameter -= 1e-3 * (0.0 if parameter.grad is None else parameter.grad)
    after = make_step("discriminator")
    after.discriminator.load_state_dict(step.discriminator.state_dict())
    assert float(DiscriminatorAdversarial()(after).detach()) < float(loss.detach())
    step = make_step("generator")
    GeneratorAdversarial()(step).backward()
    reached = {name.split(".")[0] for name, parameter in step.generator.named_parameters() if parameter.grad is not None}
    assert reached >= {"mapping", "backbone", "decoder", "upsampler", "parsing", "background", "camera_shift"}


@pytest.mark.parametrize("term", [kind() for kind in LossTerm.kinds.values()], ids=lambda term: term.kind)
def test_terms_go_to_plain_data_and_back(term: LossTerm) -> None:
    from dataclasses import make_dataclass

    holder = make_dataclass("Holder", [("terms", tuple[LossTerm, ...])], frozen=True)
    assert from_plain(holder, to_plain(holder((term,)))).terms == (term,)
    with pytest.raises(ConfigError):
        from_plain(holder, {"terms": [{"kind": "nothing"}]})


def test_lazy_terms_need_a_count() -> None:
    with pytest.raises(ValueError, match="every of 1 or more, got 0"):
        DiscriminatorAdversarial(every=0)
