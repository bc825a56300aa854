"""Put faults of tests/FAULTS.md back into a copy of the code, one at a time, and tell whether the tests of their rows fail.

python tests/bench/put_back.py [--rows 3c 5b ...] [--all-tests]

A fault is a text of the product's code and what stood there, or could stand there, with the fault. Each is tried alone on a
copy of the tracked files; the working tree is not touched. A trial is wrong where every test that was run passes, or where
the text is not found once: the code has moved on, and the row below must follow it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from faults_put_back import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 1_800


def copied(folder: Path) -> Path:
    """Copy the tracked files, and let them be imported as `spherehead`."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, os.fsdecode(done.stdout).split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".import").mkdir()
    (folder / ".import" / "spherehead").symlink_to(folder)
    return folder


def tried(copy: Path, fault: Fault) -> tuple[int, str, str]:
    """Run the tests of a fault while it is there; returns pytest's exit code, its count and the first line of each failure."""
    path = copy / fault.file
    sound = path.read_text(encoding="utf-8")
    path.write_text(sound.replace(fault.now, fault.before), encoding="utf-8")
    try:
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "--tb=line", "-rf", "-m", ""]
        done = subprocess.run(
            [*command, *(f"tests/{test}" for test in fault.tests)], cwd=copy, capture_output=True, text=True,
            timeout=LIMIT_SECONDS, env={"SPHEREHEAD_SHARED": str(ROOT.parent / "shared"), **os.environ,
                                        "PYTHONPATH": str(copy / ".import"), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        lines = done.stdout.splitlines()
        failures = "\n".join(f"      {line[:220]}" for line in lines if line.startswith(("FAILED", "ERROR")))
        return (
            done.returncode,
            next((line for line in reversed(lines) if re.search(r"\d (passed|failed|error)", line)), ""),
            (failures),
        )
    finally:
        path.write_text(sound, encoding="utf-8")


def main() -> None:
    """Try what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", help="numbers of rows; all without")
    arguments = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        copy = copied(Path(name))
        for fault in FAULTS:
            if arguments.rows and fault.row not in arguments.rows:
                continue
            began = time.perf_counter()
            count = (copy / fault.file).read_text(encoding="utf-8").count(fault.now)
            if count != 1:
                wrong += 1
                print(f"{fault.row}  {fault.what}: STALE, the text stands {count} times in {fault.file}", flush=True)
                continue
            code, counted, failures = tried(copy, fault)
            wrong += code != 1
            word = {0: "PASSED, the fault is not noticed", 1: "fails"}.get(code, f"pytest ended with {code}")
            print(f"{fault.row}  {fault.what}: {word}; {counted} ({time.perf_counter() - began:.0f} s)\n{failures}", flush=True)
    print(f"{wrong} wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
