"""Parts that jobs have made merge into the bytes of one build, and what does not belong together is told by number."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.manifests import store
from spherehead.manifests.config import ConfigError
from spherehead.manifests.lock import writer_lock
from spherehead.pipeline.building import takedown
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.folder import Tombstones
from spherehead.pipeline.building.memory.intake import take_in
from spherehead.pipeline.building.memory.state import State
from spherehead.pipeline.building.merge import MergeOptions, merge
from spherehead.pipeline.building.parts import RECORD, PartOf, PartRecord
from spherehead.pipeline.building.plan import Plan, make_plan
from spherehead.pipeline.building.request import BuildRequest, Summary
from spherehead.pipeline.building.takedown import forget
from spherehead.pipeline.curation.splits import SplitSettings
from spherehead.pipeline.execution.cache import StageCache
from spherehead.pipeline.execution.work import FileResult
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame

KNOWN = {"frame": Frame}
RECIPE = Recipe("test", (Frame(size=32, max_upscale=4.0),), shard_size=3, splits=SplitSettings({"train": 0.7, "val": 0.3}))
INLINE = MergeOptions(engine="inline")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """Eight pieces of one photograph, copies of two, one of equal pixels in another file, a text and an empty file."""
    folder = tmp_path_factory.mktemp("inputs") / "pictures"
    folder.mkdir()
    for index in range(8):
        y, x = 150 * (index // 4), 140 * (index % 4)
        cv2.imwrite(str(folder / f"{index}.png"), astronaut[y : y + 90, x : x + 90, ::-1])
    for name in ("copy of 3.png", "another 3.png", "copy of 5.png"):
        shutil.copy(folder / f"{name[-5]}.png", folder / name)
    pixels = cv2.imread(str(folder / "1.png"))
    cv2.imwrite(str(folder / "1 again.png"), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    (folder / "notes.txt").write_text("no picture")
    (folder / "empty.jpg").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def single(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One build of all of them."""
    out = tmp_path_factory.mktemp("single") / "out"
    summary = build(BuildRequest((str(pictures),), out, RECIPE, engine="inline"))
    assert summary.counts["kept"] >= 7 and summary.num_shards >= 3
    return out


def part(pictures: Path, out: Path, text: str, recipe: Recipe = RECIPE) -> Summary:
    folder = PartOf.parse(text).folder(out)
    return build(BuildRequest((str(pictures),), folder, recipe, engine="inline", shard_of=text))


def digests(out: Path) -> dict[str, str]:
    names = (store.MANIFEST, store.HEADER, store.ORIGINS)
    files = sorted([*out.glob("*.tar"), *(out / name for name in names), *(out / "quarantine").glob("*/*.jpg")])
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@settings(max_examples=5, deadline=None)
@given(total=st.integers(1, 5), order=st.randoms(use_true_random=False), shared=st.booleans())
def test_parts_of_any_number_in_any_order_merge_into_the_bytes_of_one_build(
    pictures: Path, single: Path, tmp_path_factory: pytest.TempPathFactory, total: int, order: object, shared: bool
) -> None:
    scratch = tmp_path_factory.mktemp("parts")
    numbers = list(range(1, total + 1))
    order.shuffle(numbers)
    outs = [scratch / ("out" if shared else f"job {number}") for number in numbers]
    inputs = sum(part(pictures, out, f"{number}/{total}").counts["inputs"] for number, out in zip(numbers, outs, strict=True))
    summary = merge(scratch / "out", [] if shared else outs, KNOWN, INLINE)
    assert (inputs, summary.counts["inputs"], summary.worked) == (14, 14, 0)
    assert digests(scratch / "out") == digests(single)
    assert merge(scratch / "out", [] if shared else outs, KNOWN, INLINE).worked == 0
    assert digests(scratch / "out") == digests(single)


@settings(max_examples=30, deadline=None)
@given(st.text(min_size=1), st.integers(1, 9))
def test_every_path_belongs_to_one_job_and_views_of_a_person_to_the_same(path: str, total: int) -> None:
    jobs = [PartOf(number, total) for number in range(1, total + 1)]
    assert sum(job.takes("photos", path) for job in jobs) == 1
    views = {job.number for job in jobs for view in range(4) if job.takes("makehuman:count=2", f"person/{view:03d}.png")}
    assert len(views) == 1


