"""Examines the machine before a long build does: versions, embedded models, disk, memory, GPU and weights.

It changes nothing. Whether a data set is sound is asked of `datasets.shards.verify`, not here.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from ...datasets.arrays import Pixels
from ..backends import mediapipe_models, weights, weights_listing
from .tally import size

DISTRIBUTION = "spherehead-toolkit"
PINS = Path(__file__).resolve().parents[2] / "constraints.txt"
"""The tested versions; part of the package."""
OPENCV = ("opencv-python", "opencv-contrib-python", "opencv-python-headless")
"""Wheels that write one folder cv2/: the last one installed wins."""
WORKER_BYTES = 1_200 << 20
"""Memory that one worker may take."""
_EYES = ((104, 108), (152, 108))
"""Centres of the drawn face's eyes, pixels."""

State = Literal["ok", "note", "warning", "fault"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    """ok; note: good to know; warning: may hurt; fault: builds will not run."""
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All that was looked at."""

    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        """Whether there is no fault."""
        return all(check.state != "fault" for check in self.checks)

    def text(self) -> str:
        """Word the diagnosis, a line a check and a verdict."""
        width = max(len(check.name) for check in self.checks)
        lines = [
            f"{check.state:<8} {check.name:<{width}}  {check.found}" + (f"; {check.remedy}" if check.remedy else "")
            for check in self.checks
        ]
        faults = sum(check.state == "fault" for check in self.checks)
        return "\n".join([*lines, f"{faults} faults: builds will not run" if faults else "healthy: builds will run"])

    def json(self) -> str:
        """Return the diagnosis as JSON."""
        plain = {"healthy": self.healthy, "checks": [dataclasses.asdict(check) for check in self.checks]}
        return json.dumps(plain, indent=1)


def examine() -> Diagnosis:
    """Run every check; one that breaks is a fault with its error as what was found."""
    checks: list[Check] = []
    for look in LOOKS:
        try:
            checks += look()
        except Exception as error:  # an examination tells of broken parts; it must not break with them
            checks.append(Check(look.__name__.replace("_", " "), "fault", f"{type(error).__name__}: {error}"))
    return Diagnosis(tuple(checks))


def python() -> Iterator[Check]:
    """Look at the interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info[:2] in ((3, 11), (3, 12))
    yield Check(
        "python", "ok" if good else "fault", version, "" if good else "use Python 3.11 or 3.12: MediaPipe has no others"
    )


def packages() -> Iterator[Check]:
    """Look whether every required package is there in a version that pyproject.toml allows."""
    from packaging.requirements import Requirement

    wanted = [Requirement(text) for text in importlib.metadata.requires(DISTRIBUTION) or []]
    wanted = [item for item in wanted if item.marker is None or item.marker.evaluate({"extra": ""})]
    wrong = []
    for item in wanted:
        version = installed(item.name)
        if version is None:
            wrong.append(f"{item.name} is missing")
        elif not item.specifier.contains(version, prereleases=True):
            wrong.append(f"{item.name} {version} does not fit {item.specifier}")
    if wrong:
        yield Check("packages", "fault", "; ".join(wrong), "make install, or pip install -c constraints.txt -e .")
    else:
        yield Check("packages", "ok", f"{len(wanted)} required packages fit")


def pins() -> Iterator[Check]:
    """Compare installed versions with the tested set: bytes are equal for equal versions only."""
    if not PINS.is_file():
        yield Check("pins", "note", f"no {PINS.name} beside the package to compare with")
        return
    tested = read_pins(PINS.read_text())
    present = {name: version for name in tested if (version := installed(name)) is not None}
    other = [f"{name} {found} (tested {tested[name]})" for name, found in present.items() if not same(found, tested[name])]
    if other:
        some = ", ".join(other[:8]) + ", ..." * (len(other) > 8)
        remedy = "pip install -c constraints.txt -e . gives the tested set"
        yield Check("pins", "warning", f"{len(other)} of {len(present)} differ from the tested set: {some}", remedy)
    else:
        yield Check("pins", "ok", f"{len(present)} packages are the tested versions")


def read_pins(text: str) -> dict[str, str]:
    """Return name -> version of a constraints file."""
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return dict(line.split("==", 1) for line in lines if "==" in line)


def same(version: str, pin: str) -> bool:
    """Whether a version is the pinned one; a build such as +cpu does not matter."""
    return version.split("+")[0] == pin


def installed(name: str) -> str | None:
    """Return the version of an installed package, None where it is absent."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def opencv() -> Iterator[Check]:
    """Look whether the three wheels that share one folder agree."""
    yield judge_opencv({name: version for name in OPENCV if (version := installed(name)) is not None}, cv2.__version__)


def judge_opencv(found: dict[str, str], imported: str) -> Check:
    """Judge the versions of the OpenCV wheels and of the module that is imported."""
    text = f"cv2 {imported} from {', '.join(f'{name} {version}' for name, version in found.items())}"
    remedy = "pip install --force-reinstall --no-deps with all three at one version, see constraints.txt"
    if len({*found.values()}) > 1 or any(not version.startswith(imported) for version in found.values()):
        return Check("opencv", "warning", f"{text}: they overwrite each other in one folder", remedy)
    return Check("opencv", "ok", text)


def models() -> Iterator[Check]:
    """Find a drawn face with MediaPipe's embedded models, and see that its eyes are where they were drawn."""
    image = drawn_face()
    with mediapipe_models.FaceFinder() as finder:
        faces = finder.find(image)
    remedy = "pip install --force-reinstall mediapipe==0.10.14"
    if not faces:
        yield Check("embedded models", "fault", "no face found in the drawn one", remedy)
        return
    x, y, width, height = faces[0].box
    with mediapipe_models.FaceMesher() as mesher:
        mesh = mesher.mesh(image, mediapipe_models.Region(x + width / 2, y + height / 2, 1.5 * max(width, height)))
    with mediapipe_models.SelfieSegmenter() as segmenter:
        mask = segmenter.segment(image)
    off = max(float(np.hypot(*(point - eye))) for point, eye in zip(faces[0].points[:2], _EYES, strict=True))
    seen = mesh is not None and mesh.shape == (478, 3) and bool(np.isfinite(mesh).all()) and bool(np.isfinite(mask).all())
    if off > 15 or not seen:
        yield Check("embedded models", "fault", f"wrong answers on a drawn face (eyes {off:.0f} px off, mesh {seen})", remedy)
    else:
        yield Check(
            "embedded models", "ok", f"mediapipe {mediapipe_models.version()} finds a drawn face, eyes within {off:.0f} px"
        )


def drawn_face() -> Pixels:
    """Draw a plain face, (256, 256, 3) uint8 RGB: enough for a detector, and no photograph is needed."""
    image = np.full((256, 256, 3), 200, np.uint8)
    skin, hair, lips = (224, 172, 145), (60, 40, 30), (180, 80, 80)
    cv2.ellipse(image, (128, 118), (62, 84), 0, 0, 360, skin, -1, cv2.LINE_AA)
    cv2.ellipse(image, (128, 58), (66, 40), 0, 180, 360, hair, -1, cv2.LINE_AA)
    for x, y in _EYES:
        cv2.ellipse(image, (x, y), (12, 6), 0, 0, 360, (250, 250, 250), -1, cv2.LINE_AA)
        cv2.circle(image, (x, y), 5, (50, 40, 40), -1, cv2.LINE_AA)
        cv2.line(image, (x - 14, y - 16), (x + 14, y - 16), hair, 4, cv2.LINE_AA)
    cv2.polylines(image, [np.array([[128, 112], [122, 142], [136, 143]])], False, (185, 125, 105), 3, cv2.LINE_AA)
    cv2.ellipse(image, (128, 165), (22, 7), 0, 0, 360, lips, -1, cv2.LINE_AA)
    return image


def disk() -> Iterator[Check]:
    """Look at free space where people work, where weights lie and where temporary files go."""
    places = {"here": Path.cwd(), "weights": existing(weights.folder()), "temporary": Path(tempfile.gettempdir())}
    free = {name: shutil.disk_usage(path).free for name, path in places.items()}
    text = ", ".join(f"{name} {size(count)}" for name, count in free.items())
    low = min(free.values()) < 5 << 30
    remedy = "a data set takes about 0.4 MB a sample with its cache" if low else ""
    yield Check("disk", "warning" if low else "ok", f"free: {text}", remedy)


def cache() -> Iterator[Check]:
    """Look whether fetched weights could be written."""
    path = existing(weights.folder())
    good = os.access(path, os.W_OK | os.X_OK)
    found = f"{weights.folder()} {'writable' if good else 'not writable'}"
    remedy = "" if good else "set SPHEREHEAD_WEIGHTS to a folder that you may write"
    yield Check("weights folder", "ok" if good else "warning", found, remedy)


def existing(path: Path) -> Path:
    """Return the path, or its nearest parent that exists."""
    return next(place for place in (path, *path.parents) if place.exists())


def memory() -> Iterator[Check]:
    """Look how many workers the memory carries."""
    import psutil

    cores, free = len(os.sched_getaffinity(0)), psutil.virtual_memory().available
    carries = max(0, free // WORKER_BYTES)
    text = f"{cores} cores, {size(free)} available: room for {carries} workers of {size(WORKER_BYTES)}"
    state: State = "ok" if carries >= cores else "warning" if carries else "fault"
    yield Check("memory", state, text, "" if state == "ok" else f"use --workers {max(1, carries)}")


def shared_memory() -> Iterator[Check]:
    """Look at /dev/shm, through which PyTorch's loaders pass batches."""
    path = Path("/dev/shm")
    if path.is_dir():
        free = shutil.disk_usage(path).free
        remedy = "" if free > 256 << 20 else "training with loader workers needs more: docker run --shm-size=2g"
        yield Check("shared memory", "ok" if not remedy else "warning", f"{size(free)} free in {path}", remedy)


def gpu() -> Iterator[Check]:
    """Look what PyTorch and ONNX Runtime could run on; builds need no GPU."""
    import torch

    from ..backends import onnx_session

    cuda = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no CUDA device"
    yield Check(
        "gpu", "note", f"torch {torch.__version__}: {cuda}; onnxruntime {onnx_session.version()}; builds run on the CPU"
    )


def browser() -> Iterator[Check]:
    """Look for the browser in which tests open the report."""
    found = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    yield Check("browser", "note", found or "no chromium: tests that photograph the report are skipped")


def fetched() -> Iterator[Check]:
    """Look which optional weights are here."""
    lines = [line for line in weights_listing.listing() if line.state != "embedded"]
    here = [line.name for line in lines if line.state == "present"]
    text = f"{len(here)} of {len(lines)} optional files here" + (f": {', '.join(here)}" if here else "")
    yield Check("weights", "note", text, "spherehead models list" if not here else "spherehead models verify proves them")


LOOKS: tuple[Callable[[], Iterator[Check]], ...] = (
    python, packages, pins, opencv, models, disk, cache, memory, shared_memory, gpu, browser, fetched,
)  # fmt: skip
"""Every check, in the order of the report."""
