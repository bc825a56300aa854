"""Adds the output `beard` to an exported parser without changing what else it says by a bit.

The new layers learn from what the file's own layers make of pictures and are grafted onto its graph. `annotators retrain` has
no need of it: there all of a parser is trained together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...datasets.arrays import Array
from ...manifests.config import ConfigError, to_plain
from ...manifests.store import file_sha256, write_bytes, write_json
from .export import traced
from .losses import beard_loss
from .networks import PARSER_CROP, BeardHead
from .parsing import ParserTask

TAPS = ("/network/ups.2/narrow/narrow.0/Conv", "/network/ups.3/narrow/narrow.0/Conv")
"""Nodes of an exported parser whose first inputs are the two levels of the decoder that `BeardHead` looks at."""
BEARD = "beard"
"""Name of the output, and of what is added to the graph."""


@dataclass(frozen=True)
class BeardFit:
    """How the new layers are trained."""

    pictures: int = 1_000
    """Crops that the file's own layers are run on, once."""
    passes: int = 16
    """How often each crop is shown to the new layers."""
    batch: int = 8
    lr: float = 4e-3
    """First learning rate of AdamW; it falls to 0 along a cosine."""
    weight_decay: float = 0.02
    seed: int = 7
    """Seed of the crops, the first weights and the order."""


class _Beard(nn.Module):
    """Gives the new layers the names that they have in an exported `ParserNet`."""

    def __init__(self, beard: BeardHead) -> None:
        super().__init__()
        self.beard = beard

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        answer: Tensor = self.beard(coarse, fine)
        return answer


class _Chance(nn.Module):
    """The new layers' answer as a chance."""

    def __init__(self, beard: BeardHead) -> None:
        super().__init__()
        self.network = _Beard(beard)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        answer: Tensor = self.network(coarse, fine).sigmoid()
        return answer


