"""A build loses nothing, repeats itself to the byte, and answers for every input."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import shutil
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from odd_stages import MAGENTA, Odd
from spherehead.datasets.shards.tar import ShardReader, iterate
from spherehead.manifests import store
from spherehead.manifests.config import ConfigError
from spherehead.manifests.lock import BuildLocked, writer_lock
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.plan import make_plan
from spherehead.pipeline.building.request import BuildAborted, BuildRequest, Summary
from spherehead.pipeline.building.takedown import forget, load_request, retry
from spherehead.pipeline.curation.splits import SplitSettings
from spherehead.pipeline.engines.base import EngineError
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame

KNOWN = {"frame": Frame, "odd": Odd}
FRAME = Frame(size=64, max_upscale=4.0)


def recipe(*more: Odd, **changes: object) -> Recipe:
    plain = Recipe("test", (FRAME, *more), shard_size=4, splits=SplitSettings({"train": 0.7, "val": 0.3}))
    return dataclasses.replace(plain, **changes)


@pytest.fixture
def pictures(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """Ten different pieces of one photograph, a copy of one of them, and a text."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(10):
        y, x = divmod(index * 37, 400)
        piece = astronaut[y : y + 90, x : x + 100]
        cv2.imwrite(str(folder / f"{index}.jpg"), piece[..., ::-1])
    shutil.copy(folder / "3.jpg", folder / "copy of 3.jpg")
    (folder / "notes.txt").write_text("no picture")
    return folder


def magenta(folder: Path, name: str = "magenta.png") -> Path:
    picture = np.full((64, 64, 3), MAGENTA, np.uint8)
    picture[20:30] = 0
    cv2.imwrite(str(folder / name), picture[..., ::-1])
    return folder / name


def run(folder: Path, out: Path, what: Recipe | None = None, **options: object) -> Summary:
    return build(BuildRequest((str(folder),), out, what or recipe(), **{"engine": "inline", **options}))


def digests(out: Path) -> dict[str, str]:
    """sha256 of everything that must not vary: shards, manifest, header."""
    files = sorted([*out.glob("*.tar"), out / store.MANIFEST, out / store.HEADER])
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(out: Path) -> list[dict]:
    return pq.read_table(out / store.MANIFEST).to_pylist()


def origins(out: Path) -> dict[str, tuple[str, str]]:
    return {row["path"]: (row["outcome"], row["reason"]) for row in pq.read_table(out / store.ORIGINS).to_pylist()}


def test_every_input_is_accounted_for_and_every_kept_row_is_in_its_place(pictures: Path, tmp_path: Path) -> None:
    (pictures / "empty.jpg").write_bytes(b"")
    summary = run(pictures, tmp_path / "out")
    assert summary.counts["inputs"] == 13
    assert [summary.counts[name] for name in ("kept", "dropped", "failed", "duplicate", "not_image")] == [10, 0, 1, 1, 1]
    kept = [row for row in rows(tmp_path / "out") if row["status"] == "kept"]
    assert [row["id"] for row in kept] == sorted(row["id"] for row in kept) and len(kept) == 10
    for entry in store.read_header(tmp_path / "out").shards:
        with (tmp_path / "out" / entry.name).open("rb") as file:
            found = list(iterate(file))
        assert [key for key, _ in found] == [row["id"] for row in kept if row["shard"] == entry.name]
        for row, (_, members) in zip([row for row in kept if row["shard"] == entry.name], found, strict=True):
            assert hashlib.sha256(members["jpg"]).hexdigest() == row["image_sha256"]
            assert json.loads(members["json"])["sha256"] == row["sha256"]
    assert origins(tmp_path / "out")["copy of 3.jpg"] == ("duplicate", "exact_duplicate")
    assert origins(tmp_path / "out")["empty.jpg"] == ("failed", "empty_file")


