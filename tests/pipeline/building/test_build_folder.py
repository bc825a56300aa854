"""Nothing of a user's in or around --out is replaced, removed, or taken for an input."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from spherehead.manifests import store
from spherehead.manifests.config import ConfigError
from spherehead.manifests.lock import BuildLocked, FolderReplaced
from spherehead.pipeline.building import shard_plan
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.folder import OWN_FILES, OWN_FOLDERS
from spherehead.pipeline.building.request import BuildRequest, Summary
from spherehead.pipeline.execution.database import FILES
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame

RECIPE = Recipe("test", (Frame(size=64, max_upscale=1.0),), shard_size=2)


def run(source: Path, out: Path, what: Recipe = RECIPE, **options: object) -> Summary:
    return build(BuildRequest((str(source),), out, what, **{"engine": "inline", **options}))


def foreign(out: Path, *names: str) -> dict[Path, bytes]:
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(f"mine: {name}".encode())
    return {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


MINE = (
    "my-photos.tar",
    "notes-backup.tar",
    "notes-000001.tar",
    "quarantines/no_head/0123456789abcdef.jpg",
    "a.tmp-1",
    "b.tmp-x",
)


def test_a_folder_of_other_files_is_refused_and_left_as_it_is(pictures: Path, tmp_path: Path) -> None:
    before = foreign(tmp_path / "A", *MINE)
    with pytest.raises(ConfigError, match=r"not empty and holds no data set: a\.tmp-1, b\.tmp-x, my-photos\.tar.*--update"):
        run(pictures, tmp_path / "A")
    assert {path: path.read_bytes() for path in (tmp_path / "A").rglob("*") if path.is_file()} == before


def test_a_build_beside_other_files_leaves_them_alone_however_often_it_changes(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "A"
    before = foreign(out, *MINE)
    run(pictures, out, update=True)
    later = foreign(out, "train-000077.tar", "manifest.json.tmp-old", "quarantine/no_head/mine.jpg", "quarantine/mine/1.jpg")
    run(pictures, out, RECIPE.override(["shard_size=5"]), update=True)
    shutil.rmtree(out / ".state")
    for path in sorted(pictures.iterdir())[1:]:
        path.unlink()
    run(pictures, out, RECIPE.override(["shard_size=5"]))
    kept = {path for path in later if path in before or "mine" in path.name or "mine" in path.parent.name or "77" in path.name}
    assert all(path.read_bytes() == later[path] for path in {*before, *kept, out / "manifest.json.tmp-old"})
    assert sorted(path.name for path in out.glob("*-00000?.tar") if path not in before) == [
        entry.name for entry in store.read_header(out).shards
    ]


@pytest.mark.parametrize("name", [*OWN_FILES, *(f"{folder}/x.jpg" for folder in OWN_FOLDERS)])
def test_a_file_with_a_name_that_a_build_needs_is_refused_even_with_update(pictures: Path, tmp_path: Path, name: str) -> None:
    before = foreign(tmp_path / "A", name)
    with pytest.raises(ConfigError, match="move it away"):
        run(pictures, tmp_path / "A", update=True)
    assert {path: path.read_bytes() for path in (tmp_path / "A").rglob("*") if path.is_file()} == before


def test_a_file_with_the_name_of_a_shard_to_be_is_not_written_over(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "A"
    before = foreign(out, "train-000000.tar")
    with pytest.raises(ConfigError, match=r"train-000000\.tar.*no record"):
        run(pictures, out, update=True)
    assert all(path.read_bytes() == data for path, data in before.items())
    assert not (out / store.HEADER).exists()


def test_shards_of_a_killed_build_are_known_without_its_memory(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_table", _fail)
        with pytest.raises(ZeroDivisionError):
            run(pictures, out)
    assert list(out.glob("*.tar")) and not (out / store.HEADER).exists()
    shutil.rmtree(out / ".state")
    assert sum(run(pictures, out).samples.values()) == 5


def _fail(*_: object) -> str:
    raise ZeroDivisionError


def test_outputs_inside_a_source_are_no_inputs(pictures: Path, tmp_path: Path) -> None:
    out = pictures / "heads"
    cv2.imwrite(str(pictures / "small.png"), np.zeros((64, 64, 3), np.uint8))
    first = run(pictures, out, RECIPE.override(["frame.size=80"]))
    assert (out / "quarantine").is_dir()
    (out / "report").mkdir()
    shutil.copy(pictures / "0.png", out / "report" / "sheet.png")
    again = run(pictures, out, RECIPE.override(["frame.size=80"]))
    assert again.counts == first.counts and again.worked == 0 and again.counts["inputs"] == 6


@pytest.mark.parametrize("source", ["", ".", "photos", "train-000000.tar", "*.tar"])
def test_a_source_in_out_is_refused(pictures: Path, tmp_path: Path, source: str) -> None:
    out = tmp_path / "out"
    run(pictures, out)
    shutil.copytree(pictures, out / "photos")
    files = sorted(out.rglob("*"))
    with pytest.raises(ConfigError, match=r"is --out itself|lies inside --out"):
        run(out / source, out, update=True)
    assert sorted(out.rglob("*")) == files


def test_a_link_to_out_is_out(pictures: Path, tmp_path: Path) -> None:
    run(pictures, tmp_path / "out")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with pytest.raises(ConfigError, match="is --out itself"):
        run(tmp_path / "link", tmp_path / "out", update=True)


@pytest.mark.parametrize("name", ["pipe", "pipe.csv", "pipe.zip", "pipe.tar"])
def test_a_pipe_is_no_source(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ConfigError, match="pipe, socket or device"):
        run(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize("text", ["[1]", "{", "7", '{"recipe": 1}', "[" * 100_000, '{"recipe": {}, "sources": 1}'])
def test_a_damaged_request_is_named_and_update_mends_it(pictures: Path, tmp_path: Path, text: str) -> None:
    out = tmp_path / "out"
    run(pictures, out)
    (out / "build.json").write_text(text)
    with pytest.raises(ConfigError, match=r"build\.json is damaged.*--update"):
        run(pictures, out)
    assert run(pictures, out, update=True).worked == 0
    assert json.loads((out / "build.json").read_text())["sources"] == [str(pictures)]


@pytest.mark.parametrize("text", ["[1]", "{", '{"sha256": {}}', '{"sha256": [], "ids": {}}', '{"sha256": {"a": 1}, "ids": {}}'])
def test_damaged_tombstones_stop_a_build(pictures: Path, tmp_path: Path, text: str) -> None:
    out = tmp_path / "out"
    run(pictures, out)
    (out / "tombstones.json").write_text(text)
    with pytest.raises(ConfigError, match=r"tombstones\.json is damaged.*come back"):
        run(pictures, out)


def test_a_folder_that_is_moved_while_it_is_written_is_no_set(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, elsewhere, write_shard = tmp_path / "out", tmp_path / "elsewhere", shard_plan.write_shard

    def moving(path: Path, *rest: Any) -> Any:
        if path.name != "train-000000.tar":
            out.rename(elsewhere)
        return write_shard(path, *rest)

    with monkeypatch.context() as patch, pytest.raises(FolderReplaced, match="moved or deleted"):
        patch.setattr(shard_plan, "write_shard", moving)
        run(pictures, out)
    assert (elsewhere / "train-000000.tar").exists() and not [*tmp_path.glob(f"*/{store.HEADER}")]
    shutil.rmtree(out)
    elsewhere.rename(out)
    assert run(pictures, out).worked == 0
    run(pictures, tmp_path / "calm")
    assert (out / store.HEADER).read_bytes() == (tmp_path / "calm" / store.HEADER).read_bytes()


def test_a_build_whose_memory_is_deleted_stays_the_only_writer(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, write_shard = tmp_path / "out", shard_plan.write_shard

    def forgetting(path: Path, *rest: Any) -> Any:
        shutil.rmtree(out / ".state", ignore_errors=True)
        with pytest.raises(BuildLocked):
            run(pictures, out, Recipe("test", (Frame(size=32),)), update=True)
        return write_shard(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(shard_plan, "write_shard", forgetting)
        run(pictures, out)
    run(pictures, tmp_path / "calm")
    assert (out / store.HEADER).read_bytes() == (tmp_path / "calm" / store.HEADER).read_bytes()


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_a_database_that_is_deleted_during_a_build_is_told_and_does_no_harm(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, replaced: bool
) -> None:
    run(pictures, tmp_path / "calm")
    assert not caplog.records
    names = ("manifest.json", "manifest.parquet", "origins.parquet", "train-000000.tar")
    calm = {file: (tmp_path / "calm" / file).read_bytes() for file in names}
    out, write_shard = tmp_path / "out", shard_plan.write_shard

    def losing(path: Path, *rest: Any) -> Any:
        (out / ".state" / name).unlink(missing_ok=True)
        if replaced:
            shutil.copy(tmp_path / "calm" / ".state" / name, out / ".state")
        return write_shard(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(shard_plan, "write_shard", losing)
        run(pictures, out)
    assert f"{out / '.state' / name} was deleted or replaced" in caplog.text
    assert {file: (out / file).read_bytes() for file in calm} == calm
    run(pictures, out)
    assert {file: (out / file).read_bytes() for file in calm} == calm
