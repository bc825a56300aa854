"""Fixed, named functions from pictures to features, whose distributions are compared; none needs a download.

`random-conv-v1` is a small convolutional network with random weights. Naeem et al. (2020, sec. 4.2 and 5) find that random
embeddings rank generators much as trained ones do, and are the better choice far from ImageNet; rendered heads at 64 pixels
are. A TorchScript Inception network can be given as a file with its digest. What is done with features is left to `frechet`.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor, nn

from ...datasets.arrays import Pixels
from ...manifests.store import file_sha256
from ..nets.upsampler import resize

Floats = NDArray[np.float64]
BATCH = 64
"""Pictures worked on at once."""


class FeaturesError(ValueError):
    """A feature extractor that is unknown, absent or not the file it should be; the message says what to do."""


class Features(Protocol):
    """A fixed function from pictures to features; numbers of two names must not be compared."""

    name: str
    """What it is, for tables."""

    def __call__(self, pictures: Tensor) -> Tensor:
        """Map (B, 3, H, W) pictures, uint8 sRGB, to (B, D) features."""


@dataclass(frozen=True)
class RandomConvSettings:
    """Shape of the random network; another shape is another name."""

    resolution: int = 64
    """Resolution that pictures are brought to."""
    widths: tuple[int, ...] = (32, 64, 128, 256)
    """Channels of the layers; each but the first halves the picture."""
    num_features: int = 64
    """Numbers of a feature vector, as Naeem et al.'s R64."""
    scale: float = 10.0
    """Factor on features; it only gives distances a comfortable size."""


def random_numbers(name: str, count: int) -> Floats:
    """Return (count,) normal numbers that depend on a name only, the same on every machine.

    The bits are Philox-4x64's (Salmon et al. 2011), keyed by the first 16 bytes of sha256(name); the upper 53 of each 64,
    plus a half, are the argument of the normal quantile function.
    """
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")
    bits = np.random.Philox(key=key).random_raw(count)
    return np.asarray(ndtri(((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53))


class RandomConv(nn.Module):
    """Pictures through convolutions with random weights, and the last map through a random projection.

    Each layer is scaled as He et al. (2015) to keep the mean square; the projection's rows are orthonormal, so that features
    are a view of the last map from 64 sides and not 64 times nearly the same.
    """

    def __init__(self, settings: RandomConvSettings = RandomConvSettings(), name: str = "random-conv-v1") -> None:
        super().__init__()
        self.settings, self.name = settings, name
        channels = [3, *settings.widths]
        for index, (before, after) in enumerate(itertools.pairwise(channels)):
            numbers = random_numbers(f"{name}/conv{index}", after * before * 9).reshape(after, before, 3, 3)
            numbers *= math.sqrt(2.0 / (9 * before))
            self.register_buffer(f"conv{index}", torch.from_numpy(numbers).float())
        cells = settings.widths[-1] * (settings.resolution // 2 ** (len(settings.widths) - 1)) ** 2
        rows = random_numbers(f"{name}/projection", settings.num_features * cells).reshape(settings.num_features, cells)
        orthonormal = np.linalg.qr(rows.T)[0].T
        self.register_buffer("projection", torch.from_numpy(np.ascontiguousarray(orthonormal)).float())

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """Map (B, 3, H, W) uint8 pictures of any side to (B, size) float32 features."""
        x = resize(pictures.to(self.projection.device).float() / 127.5 - 1.0, self.settings.resolution)  # type: ignore[arg-type]
        for index in range(len(self.settings.widths)):
            weight = getattr(self, f"conv{index}")
            x = nn.functional.conv2d(x, weight, stride=2 if index else 1, padding=1)
            x = nn.functional.leaky_relu(x, 0.2)
        return x.flatten(1) @ self.projection.T * self.settings.scale  # type: ignore[operator]


class TorchScriptFeatures:
    """A TorchScript network from a file, such as NVIDIA's conversion of the 2015 Inception network.

    It is called with uint8 pictures (B, 3, H, W) and `return_features=True`, as that file expects.
    """

    def __init__(self, path: Path, sha256: str, device: str = "cpu") -> None:
        if not path.is_file():
            raise FeaturesError(f"no file {path}; give a TorchScript file, or use random-conv-v1, which needs none")
        found = file_sha256(path)
        if found != sha256.lower():
            raise FeaturesError(f"{path} is not the network it should be: expected sha256 {sha256.lower()}, got {found}")
        try:
            self.network = torch.jit.load(str(path), map_location=device).eval()
        except RuntimeError as error:
            raise FeaturesError(f"{path} is no TorchScript file: {str(error).splitlines()[0]}") from error
        self.name, self.device = f"{path.stem}-{found[:8]}", device

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Map (B, 3, H, W) uint8 pictures to the network's features."""
        features: Tensor = self.network(pictures.to(self.device), return_features=True)
        return features.flatten(1)


def open_features(name: str = "random-conv-v1", path: Path | None = None, sha256: str = "", device: str = "cpu") -> Features:
    """Return the extractor of a name, or the network of a file.

    Raises:
        FeaturesError: unknown name, or a file that is not what it should be.
    """
    if path is not None:
        return TorchScriptFeatures(path, sha256, device)
    if name != "random-conv-v1":
        raise FeaturesError(f"unknown features {name!r}; known: random-conv-v1, or give a TorchScript file and its sha256")
    return RandomConv().to(device)


def features_of(pictures: Iterable[Pixels], features: Features) -> Floats:
    """Return (N, D) float64 features of (H, W, 3) uint8 pictures, worked on a batch of one size at a time."""
    found: list[Floats] = []
    some: list[Pixels] = []

    def flush() -> None:
        stacked = torch.from_numpy(np.stack(some)).permute(0, 3, 1, 2)
        found.append(features(stacked).double().cpu().numpy())
        some.clear()

    for picture in pictures:
        if some and picture.shape != some[0].shape:  # the next data set is of another size
            flush()
        some.append(picture)
        if len(some) == BATCH:
            flush()
    if some:
        flush()
    if not found:
        raise FeaturesError("expected at least one picture, got none")
    return np.concatenate(found)
