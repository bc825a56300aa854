"""Other ways to compute a generator, in value and gradient, stay within their error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_generators import cameras, latents, made, relative, shrunk
from spherehead.model.generator import Generator
from spherehead.model.nets.upsampler import Upsampler, UpsamplerSettings


@pytest.mark.parametrize(
    ("compute", "bound"),
    [
        ({"channels_last": False}, 1e-5),
        ({"modulation": "weights"}, 1e-5),
        ({"modulation": "activations"}, 1e-5),
        ({"upsampler_precision": "bf16"}, 2e-2),
        ({"backbone_precision": "bf16", "upsampler_precision": "bf16"}, 5e-2),
    ],
)
def test_ways_to_compute_stay_within_their_error(compute: dict[str, object], bound: float) -> None:
    usual, other = made(shrunk("tiny-64")), made(shrunk("tiny-64", **compute))
    other.load_state_dict(usual.state_dict())
    with torch.no_grad():
        wanted = usual(latents(2), cameras(0.2, -0.5)).image
        got = other(latents(2), cameras(0.2, -0.5)).image
    assert relative(got, wanted) < bound
    if bound > 1e-3:
        assert relative(got, wanted) > 1e-5, "the other precision was not used"


def slope(generator: Generator) -> torch.Tensor:
    """Gradients of a loss of the final picture by all parameters that have one, as one vector."""
    generator.zero_grad()
    generator(latents(2), cameras(0.2, -0.5)).image.square().mean().backward()
    return torch.cat([parameter.grad.flatten() for parameter in generator.parameters() if parameter.grad is not None])


@pytest.mark.parametrize(
    ("compute", "bound"),
    [
        ({"channels_last": False}, 1e-4),
        pytest.param({"compile": "aot_eager"}, 1e-4, marks=pytest.mark.slow),
        ({"backbone_precision": "bf16", "upsampler_precision": "bf16"}, 0.1),
    ],
)
def test_gradients_of_other_ways_to_compute_stay_within_their_error(compute: dict[str, object], bound: float) -> None:
    usual, other = made(shrunk("tiny-64")), made(shrunk("tiny-64", **compute))
    other.load_state_dict(usual.state_dict())
    assert relative(slope(other), slope(usual)) < bound


@pytest.mark.slow
def test_compiled_networks_stay_within_rounding() -> None:
    usual, other = made(shrunk("tiny-64")), made(shrunk("tiny-64", compile="aot_eager"))
    other.load_state_dict(usual.state_dict())
    with torch.no_grad():
        wanted, got = (generator(latents(1), cameras(0.2)).image for generator in (usual, other))
    assert relative(got, wanted) < 1e-5


@pytest.mark.slow
def test_inductor_stays_within_rounding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    network = Upsampler(4, 8, UpsamplerSettings(input_resolution=8, channels=(4,), doubles=(True,)))
    inputs = torch.randn(1, 4, 8, 8), torch.randn(1, 3, 8, 8), torch.randn(1, 8)
    with torch.no_grad():
        wanted = network(*inputs)
        network.compile(backend="inductor")
        try:
            got = network(*inputs)
        except RuntimeError as error:
            if "compiler" not in str(error).lower():
                raise
            pytest.skip("torch.compile needs a C++ compiler on this machine")
    assert relative(got, wanted) < 1e-5
