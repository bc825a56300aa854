"""Guarantees of the network parser: the class map decides, the matte rules, sides follow the head."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from spherehead.datasets.classes import CLASSES, INDEX
from spherehead.manifests.config import ConfigError
from spherehead.pipeline.annotators.parsers import onnx_parser
from spherehead.pipeline.backends.onnx_session import OnnxModel

onnx = pytest.importorskip("onnx", reason="onnx writes the small models of this test; pip install onnx")


def write_projection(path: Path, matrix: np.ndarray, labels: bool = False) -> Path:
    """Write a network with scores = matrix (C, 3) applied to each pixel's normalised RGB, or their strongest label."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [helper.make_node("Conv", ["x", "w"], ["scores"])]
    out = onnx.helper.make_tensor_value_info("scores", kind, [1, len(matrix), "h", "w"])
    if labels:
        nodes.append(helper.make_node("ArgMax", ["scores"], ["y"], axis=1, keepdims=0))
        out = helper.make_tensor_value_info("y", onnx.TensorProto.INT64, [1, "h", "w"])
    weight = helper.make_tensor("w", kind, [len(matrix), 3, 1, 1], matrix.astype(np.float32).ravel().tolist())
    graph = helper.make_graph(nodes, "p", [helper.make_tensor_value_info("x", kind, [1, 3, "h", "w"])], [out], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def class_map(path: Path, names: list[str | None]) -> str:
    path.write_text(json.dumps({"classes": names}))
    return str(path)


PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Mean and deviation that leave RGB as it is."""


@pytest.mark.parametrize("labels", [False, True])
def test_strongest_class_goes_through_the_class_map(tmp_path: Path, labels: bool) -> None:
    model = OnnxModel(write_projection(tmp_path / "m.onnx", 20.0 * np.eye(3), labels))
    table = onnx_parser.load_class_map(class_map(tmp_path / "map.json", ["hair", "cloth", None]))
    picture = np.zeros((64, 96, 3), dtype=np.uint8)[:64, :64]
    picture[:20, :, 0], picture[20:40, :, 1], picture[40:, :, 2] = 255, 255, 255
    answer = onnx_parser.run(model, table, picture, 64, *PLAIN)
    assert (answer.classes[:18] == INDEX["hair"]).all()
    assert (answer.classes[22:38] == INDEX["cloth"]).all()
    assert (answer.classes[42:] == 0).all()
    assert answer.certainty[10, 10] == pytest.approx(1.0, abs=1e-4)


def test_certainty_is_the_softmax_probability(tmp_path: Path) -> None:
    model = OnnxModel(write_projection(tmp_path / "m.onnx", np.array([[2.0, 0, 0], [0, 1.0, 0], [0, 0, 0.5]])))
    table = onnx_parser.load_class_map(class_map(tmp_path / "map.json", ["skin", "hair", "cloth"]))
    answer = onnx_parser.run(model, table, np.full((16, 16, 3), 255, dtype=np.uint8), 16, *PLAIN)
    scores = np.array([2.0, 1.0, 0.5])
    assert np.allclose(answer.certainty, np.exp(2.0) / np.exp(scores).sum(), atol=1e-5)


@pytest.mark.parametrize("name", onnx_parser.SHIPPED)
def test_shipped_maps_name_every_class_once(name: str) -> None:
    assert sorted(onnx_parser.load_class_map(name)) == list(range(len(CLASSES)))


def test_shipped_orders_are_the_published_ones() -> None:
    """Positions as in the projects' own label lists: face-parsing.PyTorch; CelebAMask-HQ and jonathandinu/face-parsing."""
    bisenet, segformer = (onnx_parser.load_class_map(name) for name in onnx_parser.SHIPPED)
    assert [CLASSES[bisenet[i]] for i in (1, 6, 10, 14, 17)] == ["skin", "glasses", "nose", "neck", "hair"]
    assert [CLASSES[segformer[i]] for i in (2, 3, 10, 13, 17, 18)] == ["nose", "glasses", "mouth", "hair", "neck", "cloth"]


def test_wrong_maps_are_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="celebamask-hq, segformer"):
        onnx_parser.load_class_map("celebamask")
    with pytest.raises(ConfigError, match="left_brow"):
        onnx_parser.load_class_map(class_map(tmp_path / "typo.json", ["left_brov"]))
    model = OnnxModel(write_projection(tmp_path / "m.onnx", np.eye(3)))
    table = onnx_parser.load_class_map(class_map(tmp_path / "short.json", ["skin", "hair"]))
    with pytest.raises(ConfigError, match="3 classes, the class map names 2"):
        onnx_parser.run(model, table, np.zeros((8, 8, 3), dtype=np.uint8), 8, *PLAIN)


def test_map_agrees_with_the_matte() -> None:
    classes = np.zeros((10, 10), dtype=np.uint8)
    classes[:, :3], classes[:, 7:] = INDEX["hair"], INDEX["cloth"]
    inside = np.zeros((10, 10), dtype=bool)
    inside[2:8] = True
    agreed = onnx_parser.within_matte(classes, inside)
    assert ((agreed > 0) == inside).all()
    assert agreed[4, 3] == INDEX["hair"] and agreed[4, 6] == INDEX["cloth"]
    assert not onnx_parser.within_matte(np.zeros_like(classes), inside).any()


def test_paired_classes_take_the_side_on_which_they_lie() -> None:
    classes = np.zeros((8, 8), dtype=np.uint8)
    classes[3, 1:3], classes[3, 5:7] = INDEX["left_eye"], INDEX["right_eye"]  # as a network that means image left
    places = {name: np.array([6.0 if name.startswith("left") else 2.0, 3.5]) for name in CLASSES if "_" in name}
    sided = onnx_parser.sides_by_place(classes, places)
    assert (sided[3, 1:3] == INDEX["right_eye"]).all() and (sided[3, 5:7] == INDEX["left_eye"]).all()
