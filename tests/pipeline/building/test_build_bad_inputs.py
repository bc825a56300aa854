"""No bad input crashes a build, hangs it, or vanishes; what stands beside it in the folder is not touched."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from spherehead.datasets import reasons

# V
from spherehead.datasets.shards.verify import verify
from spherehead.manifests import store
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.request import BuildRequest
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame

RECIPE = Recipe("frames", (Frame(size=64, max_upscale=4.0),))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, bad_inputs) -> tuple[Path, Path, dict[str, str]]:  # type: ignore[no-untyped-def]
    """The whole corpus of bad inputs, built with two workers."""
    folder = tmp_path_factory.mktemp("bad")
    expected = bad_inputs.write_bad_inputs(folder)
    out = tmp_path_factory.mktemp("out") / "set"
    build(BuildRequest((str(folder),), out, RECIPE, workers=2, abort_share=1.1))
    return folder, out, expected


def _told(out: Path) -> dict[str, tuple[str, str, str]]:
    table = pq.read_table(out / store.ORIGINS).to_pylist()
    return {row["path"]: (row["outcome"], row["reason"], row["detail"]) for row in table}


def test_every_bad_input_ends_with_its_named_reason(built: tuple[Path, Path, dict[str, str]]) -> None:
    _, out, expected = built
    told = _told(out)
    wrong = {}
    for path, reason in expected.items():
        outcome, got, detail = told.get(path.encode("utf-8", "backslashreplace").decode(), ("absent", "", ""))
        want = ("", "exact_duplicate", "pixel_duplicate") if reason == "ok" else (reason,)
        if got not in want or (reason != "ok" and outcome != reasons.outcome(reason)):
            wrong[path] = (reason, outcome, got, detail)
    assert wrong == {}


def test_nothing_is_left_out_of_the_books(built: tuple[Path, Path, dict[str, str]]) -> None:
    _folder, out, expected = built
    counts = store.read_header(out).counts
    assert counts["inputs"] == len(expected) == len(_told(out))
    assert counts["inputs"] == sum(counts[name] for name in ("kept", "dropped", "failed", "duplicate", "not_image"))

    assert verify(out, deep=True) == []


def test_the_corpus_is_left_as_it_was(built: tuple[Path, Path, dict[str, str]]) -> None:
    folder, out, _ = built
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert build(BuildRequest((str(folder),), out, RECIPE, workers=2, abort_share=1.1)).worked == 0
    assert before == {path: path.lstat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_zip_of_the_same_files_gives_the_same_shards(built: tuple[Path, Path, dict[str, str]], tmp_path: Path) -> None:
    folder, out, expected = built
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in sorted(expected, reverse=True):
            file = folder / path
            if file.is_file() and not file.is_symlink() and "\udcff" not in path:
                archive.writestr(path.replace("\\", "_"), file.read_bytes())
        archive.writestr(
            "names/not-utf8.jpg", Path(os.fsdecode(os.fsencode(folder) + b"/names/not-utf8-\xff\xfe.jpg")).read_bytes()
        )
    build(BuildRequest((str(tmp_path / "all.zip"),), tmp_path / "set", RECIPE, engine="inline", abort_share=1.1))
    for entry in store.read_header(out).shards:
        assert hashlib.sha256((tmp_path / "set" / entry.name).read_bytes()).hexdigest() == entry.sha256


def test_another_build_refuses_the_same_files_in_the_same_words(
    built: tuple[Path, Path, dict[str, str]], tmp_path: Path
) -> None:
    folder, out, _ = built
    build(BuildRequest((str(folder),), tmp_path / "set", RECIPE, engine="inline", abort_share=1.1))
    assert _told(tmp_path / "set") == _told(out)
    for name in (store.ORIGINS, store.MANIFEST):
        assert (tmp_path / "set" / name).read_bytes() == (out / name).read_bytes()
