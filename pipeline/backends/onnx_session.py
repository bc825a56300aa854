"""ONNX models as small functions from arrays to arrays: the only module that imports onnxruntime.

What the numbers mean is left to the stages. A session runs on one thread, so that its answer is the same in any worker.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...datasets.arrays import Array, Pixels
from ...manifests.config import ConfigError
from ..stage import DeviceUnavailable

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of RGB in 0..1 that most published networks subtract."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of RGB in 0..1 that most published networks divide by."""
_CUDA = "CUDAExecutionProvider"


def version() -> str:
    """Return the version of the installed ONNX Runtime.

    Raises:
        ImportError: it is not installed.
    """
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise ImportError("ONNX Runtime is not installed; pip install onnxruntime")


def weights(path: Path) -> tuple[str, str]:
    """Return (file name, sha256) of a model file; read once a process for a given size and time of change.

    Raises:
        FileNotFoundError: it is not there.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected a model file at {path}, found none; check the setting that names it")
    stat = path.stat()
    return path.name, _sha256(str(path), stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _sha256(path: str, size: int, changed: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def options() -> Any:
    """Return session options for one thread and quiet logs."""
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = chosen.inter_op_num_threads = 1
    chosen.log_severity_level = 3
    return chosen


def providers(device: str) -> list[Any]:
    """Return the execution providers for "cpu" or "cuda" ("cuda:1"), with their options.

    Convolutions on CUDA are picked by cuDNN's heuristic. ONNX Runtime's default times all of them when a model first runs, and
    may pick others, which give other last places, in every process of a busy GPU.

    Raises:
        ValueError: an unknown device.
        DeviceUnavailable: CUDA is asked for with a build of ONNX Runtime that has none.
    """
    import onnxruntime

    kind, _, number = device.partition(":")
    if kind == "cpu":
        return ["CPUExecutionProvider"]
    if kind != "cuda" or not (number or "0").isdecimal():
        raise ValueError(f"expected device cpu or cuda, got {device!r}")
    if _CUDA not in onnxruntime.get_available_providers():
        there = ", ".join(onnxruntime.get_available_providers())
        raise DeviceUnavailable(
            f"expected an ONNX Runtime with CUDA for --device {device}, got one with {there} alone; pip install "
            "onnxruntime-gpu or use device cpu"
        )
    return [(_CUDA, {"device_id": number or "0", "cudnn_conv_algo_search": "HEURISTIC"}), "CPUExecutionProvider"]


def check_device(session: Any, device: str) -> None:
    """Refuse a session that was to run on CUDA and fell back to the CPU, where it would give other last places.

    Raises:
        DeviceUnavailable: with what to do.
    """
    if device.partition(":")[0] == "cuda" and _CUDA not in session.get_providers():
        raise DeviceUnavailable(
            f"expected a model on {device}, got it on the CPU: ONNX Runtime did not load CUDA and cuDNN (its log says which "
            "library is missing); install those of its version, or use device cpu"
        )


class OnnxModel:
    """One loaded model with a single input."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        """Load a model file.

        Raises:
            FileNotFoundError: it is not there.
            ValueError: it does not load, or wants more than one input.
        """
        weights(path)
        import onnxruntime

        try:
            self._session = onnxruntime.InferenceSession(str(path), options(), providers=providers(device))
        except Exception as error:  # onnxruntime's own exception classes are not public
            if isinstance(error, ValueError):
                raise
            if device.partition(":")[0] == "cuda" and "CUDA" in str(error):
                raise DeviceUnavailable(f"expected CUDA for --device {device}, got: {error}; or use device cpu") from error
            raise ValueError(f"{path} does not load as an ONNX model: {error}") from error
        check_device(self._session, device)
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(f"{path}: expected a model with one input, got {[item.name for item in inputs]}")
        self._input = inputs[0].name
        self.path = path
        self.input_shape = tuple(inputs[0].shape)
        """Declared shape of the input; a dimension may be a name where it is free."""

    def expect_side(self, side: int) -> None:
        """Refuse a model that does not take (1, 3, side, side) tensors, as far as its file tells.

        Raises:
            ConfigError: with what the model takes.
        """
        axes = self.input_shape
        if len(axes) != 4 or any(
            isinstance(axis, int) and axis > 0 and axis != wanted for axis, wanted in zip(axes, (1, 3, side, side), strict=True)
        ):
            raise ConfigError(
                f"expected a model that takes 1 x 3 x {side} x {side} numbers (input_size {side}), {self.path} takes "
                f"{' x '.join(map(str, axes))}; set input_size to its side, or name a model with pictures as (1, 3, H, W)"
            )

    def __call__(self, tensor: Array) -> list[Array]:
        """Run on a (N, C, H, W) float32 tensor and return every output."""
        return [np.asarray(output) for output in self._session.run(None, {self._input: tensor})]


def prepare(image: Pixels, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Array:
    """Return the (1, 3, size, size) float32 input of a network: (RGB / 255 - mean) / std.

    Args:
        image: (H, W, 3) uint8 RGB.
        size: side that the network wants.
        mean: three numbers in 0..1.
        std: three positive numbers.
    """
    interpolation = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
    scaled = cv2.resize(image, (size, size), interpolation=interpolation).astype(np.float32) / np.float32(255)
    normal = (scaled - np.asarray(mean, dtype=np.float32)) / np.asarray(std, dtype=np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None])
