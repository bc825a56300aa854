"""Sheets that cannot be drawn as asked for are refused in a line, and no file but a PNG is replaced by one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from spherehead.datasets.report.sheets import SheetSettings, write_sheet
from spherehead.datasets.shards.verify import verify
from spherehead.manifests import store
from spherehead.manifests.config import ConfigError


@pytest.mark.parametrize("name", [store.MANIFEST, "train-000000.tar", "sheet.jpg", "sheet"])
def test_a_sheet_replaces_no_file_of_a_data_set_and_is_a_png_or_nothing(finished_set: Path, tmp_path: Path, name: str) -> None:
    copied_set = shutil.copytree(finished_set, tmp_path / "set")
    before = {path: path.read_bytes() for path in copied_set.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"ends in \.png, got"):
        write_sheet(copied_set, copied_set / name, SheetSettings(count=1))
    assert {path: path.read_bytes() for path in copied_set.rglob("*") if path.is_file()} == before
    assert verify(copied_set) == []


@pytest.mark.parametrize(("score", "words"), [("sharpnes", "no score 'sharpnes' in"), ("", "the worst are those by a score")])
def test_a_score_that_is_not_there_is_answered_with_those_that_are(
    finished_set: Path, tmp_path: Path, score: str, words: str
) -> None:
    with pytest.raises(LookupError, match=words) as told:
        write_sheet(finished_set, tmp_path / "a.png", SheetSettings("worst", score=score))
    names = [name for name in store.read(finished_set).table.column_names if name.startswith("score_")]
    assert str(told.value).endswith("; it has " + ", ".join(sorted(name.removeprefix("score_") for name in names)))


@pytest.mark.parametrize("kind", ["random", "view", "overlay"])
def test_a_sheet_that_no_memory_holds_is_refused(finished_set: Path, tmp_path: Path, kind: str) -> None:
    with pytest.raises(ConfigError, match=r"at most 268,435,456 pixels, got .* of side 100000 in 6 columns"):
        write_sheet(finished_set, tmp_path / "a.png", SheetSettings(kind, side=100_000))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="in 1000000000 columns"):
        write_sheet(finished_set, tmp_path / "a.png", SheetSettings(columns=10**9))
