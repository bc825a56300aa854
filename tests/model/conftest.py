"""Fixtures for tests of the model: the plain twins, and one thread for torch."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch


@pytest.fixture(scope="session")
def plain_volumes() -> ModuleType:
    """The slow twins of volumes and march."""
    return importlib.import_module("plain_volumes")


@pytest.fixture(scope="module", autouse=True)
def one_thread_a_file() -> None:
    """Begin every file with one thread, whatever a library left: the last bits of its fixtures depend on it."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Run every test with one thread, so that several test processes do not fight."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def published() -> ModuleType:
    """The writer of checkpoints in the published format."""
    return importlib.import_module("published")


@pytest.fixture(scope="session")
def hostile() -> ModuleType:
    """Makers of checkpoints that ask for far more than they are."""
    return importlib.import_module("hostile")
