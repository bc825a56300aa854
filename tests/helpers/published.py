"""Checkpoints as the published training writes them, from the reference numbers: persistent objects that carry source text,
EasyDicts, plain modules by name, tensors as torch files inside the pickle. Only the format is theirs; every line is ours."""

from __future__ import annotations

import contextlib
import json
import pickle
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

SOURCE = "raise SystemExit('the source text of a checkpoint was run')\n"
BUFFERS = ("noise_const", "resample_filter", "w_avg")


class EasyDict(dict):
    """A mapping whose items are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def _reconstruct_persistent_obj(meta: Any) -> Any:
    raise AssertionError("the published loader was called")


class Persistent(nn.Module):
    """A module that pickles as its source text and state."""

    def __reduce__(self) -> Any:
        state = dict(self.__dict__)
        name = state.pop("published_name")
        meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": name, "state": state}
        return _reconstruct_persistent_obj, (meta,), None


class OSGDecoder(nn.Module):
    """A module that pickles by its name."""


class ImportanceRenderer(nn.Module):
    """Another, with a tensor that is no buffer and a module without tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.ray_marcher, self.plane_axes = MipRayMarcher2(), torch.eye(3).repeat(3, 1, 1)


class MipRayMarcher2(nn.Module):
    """A third."""


HOMES: dict[str, tuple[Any, ...]] = {
    "dnnlib.util": (EasyDict,),
    "torch_utils.persistence": (_reconstruct_persistent_obj,),
    "training.triplane": (OSGDecoder,),
    "training.volumetric_rendering.renderer": (ImportanceRenderer,),
    "training.volumetric_rendering.ray_marcher": (MipRayMarcher2,),
}
"""Where the published code defines what a pickle names."""


@contextlib.contextmanager
def published_names() -> Iterator[None]:
    """Let these classes have the published names while a pickle is written, and only then."""
    before = dict(sys.modules)
    homes = {thing: thing.__module__ for things in HOMES.values() for thing in things}
    try:
        for name, things in HOMES.items():
            for depth in range(1, name.count(".") + 2):
                part = ".".join(name.split(".")[:depth])
                sys.modules.setdefault(part, ModuleType(part))
            for thing in things:
                thing.__module__ = name
                setattr(sys.modules[name], thing.__name__, thing)
        yield
    finally:
        for thing, home in homes.items():
            thing.__module__ = home
        for name in set(sys.modules) - set(before):
            if name.split(".")[0] in ("dnnlib", "torch_utils", "training"):
                del sys.modules[name]


def persistent(name: str, kwargs: Mapping[str, Any] | None = None) -> Persistent:
    module = Persistent()
    module.published_name = name
    module._init_args, module._init_kwargs = (), easy(kwargs or {})
    return module


def easy(value: Any) -> Any:
    return EasyDict({key: easy(item) for key, item in value.items()}) if isinstance(value, Mapping) else value


def network(name: str, tensors: Mapping[str, torch.Tensor], kwargs: Mapping[str, Any]) -> Persistent:
    """Hang tensors into modules by their names, each of the kind that the published network has there."""
    root = persistent(name, kwargs)
    if any(key.startswith("decoder.") for key in tensors):
        root.decoder = OSGDecoder()
        root.decoder.net = nn.Sequential(persistent("FullyConnectedLayer"), nn.Softplus(), persistent("FullyConnectedLayer"))
        root.renderer = ImportanceRenderer()
    for full, tensor in tensors.items():
        *path, last = full.split(".")
        module: nn.Module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, persistent("Layer"))
            module = module._modules[part]  # type: ignore[assignment]
        if last in BUFFERS:
            module.register_buffer(last, tensor)
        else:
            module.register_parameter(last, nn.Parameter(tensor, requires_grad=False))
    return root


def reference(shared: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(shared / "reference" / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def snapshot(arrays: Mapping[str, np.ndarray], dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Return what the published training pickles every so often; G, not averaged, has half the weights of G_ema."""
    config = json.loads(str(arrays["config_json"]))
    tensors = {
        side: {key[2:]: torch.tensor(value, dtype=dtype) for key, value in arrays.items() if key.startswith(f"{side}.")}
        for side in "GD"
    }
    rendering = {**config["rendering"], "c_scale": np.float64(1.0)}
    made = {}
    live = {key: tensor / 2 if key.endswith("weight") else tensor.clone() for key, tensor in tensors["G"].items()}
    for key, values in (("G", live), ("G_ema", tensors["G"])):
        kwargs = {**config["G"], "rendering_kwargs": rendering}
        made[key] = network(config.get("generator_cls", "TriPlaneGenerator"), values, kwargs)
        made[key].neural_rendering_resolution = config["neural_rendering_resolution"]
        made[key].rendering_kwargs = easy(rendering)
    judge = {key: value for key, value in config["D"].items() if key not in ("cls", "parsing_channels")}
    made["D"] = network(config["D"]["cls"], tensors["D"], judge)
    made["D"].register_buffer("dataset_label_std", torch.ones(25))
    return {"training_set_kwargs": easy({"path": "heads.zip", "use_labels": True}), "augment_pipe": None, **made}


def write(path: Path, value: Any, protocol: int = 4) -> Path:
    with published_names():
        path.write_bytes(pickle.dumps(value, protocol))
    return path
