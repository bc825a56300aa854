"""Every benchmark opens against today's package, and the models' runs all of its cases."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent / "bench"

OPEN_EACH = """
import os, runpy, sys
first = sys.path[1:]
for path in sys.argv[1:]:
    sys.path[:] = [os.path.dirname(path), *first]
    for name in [name for name, module in sys.modules.items() if "/tests/" in (getattr(module, "__file__", None) or "")]:
        del sys.modules[name]
    try:
        runpy.run_path(path, run_name="benchmark")
    except Exception as error:
        print(f"{path}: {type(error).__name__}: {error}")
"""


def test_every_benchmark_opens() -> None:
    files = sorted(map(str, BENCH.glob("*.py")))
    assert files
    done = subprocess.run([sys.executable, "-c", OPEN_EACH, *files], capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


@pytest.mark.slow
def test_the_models_are_measured_in_every_case() -> None:
    options = ("--preset", "tiny-64", "--resolutions", "16", "--repeats", "1", "--threads", "1")
    done = subprocess.run([sys.executable, BENCH / "model.py", *options], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {line.split("  ")[0] for line in done.stdout.splitlines()}
    assert {"forward 16", "further view 16", "generator step 16", "manifolds: forward 16", "plain forward 16"} <= lines
