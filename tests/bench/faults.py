"""Let every single system call of a small build fail, one a build, and tell whether a half set was ever accepted.

python tests/bench/faults.py [--kinds write fsync ...] [--steps 100000]

Needs a C compiler and Linux. Each build runs in a fork with `tests/helpers/failing_writes.c` preloaded, fails in one call
(or in all from there), then is run again without faults. A trial is wrong where a header is there whose set does not verify,
where a build that ended with 0 left other bytes than an undisturbed one, where the second build does, or where a file of an
attempt is left.
"""

from __future__ import annotations

import argparse
import collections
import errno
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

HELPERS = Path(__file__).parents[1] / "helpers"
ONCE, FROM_THERE = 1, 2
TRIALS = {
    "write": ((FROM_THERE, errno.ENOSPC), (ONCE, errno.EIO)),
    "fsync": ((ONCE, errno.EIO), (FROM_THERE, errno.ENOSPC)),
    "rename": ((ONCE, errno.EIO), (FROM_THERE, errno.EACCES)),
    "unlink": ((ONCE, errno.EACCES), (FROM_THERE, errno.EROFS)),
    "flock": ((ONCE, errno.ENOLCK), (ONCE, errno.EIO)),
    "create": ((ONCE, errno.EMFILE), (FROM_THERE, errno.ENOSPC)),
    "truncate": ((ONCE, errno.EIO), (FROM_THERE, errno.EIO)),
    "mkdir": ((ONCE, errno.ENOSPC), (FROM_THERE, errno.EDQUOT)),
}
"""Kind of call -> how it fails and with which error."""


def is_wrong(trial: dict[str, Any]) -> bool:
    """Return whether a trial left what it must not."""
    return bool(trial["damage"] or trial["left"] or not trial["equal"] or trial["again"] != [0, ""])


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=list(TRIALS), choices=list(TRIALS))
    parser.add_argument("--steps", type=int, default=100_000, help="calls of a kind to let fail, spread over all")
    arguments = parser.parse_args()
    total = wrong = 0
    with tempfile.TemporaryDirectory() as name:
        scratch, shim = Path(name), Path(name) / "shim.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, HELPERS / "failing_writes.c", "-ldl"], check=True)
        (scratch / "pictures").mkdir()
        for index, side in enumerate((90, 90, 90, 70)):
            noise = np.random.default_rng(index).integers(0, 256, (9, 9, 3), dtype=np.uint8)
            cv2.imwrite(str(scratch / "pictures" / f"{index}.png"), cv2.resize(noise, (side, side)))
        for kind in arguments.kinds:
            for how, code in TRIALS[kind]:
                began = time.perf_counter()
                folder = scratch / f"{kind} {how} {code}"
                words = [sys.executable, HELPERS / "failing_writes.py", shim, scratch / "pictures", folder, how, code]
                done = subprocess.run(
                    [*map(str, words), str(arguments.steps), kind],
                    env={**os.environ, "LD_PRELOAD": str(shim)}, capture_output=True, text=True,
                )  # fmt: skip
                if done.returncode:
                    sys.exit(done.stderr)
                calm, *trials = [json.loads(line) for line in done.stdout.splitlines()]
                bad = [trial for trial in trials if is_wrong(trial)]
                codes = dict(collections.Counter(trial["code"] for trial in trials))
                text = "from there" if how == FROM_THERE else "once"
                print(
                    f"{kind} {errno.errorcode[code]} {text}: {len(trials)} of {calm['calm']['seen']} calls, "
                    f"exit codes {codes}, {len(bad)} wrong, {time.perf_counter() - began:.0f} s",
                    flush=True,
                )
                for trial in bad[:5]:
                    print(f"   {trial}", flush=True)
                total, wrong = total + len(trials), wrong + len(bad)
    print(f"{total} trials, {wrong} wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
