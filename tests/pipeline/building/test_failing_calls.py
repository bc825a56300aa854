"""System calls that fail below a data set's folder, SQLite's and pyarrow's among them, leave no half set."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


@pytest.fixture
def pictures(pictures: Path, astronaut: np.ndarray) -> Path:
    """One more piece, which is too small."""
    cv2.imwrite(str(pictures / "small.png"), astronaut[:70, :70, ::-1])
    return pictures


def failing(pictures: Path, scratch: Path, how: int, code: int, steps: int, kind: str) -> list[dict[str, Any]]:
    """Build undisturbed, then with calls of a kind that fail, each in a build of its own."""
    compiler, helpers = shutil.which("gcc") or shutil.which("cc"), Path(__file__).parents[2] / "helpers"
    if compiler is None:
        pytest.skip("no compiler for the shim that lets system calls fail")
    shim = scratch / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, helpers / "failing_writes.c", "-ldl"], check=True)
    words = [sys.executable, helpers / "failing_writes.py", shim, pictures, scratch, how, code, steps, kind]
    environment = {**os.environ, "LD_PRELOAD": str(shim)}
    done = subprocess.run([*map(str, words)], env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


WRITES = {"full from there": (2, errno.ENOSPC), "one error": (1, errno.EIO), "short": (3, 0)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(WRITES))
def test_writes_that_fail_are_told_with_their_file_and_the_next_build_makes_the_same_set(
    pictures: Path, tmp_path: Path, kind: str
) -> None:
    """SQLite's writes too: `failing_writes.c` stands before the C library's `write` and `pwrite`."""
    how, code = WRITES[kind]
    calm, *trials = failing(pictures, tmp_path, how, code, 1 if how == 3 else 7, "write")
    assert calm["calm"]["code"] == 0 and calm["calm"]["seen"] > 100 and trials
    for trial in trials:
        assert trial["again"] == [0, ""] and trial["equal"] and trial["left"] == [] and trial["damage"] == [], trial
        assert trial["code"] in ((0,) if how == 3 else (0, 1)), trial
        if trial["code"]:
            assert f"out {trial['number']}" in trial["line"] and "resume" in trial["line"], trial
            assert "internal" not in trial["line"], trial
    assert how == 3 or sum(trial["code"] == 1 for trial in trials) >= 5


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "code"), [("fsync", errno.EIO), ("rename", errno.EIO)])
def test_no_call_that_fails_once_leaves_a_half_set(pictures: Path, tmp_path: Path, kind: str, code: int) -> None:
    """A sample of what `tests/bench/faults.py` does at every call: SQLite's and pyarrow's among them."""
    calm, *trials = failing(pictures, tmp_path, 1, code, 2, kind)
    assert calm["calm"]["code"] == 0 and len(trials) == 2
    for trial in trials:
        assert trial["again"] == [0, ""] and trial["equal"] and trial["left"] == [] and trial["damage"] == [], trial
    assert any(trial["code"] for trial in trials)
