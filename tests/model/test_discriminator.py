"""Discriminators see what they are told to see, compare pictures within groups, and refuse what does not fit."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from spherehead.datasets.camera import Camera
from spherehead.model.discriminator import Discriminator, DiscriminatorSettings, with_spread
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.portrait import Portrait, real_portrait

NARROW = SynthesisSettings(channel_base=128, channel_max=8)


def labels(*yaws: float) -> torch.Tensor:
    return torch.stack([torch.from_numpy(Camera.look_at(yaw, 0.0).label()) for yaw in yaws])


def portrait(seed: int = 0) -> Portrait:
    random = torch.Generator().manual_seed(seed)
    image = torch.rand(2, 3, 32, 32, generator=random) * 2 - 1
    mask = (torch.rand(2, 1, 32, 32, generator=random) > 0.5).float()
    parsing = torch.randint(0, 19, (2, 32, 32), generator=random)
    return real_portrait(image, labels(0.0, 1.0), 16, mask, parsing)


def discriminator(**changes: object) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(dataclasses.replace(DiscriminatorSettings(32, parsing_channels=20, widths=NARROW, group=2), **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("mask", "channels", "seen"), [(False, 0, 6), (True, 0, 7), (True, 20, 27)])
def test_a_discriminator_sees_what_its_settings_say(mask: bool, channels: int, seen: int) -> None:
    judge, given = discriminator(mask=mask, parsing_channels=channels), portrait()
    stacked = judge.stack(given)
    assert stacked.shape == (2, seen, 32, 32)
    assert float(stacked.abs().max()) <= 1 + 1e-5
    assert given.mask is not None and given.parsing is not None
    score = judge(given)
    blank = dataclasses.replace(given, mask=1 - given.mask)
    other = dataclasses.replace(given, parsing=given.parsing.roll(1, dims=1))
    assert torch.equal(judge(blank), score) is not mask
    assert torch.equal(judge(other), score) is not bool(channels)
    assert not torch.equal(judge(given, labels(1.0, 0.0)), score)


def test_two_discriminators_judge_picture_and_mask_apart() -> None:
    judge, given = discriminator(mask=False, silhouette=True), portrait()
    assert given.mask is not None
    score = judge(given)
    assert score.shape == (2, 2)
    other_mask = judge(dataclasses.replace(given, mask=1 - given.mask))
    other_picture = judge(dataclasses.replace(given, image=-given.image))
    assert (other_mask == score).all(dim=0).tolist() == [True, False]
    assert (other_picture == score).all(dim=0).tolist() == [False, True]
    assert (judge(given, labels(1.0, 0.0)) == score).any(dim=0).tolist() == [False, False]
    alone = discriminator(mask=False)
    assert judge.silhouette is not None
    counts = [sum(part.numel() for part in network.parameters()) for network in (judge, alone, judge.silhouette)]
    assert counts[0] == counts[1] + counts[2]
    assert counts[1] - counts[2] == (6 + 20 - 1) * NARROW.channels(32)  # the masks' first layer has one channel


def test_second_derivatives_exist_for_gradient_penalties() -> None:
    judge, given = discriminator(), portrait()
    image = given.image.requires_grad_()
    (slope,) = torch.autograd.grad(judge(dataclasses.replace(given, image=image)).sum(), image, create_graph=True)
    slope.square().sum().backward()
    grads = [parameter.grad for name, parameter in judge.named_parameters() if name.startswith("blocks") and "weight" in name]
    assert all(grad is not None and bool(grad.isfinite().all()) and float(grad.abs().max()) > 0 for grad in grads)


def test_ways_to_compute_stay_within_their_error() -> None:
    usual, given = discriminator(), portrait()
    for changes, bound in (({"channels_last": False}, 1e-5), ({"precision": "bf16"}, 5e-2)):
        other = discriminator(**changes)
        other.load_state_dict(usual.state_dict())
        wanted, got = usual(given).detach(), other(given).detach()
        assert float((got - wanted).norm() / wanted.norm()) < bound
        assert got.dtype == torch.float32 and (bound < 1e-3 or not torch.equal(got, wanted))


def test_spread_compares_strided_groups() -> None:
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    got = with_spread(x, 2)[:, 3]
    for pair in ((0, 2), (1, 3)):
        members = x[list(pair)]
        wanted = (members.var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        for index in pair:
            torch.testing.assert_close(got[index], wanted.expand(5, 5))
    alone = with_spread(x[:1], 4)[:, 3]
    torch.testing.assert_close(alone, torch.full_like(alone, 1e-4))


def test_a_photograph_becomes_a_portrait_at_the_generators_resolutions() -> None:
    given = portrait()
    assert given.raw.shape == (2, 3, 16, 16)
    assert given.parsing is not None and given.parsing.shape == (2, 20, 16, 16)
    torch.testing.assert_close(given.parsing.sum(1), torch.ones(2, 16, 16))
    assert float(given.parsing[:, 19].abs().max()) == 0
    assert not given.detach().image.requires_grad
    even = real_portrait(torch.full((1, 3, 32, 32), 0.25), labels(0.0), 8)
    torch.testing.assert_close(even.raw, torch.full((1, 3, 8, 8), 0.25))
    assert even.mask is None and even.parsing is None


def test_what_does_not_fit_is_named() -> None:
    judge, given = discriminator(), portrait()
    with pytest.raises(ValueError, match=r"\(B, 3, 32, 32\), got \(B, 3, 16, 16\)"):
        judge(dataclasses.replace(given, image=given.raw))
    with pytest.raises(ValueError, match="sees the mask; the portrait has none"):
        judge(dataclasses.replace(given, mask=None))
    with pytest.raises(ValueError, match="20 parsing channels; the portrait has None"):
        judge(dataclasses.replace(given, parsing=None))
    with pytest.raises(ValueError, match="expected 2 conditions, one a picture, got 1"):
        judge(given, labels(0.0))
    with pytest.raises(ValueError, match=r"\(B, 25\), got \(2, 16\)"):
        judge(given, labels(0.0, 1.0)[:, :16])
    with pytest.raises(ValueError, match="that 2 divides"):
        with_spread(torch.zeros(3, 1, 2, 2), 2)
    with pytest.raises(ValueError, match="2 rows of camera, one a picture, got 1"):
        real_portrait(given.image, labels(0.0), 8)
    with pytest.raises(ValueError, match="classes below 20, got 0 to 20"):
        real_portrait(given.image, given.camera, 8, parsing=torch.arange(2)[:, None, None].expand(2, 32, 32) * 20)
