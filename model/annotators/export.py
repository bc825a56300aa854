"""From a run to an ONNX file with half-precision weights, and the card that says what it is and how good.

The file is read by `pipeline.annotators.heads`; between the two lie only the file and its sha256.
"""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...manifests.config import ConfigError
from ...manifests.store import file_sha256, write_bytes, write_json
from .checkpoint import CHECKPOINT, load_average, read
from .networks import CROP, PARSER_CROP, FinderNet, HeadNet, ParserNet

OPSET = 17
NETWORKS: dict[str, type[HeadNet] | type[ParserNet] | type[FinderNet]] = {
    "head": HeadNet, "parser": ParserNet, "finder": FinderNet,
}  # fmt: skip
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
    """The parser's logits of classes, and coverage as a chance."""

    def __init__(self, network: ParserNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        classes, cover = self.network(picture)
        return classes, cover[:, None].sigmoid()


class _Heat(nn.Module):
    """The finder's maps, the first one as a chance."""

    def __init__(self, network: FinderNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.network(picture)
        return maps[:, :1].sigmoid(), maps[:, 1:]


def averaged(run: Path) -> tuple[str, nn.Module, int]:
    """Return a run's task, its averaged network in evaluation mode, and the pictures it has seen.

    Raises:
        ConfigError: the folder holds no run.
    """
    path = run / CHECKPOINT
    if not path.is_file():
        raise ConfigError(f"no {CHECKPOINT} in {run}; expected a folder that `annotators train` wrote")
    name = read(path)[0]
    network = NETWORKS[name]()
    images = load_average(path, network)
    return name, network.eval(), images


def onnx_bytes(name: str, network: nn.Module) -> bytes:
    """Return the ONNX model of a network, weights in half precision and computed in single precision.

    Raises:
        ConfigError: `onnx` is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise ConfigError("onnx is not installed; pip install 'spherehead-toolkit[annotators]'") from error
    if name == "head":
        wrapped: nn.Module = _Raw(network)  # type: ignore[arg-type]
        size, outputs, free = CROP, ["numbers", "classes", "alpha"], {0: "batch"}
    elif name == "parser":
        wrapped = _Maps(network)  # type: ignore[arg-type]
        size, outputs, free = PARSER_CROP, ["classes", "alpha"], {0: "batch"}
    else:
        wrapped = _Heat(network)  # type: ignore[arg-type]
        size, outputs, free = 192, ["heat", "boxes"], {0: "batch", 2: "height", 3: "width"}
    buffer = io.BytesIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            wrapped.eval(), (torch.zeros(1, 3, size, size),), buffer,  # type: ignore[arg-type]
            input_names=["picture"], output_names=outputs,
            dynamic_axes={"picture": free, **dict.fromkeys(outputs, free)}, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    return halved(onnx.load_model_from_string(buffer.getvalue()))


def halved(model: Any) -> bytes:
    """Return an ONNX model's bytes with its larger weights in half precision, each cast back where it is used.

    ONNX Runtime folds the casts when it loads the file, so only the file is smaller.
    """
    import numpy as np
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


def export(run: Path, out: Path, card: dict[str, Any]) -> Path:
    """Write `<task>.onnx` and `<task>.json` of a run.

    Args:
        run: folder of `annotators train`.
        out: folder that the two files are written to.
        card: what the card says beside task, pictures seen and sha256: data, seeds, numbers, licence.

    Returns:
        The ONNX file.
    """
    name, network, images = averaged(run)
    path = out / f"{name}.onnx"
    out.mkdir(parents=True, exist_ok=True)
    write_bytes(path, onnx_bytes(name, network))
    told = {"task": name, "pictures": images, "sha256": file_sha256(path), "licence": "Apache-2.0", **card}
    write_json(out / f"{name}.json", told)
    return path
