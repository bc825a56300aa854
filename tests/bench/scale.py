"""Time and memory of the commands that read a whole data set, by its number of rows: resume, plan, verify, diff and report.

python tests/bench/scale.py [--rows 1000000] [--kind small] [--scratch DIR]

The first picture goes through the recipe and every other is answered as it was, under its own digest, see `refused.py`: rows,
state and tables are those of a real build of pictures that are refused alike, without decoding each.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from refused import write_pictures
from spherehead.commands.common import MISMATCH, NOTHING_KEPT

HERE = Path(__file__).resolve().parent
TIMER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
spent = used.ru_utime + used.ru_stime
print(json.dumps([os.waitstatus_to_exitcode(status), time.perf_counter() - began, spent, used.ru_maxrss / 1024]))
"""
"""Runs a command; a process of its own, because a child's peak of memory begins with what its parent takes."""


def measured(*words: str) -> tuple[float, float, float]:
    """Run a program of Python in a process of its own; return seconds, seconds of CPU time and MiB at most."""
    command = [sys.executable, "-S", "-c", TIMER, sys.executable, *words]
    code, seconds, spent, peak = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    if code not in (0, NOTHING_KEPT) and (code, words[2:4]) != (MISMATCH, ("manifest", "diff")):
        sys.exit(f"{' '.join(words)} ended with {code}")
    return seconds, spent, peak


def main() -> None:
    """Build and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kind", choices=("small", "cut", "text"), default="small")
    parser.add_argument("--scratch", type=Path, default=None, help="folder to work in; what is there is built upon")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = arguments.scratch or Path(name)
        source, out = (
            scratch / f"pictures-{arguments.kind}-{arguments.rows}",
            scratch / f"out-{arguments.kind}-{arguments.rows}",
        )
        write_pictures(source, arguments.rows, arguments.kind)
        print(f"Python {platform.python_version()}; {arguments.rows:,} rows, {arguments.kind}", flush=True)
        program = "import sys; from pathlib import Path; from refused import build_answering as f; f(*map(Path, sys.argv[1:]))"
        seconds, spent, peak = measured(
            "-c", f"import sys; sys.path.insert(0, {str(HERE)!r}); {program}", str(source), str(out)
        )
        print(f"build without work: {seconds:.1f} s, {spent:.1f} s of CPU, {peak:.0f} MiB", flush=True)
        other = scratch / f"other-{name}"
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(out, other)
        options = (str(source), "--out", str(out), "--preset", "frames")
        commands = {
            "resume": ("build-dataset", *options, "--workers", "2", "--no-report"),
            "plan": ("plan", *options),
            "verify": ("manifest", "verify", str(out)),
            "diff": ("manifest", "diff", str(out), str(other)),
            "report": ("report", str(out)),
        }
        for what, words in commands.items():
            seconds, spent, peak = measured("-m", "spherehead", *words)
            print(f"{what}: {seconds:.1f} s, {spent:.1f} s of CPU, {peak:.0f} MiB", flush=True)
        state = sum(path.stat().st_size for path in (out / ".state").rglob("*") if path.is_file())
        print(f"state {state / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
