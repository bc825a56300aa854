"""Every model that stages can use, embedded or fetched, with its state on this machine: what `models list` shows.

How files are found, fetched and proved is left to `weights`.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import mediapipe_models
from .weights import WeightsError, check, entry, find
from .weights_registry import REGISTRY


@dataclass(frozen=True)
class Status:
    """One line of `models list`."""

    name: str
    purpose: str
    licence: str
    state: str
    """embedded | present | missing | ok (checked) | wrong."""
    where: str = ""
    """Path of the file, or how to get it."""
    sha256: str = ""
    detail: str = ""


def listing(checked: bool = False) -> list[Status]:
    """Return every model the stages can use: the embedded ones, then the registry by name.

    Args:
        checked: read and compare the files that are here (seconds a gigabyte); otherwise only look whether they exist.
    """
    return [*_embedded(), *(status(name, checked) for name in sorted(REGISTRY))]


def status(name: str, checked: bool = True) -> Status:
    """Return what is known of one file on this machine."""
    item, path = entry(name), find(name)
    if path is None:
        return Status(name, item.purpose, item.licence, "missing", f"spherehead models fetch {name}", item.sha256, item.remark)
    if not checked:
        return Status(name, item.purpose, item.licence, "present", str(path), item.sha256, item.remark)
    try:
        found = check(item, path)
    except WeightsError as error:
        return Status(name, item.purpose, item.licence, "wrong", str(path), detail=str(error))
    return Status(name, item.purpose, item.licence, "ok", str(path), found.sha256, f"checked by {found.checked_by}")


def _embedded() -> list[Status]:
    """Return the models inside MediaPipe's wheel with their digests; one line that says so where it is not installed."""
    purposes = {
        "detect: faces near and far": tuple(mediapipe_models.FaceFinder.FILES.values()),
        "detect: 478 points of the face": tuple(mediapipe_models.FaceMesher.FILES.values()),
        "detect: heads whose face is not seen": mediapipe_models.PoseFinder.FILES,
        "matte: head against background": mediapipe_models.SelfieSegmenter.FILES,
    }
    try:
        where = f"inside the mediapipe {mediapipe_models.version()} wheel"
        return [
            Status(name.removesuffix(".tflite"), purpose, "Apache-2.0", "embedded", where, sha256)
            for purpose, files in purposes.items()
            for name, sha256 in mediapipe_models.weights(*files)
        ]
    except (ImportError, FileNotFoundError) as error:
        return [
            Status(
                "mediapipe", "embedded back ends", "Apache-2.0", "missing", "pip install mediapipe==0.10.14", detail=str(error)
            )
        ]
