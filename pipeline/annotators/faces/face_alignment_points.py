"""The 68 landmarks of the face-alignment package (Bulat and Tzimiropoulos 2017): the only module that imports it.

Its weights are not on PyPI: they are used where they lie and never fetched here. Its own face detectors are not used, since
the boxes are known.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.classes import LANDMARK_MIRROR
from ....datasets.warp import apply, similarity, warp
from ....manifests.config import user_path
from ...backends.weights import torch_checkpoints
from ...stage import DeviceUnavailable

WEIGHTS = {"2d": "2DFAN4-11f355bf06.pth.tar", "3d": "3DFAN4-7835d9f11d.pth.tar"}
"""Weight file by kind; the hex digits in a name begin the file's sha256."""
ORIGIN = "https://www.adrianbulat.com/downloads/python-fan/"
"""Where the package's author offers the files."""
CROP_SIDE = 256
"""Side of the networks' input in pixels."""
NUM_STACKS = 4
"""Hourglasses in the published networks."""


def weights_folder(folder: str = "") -> Path:
    """Return the folder where weights are looked up: the given one, else $TORCH_HOME/hub/checkpoints as torch.hub has it."""
    if folder:
        return user_path(folder)
    return torch_checkpoints()


def find_weights(kind: str, folder: str = "") -> Path | None:
    """Return the weight file of "2d" or "3d" if it is there."""
    path = weights_folder(folder) / WEIGHTS[kind]
    return path if path.is_file() else None


def require_weights(kind: str, folder: str = "") -> Path:
    """Return the weight file of "2d" or "3d".

    Raises:
        FileNotFoundError: it is absent; the message says where it is expected and where to get it.
    """
    path = find_weights(kind, folder)
    if path is None:
        raise FileNotFoundError(
            f"face-alignment's weights {WEIGHTS[kind]} are not in {weights_folder(folder)}; "
            f"get them from {ORIGIN}{WEIGHTS[kind]}, or use --set detect.landmarks=mediapipe"
        )
    return path


def weight_files(kind: str, folder: str = "") -> tuple[tuple[str, str], ...]:
    """Return (file name, sha256) of the weights, for the stage's key.

    Raises:
        FileNotFoundError: they are absent.
    """
    path = require_weights(kind, folder)
    status = path.stat()
    return ((path.name, _sha256(path, status.st_size, status.st_mtime_ns)),)


@functools.lru_cache(maxsize=8)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    """Hash a file once for each state of it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class FaceAlignmentPoints:
    """The loaded network."""

    def __init__(self, kind: str = "2d", folder: str = "", device: str = "cpu") -> None:
        """Load the weights of "2d" (visible outline) or "3d" (true jaw, projected).

        Raises:
            FileNotFoundError: the weights are absent.
            ImportError: face-alignment is not installed.
            DeviceUnavailable: PyTorch finds no GPU.
        """
        path = require_weights(kind, folder)
        try:
            import torch
            from face_alignment.models import FAN
        except ImportError as error:
            raise ImportError("face-alignment is not installed; pip install face-alignment==1.5.0") from error
        if device.partition(":")[0] == "cuda" and not torch.cuda.is_available():
            raise DeviceUnavailable(
                f"expected CUDA for --device {device}, got a PyTorch {torch.__version__} that finds none (see nvidia-smi); "
                "install a driver and a PyTorch with CUDA, or use device cpu"
            )
        self._torch, self._device = torch, device
        network = FAN(NUM_STACKS)
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self._network: Any = network.to(device).eval()

    def find(self, image: Pixels, box: tuple[float, float, float, float]) -> Array:
        """Return the (68, 2) float32 landmarks of the face in a box, in the picture's continuous pixels.

        The package itself rounds its answer to whole pixels of the picture; here the crop is one exact warp and the quarter
        cells of the heat maps are kept.

        Args:
            image: (H, W, 3) uint8 RGB.
            box: x0, y0, x1, y1 of the face, brow to chin.
        """
        torch = self._torch
        matrix = crop_matrix(box)
        crop = warp(image, matrix, CROP_SIDE, border="black")
        batch = np.stack([crop, crop[:, ::-1]]).transpose(0, 3, 1, 2).astype(np.float32) / 255.0
        with torch.inference_mode():
            maps = self._network(torch.from_numpy(batch).to(self._device))[-1].float().cpu().numpy()
        mean = 0.5 * (maps[0] + maps[1][LANDMARK_MIRROR, :, ::-1])
        return apply(np.linalg.inv(matrix), decode(mean) * (CROP_SIDE / mean.shape[1])).astype(np.float32)


def crop_matrix(box: tuple[float, float, float, float]) -> Floats:
    """Return the (3, 3) map from the picture to the network's 256-pixel input, placed as in its training."""
    x0, y0, x1, y1 = box
    centre = np.array([0.5 * (x0 + x1), 0.5 * (y0 + y1) - 0.12 * (y1 - y0)])
    side = 200.0 * (x1 - x0 + y1 - y0) / 195.0
    return similarity(CROP_SIDE / side, 0.0, centre, np.array([CROP_SIDE / 2.0, CROP_SIDE / 2.0]))


def decode(maps: Array) -> Floats:
    """Return the (K, 2) peaks of (K, S, S) heat maps in continuous cells, a quarter cell towards the higher neighbour."""
    count, side, _ = maps.shape
    rows, columns = np.unravel_index(maps.reshape(count, -1).argmax(axis=1), (side, side))
    peaks = np.stack([columns, rows], axis=1) + 0.5
    inner = (rows > 0) & (rows < side - 1) & (columns > 0) & (columns < side - 1)
    index, row, column = np.arange(count)[inner], rows[inner], columns[inner]
    across = maps[index, row, column + 1] - maps[index, row, column - 1]
    down = maps[index, row + 1, column] - maps[index, row - 1, column]
    peaks[inner] += 0.25 * np.sign(np.stack([across, down], axis=1))
    return np.asarray(peaks, dtype=np.float64)
