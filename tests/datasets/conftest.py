"""Fixtures for the tests of streams: small finished sets, and the module that makes, changes and compares them."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def streams(finished_sets: ModuleType) -> ModuleType:
    """The module `stream_helpers`."""
    return importlib.import_module("stream_helpers")


@pytest.fixture(scope="session")
def stream_set(streams: ModuleType, finished_sets: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of 40 lossless views of 32 pixels in 5 shards; copy it to change it."""
    folder: Path = streams.build(finished_sets, tmp_path_factory.mktemp("stream") / "set")
    return folder


@pytest.fixture
def folder(stream_set: Path, tmp_path: Path) -> Path:
    """A copy of `stream_set` that a test may damage."""
    return Path(shutil.copytree(stream_set, tmp_path / "set"))
