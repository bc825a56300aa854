"""Fixtures for builds: pieces of one photograph, few and small."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture
def pictures(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """A folder of five pieces of one photograph."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(5):
        cv2.imwrite(str(folder / f"{index}.png"), astronaut[60 * index : 60 * index + 90, :100, ::-1])
    return folder
