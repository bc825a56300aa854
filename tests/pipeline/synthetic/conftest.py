"""A small folder of assets of our own in MakeHuman's formats, and the shared CC0 subset where it is present."""

from __future__ import annotations

from pathlib import Path

import pytest
from spherehead.pipeline.synthetic.assets.library import Assets, open_assets


@pytest.fixture(scope="session")
def makehuman_folder(shared: Path) -> Path:
    """The CC0 subset of MakeHuman's data."""
    folder = shared / "assets" / "makehuman"
    if not folder.is_dir():
        pytest.skip(f"no MakeHuman data at {folder}")
    return folder


@pytest.fixture(scope="session")
def makehuman(makehuman_folder: Path) -> Assets:
    """The CC0 subset, opened."""
    return open_assets(makehuman_folder)
