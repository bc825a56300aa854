"""From a run to an ONNX file with half-precision weights or in eight bits, and the card that says what it is and how good.

The file is read by `pipeline.annotators.heads`; between the two lie only the file and its sha256.
"""

from __future__ import annotations

import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...datasets.arrays import Array
from ...manifests.config import ConfigError
from ...manifests.store import file_sha256, write_bytes, write_json
from .checkpoint import read_settings
from .evaluation import calm
from .networks import CROP, PARSER_CROP, FinderNet, HeadNet, ParserNet
from .parsing import ParserTask, calm_parser
from .published import averaged
from .shown.views import Views
from .tasks import FinderTask, HeadTask, Task

OPSET = 17
CALIBRATION, CALIBRATION_SEED = 48, 1
"""Pictures that the ranges of eight bits are taken from, and the seed of their crops."""
ANSWERS = ("/maps/", "/numbers/", "/beard/")
"""Parts of the names of layers that stay as they are."""
SMALLEST_HALVED = 64
"""Tensors with fewer numbers stay in full precision."""


class _Raw(nn.Module):
    """The head network's plain outputs, chances instead of logits where they are maps."""

    def __init__(self, network: HeadNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        numbers, maps = self.network.raw(picture)
        return numbers, maps[:, :-1], maps[:, -1:].sigmoid()


class _Maps(nn.Module):
    """The parser's logits of classes, and coverage and hair being beard as chances."""

    def __init__(self, network: ParserNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        classes, cover, beard = self.network(picture)
        return classes, cover[:, None].sigmoid(), beard[:, None].sigmoid()


class _Heat(nn.Module):
    """The finder's maps, the first one as a chance."""

    def __init__(self, network: FinderNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.network(picture)
        return maps[:, :1].sigmoid(), maps[:, 1:]


def onnx_bytes(name: str, network: nn.Module, pictures: Array | None = None) -> bytes:
    """Return the ONNX model of a network, weights in half precision and computed in single precision, or in eight bits.

    Args:
        name: key of `NETWORKS`.
        network: one of that kind.
        pictures: (N, 3, H, W) float32 inputs to calibrate eight bits on; None for half precision.

    Raises:
        ConfigError: `onnx` is not installed.
    """
    if name == "head":
        wrapped: nn.Module = _Raw(network)  # type: ignore[arg-type]
        size, outputs, free = CROP, ["numbers", "classes", "alpha"], {0: "batch"}
    elif name == "parser":
        wrapped = _Maps(network)  # type: ignore[arg-type]
        size, outputs, free = PARSER_CROP, ["classes", "alpha", "beard"], {0: "batch"}
    else:
        wrapped = _Heat(network)  # type: ignore[arg-type]
        size, outputs, free = 192, ["heat", "boxes"], {0: "batch", 2: "height", 3: "width"}
    axes = {"picture": free, **dict.fromkeys(outputs, free)}
    model = traced(wrapped, torch.zeros(1, 3, size, size), outputs, axes)
    return halved(model) if pictures is None else quantised(model, pictures)


def traced(
    network: nn.Module, examples: Tensor | tuple[Tensor, ...], outputs: Sequence[str], axes: dict[str, dict[int, str]],
    sources: Sequence[str] = ("picture",),
) -> Any:  # fmt: skip
    """Return the `onnx.ModelProto` of a network.

    Args:
        network: what it is traced of.
        examples: an input, or one for each name in `sources`.
        outputs: names.
        axes: names of the free dimensions of input and outputs.
        sources: names of the inputs.

    Raises:
        ConfigError: `onnx` is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise ConfigError("onnx is not installed; pip install 'spherehead-toolkit[annotators]'") from error
    buffer = io.BytesIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(), examples if isinstance(examples, tuple) else (examples,), buffer,  # type: ignore[arg-type]
            input_names=list(sources), output_names=list(outputs),
            dynamic_axes=axes, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    return onnx.load_model_from_string(buffer.getvalue())


def halved(model: Any) -> bytes:
    """Return an ONNX model's bytes with its larger weights in half precision, each cast back where it is used.

    ONNX Runtime folds the casts when it loads the file, so only the file is smaller.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALLEST_HALVED:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def quantised(model: Any, pictures: Array) -> bytes:
    """Return the bytes of an ONNX model with eight-bit weights and activations.

    Weights take seven of the eight bits: on a CPU without VNNI, sums of two products of eight bits saturate at sixteen.

    Args:
        model: an `onnx.ModelProto` in single precision whose only input is `picture`.
        pictures: (N, 3, H, W) float32 inputs like those at work; ranges are the least and the largest value that they give.

    Raises:
        ConfigError: `onnx` or ONNX Runtime is not installed.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed; pip install 'spherehead-toolkit[annotators]'") from error
    root = logging.getLogger()
    level = root.level
    with tempfile.TemporaryDirectory() as name:
        whole, folded, out = (Path(name) / f"{step}.onnx" for step in ("whole", "folded", "quantised"))
        whole.write_bytes(model.SerializeToString())  # given as an object it would be changed
        try:
            root.setLevel(logging.ERROR)
            quant_pre_process(whole, folded, skip_symbolic_shape=True)
            kept = [node.name for node in onnx.load(folded).graph.node if any(part in node.name for part in ANSWERS)]
            quantize_static(
                folded, out, _Pictures(pictures), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_exclude=kept,
            )  # fmt: skip
        finally:
            root.setLevel(level)
        return out.read_bytes()


class _Pictures:
    """Calibration pictures, one at a time, as the quantiser asks for them."""

    def __init__(self, pictures: Array) -> None:
        self._left: Iterator[Array] = iter(pictures)

    def get_next(self) -> dict[str, Array] | None:
        picture = next(self._left, None)
        return None if picture is None else {"picture": picture[None]}

    def set_range(self, start_index: int, end_index: int) -> None:
        """Do nothing: all pictures are read in one range."""


def calibration(name: str, data: Sequence[Path], count: int) -> Array:
    """Return (N, 3, H, W) float32 inputs of a network as it meets them at work, from views of folders of shards."""
    views = Views(data)
    if name == "head":
        task: Task = calm(HeadTask(views, CALIBRATION_SEED))
    else:
        task = calm_parser(ParserTask(views, CALIBRATION_SEED)) if name == "parser" else FinderTask(views, CALIBRATION_SEED)
    return np.concatenate([task.batch([number])[0].numpy() for number in range(count)])


def _trained_in(run: Path) -> dict[str, str]:
    """Return the precision that a run tells it was trained in, for its card."""
    precision = read_settings(run).get("precision")
    return {} if precision is None else {"trained_in": precision}


def export(run: Path, out: Path, card: dict[str, Any], calibrate: Sequence[Path] = (), count: int = CALIBRATION) -> Path:
    """Write `<task>.onnx` and `<task>.json` of a run.

    Args:
        run: folder of `annotators train`.
        out: folder that the two files are written to.
        card: what the card says beside task, pictures seen and sha256: data, seeds, numbers, licence.
        calibrate: folders of shards whose views decide the ranges of eight bits; none for half-precision weights.
        count: number of pictures that they decide them by.

    Returns:
        The ONNX file.
    """
    name, network, images = averaged(run)
    path = out / f"{name}.onnx"
    out.mkdir(parents=True, exist_ok=True)
    write_bytes(path, onnx_bytes(name, network, calibration(name, calibrate, count) if calibrate else None))
    precision = f"int8, calibrated on {count} pictures" if calibrate else "float16 weights"
    told = {
        "precision": precision,
        "task": name,
        "pictures": images,
        **_trained_in(run),
        "sha256": file_sha256(path),
        "licence": "Apache-2.0",
        **card,
    }
    write_json(out / f"{name}.json", told)
    return path
