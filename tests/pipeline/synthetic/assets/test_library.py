"""A folder of assets: what is in it, that damage is told by name and stops nothing else, and that converting is done once."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from spherehead.pipeline.synthetic.assets import library as module
from spherehead.pipeline.synthetic.assets.formats import AssetError, read_obj, read_target
from spherehead.pipeline.synthetic.assets.library import BASE, Assets, open_assets


@pytest.fixture
def small(tmp_path: Path, makehuman_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A few of the shared assets in a folder that may be spoiled, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "assets"
    for name in (BASE, "targets/ears", "hair/short01", "hair/short03", "eyes"):
        source, target = makehuman_folder / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    return folder


def test_the_shared_subset_is_read_whole(makehuman: Assets) -> None:
    assert makehuman.problems == {}
    assert len(makehuman.base.vertices) == 19158
    assert len(makehuman.base.group("body")) == 2 * 13378
    assert len(makehuman.names("targets")) == 400
    assert [len(makehuman.names(kind)) for kind in ("hair", "eyebrows", "eyelashes", "skins")] == [7, 12, 4, 20]


def test_what_the_cache_gives_is_what_the_files_hold(small: Path) -> None:
    for _ in range(2):
        module._open.cache_clear()
        opened = open_assets(small)
        target = opened.target("ears/l-ear-wing-incr")
        plain = read_target(small / "targets/ears/l-ear-wing-incr.target", 19158)
        assert target.indices.tolist() == plain.indices.tolist()
        assert np.abs(target.offsets - plain.offsets).max() < 1e-7
        piece = opened.piece("hair/short01/short01")
        assert np.array_equal(piece.mesh.vertices, read_obj(small / "hair/short01/short01.obj").vertices)
        assert opened.picture(piece.texture).shape == (512, 512, 4)
        digest = hashlib.sha256((small / piece.texture).read_bytes()).hexdigest()
        assert opened.sha256(piece.texture) == digest


def test_damage_is_told_by_name_and_stops_nothing_else(small: Path) -> None:
    (small / "hair/short01/short01_diffuse.png").unlink()
    path = small / "targets/ears/l-ear-wing-incr.target"
    path.write_text(path.read_text()[:-7])
    mesh = small / "hair/short03/short03.obj"
    mesh.write_text(mesh.read_text().replace("v ", "v nan ", 1))
    opened = open_assets(small)
    for ask, name in (
        (lambda: opened.piece("hair/short01/short01"), "short01_diffuse.png"),
        (lambda: opened.target("ears/l-ear-wing-incr"), "l-ear-wing-incr.target"),
        (lambda: opened.piece("hair/short03/short03"), "short03.obj"),
        (lambda: opened.piece("hair/none/none"), "none"),
    ):
        with pytest.raises(AssetError, match=name):
            ask()
    assert len(opened.target("ears/r-ear-wing-incr").indices) > 100
    assert len(opened.piece("eyes/high-poly/high-poly").mesh.faces) == 2 * 1020


def test_a_texture_that_is_no_picture_is_told_by_name(small: Path) -> None:
    (small / "hair/short01/short01_diffuse.png").write_bytes(b"")
    with pytest.raises(AssetError, match=r"short01_diffuse\.png"):
        open_assets(small).picture("hair/short01/short01_diffuse.png")


def test_a_change_of_a_file_is_seen(small: Path) -> None:
    before = open_assets(small)
    path = small / "targets/ears/l-ear-wing-incr.target"
    path.write_text("0 1 0 0\n")
    after = open_assets(small)
    assert after.fingerprint != before.fingerprint
    assert after.target("ears/l-ear-wing-incr").indices.tolist() == [0]


def test_no_assets_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPHEREHEAD_ASSETS", str(tmp_path))
    with pytest.raises(AssetError, match=r"assets fetch makehuman"):
        open_assets()


def test_a_cache_that_cannot_be_written_only_costs_time(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    module._open.cache_clear()
    assert len(open_assets(small).names("targets")) > 10
