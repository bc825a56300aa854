"""Disks, locks, databases and signals may fail at any call: a build says so in one line, and the next makes the same set."""

from __future__ import annotations

import ctypes.util
import errno
import fcntl
import hashlib
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from odd_stages import Odd
from spherehead.cli import explain
from spherehead.datasets.shards.verify import verify
from spherehead.manifests import store
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.plan import make_plan
from spherehead.pipeline.building.request import BuildInterrupted, BuildRequest, Summary
from spherehead.pipeline.console.progress import Silent
from spherehead.pipeline.execution import database
from spherehead.pipeline.execution.database import StateError
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame

RECIPE = Recipe("test", (Frame(size=80, max_upscale=1.0),), shard_size=2)


@pytest.fixture
def pictures(pictures: Path, astronaut: np.ndarray) -> Path:
    """One more piece, which is too small."""
    cv2.imwrite(str(pictures / "small.png"), astronaut[:70, :70, ::-1])
    return pictures


def request(source: Path, out: Path, what: Recipe = RECIPE, **options: object) -> BuildRequest:
    return BuildRequest((str(source),), out, what, **{"engine": "inline", **options})


def run(source: Path, out: Path, what: Recipe = RECIPE, **options: object) -> Summary:
    return build(request(source, out, what, **options))


def digests(out: Path) -> dict[str, str]:
    names = (store.MANIFEST, store.HEADER, store.ORIGINS)
    files = [*out.glob("*.tar"), *(out / name for name in names), *(out / "quarantine").glob("*/*.jpg")]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def accepted(out: Path) -> bool:
    """Whether a reader would take the folder for a finished set."""
    return (out / store.HEADER).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fsync", "replace", "unlink", "mkdir"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failing_system_call_leaves_no_half_set(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    run(pictures, tmp_path / "calm")
    changed = RECIPE.override(["shard_size=3"])
    run(pictures, tmp_path / "calm changed", changed)
    failures = 0
    for number in range(40):
        out = tmp_path / f"out {number}"
        run(pictures, out)
        with monkeypatch.context() as patch:
            failing = _failing(patch, name, number, code)
            try:
                run(pictures, out, changed, update=True)
            except OSError as error:
                text = explain(error)[1]
                assert failing() and errno.errorcode[code] in text and str(out) in text and "resume" in text
                failures += 1
        if not failing():
            break
        assert not accepted(out) or verify(out, deep=True) == []
        run(pictures, out, changed, update=True)
        assert digests(out) == digests(tmp_path / "calm changed")
        assert not list(out.rglob("*.tmp-*"))
        shutil.rmtree(out)
    assert failures >= 1 or name in ("mkdir", "unlink")


def _failing(patch: pytest.MonkeyPatch, name: str, number: int, code: int) -> Callable[[], bool]:
    """Let the call `number` of a function that is about the data set fail; returns whether it has."""
    owner = os if name == "fsync" else Path
    real, calls = getattr(owner, name), [0]

    def call(*arguments: object, **options: object) -> object:
        calls[0] += 1
        if calls[0] == number + 1:
            raise OSError(code, os.strerror(code), *([str(arguments[0])] if name != "fsync" else []))
        return real(*arguments, **options)

    patch.setattr(owner, name, call)
    return lambda: calls[0] > number


@pytest.mark.parametrize("pages", [12, 20, 40])
@pytest.mark.parametrize("name", database.FILES)
def test_a_full_disk_under_a_database_is_told_and_leaves_no_half_set(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, pages: int
) -> None:
    real = database._configured

    def small(db: sqlite3.Connection, page_size: int) -> sqlite3.Connection:
        real(db, page_size)
        if Path(db.execute("PRAGMA database_list").fetchone()[2]).name == name:
            db.execute(f"PRAGMA max_page_count={pages}")
        return db

    run(pictures, tmp_path / "calm")
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(database, "_configured", small)
        try:
            run(pictures, out)
        except StateError as error:
            assert "no space left" in str(error) and "resume" in str(error) and str(out) in str(error)
            assert not accepted(out)
    run(pictures, out)
    assert digests(out) == digests(tmp_path / "calm")


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "random": lambda data: np.random.default_rng(0).bytes(len(data)),
    "half": lambda data: data[: len(data) // 2],
    "a page of noise": lambda data: data[:4096] + np.random.default_rng(1).bytes(4096) + data[8192:],
    "empty": lambda data: b"",
    "text": lambda data: b"not a database at all, but long enough to be looked at as one" * 100,
}


@pytest.mark.parametrize("kind", list(DAMAGE))
@pytest.mark.parametrize("name", database.FILES)
def test_a_damaged_database_is_named_and_may_be_deleted(pictures: Path, tmp_path: Path, name: str, kind: str) -> None:
    out = tmp_path / "out"
    run(pictures, out)
    before = digests(out)
    path = out / ".state" / name
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    (out / "train-000000.tar").unlink()
    try:
        run(pictures, out)
    except StateError as error:
        assert "damaged" in str(error) and "Delete" in str(error) and str(path) in str(error)
        for part in path.parent.glob(f"{name}*"):
            part.unlink()
        run(pictures, out)
    assert digests(out) == before


