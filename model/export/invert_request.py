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
    """Folder of an encoder: the answer of `encode`, the start of `optimise`; None for the one that comes with the model for
    `encode`, and the mean head for `optimise`."""
    device: str = "cpu"
    """Where the model runs."""
    mesh: bool | None = None
    """Whether mesh.glb is written too; None for yes after a descent, no for an encoder's answer, which then comes at once."""
    from_encoder: bool = False
    """Whether `optimise` starts at the answer of the encoder that comes with the model."""
    video: bool | None = None
    """Whether a film of one turn is written too; None as for the mesh."""

    def __post_init__(self) -> None:
        if self.method not in ("optimise", "encode"):
            raise ConfigError(f"expected optimise or encode as the method, got {self.method!r}")

    @property
    def wants_mesh(self) -> bool:
        """Whether mesh.glb is written."""
        return self.method == "optimise" if self.mesh is None else self.mesh

    @property
    def wants_video(self) -> bool:
        """Whether the film of a turn is written."""
        return self.method == "optimise" if self.video is None else self.video

    def encoder_of(self, sha256: str) -> Path | None:
        """Return the folder of the encoder that is asked for a generator with this digest; None for none.

        Raises:
            ConfigError: one is needed, and none was given or comes with the model.
        """
        wanted = self.method == "encode" or self.from_encoder
        found = self.encoder or (shipped_encoder(sha256) if wanted else None)
        if found is None and wanted:
            raise ConfigError("expected an encoder, and this model comes with none; train one with `spherehead train-encoder`")
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
