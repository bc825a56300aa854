"""The networks' files, each proved by the digest that its card names: the package's own, or those of a folder of the user's.

Reading pictures with them is left to `finder` and `reader`; how such a folder is made to `model.annotators`.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from ....manifests.config import user_path
from ...backends import onnx_session

NAMES = ("head", "parser", "finder", "quality")
"""The networks of the package."""
_loaded: dict[tuple[Path, str], tuple[str, onnx_session.OnnxModel]] = {}
"""Networks of this process by file and device, with the digest that each was loaded at."""


class HeadNetworkError(ValueError):
    """A network is missing or is not the one that its card names."""


def card(name: str, folder: str = "") -> dict[str, Any]:
    """Return the card of a network of `NAMES`.

    Args:
        name: one of `NAMES`.
        folder: folder of the user's networks; what it lacks, and all where it is empty, is the package's.

    Raises:
        HeadNetworkError: there is none, or it is none.
    """
    path = _place(name, folder).with_suffix(".json")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise HeadNetworkError(f"expected a card {path.name} beside {path.with_suffix('.onnx')}; {_remedy(folder)}") from error
    except ValueError as error:
        raise HeadNetworkError(f"expected JSON in {path}: {error}; {_remedy(folder)}") from error
    if not isinstance(found, dict) or not isinstance(found.get("sha256"), str):
        raise HeadNetworkError(f"expected a card with a sha256 in {path}; {_remedy(folder)}")
    return found


def path_of(name: str, folder: str = "") -> Path:
    """Return the ONNX file of a network; see `card` for the arguments.

    Raises:
        HeadNetworkError: it is missing, or not the one that the card names.
    """
    path = _place(name, folder)
    wanted = card(name, folder)["sha256"]
    try:
        _, digest = onnx_session.weights(path)
    except FileNotFoundError as error:
        raise HeadNetworkError(f"expected a network at {path}, found none; {_remedy(folder)}") from error
    if digest != wanted:
        raise HeadNetworkError(f"{path} is not what its card names: expected sha256 {wanted}, got {digest}; {_remedy(folder)}")
    return path


def network(name: str, device: str, folder: str = "") -> onnx_session.OnnxModel:
    """Return a network, loaded once a process for all stages that use it; see `card` for the arguments.

    However many are in use, each stays loaded; a file that was written anew takes the place of what it was.

    Raises:
        HeadNetworkError: the file is missing or changed.
    """
    path = path_of(name, folder)
    digest = onnx_session.weights(path)[1]
    known = _loaded.get((path, device))
    if known is None or known[0] != digest:
        known = _loaded[path, device] = (digest, onnx_session.OnnxModel(path, device))
    return known[1]


def forget_loaded() -> None:
    """Free the networks that this process has loaded."""
    _loaded.clear()


def weights(*names: str, folder: str = "") -> tuple[tuple[str, str], ...]:
    """Return (file name, sha256) of networks, for cache keys and provenance."""
    return tuple((path_of(name, folder).name, str(card(name, folder)["sha256"])) for name in names)


def without_place(settings: dict[str, Any]) -> dict[str, Any]:
    """Return a stage's settings without where its networks lie: `weights` names their content."""
    return {name: value for name, value in settings.items() if name != "networks"}


def _place(name: str, folder: str) -> Path:
    """Return where a network lies.

    Raises:
        HeadNetworkError: the folder holds no network at all.
    """
    if folder:
        own = user_path(folder)
        if (own / f"{name}.onnx").exists():
            return own / f"{name}.onnx"
        if (own / f"{name}.json").exists():
            raise HeadNetworkError(
                f"expected a network {name}.onnx beside {own / f'{name}.json'}, found none; {_remedy(folder)}"
            )
        if not any((own / f"{other}.onnx").exists() for other in NAMES):
            files = ", ".join(f"{other}.onnx" for other in NAMES)
            raise HeadNetworkError(f"networks: expected at least one of {files} in {own}, found none; {_remedy(folder)}")
    return Path(str(resources.files(__package__).joinpath(f"data/{name}.onnx")))


def _remedy(folder: str) -> str:
    if not folder:
        return "reinstall the package"
    return "write it again by `spherehead annotators export` (`annotators train quality` for quality.onnx)"
