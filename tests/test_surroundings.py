"""Closed streams, full and read-only file systems are told in one line, and a build is resumed after them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from spherehead.datasets.shards.verify import verify

PROGRAM = f"{sys.executable} -m spherehead"


@pytest.fixture
def pictures(tmp_path: Path, astronaut: np.ndarray) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(4):
        cv2.imwrite(str(folder / f"{index}.png"), astronaut[60 * index : 60 * index + 90, :100, ::-1])
    return folder


def shell(words: str, mounts: str = "") -> subprocess.CompletedProcess[str]:
    """Run a line of shell, in a mount namespace of its own where mounts are wanted."""
    line = f"{mounts} && {words}" if mounts else words
    command = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-m", "sh", "-c", line] if mounts else ["sh", "-c", line]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def needs_mounts() -> None:
    if shutil.which("unshare") is None or shell("true", "mount -t tmpfs -o size=64k tmpfs /mnt").returncode:
        pytest.skip("mounts of one's own (unshare -m) are not allowed here")


def build(pictures: Path, out: Path, more: str = "") -> str:
    return f"{PROGRAM} build-dataset {pictures} --out {out} --preset frames --set frame.size=80 --engine inline {more}"


def only_error(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line of error that a command ended with."""
    assert "Traceback" not in done.stderr and "internal" not in done.stderr, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    return line


SLOW_STREAMS = ("2>&-", "<&- >&-", ">/dev/full", "2>/dev/full", "| head -c 1")


@pytest.mark.parametrize("streams", [">&- 2>&-", *(pytest.param(more, marks=pytest.mark.slow) for more in SLOW_STREAMS)])
def test_a_build_ends_whole_whatever_becomes_of_its_streams(pictures: Path, tmp_path: Path, streams: str) -> None:
    done = shell(f"{build(pictures, tmp_path / 'out', '--no-report')} {streams}")
    assert not any(word in done.stderr + done.stdout for word in ("Traceback", "internal", "Exception ignored"))
    assert verify(tmp_path / "out", deep=True) == []
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not any(b"samples in" in path.read_bytes() for path in files)  # no file got the number of a closed stream


@pytest.mark.parametrize(
    ("streams", "told"),
    [
        (">/dev/full", "No space left on device (ENOSPC)"),
        pytest.param("| true", "", marks=pytest.mark.slow),
        pytest.param(">&-", "", marks=pytest.mark.slow),
    ],
)
def test_commands_whose_output_nobody_takes_end_without_a_traceback(streams: str, told: str) -> None:
    done = shell(f"env -u PYTHONUNBUFFERED {PROGRAM} presets show frames {streams}")
    lines = done.stderr.splitlines()
    assert len(lines) <= 1 and not any(word in done.stderr for word in ("Traceback", "internal", "Exception ignored"))
    assert told in done.stderr and (not told or (done.returncode == 1 and lines[0].startswith("error: standard output: ")))


@pytest.mark.slow
@pytest.mark.parametrize("room", ["size=4k", "size=4k,mode=555"])
def test_builds_need_no_shared_memory(pictures: Path, tmp_path: Path, room: str) -> None:
    needs_mounts()
    words = build(pictures, tmp_path / "out", "--no-report --workers 2").replace("--engine inline", "--engine local")
    done = shell(f"head -c 4096 /dev/zero > /dev/shm/full; {words}", f"mount -t tmpfs -o {room} tmpfs /dev/shm")
    assert done.returncode == 0, done.stderr
    assert verify(tmp_path / "out", deep=True) == []


@pytest.mark.slow
def test_a_full_small_file_system_is_told_and_room_lets_the_build_end(pictures: Path, tmp_path: Path) -> None:
    needs_mounts()
    place = tmp_path / "small"
    place.mkdir()
    words = build(pictures, place / "out", "--no-report")
    verifying = f"{PROGRAM} shards verify {place / 'out'}"
    line = f"{words}; echo first $?; mount -o remount,size=40m {place} && {words} && {verifying}"
    done = shell(line, f"mount -t tmpfs -o size=100k tmpfs {place}")
    assert done.returncode == 0 and "first 1" in done.stdout, done.stderr
    error = only_error(done)
    assert str(place / "out") in error and "resume" in error and "space" in error.lower()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["build-dataset", "report", "plan", "verify", "summary", "forget"])
def test_commands_on_a_read_only_set_work_or_name_the_place(pictures: Path, tmp_path: Path, command: str) -> None:
    needs_mounts()
    out = tmp_path / "out"
    assert shell(build(pictures, out, "--no-report")).returncode == 0
    words = {
        "build-dataset": build(pictures, out),
        "report": f"{PROGRAM} report {out}",
        "plan": build(pictures, out).replace("build-dataset", "plan"),
        "verify": f"{PROGRAM} shards verify {out}",
        "summary": f"{PROGRAM} manifest summary {out}",
        "forget": f"{PROGRAM} forget 1.png --out {out}",
    }[command]
    done = shell(words, f"mount --bind {out} {out} && mount -o remount,bind,ro {out}")
    if command in ("plan", "verify", "summary"):
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode != 0 and str(out) in only_error(done)
    assert verify(out, deep=True) == []


@pytest.mark.parametrize("closed", [(1,), (1, 2)], ids=["output", "output and errors"])
def test_closed_streams_lead_to_nothing_so_that_no_file_takes_their_place(closed: tuple[int, ...]) -> None:
    line = f"import os; from spherehead import cli; [os.close(number) for number in {closed}]; cli.main(['--version']);"
    line += f"os._exit(sum(not os.path.samestat(os.fstat(number), os.stat(os.devnull)) for number in {closed}))"
    assert subprocess.run([sys.executable, "-c", line], stderr=subprocess.DEVNULL, timeout=300).returncode == 0
