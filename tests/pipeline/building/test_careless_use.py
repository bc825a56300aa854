"""What a careless user types: folders named as parts, jobs that died early, misspelt reasons, a memory that was deleted."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
from pathlib import Path

import pytest
from spherehead.api import build_dataset, read_manifest
from spherehead.cli import main
from spherehead.datasets.sample import SourceImage
from spherehead.datasets.sources.folder import FolderSource
from spherehead.manifests import store
from spherehead.manifests.config import ConfigError
from spherehead.manifests.frames import read_origins
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.folder import STATE, TOMBSTONES, Tombstones
from spherehead.pipeline.building.merge import MergeOptions, merge
from spherehead.pipeline.building.parts import PartOf
from spherehead.pipeline.building.plan import make_plan
from spherehead.pipeline.building.request import BuildRequest, Summary
from spherehead.pipeline.building.takedown import forget, retry
from spherehead.pipeline.presets import STAGES
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame

RECIPE = Recipe("test", (Frame(size=64, max_upscale=1.0),), shard_size=2)


def request(source: Path, out: Path, **options: object) -> BuildRequest:
    return BuildRequest((str(source),), out, RECIPE, **{"engine": "inline", **options})


def run(source: Path, out: Path, **options: object) -> Summary:
    return build(request(source, out, **options))


def test_a_data_set_may_be_named_as_jobs_name_theirs(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "1-of-2"
    out.mkdir()
    assert run(pictures, out).counts["inputs"] == run(pictures, tmp_path / "out").counts["inputs"]
    (tmp_path / "2-of-2").mkdir()
    (tmp_path / "2-of-2" / "mine").touch()
    with pytest.raises(ConfigError, match="not empty and holds no data set: mine"):
        run(pictures, tmp_path / "2-of-2")


def test_a_job_that_died_before_its_memory_was_there_is_rerun(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in (1, 2):
        part = PartOf(number, 2)
        (part.folder(out) / STATE).mkdir(parents=True)  # what a job leaves that was killed at its very beginning
        (part.folder(out) / STATE / "lock").touch()
        run(pictures, part.folder(out), shard_of=str(part))
    merged = merge(out, (), STAGES, MergeOptions(engine="inline"))
    assert merged.counts == run(pictures, tmp_path / "whole").counts


def test_a_link_to_nothing_is_no_place_for_a_data_set(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    with pytest.raises(ConfigError, match="link is a link to nothing; make the folder"):
        run(pictures, tmp_path / "link")


def test_a_misspelt_reason_is_refused_before_anything_is_worked_on(pictures: Path, tmp_path: Path) -> None:
    run(pictures, tmp_path / "out")
    with pytest.raises(ConfigError, match="unknown field 'timeuot' in reasons; did you mean 'timeout'"):
        retry(tmp_path / "out", "timeuot", STAGES)


def test_retry_counts_files_that_could_not_be_read(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = FolderSource.read

    def failing(self: FolderSource, image: SourceImage) -> bytes:
        if image.path == "0.png":
            raise OSError(errno.EIO, "Input/output error")
        return read(self, image)

    monkeypatch.setattr(FolderSource, "read", failing)
    assert run(pictures, tmp_path / "out").counts["failed"] == 1
    monkeypatch.undo()
    again, count = retry(tmp_path / "out", "io_error", STAGES)
    assert count == 1 == build(dataclasses.replace(again, engine="inline")).worked


def test_a_takedown_without_memory_says_that_it_needs_one(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(pictures, out)
    (row, *_) = (row for row in store.read(out).table.to_pylist() if row["status"] == "kept")
    shutil.rmtree(out / STATE)
    for name in (row["id"], row["sha256"]):
        with pytest.raises(ConfigError, match=r"the memory of .*out in \.state is gone; run its build-dataset command"):
            forget(out, name, STAGES)
    run(pictures, out)
    assert forget(out, row["id"], STAGES).startswith("took down 1 rows")


def test_a_takedown_that_must_pack_what_is_gone_says_how_to_make_it_and_is_done_then(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, words = tmp_path / "out", ["forget", "0.png", "--out", str(tmp_path / "out")]
    run(pictures, out)
    for path in (out / STATE).glob("cache.sqlite*"):
        path.unlink()
    assert main(words) == 2
    assert "gone from the stage cache; rerun the same build-dataset command to make them again" in capsys.readouterr().err
    run(pictures, out)
    assert read_origins(out).set_index("path").outcome["0.png"] == "dropped" and main(["shards", "verify", str(out)]) == 0


def test_tombstones_that_came_from_elsewhere_are_in_the_header_though_no_row_changes(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(pictures, out)
    assert store.read_header(out).tombstones == ()
    Tombstones({}, {"ffffffffffffffff": {"split": "train"}}).write(tmp_path / "out")  # behind all others: no shard changes
    run(pictures, out)
    assert store.read_header(out).tombstones == ("ffffffffffffffff",)
    assert json.loads((out / TOMBSTONES).read_bytes())["ids"].keys() == {"ffffffffffffffff"}


def test_a_place_that_the_system_does_not_have_is_told_in_its_words_and_ours(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["build-dataset", str(pictures), "--out", "/proc/absent", "--preset", "frames", "--engine", "inline"]
    assert main(words) == 2
    assert "/proc/absent: No such file or directory (ENOENT); it is not there" in capsys.readouterr().err


def test_a_misspelt_source_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fotos', but nothing is there"):
        run(tmp_path / "fotos", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_plan_is_refused_where_its_build_would_be(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    for out, options, words in (
        ("file", {}, "file is a file; expected a folder"),
        ("full", {}, "not empty and holds no data set: mine"),
        ("out", {"engine": "lokal"}, "expected an engine of"),
        ("out", {"abort_share": -3.0}, "abort_share above 0"),
        ("out", {"abort_share": float("nan")}, "abort_share above 0"),
        ("out", {"time_limit": float("nan")}, "time_limit > 0"),
    ):
        for work in (make_plan, build):
            with pytest.raises(ConfigError, match=words):
                work(request(pictures, tmp_path / out, **options))  # type: ignore[operator]
    assert not (tmp_path / "out").exists()


def test_a_negative_number_of_workers_is_refused_from_python_too(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers of 0 or more, got -2"):
        build_dataset(pictures, tmp_path / "out", "frames", workers=-2)
    assert not (tmp_path / "out").exists()


def test_a_misspelt_column_is_named_and_one_column_may_be_a_word(pictures: Path, tmp_path: Path) -> None:
    run(pictures, tmp_path / "out")
    assert list(read_manifest(tmp_path / "out", "status").columns) == ["status"]
    with pytest.raises(ConfigError, match=r"unknown field 'statsu' in the manifest of .*; did you mean 'status'"):
        read_manifest(tmp_path / "out", ["id", "statsu"])