def test_workers_names_and_order_do_not_change_a_byte(pictures: Path, tmp_path: Path) -> None:
    run(pictures, tmp_path / "one", recipe(Odd()), engine="local", workers=1)
    shuffled = tmp_path / "renamed" / "deep"
    shuffled.mkdir(parents=True)
    names = [path.name for path in sorted(pictures.iterdir())]
    random.Random(5).shuffle(names)
    for number, name in enumerate(names):
        shutil.copy(pictures / name, (shuffled if number % 2 else shuffled.parent) / f"{number}. other{Path(name).suffix}")
    run(tmp_path / "renamed", tmp_path / "two", recipe(Odd()), engine="local", workers=2)
    run(pictures, tmp_path / "three", recipe(Odd()), engine="inline")
    assert digests(tmp_path / "one") == digests(tmp_path / "two") == digests(tmp_path / "three")


def test_a_finished_build_runs_nothing_and_touches_nothing(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(pictures, out)
    before = {path.name: path.stat().st_mtime_ns for path in [*out.glob("*.tar"), out / store.MANIFEST, out / store.HEADER]}
    assert run(pictures, out).worked == 0
    assert before == {
        path.name: path.stat().st_mtime_ns for path in [*out.glob("*.tar"), out / store.MANIFEST, out / store.HEADER]
    }


def test_added_files_are_worked_on_and_no_others(pictures: Path, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.mkdir()
    stages = recipe(Odd(counter=str(counter)))
    run(pictures, tmp_path / "out", stages)
    assert len(list(counter.iterdir())) == 10  # the copy is answered by the cache
    magenta(pictures)
    assert run(pictures, tmp_path / "out", stages).worked == 1
    run(pictures, tmp_path / "fresh", stages)
    assert digests(tmp_path / "out") == digests(tmp_path / "fresh")


def test_a_late_setting_runs_no_early_stage(pictures: Path, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.mkdir()
    early, late = Odd(counter=str(counter)), dataclasses.replace(recipe().encoding, quality=80)
    run(pictures, tmp_path / "out", recipe(early))
    made = len(list(counter.iterdir()))
    changed = recipe(early, encoding=late)
    assert make_plan(BuildRequest((str(pictures),), tmp_path / "out", changed)).runs == {
        "decode": 0,
        "frame": 0,
        "odd": 0,
        "encode": 12,
    }
    run(pictures, tmp_path / "out", changed, update=True)
    assert len(list(counter.iterdir())) == made
    run(pictures, tmp_path / "fresh", changed)
    assert digests(tmp_path / "out") == digests(tmp_path / "fresh")


def test_other_settings_are_refused_with_the_difference(pictures: Path, tmp_path: Path) -> None:
    run(pictures, tmp_path / "out")
    with pytest.raises(ConfigError, match=r'(?s)-    "size": 64.*\+    "size": 80.*--update'):
        run(pictures, tmp_path / "out", recipe().override(["frame.size=80"]))


@pytest.mark.parametrize(("deed", "reason"), [("crash", "worker_crash"), ("hang", "timeout"), ("raise", "stage_error")])
def test_a_poisoned_file_is_quarantined_and_the_rest_goes_on(pictures: Path, tmp_path: Path, deed: str, reason: str) -> None:
    magenta(pictures)
    what, options = recipe(Odd(deed=deed)), {"engine": "local", "workers": 2, "time_limit": 4.0}
    summary = run(pictures, tmp_path / "out", what, **options)
    assert summary.counts["kept"] == 10 and summary.counts["failed"] == 1
    assert origins(tmp_path / "out")["magenta.png"] == ("failed", reason)
    assert [row["reason"] for row in rows(tmp_path / "out") if row["status"] == "failed"] == [reason]
    assert run(pictures, tmp_path / "out", what, **options).worked == 0  # not tried again on its own
    request, count = retry(tmp_path / "out", reason, KNOWN)
    assert count == 1 and build(dataclasses.replace(request, engine="local")).worked == 1


def test_one_cause_for_nearly_all_failures_stops_the_build(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(210):
        (folder / f"{index}.jpg").write_bytes(b"\xff\xd8\xff" + bytes([index]) * 9)
    with pytest.raises(BuildAborted, match=r"of the last 200 files failed with 'truncated'|'corrupt_stream'"):
        run(folder, tmp_path / "out")
    assert not (tmp_path / "out" / store.HEADER).exists()


def test_a_second_writer_is_refused(pictures: Path, tmp_path: Path) -> None:
    with writer_lock(tmp_path / "out" / ".state" / "lock"), pytest.raises(BuildLocked, match="process"):
        run(pictures, tmp_path / "out")


def test_a_photograph_beyond_the_memory_budget_is_refused_and_others_wait_their_turn(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index, side in enumerate((3000, 3001, 5000)):
        picture = cv2.resize(rng.integers(0, 255, (30, 30, 3), dtype=np.uint8), (side, side))
        cv2.imwrite(str(folder / f"{index}.jpg"), picture)
    summary = run(folder, tmp_path / "out", engine="local", workers=2, max_memory=80 << 20)
    assert summary.counts["kept"] == 2
    assert origins(tmp_path / "out")["2.jpg"] == ("failed", "out_of_memory")


def test_workers_that_cannot_start_are_an_error_not_a_hang(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import spherehead.pipeline.engines.local as local

    monkeypatch.setattr(local, "_serve", _die)
    with pytest.raises(EngineError, match="died while starting"):
        run(pictures, tmp_path / "out", engine="local", workers=1)


def _die(*_: object) -> None:
    sys.exit(3)


def test_a_takedown_changes_one_shard_and_lasts(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    what = recipe(splits=SplitSettings({"train": 1.0}), shard_size=3)
    run(pictures, out, what)
    before = digests(out)
    victim = next(row for row in rows(out) if row["shard"] == "train-000001.tar")
    with ShardReader(out) as reader:
        picture = reader.members(victim["shard"], victim["offset"], victim["num_bytes"])[1]["jpg"][-400:]
    assert picture in (out / ".state" / "cache.sqlite").read_bytes()
    forget(out, victim["id"], KNOWN)
    header = f'"tombstones": [\n  "{victim["id"]}"'
    after = digests(out)
    assert {name for name in before if before[name] != after.get(name)} == {"train-000001.tar", store.MANIFEST, store.HEADER}
    assert victim["id"] not in {row["id"] for row in rows(out)}
    remains = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != "tombstones.json")
    assert picture not in remains and victim["id"].encode() not in remains.replace(header.encode(), b"")
    assert build(load_request(out, KNOWN)).worked == 0 and digests(out) == after
    shutil.rmtree(out / ".state")
    assert build(load_request(out, KNOWN)).worked == 12 and digests(out) == after


@pytest.mark.parametrize("by", ["path", "label", "sha256"])
def test_a_file_is_taken_down_by_any_of_its_names(pictures: Path, tmp_path: Path, by: str) -> None:
    out = tmp_path / "out"
    run(pictures, out)
    sha256 = hashlib.sha256((pictures / "3.jpg").read_bytes()).hexdigest()
    forget(out, {"path": "copy of 3.jpg", "label": "pictures/3.jpg", "sha256": sha256}[by], KNOWN)
    assert sha256 not in {row["sha256"] for row in rows(out)}
    assert origins(out)["3.jpg"] == ("dropped", "forgotten")
    after = digests(out)
    shutil.rmtree(out / ".state")
    build(load_request(out, KNOWN))
    assert digests(out) == after


def test_an_unknown_name_cannot_be_taken_down(pictures: Path, tmp_path: Path) -> None:
    run(pictures, tmp_path / "out")
    with pytest.raises(ConfigError, match="nothing in"):
        forget(tmp_path / "out", "nobody.jpg", KNOWN)


def test_a_request_comes_back(pictures: Path, tmp_path: Path) -> None:
    request = BuildRequest((str(pictures),), tmp_path / "out", recipe(Odd()), workers=1, engine="inline", time_limit=7.0)
    build(request)
    assert load_request(tmp_path / "out", KNOWN) == request


def test_a_lost_cache_is_made_again(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(pictures, out)
    before = digests(out)
    for path in (out / ".state").glob("cache.sqlite*"):
        path.unlink()
    for path in out.glob("*.tar"):
        path.unlink()
    assert run(pictures, out).worked == 11  # all of them in one run: ten, and the copy of one
    assert digests(out) == before


def test_a_shard_set_is_a_source(pictures: Path, tmp_path: Path) -> None:
    run(pictures, tmp_path / "first")
    summary = run(tmp_path / "first", tmp_path / "second")
    assert summary.counts["kept"] == 10
    assert {row["parent"] for row in rows(tmp_path / "second")} == {
        row["id"] for row in rows(tmp_path / "first") if row["status"] == "kept"
    }


def test_an_interrupt_stops_soon_and_the_same_line_goes_on(pictures: Path, tmp_path: Path) -> None:
    import os
    import signal

    from spherehead.pipeline.building.request import BuildInterrupted
    from spherehead.pipeline.console.progress import Silent

    class FirstDone(Silent):
        """Sends a signal soon after the first file is done: the second one naps then."""

        timer: threading.Timer | None = None

        def done(self, outcome: str, reason: str = "", seconds: object = None) -> None:
            if self.timer is None:
                self.timer = threading.Timer(0.02, lambda: os.kill(os.getpid(), signal.SIGTERM))
                self.timer.start()

    what, observer = recipe(Odd(deed="nap")), FirstDone()
    with pytest.raises(BuildInterrupted) as caught:
        build(BuildRequest((str(pictures),), tmp_path / "out", what, engine="inline"), observer)
    assert observer.timer is not None
    observer.timer.join()
    assert caught.value.signum == signal.SIGTERM
    assert 0 < run(pictures, tmp_path / "out", what).worked < 12
    run(pictures, tmp_path / "fresh", what)
    assert digests(tmp_path / "out") == digests(tmp_path / "fresh")


def test_a_photograph_of_a_finished_shard_keeps_its_camera(tmp_path: Path, astronaut: np.ndarray) -> None:
    from spherehead.datasets.camera import Camera
    from spherehead.datasets.sample import Photo, Sample
    from spherehead.datasets.shards.codec import Encoding, encode_members
    from spherehead.datasets.shards.tar import write_shard

    image = cv2.resize(astronaut, (64, 64))
    good = Sample("00", Photo.of_pixels(image), image=image, camera=Camera.look_at(0.5, 0.1))
    bad = Sample("01", good.photo, image=image[::-1].copy(), camera=Camera.look_at(0.5, 0.1, radius=1.0))
    members = [(sample.id, encode_members(sample, Encoding(image="png"))) for sample in (good, bad)]
    write_shard(tmp_path / "foreign.tar", "train", members)
    run(tmp_path / "foreign.tar", tmp_path / "out")
    kept, refused = sorted(rows(tmp_path / "out"), key=lambda row: row["status"] != "kept")
    assert kept["status"] == "kept" and kept["yaw_degrees"] == pytest.approx(np.degrees(0.5), abs=1e-4)
    assert (refused["status"], refused["reason"]) == ("failed", "camera_invalid") and "radius" in refused["detail"]


def test_a_resumed_stage_sees_the_same_crop_as_an_undisturbed_one(tmp_path: Path, astronaut: np.ndarray) -> None:
    from spherehead.pipeline.presets import preset

    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "astronaut.png"), astronaut[..., ::-1])
    before, after = preset("crops"), preset("crops").override(["quality.max_blur_px=1.9", "matte.context=1"])
    run(folder, tmp_path / "changed", before)
    run(folder, tmp_path / "changed", after, update=True)
    seconds = json.loads((tmp_path / "changed" / "run.json").read_bytes())["stages"]
    assert "detect" not in seconds and "align" not in seconds and "matte" in seconds
    run(folder, tmp_path / "fresh", after)
    assert digests(tmp_path / "changed") == digests(tmp_path / "fresh")
