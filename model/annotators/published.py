"""Finished networks read back from runs and exported files, so that they are judged and training continues from them.

`export` folds batch norms into convolutions and rounds to halves or eight bits; both are undone as far as they can be: the
network computes what the file does, in single precision, and its batch norms are set to the statistics of pictures given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...datasets.arrays import Array
from ...manifests.config import ConfigError
from ..nets.efficientnet import ConvNorm
from .checkpoint import CHECKPOINT, lacking, load_average, read
from .networks import NETWORKS

LAYERS = {"Conv", "Gemm"}


def begun(start: str, *tasks: str) -> tuple[str, nn.Module]:
    """Return the task and the network in evaluation mode of a run's folder or of an exported file, to start another one from.

    Args:
        start: folder of `annotators train`, whose averaged weights are taken, or an ONNX file named after its task.
        tasks: what may come.

    Raises:
        ConfigError: it is neither, or of another task.
    """
    path = Path(start)
    if path.suffix == ".onnx":
        name = path.stem
    elif (path / CHECKPOINT).is_file():
        name = read(path / CHECKPOINT)[0]
    else:
        raise ConfigError(f"expected a run of `annotators train` or an ONNX file, got {start}")
    if name not in tasks:
        raise ConfigError(f"{start} is of the task '{name}'; expected {' or '.join(tasks)}")
    if path.suffix != ".onnx":
        return averaged(path)[:2]
    network = NETWORKS[name]()
    load_exported(path, network)
    return name, network.eval()


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


def finished(start: str) -> tuple[str, nn.Module, int]:
    """Return the task of a run or of an exported file, its network in evaluation mode, and the pictures that a run has shown.

    Args:
        start: as for `begun`; of any task.

    Raises:
        ConfigError: it is neither.
    """
    if not start.endswith(".onnx"):
        return averaged(Path(start))
    return *begun(start, *NETWORKS), 0


def load_exported(path: Path, network: nn.Module) -> None:
    """Fill a network with the weights of an ONNX file that `annotators export` wrote.

    In evaluation mode it then answers as the file does, but for what eight bits round of the layers' answers; batch norms only
    shift. Before training, `settle` them on pictures. A parser's file of before has no beards: those layers then stay as they
    are, and say of hardly any hair that it is beard.

    Args:
        path: the ONNX file, of half precision or of eight bits.
        network: one of `NETWORKS`, of the file's task; changed in place.

    Raises:
        ConfigError: `onnx` is not installed, or the file holds no such network.
    """
    try:
        layers = _layers(path)
    except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        words = f"expected a network that `annotators export` wrote in {path}, got another ({type(error).__name__}: {error})"
        raise ConfigError(words) from error
    absent = lacking(network, layers)
    for name, module in network.named_modules():
        if isinstance(module, ConvNorm) and not name.startswith(absent):
            weight, bias = _pair(layers, name, path)
            convolution: Any = module.conv
            norm: Any = module.norm
            _fill(convolution.weight, weight, name, path)
            _fill(norm.bias, bias, name, path)
            with torch.no_grad():
                norm.weight.fill_(1.0)
                norm.running_mean.zero_()
                norm.running_var.fill_(1.0 - norm.eps)
    for name in ("maps", "numbers", "beard.last"):
        layer: Any = dict(network.named_modules()).get(name)
        if layer is not None and not name.startswith(absent):
            weight, bias = _pair(layers, name, path)
            _fill(layer.weight, weight, name, path)
            _fill(layer.bias, bias, name, path)


@torch.no_grad()
def settle(network: nn.Module, pictures: Tensor) -> None:
    """Give each batch norm the mean and the spread of what it sees, without changing what the network computes.

    Afterwards a step of training, which norms by a batch's own statistics, begins where the network is.

    Args:
        network: as `load_exported` left it; changed in place, left in evaluation mode.
        pictures: (B, 3, H, W) input like that of the training.
    """
    seen: dict[nn.BatchNorm2d, tuple[Tensor, Tensor]] = {}

    def look(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        seen[norm] = (given[0].mean((0, 2, 3)), given[0].var((0, 2, 3)))

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    network.eval()(pictures)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        mean, spread = seen[norm]
        old_mean, old_spread = norm.running_mean, norm.running_var
        assert old_mean is not None and old_spread is not None
        gain = norm.weight / torch.sqrt(old_spread + norm.eps)
        norm.bias.copy_(norm.bias + gain * (mean - old_mean))
        norm.weight.copy_(gain * torch.sqrt(spread + norm.eps))
        old_mean.copy_(mean)
        old_spread.copy_(spread)


def _pair(layers: dict[str, tuple[Array, Array]], name: str, path: Path) -> tuple[Array, Array]:
    if name not in layers:
        raise ConfigError(f"{path} has no layer '{name}'; expected a network that `annotators export` wrote for this task")
    return layers[name]


def _fill(parameter: Tensor, values: Array, name: str, path: Path) -> None:
    if tuple(values.shape) != tuple(parameter.shape):
        raise ConfigError(f"{path}: expected {tuple(parameter.shape)} numbers in layer '{name}', got {values.shape}")
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.array(values, dtype=np.float32)))


def _layers(path: Path) -> dict[str, tuple[Array, Array]]:
    """Return weights and biases of the file's layers by the names of their modules."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise ConfigError("onnx is not installed; pip install 'spherehead-toolkit[annotators]'") from error
    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # protobuf and onnx raise many kinds
        raise ConfigError(f"expected an ONNX file at {path}: {type(error).__name__}: {error}") from error
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made = {output: node for node in graph.node for output in node.output}
    found = {}
    for node in graph.node:
        if node.op_type in LAYERS and len(node.input) == 3:
            found[_module_of(node.name)] = (_value(node.input[1], known, made), _value(node.input[2], known, made))
    return found


def _module_of(node: str) -> str:
    """Return the name of a layer's module, or of the `ConvNorm` that it is in.

    "/network/encoder/blocks.0/project/project.0/Conv" is "encoder.blocks.0.project", "/network/maps/Conv" is "maps".
    """
    parts: list[str] = []
    for part in node.split("/")[1:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()  # a sequence's own name comes before its item's
        parts.append(part)
    name = ".".join(parts).removeprefix("network.")
    start, _, last = name.rpartition(".")
    return start if last.isdigit() else name


def _value(name: str, known: dict[str, Array], made: dict[str, Any]) -> Array:
    """Return the numbers that a layer's input stands for, out of halves and eight bits."""
    if name in known:
        return np.asarray(known[name], dtype=np.float32)
    node = made[name]
    if node.op_type == "DequantizeLinear":
        values, scale, zero = (np.asarray(known[given]) for given in node.input)
        axis = next((item.i for item in node.attribute if item.name == "axis"), 1)
        shape = [-1 if place == axis and scale.ndim else 1 for place in range(values.ndim)]
        return np.asarray((values.astype(np.float32) - zero.astype(np.float32).reshape(shape)) * scale.reshape(shape))
    return _value(node.input[0], known, made)  # Cast and Identity
