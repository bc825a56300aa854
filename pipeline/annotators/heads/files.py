"""The networks' files inside the package, each proved by the digest that its card names.

Reading pictures with them is left to `finder` and `reader`.
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from pathlib import Path
from typing import Any

from ...backends import onnx_session

NAMES = ("head", "parser", "finder")
"""The networks of the package."""


class HeadNetworkError(ValueError):
    """A network of the package is missing or is not the one that its card names."""


@functools.cache
def card(name: str) -> dict[str, Any]:
    """Return the card of a network of `NAMES`.

    Raises:
        HeadNetworkError: the package carries none.
    """
    try:
        text = resources.files(__package__).joinpath(f"data/{name}.json").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise HeadNetworkError(f"the package carries no network '{name}'; reinstall it, or export one into data/") from error
    found: dict[str, Any] = json.loads(text)
    return found


@functools.cache
def path_of(name: str) -> Path:
    """Return the ONNX file of a network.

    Raises:
        HeadNetworkError: it is missing, or not the one that the card names.
    """
    path = Path(str(resources.files(__package__).joinpath(f"data/{name}.onnx")))
    wanted = card(name)["sha256"]
    try:
        _, digest = onnx_session.weights(path)
    except FileNotFoundError as error:
        raise HeadNetworkError(f"the package carries no {path.name}; reinstall it") from error
    if digest != wanted:
        raise HeadNetworkError(
            f"{path} is not what its card names: expected sha256 {wanted}, got {digest}; reinstall the package"
        )
    return path


@functools.lru_cache(maxsize=4)
def network(name: str, device: str) -> onnx_session.OnnxModel:
    """Return a network, loaded once a process for all stages that use it.

    Raises:
        HeadNetworkError: the package's file is missing or changed.
    """
    return onnx_session.OnnxModel(path_of(name), device)


def weights(*names: str) -> tuple[tuple[str, str], ...]:
    """Return (file name, sha256) of networks, for cache keys and provenance."""
    return tuple((f"{name}.onnx", str(card(name)["sha256"])) for name in names)