def test_missing_and_unfinished_parts_are_told_by_number(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="no parts in"):
        merge(out, [], KNOWN, INLINE)
    with pytest.raises(ConfigError, match=rf"no parts in {tmp_path / 'other'}, {tmp_path / 'third'}; expected"):
        merge(out, [tmp_path / "other", tmp_path / "third"], KNOWN, INLINE)
    for number in (1, 2, 4):
        part(pictures, out, f"{number}/5")
    (PartOf(2, 5).folder(out) / RECORD).unlink()
    with pytest.raises(ConfigError, match="2 of 5 parts are finished; missing 3, 5; not finished 2: rerun these jobs"):
        merge(out, [], KNOWN, INLINE)
    assert not (out / store.HEADER).exists()
    part(pictures, tmp_path / "elsewhere", "1/5")
    with pytest.raises(ConfigError, match="part 1/5 is there twice"):
        merge(out, [out, tmp_path / "elsewhere"], KNOWN, INLINE)
    part(pictures, tmp_path / "elsewhere", "1/2")
    with pytest.raises(ConfigError, match=r"parts of several \(1 of 2, 3 of 5\)"):
        merge(out, [out, PartOf(1, 2).folder(tmp_path / "elsewhere")], KNOWN, INLINE)


def test_parts_of_other_settings_or_inputs_are_refused(pictures: Path, tmp_path: Path) -> None:
    part(pictures, tmp_path / "a", "1/2")
    part(pictures, tmp_path / "a", "2/2", replace(RECIPE, stages=(Frame(size=48, max_upscale=4.0),)))
    with pytest.raises(ConfigError, match=r"parts 1/2 .* and 2/2 .* have different recipe"):
        merge(tmp_path / "a", [], KNOWN, INLINE)
    own = tmp_path / "pictures"
    shutil.copytree(pictures, own)
    part(own, tmp_path / "b", "1/2")
    shutil.copy(own / "1.png", own / "more.png")
    part(own, tmp_path / "b", "2/2")
    with pytest.raises(ConfigError, match=r"parts 1/2 .* and 2/2 .* saw different inputs \(14 and 15 listed\)"):
        merge(tmp_path / "b", [], KNOWN, INLINE)
    part(own, tmp_path / "b", "1/2")
    (own / "more.png").unlink()
    with pytest.raises(ConfigError, match="the sources have other files now"):
        merge(tmp_path / "b", [], KNOWN, INLINE)