def grafted(model: Any, beard: BeardHead) -> Any:
    """Return an `onnx.ModelProto` with one output more, `beard`: the chance that hair there is beard.

    Nothing that is there is touched, so that the other outputs stay as they are.

    Args:
        model: a parser that `annotators export` wrote; where it tells of beards, what does is left out first.
        beard: the new layers.

    Raises:
        ConfigError: the model is no parser.
    """
    from onnx import TensorProto, helper

    found = without_beard(model)
    levels = _levels(found)
    axes = {name: {0: "batch"} for name in (*levels, BEARD)}
    side = PARSER_CROP // 8
    examples = (torch.zeros(1, 64, side, side), torch.zeros(1, 48, 2 * side, 2 * side))
    part = traced(_Chance(beard), examples, [BEARD], axes, levels).graph
    kept = {*levels, BEARD, ""}
    for node in part.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = name if name in kept else f"{BEARD}:{name}"
        node.name = node.name if node.name.startswith(f"/network/{BEARD}/") else f"/network/{BEARD}{node.name}"
    for tensor in part.initializer:
        tensor.name = f"{BEARD}:{tensor.name}"
    found.graph.node.extend(part.node)
    found.graph.initializer.extend(part.initializer)
    shape: list[str | int | None] = ["batch", 1, PARSER_CROP // 2, PARSER_CROP // 2]
    found.graph.output.append(helper.make_tensor_value_info(BEARD, TensorProto.FLOAT, shape))
    return found


def without_beard(model: Any) -> Any:
    """Return an `onnx.ModelProto` without the output `beard` and all that only it needs; a copy where there is none."""
    from onnx import ModelProto

    found = ModelProto()
    found.CopyFrom(model)
    graph = found.graph
    outputs = [output for output in graph.output if output.name != BEARD]
    if len(outputs) == len(graph.output):
        return found
    needed, nodes = {output.name for output in outputs}, list[Any]()
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    for part, kept in ((graph.output, outputs), (graph.node, nodes[::-1]), (graph.initializer, weights)):
        copies = [type(item).FromString(item.SerializeToString()) for item in kept]
        del part[:]
        part.extend(copies)
    return found


def _levels(model: Any) -> list[str]:
    """Return the names of the two levels of the decoder that `BeardHead` looks at.

    Raises:
        ConfigError: the model is no parser.
    """
    first = {node.name: node.input[0] for node in model.graph.node if node.name in TAPS}
    outputs = [output.name for output in model.graph.output]
    if set(first) != set(TAPS) or outputs[:2] != ["classes", "alpha"]:
        raise ConfigError(f"expected a parser that `annotators export` wrote, got a model that gives {', '.join(outputs)}")
    return [first[name] for name in TAPS]


def features(model: Any, task: ParserTask, numbers: list[int]) -> Iterator[tuple[Array, Array, Array, Array]]:
    """Yield what an exported parser's decoder makes of crops: both levels, the classes' logits, and the truth of beard.

    Args:
        model: an exported parser.
        task: on views that tell of beards.
        numbers: of the crops.

    Returns:
        For each crop (64, 32, 32) and (48, 64, 64) float16 levels, (19, 128, 128) float32 logits, and (128, 128) int8 as
        `Crop.beard` has it.
    """
    import onnxruntime
    from onnx import ModelProto, TensorProto, helper

    open_model = ModelProto()
    open_model.CopyFrom(model)
    levels = _levels(open_model)
    for name in levels:
        open_model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = chosen.inter_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(open_model.SerializeToString(), chosen, providers=["CPUExecutionProvider"])
    for number in numbers:
        picture, truth = task.batch([number])
        classes, coarse, fine = session.run(["classes", *levels], {"picture": picture.numpy()})
        yield coarse[0].astype(np.float16), fine[0].astype(np.float16), classes[0], truth["beard"][0].numpy().astype(np.int8)


def fit(levels: tuple[Array, Array], truth: Array, settings: BeardFit) -> BeardHead:
    """Train the new layers on frozen features; the same input gives the same weights.

    Args:
        levels: (N, 64, 32, 32) and (N, 48, 64, 64) float16, see `features`.
        truth: (N, 128, 128) int8.
        settings: how.

    Returns:
        The layers in evaluation mode.
    """
    torch.manual_seed(settings.seed)
    beard, order = BeardHead(), np.random.default_rng(settings.seed)
    optimiser = torch.optim.AdamW(beard.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    steps = settings.passes * -(-len(truth) // settings.batch)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(settings.passes):
        for chosen in np.array_split(order.permutation(len(truth)), steps // settings.passes):
            coarse, fine = (torch.from_numpy(level[np.sort(chosen)].astype(np.float32)) for level in levels)
            said = beard(coarse, fine)[:, 0]
            loss = beard_loss(said, torch.from_numpy(truth[np.sort(chosen)].astype(np.float32)))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            falling.step()
    return beard.eval()


def add_beards(path: Path, task: ParserTask, settings: BeardFit, out: Path, threads: int = 1) -> Path:
    """Write `parser.onnx` with the output `beard`, and its card, from a parser and the card beside it.

    Args:
        path: the exported parser; what it tells of beards already is replaced.
        task: on views that tell of beards.
        settings: how the new layers are trained.
        out: folder that the two files are written to.
        threads: threads of the process.

    Returns:
        The ONNX file.

    Raises:
        ConfigError: the file is no parser, or no view tells of beards.
    """
    import onnx

    torch.set_num_threads(threads)
    model = without_beard(onnx.load(str(path)))
    found = [(coarse, fine, beard) for coarse, fine, _, beard in features(model, task, list(range(settings.pictures)))]
    coarse, fine, truth = (np.stack(part) for part in zip(*found, strict=True))
    if not (truth == 1).any():
        raise ConfigError(
            "expected views with beards, whose shards hold beard.png; `annotators views --hair grown` writes some"
        )
    made = grafted(model, fit((coarse, fine), truth, settings))
    out.mkdir(parents=True, exist_ok=True)
    target = out / "parser.onnx"
    write_bytes(target, made.SerializeToString())
    card = {**json.loads(path.with_suffix(".json").read_text(encoding="utf-8")), "sha256": file_sha256(target)}
    card["beard"] = {"fit": to_plain(settings), "added_to": file_sha256(path)}
    write_json(out / "parser.json", card)
    return target
