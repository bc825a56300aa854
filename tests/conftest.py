"""Fixtures that several test files share: real pictures, and the folder with reference material beside the checkout."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("no deadline")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
ROOT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Refuse to test another checkout than this one."""
    import spherehead

    if (found := Path(spherehead.__file__).resolve().parent) != ROOT:
        pytest.exit(f"expected the package of {ROOT}, got {found}; run `make install` in this checkout", returncode=2)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `shared` beside the checkout, or where SPHEREHEAD_SHARED points."""
    folder = Path(os.environ.get("SPHEREHEAD_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared material at {folder}; set SPHEREHEAD_SHARED")
    return folder


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """scikit-image's portrait of Eileen Collins (NASA, public domain), (512, 512, 3) uint8."""
    from skimage import data

    return np.asarray(data.astronaut())


@pytest.fixture(scope="session")
def photos(shared: Path) -> list[Path]:
    """The public-domain photographs in `shared`."""
    return sorted((shared / "photos").glob("*.jpg"))


@pytest.fixture(scope="session")
def bad_inputs() -> ModuleType:
    """The module that makes every bad input file: its `cases()` and `write_bad_inputs(folder)`."""
    return importlib.import_module("bad_inputs")


@pytest.fixture(scope="session")
def finished_sets() -> ModuleType:
    """The module that writes small finished data sets of rendered ball heads: its `build(folder)` and `View`."""
    return importlib.import_module("finished_set")


@pytest.fixture(scope="session")
def finished_set(finished_sets: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished data set of 14 kept heads in two splits, with refused, failed and duplicate inputs; copy it to change it."""
    run = {
        "stages": {"decode": {"seconds": 1.9, "count": 16}, "matte": {"seconds": 4.4, "count": 0}},
        "wall_seconds": 7.2, "workers": 2, "worked": 20,
    }  # fmt: skip
    folder: Path = finished_sets.build(tmp_path_factory.mktemp("finished") / "set", run=run)
    return folder


class Result:
    """What one command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run a command line in this process."""
    from spherehead import cli

    def command(*words: object) -> Result:
        code = cli.main([str(word) for word in words])
        return Result(code, *capsys.readouterr())

    return command
