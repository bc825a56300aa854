"""What `invert` is asked for: photographs of one person as samples, and the way by which their head is found.

Finding it is left to `invert`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ...datasets.shards.codec import Decoded
from ...manifests.config import ConfigError
from ..shipped import shipped_encoder


@dataclass(frozen=True)
class Photographs:
    """One person's photographs as samples, with the names that a user knows them by."""

    samples: tuple[Decoded, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class How:
    """By what way a head is found, and what is written of it."""

    method: Literal["optimise", "encode"] = "optimise"
    """By descent, or by what an encoder reads off the photographs."""
    encoder: Path | None = None
    """Folder of an encoder: the answer of `encode`, the start of `optimise`; None for the one that comes with the model."""
    device: str = "cpu"
    """Where the model runs."""
    mesh: bool = True
    """Whether mesh.glb is written too."""
    from_mean: bool = False
    """Whether `optimise` starts at the mean head, although there is an encoder."""

    def __post_init__(self) -> None:
        if self.method not in ("optimise", "encode"):
            raise ConfigError(f"expected optimise or encode as the method, got {self.method!r}")
        if self.from_mean and (self.encoder is not None or self.method == "encode"):
            raise ConfigError("expected a start at the mean head or an encoder, got both; leave one out")

    def encoder_of(self, sha256: str) -> Path | None:
        """Return the folder of the encoder that is asked for a generator with this digest; None for none.

        Raises:
            ConfigError: the method needs one, and none was given or comes with the model.
        """
        found = self.encoder or (None if self.from_mean else shipped_encoder(sha256))
        if found is None and self.method == "encode":
            raise ConfigError("expected an encoder for the method encode; train one with `spherehead train-encoder`")
        return found


def contents(sample: Decoded) -> str:
    """Return a digest of everything of a sample that an inversion looks at: picture, matte, class map and camera."""
    digest = hashlib.sha256()
    label = None if sample.camera is None else sample.camera.label()
    for part in (sample.image, sample.mask, sample.parsing, label):
        if part is None:
            digest.update(b"none")
            continue
        digest.update(f"{part.dtype} {part.shape}".encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
