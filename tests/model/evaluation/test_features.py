"""Features: the same function on every machine, of any side, that tells pictures apart; files only with their digest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from spherehead.manifests.store import file_sha256
from spherehead.model.evaluation.features import FeaturesError, RandomConv, features_of, open_features, random_numbers


@pytest.fixture(scope="module")
def network() -> RandomConv:
    return RandomConv()


def ball(side: int, x: float = 0.5) -> np.ndarray:
    """A soft disc by formula, (side, side, 3)."""
    v, u = (np.indices((side, side)) + 0.5) / side
    value = 1 / (1 + np.exp(40 * (np.hypot(u - x, v - 0.5) - 0.3)))
    return np.stack([230 * value + 10, 180 * value + 20, 40 + 100 * value], axis=-1).round().astype(np.uint8)


def test_random_numbers_are_normal_and_depend_on_the_name_alone() -> None:
    first, again, other = random_numbers("a", 50_000), random_numbers("a", 50_010), random_numbers("b", 50_000)
    assert np.array_equal(first, again[:50_000]) and abs(np.corrcoef(first, other)[0, 1]) < 0.02
    assert stats.kstest(first, "norm").pvalue > 0.01


def test_numbers_are_those_of_philox_as_published() -> None:
    # Random123's known answer for philox4x64-10 with counter 0, key 0 (kat_vectors); NumPy counts on before the first block
    philox = np.random.Philox(key=0, counter=[2**64 - 1] * 4)
    words = philox.random_raw(4)
    assert [hex(word) for word in words.tolist()] == [
        "0x16554d9eca36314c", "0xdb20fe9d672d0fdc", "0xd7e772cee186176b", "0x7e68b68aec7ba23b",
    ]  # fmt: skip


def test_weights_keep_their_scale_and_the_projection_is_orthonormal(network: RandomConv) -> None:
    assert network.name == "random-conv-v1"
    for index, before in enumerate((3, 32, 64, 128)):
        weight = getattr(network, f"conv{index}")
        assert weight.shape == ((32, 64, 128, 256)[index], before, 3, 3)
        assert float(weight.square().mean()) == pytest.approx(2 / (9 * before), rel=0.15)
    projection = network.projection
    assert torch.allclose(projection @ projection.T, torch.eye(64), atol=1e-5)


def test_features_of_a_picture_hardly_depend_on_its_side(network: RandomConv) -> None:
    at = {side: features_of([ball(side)], network)[0] for side in (64, 128, 256)}
    away = np.linalg.norm(features_of([ball(64, 0.6)], network)[0] - at[64])
    assert max(np.linalg.norm(at[side] - at[64]) for side in (128, 256)) < 0.1 * away


def test_features_do_not_depend_on_the_batch(network: RandomConv) -> None:
    pictures = [ball(64, x) for x in np.linspace(0.3, 0.7, 70)]
    together = features_of(iter(pictures), network)
    assert together.shape == (70, 64) and together.dtype == np.float64
    assert np.allclose(together[66:], features_of(pictures[66:], network), atol=1e-5)


def test_pictures_of_several_data_sets_need_not_be_of_one_size(network: RandomConv) -> None:
    pictures = [ball(32), ball(32, 0.4), ball(64, 0.45), ball(32, 0.55)]
    each = np.concatenate([features_of([picture], network) for picture in pictures])
    assert np.allclose(features_of(iter(pictures), network), each, atol=1e-4)


def test_a_torchscript_network_is_taken_with_its_digest_only(tmp_path: Path) -> None:
    class Mean(torch.nn.Module):
        def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
            return x.float().mean(dim=(2, 3)) if return_features else x

    path = tmp_path / "mean.pt"
    torch.jit.script(Mean()).save(str(path))
    features = open_features(path=path, sha256=file_sha256(path))
    assert features.name == f"mean-{file_sha256(path)[:8]}"
    assert np.allclose(features_of([ball(16), ball(16, 0.1)], features)[1], ball(16, 0.1).mean(axis=(0, 1)))
    with pytest.raises(FeaturesError, match="expected sha256 00"):
        open_features(path=path, sha256="00")
    with pytest.raises(FeaturesError, match="no file"):
        open_features(path=tmp_path / "absent.pt", sha256="00")
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(FeaturesError, match="no TorchScript"):
        open_features(path=tmp_path / "text.pt", sha256=file_sha256(tmp_path / "text.pt"))
    with pytest.raises(FeaturesError, match="unknown features"):
        open_features("inception")


def test_no_pictures_are_refused(network: RandomConv) -> None:
    with pytest.raises(FeaturesError, match="at least one"):
        features_of([], network)
