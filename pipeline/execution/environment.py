"""The versions that may decide the bytes of a data set: Python, this toolkit, the libraries.

They stand in a manifest's header; workers on other machines must have the same.
"""

from __future__ import annotations

import importlib.metadata
import platform

from ... import __version__

PACKAGES = (
    "numpy", "scipy", "opencv-python", "opencv-contrib-python", "opencv-python-headless", "pillow", "pyarrow", "mediapipe",
    "albumentations", "pymatting", "imagehash", "webdataset", "onnxruntime", "rembg", "face-alignment", "torch",
)  # fmt: skip
"""Packages whose versions may decide bytes."""


def environment() -> dict[str, str]:
    """Return the versions by name; "absent" for packages that are not installed."""
    versions = {"python": platform.python_version(), "spherehead": __version__}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions
