"""Losses with a discriminator of the picture and one of the mask: each counts as if it were alone."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import cast

import torch
from spherehead.datasets.camera import Camera
from spherehead.model.discriminator import Discriminator, DiscriminatorSettings
from spherehead.model.losses import R1, DiscriminatorAdversarial, GeneratorAdversarial, ViCo
from spherehead.model.losses.step import Step
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.portrait import Portrait

NARROW = SynthesisSettings(channel_base=128, channel_max=8)


def judged() -> tuple[Discriminator, Portrait]:
    torch.manual_seed(0)
    settings = DiscriminatorSettings(16, mask=False, silhouette=True, widths=NARROW, group=2)
    labels = torch.stack([torch.from_numpy(Camera.look_at(yaw, 0.0).label()) for yaw in (0.0, 2.0)])
    parts = [torch.randn(2, channels, 16, 16).requires_grad_() for channels in (3, 3, 1)]
    return Discriminator(settings), Portrait(parts[0], parts[1], labels, parts[2])


def test_adversarial_terms_add_up_over_both() -> None:
    fake, real = torch.tensor([[0.5, -1.0], [2.0, 0.3]]), torch.tensor([[1.5, 0.1], [-0.7, 0.9]])
    both = cast(Step, SimpleNamespace(fake_score=fake, real_score=real))
    alone = [cast(Step, SimpleNamespace(fake_score=fake[:, [i]], real_score=real[:, [i]])) for i in range(2)]
    for term in (GeneratorAdversarial(), DiscriminatorAdversarial()):
        torch.testing.assert_close(term(both), term(alone[0]) + term(alone[1]))


def test_r1_holds_each_part_against_the_discriminator_that_sees_it() -> None:
    judge, seen = judged()
    score = judge(seen)
    step = cast(Step, SimpleNamespace(real_seen=seen, real_score=score, discriminator=judge))
    for part, column in (("image", 0), ("raw", 0), ("mask", 1)):
        gammas = dict.fromkeys(("image", "raw", "mask"), 0.0) | {part: 2.0}
        (slope,) = torch.autograd.grad(score[:, column].sum(), getattr(seen, part), retain_graph=True)
        expected = slope.square().sum(dim=(1, 2, 3)).mean()
        assert float(expected) > 0
        torch.testing.assert_close(R1(**gammas)(step).detach(), expected)  # type: ignore[arg-type]


def test_vico_takes_negatives_of_both() -> None:
    judge, seen = judged()
    random = torch.Generator().manual_seed(0)
    step = SimpleNamespace(
        discriminator=judge, random=random, real_seen=seen, real_vectors=None, label=lambda camera, vectors: camera,
        real_features=judge.features(seen),
    )  # fmt: skip
    other = judge(seen, seen.camera.roll(1, dims=0))
    expected = torch.nn.functional.softplus(other).sum(dim=1).mean()
    torch.testing.assert_close(dataclasses.replace(ViCo(), source="real")(cast(Step, step)), expected)
