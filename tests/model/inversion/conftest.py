"""A small generator that the tests of this folder share."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def small_heads() -> ModuleType:
    """The module with the small generator and its photographs."""
    return importlib.import_module("small_heads")
