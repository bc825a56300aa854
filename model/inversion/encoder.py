"""A network that reads a head's style, ground and camera off one picture: an inversion's answer at once, or its start.

What it learns is left to `encoder_task`. It is of use with one generator only, whose digest its record names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...manifests.config import ConfigError, check_ranges, from_plain
from ...manifests.store import write_json
from ..annotators.networks import rotation_of
from ..nets.efficientnet import MEAN, STD, WIDTHS, Encoder
from ..nets.persons import GROUND_CELLS, ground_colours
from ..nets.upsampler import resize
from ..store import ModelStoreError, PartEntry, read_tensors, write_part
from .style_space import StyleSpace

RECORD, PART = "encoder.json", "encoder"
"""What the network is; the name of its weights."""
FORMAT = 2
LOCAL, CELLS = 64, 8
"""Channels that keep their place, and cells a side in which colours and coverage are averaged."""
KNOWN = 11
"""Numbers about the camera: whether it is known, its expected error, and its rotation."""


@dataclass(frozen=True)
class EncoderSettings:
    """The network's shape."""

    resolution: int = 128
    """Side in pixels of what it looks at."""
    size: int = 112
    """Coordinates of a head's style."""
    ground_size: int = 16
    """Coordinates of a ground's style; 0 where it has none of its own."""
    num_layers: int = 0
    """Layers that get coordinates of their own (W+); 0 for one style for all (W)."""
    hidden: int = 512
    """Width of the hidden layer."""

    def __post_init__(self) -> None:
        check_ranges(self, resolution=(64, 1024), size=(1, 4096), ground_size=(0, 4096), num_layers=(0, 64), hidden=(1, 8192))
        if self.resolution % 32:
            raise ConfigError(f"expected a resolution that is a multiple of 32, got {self.resolution}")

    @property
    def cells(self) -> int:
        """Cells of the last features."""
        return (self.resolution // 32) ** 2

    @property
    def parts(self) -> tuple[int, ...]:
        """Numbers of each part of a picture's features: last and middle level, cells of colour and coverage, the ground."""
        return (WIDTHS[4] * self.cells, WIDTHS[3], 4 * CELLS**2, 3 * GROUND_CELLS**2)


@dataclass(frozen=True, eq=False)
class Encoded:
    """What the network says of B pictures."""

    head: Tensor
    """(B, K) coordinates of the style."""
    layers: Tensor
    """(B, num_layers, K) additions of the layers."""
    ground: Tensor
    """(B, G) coordinates of the grounds."""
    rotation: Tensor
    """(B, 3, 3) world to camera."""
    log_spread: Tensor
    """(B,) logarithm of the rotation's expected error in radians, as the scale of a Laplace density."""


class FeatureReader(nn.Module):
    """A small perceptron over a picture's features and its camera where known: the part that learns."""

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__()
        self.settings = settings
        self.local = nn.Linear(WIDTHS[4], LOCAL)
        self.norm = nn.LayerNorm(WIDTHS[4] + WIDTHS[3])
        width = WIDTHS[4] + WIDTHS[3] + LOCAL * settings.cells + settings.parts[2] + KNOWN
        self.hidden = nn.Sequential(nn.Linear(width, settings.hidden), nn.SiLU(), nn.Dropout(0.1))
        self.style = nn.Linear(settings.hidden, settings.size * (1 + settings.num_layers))
        self.turn = nn.Linear(settings.hidden, 7)
        self.behind = nn.Linear(settings.parts[3], settings.ground_size) if settings.ground_size else None
        with torch.no_grad():
            self.style.weight.mul_(0.1)
            self.turn.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, -1.0, 0.0, -1.0]))

    def forward(self, features: Tensor, about: Tensor | None = None) -> Encoded:
        """Read features.

        Args:
            features: (B, F) what `HeadEncoder.features` returned.
            about: (B, 11) what `about_camera` says of each picture's camera; None where nothing is known.
        """
        settings, count = self.settings, len(features)
        last, middle, cells, ground = features.float().split(settings.parts, dim=1)
        maps = last.view(count, WIDTHS[4], settings.cells)
        means = self.norm(torch.cat([maps.mean(dim=2), middle], dim=1))
        local = functional.relu(self.local(maps.transpose(1, 2))).flatten(1)
        about = last.new_zeros(count, KNOWN) if about is None else about
        hidden = self.hidden(torch.cat([means, local, cells, about], dim=1))
        styles = self.style(hidden).unflatten(1, (1 + settings.num_layers, settings.size))
        turn = self.turn(hidden)
        behind = last.new_zeros(count, 0) if self.behind is None else self.behind(ground)
        return Encoded(styles[:, 0], styles[:, 1:], behind, rotation_of(turn[:, :6]), turn[:, 6].clamp(-6.0, 1.0))


