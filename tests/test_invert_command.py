"""The command `invert`: what it refuses, and that one photograph without a head does not keep others from theirs."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from spherehead.commands import inversion
from spherehead.manifests.config import ConfigError
from spherehead.manifests.store import write_json
from spherehead.model.export.invert_request import Photographs
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.request import BuildRequest


def test_each_photograph_with_a_head_gets_it_and_the_others_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of text stands between two photographs; the pipeline's answer for these is a small head's sample."""
    heads = importlib.import_module("small_heads")
    generator = heads.generator()
    model = Path(heads.save(tmp_path / "heads", generator))
    monkeypatch.setenv("SPHEREHEAD_WEIGHTS", str(tmp_path / "weights"))
    real = inversion.labelled

    def labelled(photographs: Sequence[Path], folder: Path, device: str = "cpu") -> Photographs:
        if photographs[0].suffix == ".txt":
            return real(photographs, folder, device)
        return Photographs((heads.photograph(generator, 3),), (photographs[0].name,))

    monkeypatch.setattr(inversion, "labelled", labelled)
    album = tmp_path / "album"
    album.mkdir()
    for name in ("a.jpg", "b.txt", "c.jpg"):
        (album / name).write_bytes(b"no picture")
    quick = ["search.steps=1", "search.camera_steps=0", "tuning.steps=0", "objective.perceptual=0"]
    with pytest.raises(ConfigError, match=r"no head was found for 1 of 3 files: b\.txt; see above"):
        inversion.invert([album], tmp_path / "out", model, quick, each=True, mesh=False, video=False)
    assert [(tmp_path / "out" / name / "inversion.html").is_file() for name in "abc"] == [True, False, True]
    sheet = tmp_path / "out" / "heads.png"
    assert sheet.is_file()
    sheet.write_bytes(b"cut short")
    with pytest.raises(ConfigError, match="no head was found for 1 of 3"):  # what --each made, it makes again
        inversion.invert([album], tmp_path / "out", model, quick, each=True, mesh=False, video=False)
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert "b.txt: expected a folder, picture" in capsys.readouterr().err


def test_a_folder_with_the_head_of_others_is_refused_without_advice_that_invert_does_not_know(tmp_path: Path) -> None:
    for name in ("ann.png", "bob.png"):
        cv2.imwrite(str(tmp_path / name), np.full((64, 64, 3), len(name), dtype=np.uint8))
    folder = tmp_path / "out" / inversion.PHOTOGRAPHS
    build(BuildRequest((str(tmp_path / "ann.png"),), folder, inversion.one_person(), engine="inline", abort_share=1.0))
    with pytest.raises(ConfigError, match=r"holds a head of .*ann\.png, expected one of .*bob\.png; give a new") as refused:
        inversion.labelled([tmp_path / "bob.png"], folder)
    assert "--update" not in str(refused.value)


def test_a_photograph_that_changed_is_refused_before_anything_is_labelled_again(astronaut: np.ndarray, tmp_path: Path) -> None:
    album, out = tmp_path / "album", tmp_path / "out"
    album.mkdir()
    cv2.imwrite(str(album / "face.png"), astronaut[..., ::-1])
    (album / "empty.jpg").write_bytes(b"")
    folder = out / inversion.PHOTOGRAPHS
    first = inversion.labelled([album], folder)
    inverted = importlib.import_module("spherehead.model.inversion.inverted")
    record = inverted.InversionRecord(
        inverted.FORMAT, "model", "0" * 64, "mark", inverted.InversionSettings(), False, "", "optimise"
    )
    write_json(out / inverted.RECORD, record)
    before = contents(out)
    os.utime(album / "face.png", (1, 1))  # another time, the same bytes
    again = inversion.labelled([album], folder)
    assert again.names == first.names and contents(out) == before
    cv2.imwrite(str(album / "face.png"), astronaut[:, ::-1, ::-1])
    with pytest.raises(ConfigError, match=r"holds a head of other photographs: face\.png changed, .*; give a new folder"):
        inversion.labelled([album], folder)
    cv2.imwrite(str(album / "face.png"), astronaut[..., ::-1])
    (album / "empty.jpg").rename(album / "none.jpg")
    with pytest.raises(ConfigError, match=r"photographs: empty\.jpg, none\.jpg changed, came or went"):
        inversion.labelled([album], folder)
    assert contents(out) == before


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Return what every file holds and when it was written, but for the lock, which is no part of a set."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_photographs_of_one_name_in_two_folders_are_told_apart(
    astronaut: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("home", "away"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "home" / "1.png"), astronaut[..., ::-1])
    cv2.imwrite(str(tmp_path / "away" / "1.png"), np.full((400, 400, 3), 120, np.uint8))
    found = inversion.labelled([tmp_path / "home", tmp_path / "away"], tmp_path / "out" / inversion.PHOTOGRAPHS)
    assert found.names == ("home/1.png",)
    assert "left out away/1.png: no_head" in capsys.readouterr().err


def test_a_folder_of_photographs_that_is_not_ours_is_refused_without_advice_that_invert_does_not_know(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "ann.png"), np.full((64, 64, 3), 9, dtype=np.uint8))
    folder = tmp_path / "out" / inversion.PHOTOGRAPHS
    folder.mkdir(parents=True)
    (folder / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"is not invert's, .*; choose another --out, or move it away") as refused:
        inversion.labelled([tmp_path / "ann.png"], folder)
    assert "--update" not in str(refused.value) and [path.name for path in folder.iterdir()] == ["mine.jpg"]


@pytest.mark.parametrize("name", ["heads.png", "heads.json"])
def test_each_refuses_a_sheet_that_it_did_not_make_before_any_head_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"somebody's")
    photograph = tmp_path / "ann.png"
    cv2.imwrite(str(photograph), np.full((64, 64, 3), 9, dtype=np.uint8))
    with pytest.raises(ConfigError, match=rf"holds {name}, which invert --each has no record of .*; choose another --out"):
        inversion.invert([photograph], tmp_path / "out", each=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    assert (tmp_path / "out" / name).read_bytes() == b"somebody's"


def test_photographs_that_give_no_head_beside_one_that_does_are_named(
    astronaut: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    album = tmp_path / "album"
    album.mkdir()
    cv2.imwrite(str(album / "face.png"), astronaut[..., ::-1])
    cv2.imwrite(str(album / "wall.png"), np.full((400, 400, 3), 120, np.uint8))
    (album / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    found = inversion.labelled([album], tmp_path / "heads")
    assert found.names == ("face.png",)
    told = capsys.readouterr().err
    assert "left out wall.png: no_head" in told and "left out cut.jpg: " in told and "left out face" not in told