def test_a_merge_that_is_killed_resumes_at_every_point(
    pictures: Path, single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import spherehead.pipeline.building.memory.intake as intake

    for number in (1, 2, 3):
        part(pictures, tmp_path / "out", f"{number}/3")
    monkeypatch.setattr(intake, "_PAGE", 2)
    copied = intake._copy_content
    for allowed in itertools.count(1, 4):
        left = allowed

        def stops(*arguments: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise RuntimeError("killed")
            copied(*arguments)

        monkeypatch.setattr(intake, "_copy_content", stops)
        try:
            merge(tmp_path / "out", [], KNOWN, INLINE)
            break
        except RuntimeError:
            assert not (tmp_path / "out" / store.HEADER).exists()
    assert allowed > 1 and digests(tmp_path / "out") == digests(single)


def test_what_was_taken_down_does_not_come_back_with_a_part_that_ran_again(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in (1, 2):
        part(pictures, out, f"{number}/2")
    merge(out, [], KNOWN, INLINE)
    sha256 = hashlib.sha256((pictures / "2.png").read_bytes()).hexdigest()
    forget(out, sha256, KNOWN)
    after = digests(out)
    for number in (1, 2):
        part(pictures, out, f"{number}/2")
    merge(out, [], KNOWN, INLINE)
    assert digests(out) == after
    assert sha256 not in {row["sha256"] for row in store.read(out).table.to_pylist()}


def holds(folder: Path, picture: bytes) -> list[str]:
    """Return the files, journals too, in which an encoded picture can be read."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and picture in path.read_bytes())


def encoded(out: Path, id: str) -> bytes:
    """Return the picture of a sample as its shard has it."""
    for path in out.glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.startswith(id) and Path(member.name).suffix in (".jpg", ".png", ".webp"):
                    return tar.extractfile(member).read()
    raise AssertionError(f"no sample {id}")


@pytest.mark.parametrize(("key", "shared"), [("sha256", True), ("id", False), ("path", True)])
def test_a_takedown_reaches_the_parts_so_that_no_later_merge_brings_the_picture_back(
    pictures: Path, tmp_path: Path, key: str, shared: bool
) -> None:
    """Of 3.png a copy lies in the list too, and both count."""
    out, outs = tmp_path / "out", [tmp_path / ("out" if shared else f"job {number}") for number in (1, 2, 3)]
    for number, where in enumerate(outs, 1):
        part(pictures, where, f"{number}/3")
    merge(out, [] if shared else outs, KNOWN, INLINE)
    sha256 = hashlib.sha256((pictures / "3.png").read_bytes()).hexdigest()
    row = next(row for row in store.read(out).table.to_pylist() if row["sha256"] == sha256)
    picture = encoded(out, row["id"])
    parts = [PartOf(number, 3).folder(where) for number, where in enumerate(outs, 1)]
    assert [name for folder in parts for name in holds(folder, picture)]
    (parts[0] / "notes.bin").write_bytes(picture)  # somebody's own file
    done = forget(out, {"sha256": sha256, "id": row["id"], "path": "3.png"}[key], KNOWN)
    assert done == f"took down 1 rows ({row['id']}), and in 3 parts that it was merged from"
    assert [name for folder in parts for name in holds(folder, picture)] == ["notes.bin"] and holds(
        out / ".state", picture
    ) == []
    after = digests(out)
    assert merge(out, [] if shared else outs, KNOWN, INLINE).worked == 0 and digests(out) == after
    assert merge(tmp_path / "other", outs, KNOWN, INLINE).worked == 0 and digests(tmp_path / "other") == after
    for number, where in enumerate(outs, 1):  # a job that runs again finds nothing to do
        assert part(pictures, where, f"{number}/3").worked == 0
    assert forget(out, {"sha256": sha256, "id": row["id"], "path": "3.png"}[key], KNOWN) == done
    again = tmp_path / "pictures"
    shutil.copytree(pictures, again)  # the same bytes elsewhere are worked on anew
    part(again, out, "1/1")
    assert holds(PartOf(1, 1).folder(out), picture) == []


def test_a_takedown_that_is_killed_among_the_parts_is_finished_by_the_same_command(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        part(pictures, tmp_path / "calm", f"{number}/2")
    merge(tmp_path / "calm", [], KNOWN, INLINE)
    shutil.copytree(tmp_path / "calm", tmp_path / "never")
    row = next(row for row in store.read(tmp_path / "calm").table.to_pylist() if row["status"] == "kept")
    picture = encoded(tmp_path / "calm", row["id"])
    forget(tmp_path / "calm", row["id"], KNOWN)
    stopped = 0
    for place in itertools.count(1, 3):
        out = tmp_path / f"killed {place}"
        shutil.copytree(tmp_path / "never", out)
        left = place

        def stopping(real: Callable[..., object]) -> Callable[..., object]:
            def stop(*arguments: object, **named: object) -> object:
                nonlocal left
                left -= 1
                if not left:
                    raise ZeroDivisionError
                return real(*arguments, **named)

            return stop

        with monkeypatch.context() as patch:
            for owner, name in (
                (Tombstones, "write"), (StageCache, "remove"), (StageCache, "remove_thumbs"), (State, "remove_heads"),
                (State, "empty"), (PartRecord, "write"), (takedown, "_empty_journals"), (takedown, "commit"),
                (takedown.MergedPart, "note"),
            ):  # fmt: skip
                patch.setattr(owner, name, stopping(getattr(owner, name)))
            try:
                forget(out, row["id"], KNOWN)
                break
            except ZeroDivisionError:
                stopped += 1
        forget(out, row["id"], KNOWN)
        assert holds(out, picture) == [] and digests(out) == digests(tmp_path / "calm")
    assert stopped > 3


def test_parts_that_are_not_found_or_are_written_are_told_with_what_to_do(pictures: Path, tmp_path: Path) -> None:
    out, jobs = tmp_path / "out", [tmp_path / "job 1", tmp_path / "job 2"]
    for number, where in enumerate(jobs, 1):
        part(pictures, where, f"{number}/2")
    merge(out, jobs, KNOWN, INLINE)
    sha256 = hashlib.sha256((pictures / "2.png").read_bytes()).hexdigest()
    picture = encoded(out, next(row["id"] for row in store.read(out).table.to_pylist() if row["sha256"] == sha256))
    jobs[0].rename(tmp_path / "moved")
    first, second = PartOf(1, 2).folder(tmp_path / "moved"), PartOf(2, 2).folder(jobs[1])
    with writer_lock(second / ".state" / "lock"), pytest.raises(takedown.PartsLeft, match=r"1 of the parts .* hold it still"):
        forget(out, "2.png", KNOWN)
    assert not [path for path in out.glob("*.tar") if picture in path.read_bytes()]
    told = forget(out, "2.png", KNOWN)
    assert "and in 1 part that" in told and f"part 1/2 ({PartOf(1, 2).folder(jobs[0])})" in told
    assert told.endswith(f"run spherehead forget {sha256} --out FOLDER")
    assert holds(second, picture) == []
    own = [number for number in (1, 2) if PartOf(number, 2).takes(str(pictures), "2.png")]
    if own == [1]:
        assert holds(first, picture) and forget(first, sha256, KNOWN).startswith("took down 1 rows")
    assert holds(first, picture) == []
    assert forget(second, sha256, KNOWN).startswith("took down 1 rows")  # done before, and said once more
    with pytest.raises(ConfigError, match=r"nothing in .* it has nothing to take down"):
        forget(second, "ab" * 32, KNOWN)
    shutil.rmtree(second)
    second.mkdir()
    (second / "build.json").write_text("{}")  # another folder now
    assert "part 2/2" in forget(out, "2.png", KNOWN) and (second / "build.json").read_text() == "{}"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_content_that_failed_in_one_job_is_taken_from_the_other(tmp_path: Path, order: tuple[int, int]) -> None:
    keys, key = ("aa" * 8, "bb" * 8), "cd" * 32
    results = [
        FileResult(key, key, "failed", "timeout", "took longer", "worker", (("1" * 16, "failed", '{"id":"x"}'),)),
        FileResult(key, key, "kept", heads=(("1" * 16, "kept", '{"id":"x"}'),)),
    ]
    for index, result in enumerate(results):
        state, cache = State(tmp_path / str(index) / "state.sqlite"), StageCache(tmp_path / str(index) / "cache.sqlite")
        state.store(result, state.chain_id(keys))
        if result.outcome == "kept":
            cache.set_members(key, keys[-1], b"members")
        state.close()
        cache.close()
    state, cache = State(tmp_path / "out" / "state.sqlite"), StageCache(tmp_path / "out" / "cache.sqlite")
    for index in order:
        take_in(state, cache, tmp_path / str(index), keys, (), lambda: None)
    found = state.result_of(key, state.chain_id(keys))
    assert found is not None and found.outcome == "kept" and cache.members(key, keys[-1]) == b"members"
    state.close()
    cache.close()


def test_a_plan_of_a_part_counts_its_own_inputs(pictures: Path, tmp_path: Path) -> None:
    def plan(text: str) -> Plan:
        out = PartOf.parse(text).folder(tmp_path / "out")
        return make_plan(BuildRequest((str(pictures),), out, RECIPE, engine="inline", shard_of=text))

    plans = [plan("1/2"), plan("2/2")]
    assert sum(found.inputs for found in plans) == 14 and all(found.inputs < 14 for found in plans)
    part(pictures, tmp_path / "out", "1/2")
    again = plan("1/2")
    assert again.unread == 0 and again.unchanged == again.inputs - again.refused


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_part_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected --shard-of K/N"):
        PartOf.parse(text)
