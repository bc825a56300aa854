"""The operators are their plain twins, in value and in first and second derivative."""

from __future__ import annotations

import plain
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.model.ops import activation, fir, modulation


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_resampling_is_the_zero_stuffed_filter(batch: int, channels: int, height: int, width: int, last: bool) -> None:
    x = noise(batch, channels, height, width)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    torch.testing.assert_close(fir.upsample(x), plain.upsample(x))
    even = x.repeat_interleave(2, 2).repeat_interleave(2, 3) + noise(batch, channels, 2 * height, 2 * width)
    torch.testing.assert_close(fir.downsample(even), plain.downsample(even))


@pytest.mark.parametrize("padding", [1, 2])
def test_smoothing_adds_up_its_taps(padding: int) -> None:
    x = torch.zeros(1, 2, 7, 7, dtype=torch.float64)
    x[0, 0, 3, 3] = 1.0
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8
    wanted = torch.zeros(1, 2, 4 + 2 * padding, 4 + 2 * padding, dtype=torch.float64)
    start = padding
    wanted[0, 0, start : start + 4, start : start + 4] = 5 * torch.outer(taps, taps)
    torch.testing.assert_close(fir.smooth(x, padding, gain=5.0), wanted)
    torch.testing.assert_close(
        fir.smooth(x, padding, 5.0, torch.tensor([1.0, -2.0], dtype=torch.float64))[:, 1], wanted[:, 1] - 2.0
    )


@pytest.mark.parametrize("size", [1, 2, 5])
def test_up_sampling_convolution_is_its_definition(size: int) -> None:
    x, weight = noise(2, 3, size, size), noise(3, 4, 3, 3, seed=1)
    torch.testing.assert_close(fir.conv_upsample(x, weight), plain.stuffed_conv(x, weight))
    torch.testing.assert_close(plain.conv_upsample(x, weight), plain.stuffed_conv(x, weight))


@pytest.mark.parametrize("size", [1, 3])
def test_down_sampling_convolution_is_its_twin(size: int) -> None:
    x, weight, bias = noise(2, 3, 8, 6), noise(4, 3, size, size, seed=1), noise(4, seed=2)
    torch.testing.assert_close(fir.conv_downsample(x, weight, bias), plain.conv_downsample(x, weight, bias))


def test_a_kernel_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="1 x 1 or 3 x 3"):
        fir.conv_downsample(noise(1, 1, 8, 8), noise(1, 1, 5, 5))


def test_resampling_has_first_and_second_derivatives() -> None:
    x = noise(1, 2, 4, 4).requires_grad_()
    up, down, bias = noise(2, 2, 3, 3, seed=1).requires_grad_(), noise(2, 2, 3, 3, seed=2).requires_grad_(), noise(2, seed=3)
    bias.requires_grad_()
    for function, inputs in (
        (fir.upsample, (x,)),
        (fir.downsample, (x,)),
        (lambda value, shift: fir.smooth(value, 1, 4.0, shift), (x, bias)),
        (fir.conv_upsample, (x, up, bias)),
        (fir.conv_downsample, (x, down, bias)),
    ):
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("how", ["auto", "weights", "activations"])
def test_modulated_convolution_is_its_twin(up: bool, demodulate: bool, batch: int, how: modulation.Modulation) -> None:
    x, weight, bias = noise(batch, 3, 6, 6), noise(4, 3, 3, 3, seed=1), noise(4, seed=2)
    styles = noise(batch, 3, seed=3)
    options = {"gain": 1.7, "demodulate": demodulate, "up": up}
    inputs = [tensor.requires_grad_() for tensor in (x, weight, styles, bias)]
    ours = modulation.modulated_conv(*inputs, **options, how=how)
    twin = plain.modulated_conv(*inputs, **options)
    torch.testing.assert_close(ours, twin)
    probe = noise(*ours.shape, seed=4)
    for got, wanted in zip(torch.autograd.grad(ours, inputs, probe), torch.autograd.grad(twin, inputs, probe), strict=True):
        torch.testing.assert_close(got, wanted)


def test_demodulated_output_has_unit_variance() -> None:
    x, weight = noise(1, 16, 64, 64), noise(8, 16, 3, 3, seed=1)
    y = modulation.modulated_conv(x, weight, 10 * noise(1, 16, seed=2))[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(y.var(dim=(0, 2, 3)), torch.ones(8, dtype=torch.float64), rtol=0.1, atol=0)


@given(st.floats(-5, 5), st.floats(0.1, 3))
def test_activation_lets_gains_through_and_works_in_place(value: float, gain: float) -> None:
    x = torch.tensor([gain * value], dtype=torch.float64)
    wanted = gain * (value if value > 0 else 0.2 * value)
    assert float(activation.leaky_relu(x.clone(), clamp=1.0)) == pytest.approx(max(-1.0, min(1.0, wanted)))
    assert activation.leaky_relu(x) is x
    assert float(x) == pytest.approx(wanted, abs=1e-12)


def test_activation_has_first_and_second_derivatives() -> None:
    x = noise(9).requires_grad_()
    assert torch.autograd.gradcheck(lambda value: activation.leaky_relu(value * 2), (x,))
    assert torch.autograd.gradgradcheck(lambda value: activation.leaky_relu(value * 2), (x,))
