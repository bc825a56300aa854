"""Published parameter names to this toolkit's, for generators and discriminators of the EG3D family.

It maps tensors that are already in memory; reading checkpoints without running their code, and settings, are left to its
neighbours. Every published tensor must have a place or be a known constant, and every tensor here must be filled.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

import torch
from torch import nn

from .limits import CheckpointError


class PublishedNameError(CheckpointError):
    """A published tensor without a place here, a place that stays empty or is taken, or one of another shape."""


CONSTANTS = re.compile(r"(^|\.)resample_filter$|^t_mapping\.w_avg$|(^|\.)dataset_label_std$")
"""Published buffers that are constants of the code here, or that nothing reads."""

_LAYER = (("affine.", "style."), ("noise_const", "noise_picture"))
_MAPPING = (("fc", "layers."), ("w_avg", "w_mean"))
_CONVOLUTIONS = {"conv0": "first", "conv1": "second", "torgb": "to_map", "skip": "skip"}
_DECODER = {"0": "hidden", "2": "out"}
_EPILOGUE = {"conv": "last_conv", "fc": "last_dense", "out": "out"}
_SIZE = f"b({'|'.join(str(2**power) for power in range(2, 13))})"
"""Blocks by their resolution, 4 to 4096; any other is not known."""
_STYLED = r"(conv0|conv1|torgb)\.(.+)"


def _replace(text: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for old, new in pairs:
        text = new + text.removeprefix(old) if text.startswith(old) else text
    return text


def _synthesis(prefix: str) -> Callable[[re.Match[str]], str]:
    """Names inside a synthesis network: blocks are counted here and named by resolution there."""

    def rename(match: re.Match[str]) -> str:
        block = f"{prefix}blocks.{int(math.log2(int(match[1]))) - 2}."
        return block + (f"{_CONVOLUTIONS[match[2]]}.{_replace(match[3], _LAYER)}" if match[2] else "start")

    return rename


GENERATOR: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"backbone\.mapping\.(.+)", lambda match: "mapping." + _replace(match[1], _MAPPING)),
    (rf"backbone\.synthesis\.{_SIZE}\.(?:const|{_STYLED})", _synthesis("backbone.")),
    (rf"bcg_synthesis\.{_SIZE}\.(?:const|{_STYLED})", _synthesis("background.network.")),
    (
        rf"superresolution\.block([01])\.{_STYLED}",
        lambda match: f"upsampler.blocks.{match[1]}.{_CONVOLUTIONS[match[2]]}.{_replace(match[3], _LAYER)}",
    ),
    (r"torgb\.(.+)", lambda match: "to_raw." + _replace(match[1], _LAYER)),
    (r"toparsing\.(.+)", lambda match: "parsing.to_classes." + _replace(match[1], _LAYER)),
    (r"t_mapping\.(.+)", lambda match: "camera_shift." + _replace(match[1], _MAPPING)),
    (r"decoder\.net\.([02])\.(.+)", lambda match: f"decoder.{_DECODER[match[1]]}.{match[2]}"),
    (r"Conv([AB])\.(\d)\.weight", lambda match: f"volume.heads.{'AB'.index(match[1])}.{match[2]}.weight"),
)
"""Patterns of published generator names, and what each is called here."""


def generator_name(name: str) -> str | None:
    """Return this toolkit's name of a published generator tensor; None for a constant.

    Raises:
        PublishedNameError: no such tensor is known.
    """
    if CONSTANTS.search(name):
        return None
    for pattern, rename in GENERATOR:
        match = re.fullmatch(pattern, name)
        if match:
            return rename(match)
    raise PublishedNameError(f"no place is known for the published generator tensor '{name}'")


def discriminator_name(name: str, resolution: int) -> str | None:
    """Return this toolkit's name of a published discriminator tensor; None for a constant.

    Args:
        name: published name.
        resolution: side of the discriminator's pictures.

    Raises:
        PublishedNameError: no such tensor is known.
    """
    if CONSTANTS.search(name):
        return None
    if name.startswith("mapping."):
        return "condition." + _replace(name.removeprefix("mapping."), _MAPPING)
    match = re.fullmatch(rf"{_SIZE}\.(\w+)\.(weight|bias)", name)
    if match and int(match[1]) == 4 and match[2] in _EPILOGUE:
        return f"{_EPILOGUE[match[2]]}.{match[3]}"
    if match and match[2] == "fromrgb" and int(match[1]) == resolution:
        return f"from_picture.{match[3]}"
    if match and int(match[1]) > 4 and match[2] in _CONVOLUTIONS:
        block = int(math.log2(resolution)) - int(math.log2(int(match[1])))
        return f"blocks.{block}.{_CONVOLUTIONS[match[2]]}.{match[3]}"
    raise PublishedNameError(f"no place is known for the published discriminator tensor '{name}'")


def load_published(module: nn.Module, tensors: Mapping[str, torch.Tensor], rename: Callable[[str], str | None]) -> None:
    """Fill a module with published tensors, in fp32.

    Args:
        module: a `Generator` or `Discriminator` of the fitting settings.
        tensors: published names and values.
        rename: `generator_name`, or `discriminator_name` with its resolution.

    Raises:
        PublishedNameError: a tensor has no place or the place of another, a place stays empty, or a shape differs; the
            tensor is named.
    """
    state = module.state_dict()
    found: dict[str, torch.Tensor] = {}
    for name in sorted(tensors):
        here = rename(name)
        if here is None:
            continue
        if here not in state:
            raise PublishedNameError(f"published tensor '{name}' would be '{here}', which these settings do not have")
        if here in found:
            raise PublishedNameError(f"published tensor '{name}' for '{here}': another one has that place already")
        if state[here].shape != tensors[name].shape:
            expected, got = tuple(state[here].shape), tuple(tensors[name].shape)
            raise PublishedNameError(f"published tensor '{name}' for '{here}': expected shape {expected}, got {got}")
        found[here] = tensors[name].to(state[here].dtype)
    empty = sorted(set(state) - set(found))
    if empty:
        raise PublishedNameError(f"{len(empty)} tensors stay empty, first '{empty[0]}'; do the settings fit the checkpoint?")
    module.load_state_dict(found)