class HeadEncoder(nn.Module):
    """EfficientNet-Lite0, whose features are left as they are, and what reads them."""

    def __init__(self, settings: EncoderSettings, reader: FeatureReader | None = None) -> None:
        super().__init__()
        self.settings, self.encoder = settings, Encoder()
        self.reader = FeatureReader(settings) if reader is None else reader

    def features(self, picture: Tensor) -> Tensor:
        """Return the (B, F) features of (B, 4, R, R) pictures: colours in [-1, 1] and the share of the head."""
        image, mask = picture[:, :3].float(), picture[:, 3:].float()
        seen = image * mask
        x = ((resize(seen, self.settings.resolution) * 127.5 + 127.5 - MEAN) / STD).contiguous(
            memory_format=torch.channels_last
        )
        levels = self.encoder(x)
        cells = torch.cat([resize(seen, CELLS), resize(mask, CELLS)], dim=1)
        middle = levels[-2].mean(dim=(2, 3))
        return torch.cat([levels[-1].flatten(1), middle, cells.flatten(1), ground_colours(image, mask)], dim=1)

    def forward(self, picture: Tensor, about: Tensor | None = None) -> Encoded:
        """Read pictures.

        Args:
            picture: (B, 4, R, R) colours in [-1, 1] and the share of the head.
            about: (B, 11) what `about_camera` says of each picture's camera; None where nothing is known.
        """
        found: Encoded = self.reader(self.features(picture), about)
        return found


def about_camera(rotation: Tensor, error: Tensor, known: Tensor | None = None) -> Tensor:
    """Return the (B, 11) numbers that tell the network of a camera that somebody estimated.

    Args:
        rotation: (B, 3, 3) world to camera.
        error: (B,) standard deviation of each of its angles in radians.
        known: (B,) 1, or 0 where the network shall know nothing; None for 1.
    """
    flag = torch.ones_like(error) if known is None else known
    return torch.cat([torch.ones_like(error)[:, None], 10.0 * error[:, None], rotation.flatten(1)], dim=1) * flag[:, None]


def fitting(space: StyleSpace, layers: bool = False, resolution: int = 128) -> EncoderSettings:
    """Return the settings of an encoder for a generator's style vectors: W, or W+ where `layers`."""
    return EncoderSettings(resolution, space.size, space.ground_size, space.num_layers if layers else 0)


@dataclass(frozen=True)
class EncoderRecord:
    """What encoder.json holds."""

    format: int
    model: str
    """Name of the model's folder."""
    sha256: str
    """Digest of the generator's file: the only one that it knows."""
    settings: EncoderSettings
    images: int
    """Pictures that it has learned from."""
    part: PartEntry
    """Its weights, in half precision."""


def write_encoder(out: Path, network: HeadEncoder, model: str, sha256: str, images: int) -> EncoderRecord:
    """Write a network's weights in half precision, and its record.

    Args:
        out: the folder.
        network: trained.
        model: name of the generator's folder.
        sha256: digest of the generator's file.
        images: pictures that it has learned from.
    """
    tensors = {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}
    record = EncoderRecord(FORMAT, model, sha256, network.settings, images, write_part(out, PART, tensors))
    write_json(out / RECORD, record)
    return record


def read_record(folder: Path) -> EncoderRecord:
    """Return the record of an encoder's folder.

    Raises:
        ModelStoreError: there is none, it is damaged or of another version.
    """
    path = folder / RECORD
    if not path.is_file():
        raise ModelStoreError(f"no {RECORD} in {folder}; expected a folder that `train-encoder` finished")
    try:
        record = from_plain(EncoderRecord, json.loads(path.read_bytes()), str(path))
    except (ConfigError, ValueError, RecursionError) as error:
        raise ModelStoreError(f"{path} is damaged or of another version: {error}") from error
    if record.format != FORMAT:
        raise ModelStoreError(f"expected an encoder of format {FORMAT} in {path}, got {record.format}")
    return record


def load_encoder(folder: Path, sha256: str) -> HeadEncoder:
    """Load an encoder, frozen and in evaluation mode.

    Args:
        folder: where `write_encoder` wrote it.
        sha256: digest of the generator that it shall serve.

    Raises:
        ModelStoreError: there is none, it is damaged, or it belongs to another generator.
    """
    record = read_record(folder)
    if record.sha256 != sha256:
        raise ModelStoreError(f"the encoder in {folder} belongs to {record.model}, sha256 {record.sha256}, not to {sha256}")
    network = HeadEncoder(record.settings)
    tensors = read_tensors(folder / record.part.file)
    try:
        network.load_state_dict(
            {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
        )
    except RuntimeError as error:
        raise ModelStoreError(f"the weights in {folder} do not fit their record: {error}") from error
    return network.eval().requires_grad_(False)
