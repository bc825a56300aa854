"""Fit the quality network and write it as an ONNX file with the card that says what it is.

The file is read by `pipeline.annotators.heads.strengths`; between the two lie only the file and its sha256.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from ....datasets import spectra
from ....manifests.config import ConfigError, to_plain
from ....manifests.store import file_sha256, write_bytes, write_json
from ..export import halved, traced
from ..shown.views import Views
from .degradations import STRENGTHS
from .network import FitSettings, QualityNet, fit, samples

NAME = "quality"


class _Strengths(nn.Module):
    """The network's strengths in their own units."""

    def __init__(self, network: QualityNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, numbers: Tensor) -> Tensor:
        said = self.network(numbers)
        return torch.cat([said[:, :3].exp(), said[:, 3:]], dim=1)


def retrain(views: Views, settings: FitSettings, out: Path, data: str, threads: int = 1) -> Path:
    """Fit the network and write `quality.onnx` and `quality.json`; one seed gives the same bytes again.

    Args:
        views: rendered heads with classes.
        settings: how it is fitted.
        out: folder of the two files.
        data: what the card says of the heads.
        threads: of the process.

    Returns:
        The ONNX file.

    Raises:
        ConfigError: `onnx` is not installed, or the heads are views without light.
    """
    check_lit(views)
    torch.set_num_threads(threads)
    network = fit(*samples(views, settings.pictures, settings.seed), settings)
    path = out / f"{NAME}.onnx"
    out.mkdir(parents=True, exist_ok=True)
    write_bytes(path, onnx_bytes(network))
    card = {
        "task": NAME, "strengths": list(STRENGTHS), "data": data, "heads": len(views), "pictures": settings.pictures,
        "fit": to_plain(settings),
        "network": f"{spectra.COUNT} numbers of spectra, two hidden layers of 64", "licence": "Apache-2.0",
        "sha256": file_sha256(path),
    }  # fmt: skip
    write_json(out / f"{NAME}.json", card)
    return path


def check_lit(views: Views) -> None:
    """Refuse unlit views: without shades and with compressed normals they are no pictures that a camera takes.

    Raises:
        ConfigError: what was expected and how to make it.
    """
    unlit = sum("normal.jpg" in members for members in views.members)
    if unlit:
        raise ConfigError(
            f"expected lit heads for the quality network, got {unlit:,} views without light of {len(views):,}; build a data "
            "set of rendered people as docs/reference/benchmarks.md does, not by `annotators views`"
        )


def is_fitted(folder: Path, settings: FitSettings, data: str) -> bool:
    """Return whether a folder holds the network that `retrain` writes for these heads and settings, by its card and sha256."""
    path = folder / f"{NAME}.onnx"
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return bool(card["fit"] == to_plain(settings) and card["data"] == data and card["sha256"] == file_sha256(path))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def onnx_bytes(network: QualityNet) -> bytes:
    """Return the ONNX model from (N, F) numbers to (N, 5) strengths in their own units.

    Raises:
        ConfigError: `onnx` is not installed.
    """
    axes = {"numbers": {0: "batch"}, "strengths": {0: "batch"}}
    return halved(traced(_Strengths(network), torch.zeros(1, spectra.COUNT), ["strengths"], axes, ("numbers",)))
