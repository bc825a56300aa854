"""Guarantees of the ONNX wrapper: it runs a model as the definition says, and names what is wrong with a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from spherehead.manifests.config import ConfigError
from spherehead.pipeline.backends import onnx_session
from spherehead.pipeline.stages.matte import Matte
from spherehead.pipeline.stages.parse import Parse

onnx = pytest.importorskip("onnx", reason="onnx writes the small models of this test; pip install onnx")


def write_affine(path: Path, gain: float, offset: float, inputs: int = 1, size: tuple[object, object] = ("h", "w")) -> Path:
    """Write a model that returns gain * x + offset."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    shape = [1, 3, *size]
    nodes = [helper.make_node("Mul", ["x", "g"], ["m"]), helper.make_node("Add", ["m", "o"], ["y"])]
    names = ["x"] + [f"spare{i}" for i in range(inputs - 1)]
    graph = helper.make_graph(
        nodes,
        "affine",
        [helper.make_tensor_value_info(name, kind, shape) for name in names],
        [helper.make_tensor_value_info("y", kind, shape)],
        [helper.make_tensor("g", kind, [], [gain]), helper.make_tensor("o", kind, [], [offset])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def test_model_gives_what_its_formula_says(tmp_path: Path) -> None:
    model = onnx_session.OnnxModel(write_affine(tmp_path / "m.onnx", 2.0, 0.5))
    x = np.random.default_rng(0).random((1, 3, 5, 7)).astype(np.float32)
    (y,) = model(x)
    assert np.allclose(y, 2.0 * x + 0.5)
    assert model.input_shape[1] == 3


def test_input_is_normalised_rgb_in_planes() -> None:
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    picture[:] = (255, 0, 51)
    tensor = onnx_session.prepare(picture, 4, (0.5, 0.5, 0.5), (0.5, 0.25, 0.1))
    assert tensor.shape == (1, 3, 4, 4) and tensor.dtype == np.float32
    assert np.allclose(tensor[0, :, 2, 2], [1.0, -2.0, -3.0], atol=1e-5)


def test_weights_name_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "w.bin"
    path.write_bytes(b"one")
    assert onnx_session.weights(path) == ("w.bin", hashlib.sha256(b"one").hexdigest())
    path.write_bytes(b"three")
    assert onnx_session.weights(path)[1] == hashlib.sha256(b"three").hexdigest()


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        onnx_session.OnnxModel(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(ValueError, match="does not load as an ONNX model"):
        onnx_session.OnnxModel(tmp_path / "text.onnx")
    with pytest.raises(ValueError, match="one input"):
        onnx_session.OnnxModel(write_affine(tmp_path / "two.onnx", 1.0, 0.0, inputs=2))


def test_unknown_devices_are_refused() -> None:
    assert onnx_session.providers("cpu") == ["CPUExecutionProvider"]
    with pytest.raises(ValueError, match="cpu or cuda"):
        onnx_session.providers("tpu")
    with pytest.raises(ValueError, match="cpu or cuda"):
        onnx_session.providers("cuda:first")


def test_a_model_for_cuda_is_told_its_gpu_and_picks_its_convolutions_alike_in_every_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ValueError, match="pip install onnxruntime-gpu or use device cpu"):
        onnx_session.providers("cuda")
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    for device, number in (("cuda", "0"), ("cuda:1", "1")):
        (name, options), last = onnx_session.providers(device)
        assert (name, last, options["device_id"]) == ("CUDAExecutionProvider", "CPUExecutionProvider", number)
        assert options["cudnn_conv_algo_search"] == "HEURISTIC"


def test_a_model_that_fell_back_to_the_cpu_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_affine(tmp_path / "affine.onnx", 1.0, 0.0)
    monkeypatch.setattr(onnx_session, "providers", lambda device: ["CPUExecutionProvider"])  # what ONNX Runtime falls back to
    onnx_session.OnnxModel(path, "cpu")
    with pytest.raises(ValueError, match="expected a model on cuda, got it on the CPU"):
        onnx_session.OnnxModel(path, "cuda")


def test_networks_of_a_fixed_side_are_refused_another_when_they_are_opened(tmp_path: Path) -> None:
    fixed = str(write_affine(tmp_path / "fixed.onnx", 1.0, 0.0, size=(320, 320)))
    for wrong in (
        Matte(segmenter="onnx", weights=fixed, input_size=512),
        Parse(parser="onnx", weights=fixed, input_size=512),
    ):
        with pytest.raises(ConfigError, match=r"1 x 3 x 512 x 512 .* takes 1 x 3 x 320 x 320; set input_size"):
            wrong.open()
    Matte(segmenter="onnx", weights=fixed, input_size=320).open()
    free = str(write_affine(tmp_path / "free.onnx", 1.0, 0.0))
    Parse(parser="onnx", weights=free, input_size=512).open()


def test_networks_that_take_colours_last_are_refused_when_they_are_opened(tmp_path: Path) -> None:
    model = onnx_session.OnnxModel(write_affine(tmp_path / "m.onnx", 1.0, 0.0))
    model.input_shape = (1, 320, 320, 3)
    with pytest.raises(ConfigError, match="1 x 320 x 320 x 3"):
        model.expect_side(320)
