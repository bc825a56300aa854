"""rembg's background removers, from weights that are already on this machine: the only module that imports rembg.

It never downloads: an absent file is an error that says where it belongs and how to fetch it. It also refuses the sessions
that send pictures to a service, and those that do not give one matte.
"""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import numpy as np

from ...datasets.arrays import Array, Pixels
from ...manifests.config import user_path
from ..stage import DeviceUnavailable
from . import onnx_session

CUSTOM = ("u2net_custom", "dis_custom", "ben_custom")
"""Sessions that run a file of the user's own."""
REFUSED = {
    "withoutbg": "it sends the picture to a service",
    "atlascloud": "it sends the picture to a service",
    "sam": "it needs a prompt for every picture",
    "u2net_cloth_seg": "it gives garments, not a matte",
}
"""Sessions of rembg that cannot stand here, and why."""


class MissingWeights(FileNotFoundError):
    """Weights that are not on this machine; the message says which file, where it belongs and how to get it."""


def version() -> str:
    """Return the version of the installed rembg.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.metadata.version("rembg")
    except importlib.metadata.PackageNotFoundError as error:
        raise ImportError("rembg is not installed; pip install 'rembg>=2.0.80,<3'") from error


def candidates(name: str) -> tuple[Path, ...]:
    """Return where rembg 2.0.86 looks for the weights of a session, the place for a new file first.

    Its home is $U2NET_HOME, else $REMBG_HOME, else $XDG_DATA_HOME/rembg, else ~/.rembg; the flat folder ~/.u2net of older
    versions is still read.
    """
    legacy = os.environ.get("U2NET_HOME") or os.path.join(os.environ.get("XDG_DATA_HOME", "~"), ".u2net")  # noqa: PTH118
    data = os.environ.get("XDG_DATA_HOME")
    home = os.environ.get("U2NET_HOME") or os.environ.get("REMBG_HOME") or (f"{data}/rembg" if data else "~/.rembg")
    return user_path(home) / "models" / name / f"{name}.onnx", user_path(legacy) / f"{name}.onnx"


def find(name: str) -> Path | None:
    """Return the weights of a session if they are on this machine."""
    return next((path for path in candidates(name) if path.is_file()), None)


def locate(name: str, custom: str = "") -> Path:
    """Return the weights of a session, checked.

    Args:
        name: a session of rembg, such as "isnet-general-use".
        custom: the file for a session of `CUSTOM`; rembg wants it inside its home.

    Raises:
        MissingWeights: the file is not there.
        ValueError: a session that cannot be used here, or a custom one without its file.
    """
    if name in REFUSED:
        raise ValueError(f"rembg session {name!r} cannot be used: {REFUSED[name]}; name another, such as isnet-general-use")
    if name in CUSTOM:
        if not custom:
            raise ValueError(f"rembg session {name!r} needs the path of its ONNX file in the field 'weights'")
        path = user_path(custom)
        if not path.is_file():
            raise MissingWeights(f"expected the weights of {name} at {path}, found no file; check the field 'weights'")
        return path
    found = find(name)
    if found is None:
        where = candidates(name)[0]
        raise MissingWeights(
            f"weights of rembg's {name!r} are not on this machine: expected {where}; "
            f"run `spherehead models fetch {name}`, put the file there, or use --set matte.segmenter=own"
        )
    return found


class Remover:
    """One rembg session."""

    def __init__(self, name: str, custom: str = "", device: str = "cpu") -> None:
        """Load a session from local weights.

        Raises:
            MissingWeights: they are not there.
            ValueError: an unknown or refused session.
        """
        path = locate(name, custom)
        version()
        import rembg

        arguments = {"model_path": str(path)} if name in CUSTOM else {}
        providers = onnx_session.providers(device)
        try:
            self._session = rembg.new_session(name, sess_opts=onnx_session.options(), providers=providers, **arguments)
        except TypeError as error:  # rembg's own warning of a fallback to the CPU joins names and meets options
            raise DeviceUnavailable(f"{name} did not start on {device}: {error}; ONNX Runtime's log says why") from error
        onnx_session.check_device(self._session.inner_session, device)

    def chance(self, image: Pixels) -> Array:
        """Return the (H, W) float32 map of foreground, 0 to 1, of an (H, W, 3) uint8 RGB picture."""
        from PIL import Image

        with np.errstate(invalid="ignore", divide="ignore"):  # rembg stretches to 0..1 and divides by zero on a flat answer
            masks = self._session.predict(Image.fromarray(image))
        return np.asarray(masks[0].convert("L"), dtype=np.float32) / np.float32(255)
