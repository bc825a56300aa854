"""A small folder of assets of our own in MakeHuman's formats, and the shared CC0 subset where it is present."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from spherehead.pipeline.synthetic.assets import library
from spherehead.pipeline.synthetic.assets.formats import Target
from spherehead.pipeline.synthetic.assets.library import Assets, open_assets
from spherehead.pipeline.synthetic.assets.registry import morphs


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


@pytest.fixture
def more_morphs(makehuman: Assets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Further morphs in place of those that `assets fetch morphs` brings: jaws open by the base mesh's own unit and take
    tongues along, which move forward by another, heavy bodies grow in depth, and all others are still."""
    jaw = makehuman.target("expression/units/caucasian/mouth-open")
    base = makehuman.base
    tongue, teeth = (np.unique(base.faces[base.group(f"helper-{name}")]) for name in ("tongue", "lower-teeth"))
    kept = ~np.isin(jaw.indices, tongue)
    way = np.tile(jaw.offsets[np.isin(jaw.indices, teeth)].mean(axis=0), (len(tongue), 1))
    indices = np.concatenate([jaw.indices[kept], tongue]).astype(np.int32)
    moved = {"faceunits/jawOpen": Target(indices, np.vstack([jaw.offsets[kept], way]))}
    for name, group in (("faceunits/tongueOut", "helper-tongue"), ("heavy", "body")):
        indices = np.unique(base.faces[base.group(group)]).astype(np.int32)
        moved[name] = Target(
            indices, np.full((len(indices), 3), [0.0, 0.0, 0.2]) * (base.vertices[indices] if name == "heavy" else 1.0)
        )
    for item in morphs():
        name = item.path.removeprefix("targets/").removesuffix(".target")
        target = moved.get("heavy" if name.endswith("maxweight") else name)
        rows = [] if target is None else zip(target.indices.tolist(), target.offsets.tolist(), strict=True)
        path = tmp_path / "morphs" / item.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{row} {x:.4f} {y:.4f} {z:.4f}\n" for row, (x, y, z) in rows) or "0 0 0 0\n")
    monkeypatch.setattr(library, "morphs_folder", lambda: tmp_path / "morphs")
    monkeypatch.setattr(library, "cache_folder", lambda: tmp_path / "converted")
    makehuman.__dict__.pop("morphs", None)
    yield tmp_path / "morphs"
    makehuman.__dict__.pop("morphs", None)