def test_a_database_that_another_program_holds_is_told(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    run(pictures, out)
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.1)
    with sqlite3.connect(out / ".state" / "state.sqlite", isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match="another program holds a database"):
            run(pictures, out)
        holder.execute("ROLLBACK")


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_locks_a_build_works_after_a_warning(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    run(pictures, tmp_path / "calm")
    monkeypatch.setattr(fcntl, "flock", flock)
    with caplog.at_level(logging.WARNING):
        run(pictures, tmp_path / "out")
    assert "without locks" in caplog.text and errno.errorcode[code] in caplog.text
    assert digests(tmp_path / "out") == digests(tmp_path / "calm")


@pytest.mark.slow
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS])
def test_where_no_lock_of_any_kind_is_known_builds_resume_and_plan_work(
    pictures: Path, tmp_path: Path, shared: Path, code: int
) -> None:
    if not shutil.which("gcc") or not ctypes.util.find_library("c"):
        pytest.skip("no compiler for the shim that takes locks away")
    shim = tmp_path / "nolock.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", shim, shared / "failing" / "nolock.c", "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(shim), "NOLOCK_ERR": str(code), "NOLOCK_POSIX": "1"}
    words = [
        str(pictures),
        "--out",
        str(tmp_path / "out"),
        "--preset",
        "frames",
        "--set",
        "frame.size=64",
        "--engine",
        "inline",
    ]
    for command in ("build-dataset", "build-dataset", "plan"):
        done = subprocess.run(
            [sys.executable, "-m", "spherehead", command, *words], env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert command == "plan" or "without locks" in done.stderr
    assert verify(tmp_path / "out", deep=True) == []


def test_plan_reads_a_memory_that_cannot_be_written(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    run(pictures, out)
    files = sorted(out.rglob("*"))
    monkeypatch.setattr(database.os, "access", lambda *_: False)
    assert make_plan(request(pictures, out)).unchanged == 6
    assert sorted(out.rglob("*")) == files


class _Alarm(Silent):
    """Sends a signal to this process when a phase begins."""

    def __init__(self, phase: str, signum: int) -> None:
        self.wanted, self.signum = phase, signum

    def phase(self, name: str) -> None:
        if name == self.wanted:
            os.kill(os.getpid(), self.signum)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("phase", ["listing", "building", "deciding and packing"])
def test_a_signal_in_any_phase_stops_the_build_and_is_told(
    pictures: Path, tmp_path: Path, phase: str, signum: signal.Signals
) -> None:
    run(pictures, tmp_path / "calm")
    with pytest.raises(BuildInterrupted) as caught:
        build(request(pictures, tmp_path / "out"), _Alarm(phase, signum))
    assert explain(caught.value) == (128 + signum, f"stopped by {signum.name}; rerun the same command to resume")
    assert not accepted(tmp_path / "out")
    run(pictures, tmp_path / "out")
    assert digests(tmp_path / "out") == digests(tmp_path / "calm")


class _Stopper(Silent):
    """Stops every worker once files are in work, then sends a signal to this process."""

    done_at = 0.0

    def done(self, outcome: str, reason: str = "", seconds: object = None) -> None:
        if not self.done_at:
            for child in psutil.Process().children():
                child.suspend()
            self.done_at = time.monotonic()
            os.kill(os.getpid(), signal.SIGINT)


def test_stopped_workers_do_not_hold_an_interrupt_up(pictures: Path, tmp_path: Path) -> None:
    observer = _Stopper()
    what = Recipe("test", (Frame(size=80, max_upscale=1.0), Odd(deed="nap")), shard_size=2)
    with pytest.raises(BuildInterrupted):
        build(request(pictures, tmp_path / "out", what, engine="local", workers=2), observer)
    assert time.monotonic() - observer.done_at < 10
    assert not [child for child in psutil.Process().children() if child.name() == "spherehead-worker"]
    run(pictures, tmp_path / "out", what, engine="local", workers=2)
    run(pictures, tmp_path / "calm", what)
    assert digests(tmp_path / "out") == digests(tmp_path / "calm")


def test_a_stopped_worker_costs_its_time_limit_and_no_more(pictures: Path, tmp_path: Path) -> None:
    class Stopper(_Stopper):
        def done(self, outcome: str, reason: str = "", seconds: object = None) -> None:
            if not self.done_at:
                self.done_at = time.monotonic()
                psutil.Process().children()[-1].suspend()

    what = Recipe("test", (Frame(size=80, max_upscale=1.0), Odd(deed="nap")), shard_size=2)
    summary = build(request(pictures, tmp_path / "out", what, engine="local", workers=1, time_limit=2.0), Stopper())
    assert summary.counts["failed"] <= 1 and summary.counts["kept"] >= 4


@pytest.mark.parametrize("limit", [2_000, 40_000])
def test_a_limit_on_file_sizes_is_told_and_the_next_build_makes_the_same_set(
    pictures: Path, tmp_path: Path, limit: int
) -> None:
    words = [sys.executable, "-m", "spherehead", "build-dataset", str(pictures), "--out", str(tmp_path / "out")]
    words += ["--preset", "frames", "--set", "frame.size=80", "--engine", "inline", "--no-report"]
    small = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
    small += "os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", small, *words], capture_output=True, text=True, timeout=300)
    error = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1 and len(error) == 1 and "Traceback" not in done.stderr
    assert str(tmp_path / "out") in error[0] and "resume" in error[0] and "internal" not in error[0]
    assert not accepted(tmp_path / "out")
    assert subprocess.run(words, capture_output=True, timeout=300).returncode == 0
    assert verify(tmp_path / "out", deep=True) == []
