"""The command `invert`: what it refuses, and that one photograph without a head does not keep others from theirs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from spherehead.commands import inversion
from spherehead.manifests.config import ConfigError
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
    assert (tmp_path / "out" / "heads.png").is_file()
    assert "b.txt: expected a folder, picture" in capsys.readouterr().err


def test_a_folder_with_the_head_of_others_is_refused_without_advice_that_invert_does_not_know(tmp_path: Path) -> None:
    for name in ("ann.png", "bob.png"):
        cv2.imwrite(str(tmp_path / name), np.full((64, 64, 3), len(name), dtype=np.uint8))
    folder = tmp_path / "out" / inversion.PHOTOGRAPHS
    build(BuildRequest((str(tmp_path / "ann.png"),), folder, inversion.one_person(), engine="inline", abort_share=1.0))
    with pytest.raises(ConfigError, match=r"holds a head of .*ann\.png, expected one of .*bob\.png; give a new") as refused:
        inversion.labelled([tmp_path / "bob.png"], folder)
    assert "--update" not in str(refused.value)


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
