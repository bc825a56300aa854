"""Weights that come with the package: trained models by name, each held to the digest it was released with.

A shipped model is a model folder like any other (`store`); its card lies beside it. How it was trained is on the card.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from ..manifests.store import file_sha256
from .store import GENERATOR, ModelConfig, ModelStoreError, read_config, read_part, write_config, write_part

FOLDER = Path(__file__).parent / "weights"
SHIPPED: dict[str, str] = {
    "tiny-128": "7709d7124a964d943ebd1c0a1becb04e053348164a45cf810a32ea55428d7970",
    "tiny-64": "d6d6948acb4d00326b823afdf6496e25c21809087c3c2c6dc764d6d8ff7767d1",
}
"""sha256 of the generator's file of every shipped model, by name."""
ENCODERS: dict[str, str] = {"tiny-64": "e2cdfca3a991a3105170bd27b128e3ac841427820005c4f9488dd6da997b78f8"}
"""sha256 of the weights of every shipped encoder, by the name of its generator; it lies in the folder NAME-encoder."""
DEFAULT = "tiny-128"
"""What `generate` shows where no model is given."""


def shipped(name: str) -> Path:
    """Return the folder of a shipped model.

    Raises:
        ModelStoreError: there is none of this name, or its files are not those that were released.
    """
    if name not in SHIPPED:
        raise ModelStoreError(f"no shipped model '{name}'; known: {', '.join(SHIPPED) or 'none'}")
    folder = FOLDER / name
    found = read_config(folder).parts[GENERATOR].sha256
    if found != SHIPPED[name]:
        raise ModelStoreError(f"{folder} is not the released {name}: expected sha256 {SHIPPED[name]}, got {found}; reinstall")
    return folder


def shipped_encoder(sha256: str) -> Path | None:
    """Return the folder of the encoder that comes with the package for a generator; None where none does.

    Args:
        sha256: digest of the generator's file.

    Raises:
        ModelStoreError: the encoder's file is not the one that was released.
    """
    for name, wanted in ENCODERS.items():
        if SHIPPED[name] == sha256:
            folder = FOLDER / f"{name}-encoder"
            found = file_sha256(folder / "encoder.safetensors")
            if found != wanted:
                raise ModelStoreError(f"{folder} is not the released encoder: expected sha256 {wanted}, got {found}; reinstall")
            return folder
    return None


def is_shipped(place: Path) -> bool:
    """Return whether a path means a shipped model: its bare name, where no such folder lies."""
    return str(place) in SHIPPED and not place.exists()


def pack(folder: Path, out: Path, dtype: torch.dtype = torch.float16) -> ModelConfig:
    """Write a model's averaged generator alone, in half precision, as a model folder of its own.

    Args:
        folder: a model folder, such as a checkpoint.
        out: new folder; it must not hold a model yet.
        dtype: precision of the numbers; whole numbers stay as they are.

    Raises:
        ModelStoreError: there is no whole model, or a number does not fit the precision.
    """
    if (out / "config.json").exists():
        raise ModelStoreError(f"{out} holds a model already; give a new folder")
    config = read_config(folder)
    tensors = read_part(folder, config, GENERATOR)
    small = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    beyond = [name for name, tensor in small.items() if not bool(torch.isfinite(tensor).all())]
    if beyond:
        raise ModelStoreError(f"'{beyond[0]}' has numbers beyond {dtype}'s range; take bf16")
    packed = dataclasses.replace(config, discriminator=None, parts={GENERATOR: write_part(out, GENERATOR, small)})
    write_config(out, packed)
    return packed
