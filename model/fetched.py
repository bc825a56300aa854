"""Weights that do not come with the package and are fetched once: dlib's face recognition network, by which identities compare.

`spherehead models fetch identity` brings them; `interop.identity` makes this toolkit's file of what came.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path

import torch

from ..manifests.config import weights_folder
from ..manifests.store import file_sha256
from .nets.face_recognition import FaceRecognition
from .store import ModelStoreError, read_tensors

log = logging.getLogger(__name__)

IDENTITY = "identity"
"""Name of the weights on the command line, and of their file."""
IDENTITY_PACKAGE_SHA256 = "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031"
"""Of face-api-1.7.15.tgz, whose sha512 npm's registry publishes."""
IDENTITY_SHA256 = "7bb121853dc99f9d2d4dbb874558af0d8b1bd7a9ebe8848f76efaf7207db785c"
"""Of the safetensors file that is made of it."""
HOW_TO_GET = f"spherehead models fetch {IDENTITY}"


class IdentityUnavailable(RuntimeError):
    """The face recognition network is not on this machine; the message says how to get it."""


def identity_file() -> Path:
    """Return where the network's weights lie once they are fetched."""
    return weights_folder() / f"{IDENTITY}.safetensors"


@lru_cache(maxsize=2)
def _loaded(path: Path, device: torch.device) -> FaceRecognition:
    found = file_sha256(path)
    if found != IDENTITY_SHA256:
        raise ModelStoreError(f"{path} changed: expected sha256 {IDENTITY_SHA256}, got {found}; delete it, then: {HOW_TO_GET}")
    net = FaceRecognition()
    net.load_state_dict(read_tensors(path))
    return net.to(device).eval().requires_grad_(False)


def identity_net(device: torch.device) -> FaceRecognition:
    """Return the frozen network on a device; loaded once a process.

    Raises:
        IdentityUnavailable: it was not fetched.
        ModelStoreError: its file is another.
    """
    path = identity_file()
    if not path.is_file():
        raise IdentityUnavailable(f"no face recognition network at {path}; to compare identities: {HOW_TO_GET} (12.7 MB, CC0)")
    return _loaded(path, device)


def identity_net_if_fetched(device: torch.device | str) -> FaceRecognition | None:
    """Return the network, or None, said in the log, where it was not fetched."""
    try:
        return identity_net(torch.device(device))
    except IdentityUnavailable as missing:
        log.info("identities are not compared: %s", missing)
        return None
