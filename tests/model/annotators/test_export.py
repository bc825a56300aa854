"""Guarantees of the networks in eight bits: they say what the network says, and the layers that answer keep their weights."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from spherehead.model.annotators.export import quantised


def small_network(draw: np.random.Generator) -> onnx.ModelProto:
    """Two convolutions with ReLU6 and one that answers, named as the exported networks name theirs."""
    kernels = {
        "one": draw.normal(size=(16, 3, 3, 3)),
        "two": draw.normal(size=(16, 16, 1, 1)) / 4,
        "last": draw.normal(size=(4, 16, 3, 3)) / 12,
    }
    weights = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in kernels.items()]
    weights += [numpy_helper.from_array(np.float32(value), name) for name, value in (("zero", 0), ("six", 6))]
    nodes = [
        helper.make_node("Conv", ["picture", "one"], ["a"], name="/network/one/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["a", "zero", "six"], ["b"], name="/network/one/Clip"),
        helper.make_node("Conv", ["b", "two"], ["c"], name="/network/two/Conv"),
        helper.make_node("Clip", ["c", "zero", "six"], ["d"], name="/network/two/Clip"),
        helper.make_node("Conv", ["d", "last"], ["classes"], name="/network/maps/Conv", pads=[1, 1, 1, 1]),
    ]
    inputs = [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["batch", 3, 32, 32])]
    outputs = [helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["batch", 4, 32, 32])]
    graph = helper.make_graph(nodes, "small", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_eight_bits_say_what_single_precision_says_and_the_answering_layer_keeps_its_weights() -> None:
    draw = np.random.default_rng(0)
    network = small_network(draw)
    pictures = draw.uniform(-1, 1, (8, 3, 32, 32)).astype(np.float32)
    made = quantised(network, pictures)
    assert made == quantised(network, pictures)
    fresh = draw.uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32)
    exact, rounded = (
        onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"picture": fresh})[0]
        for data in (network.SerializeToString(), made)
    )
    assert 0.0 < np.sqrt(np.mean((rounded - exact) ** 2)) < 0.03 * exact.std()
    kept = {tensor.name: tensor.data_type for tensor in onnx.load_model_from_string(made).graph.initializer}
    assert kept["last"] == TensorProto.FLOAT and kept["one_quantized"] == kept["two_quantized"] == TensorProto.INT8
