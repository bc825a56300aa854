"""Let every single system call of a small build fail, one a build, and tell whether a half set was ever accepted.

python tests/bench/faults.py [--kinds write fsync ...] [--steps 100000] [--minutes 12 --seed 0]

Needs a C compiler and Linux. Each build runs in a fork with `tests/helpers/failing_writes.c` preloaded, fails in one call
(or in all from there), then is run again without faults. A trial is wrong where a header is there whose set does not verify,
where a build that ended with 0 left other bytes than an undisturbed one, where the second build does, or where a file of an
attempt is left. With --minutes, positions of all kinds are taken in a seeded order, a few at a time, until so much processor
time is spent.
"""

from __future__ import annotations

import argparse
import collections
import errno
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

HELPERS = Path(__file__).parents[1] / "helpers"
ONCE, FROM_THERE = 1, 2
TOGETHER = 20
"""Positions that one process tries after its calm build."""
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


class Bench:
    """The shim, the pictures, and what came of the trials so far."""

    def __init__(self, scratch: Path) -> None:
        self.scratch, self.shim = scratch, scratch / "shim.so"
        self.total = self.wrong = 0
        subprocess.run(["cc", "-shared", "-fPIC", "-o", self.shim, HELPERS / "failing_writes.c", "-ldl"], check=True)
        (scratch / "pictures").mkdir()
        for index, side in enumerate((90, 90, 90, 70)):
            noise = np.random.default_rng(index).integers(0, 256, (9, 9, 3), dtype=np.uint8)
            cv2.imwrite(str(scratch / "pictures" / f"{index}.png"), cv2.resize(noise, (side, side)))

    def tried(self, kind: str, how: int, code: int, steps: str) -> int:
        """Let calls of a kind fail, each in a build of its own; returns how many there are."""
        began = time.perf_counter()
        folder = self.scratch / f"{kind} {how} {code}"
        words = [sys.executable, HELPERS / "failing_writes.py", self.shim, self.scratch / "pictures", folder, how, code]
        done = subprocess.run(
            [*map(str, words), steps, kind],
            env={**os.environ, "LD_PRELOAD": str(self.shim)}, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            sys.exit(done.stderr)
        shutil.rmtree(folder)
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
        self.total, self.wrong = self.total + len(trials), self.wrong + len(bad)
        return int(calm["calm"]["seen"])

    def sampled(self, kinds: Sequence[str], seconds: float, seed: int) -> None:
        """Take positions of all ways to fail in turn, without one twice, until the processor time is spent."""
        draw = random.Random(seed)
        ways = [(kind, how, code) for kind in kinds for how, code in TRIALS[kind]]
        left: dict[tuple[str, int, int], list[int]] = {}
        for way in ways:
            left[way] = list(range(self.tried(*way, "0")))
            draw.shuffle(left[way])
        print(f"{sum(map(len, left.values()))} positions", flush=True)
        while any(left.values()):
            for way in ways:
                some = [left[way].pop() for _ in range(min(TOGETHER, len(left[way])))]
                if some:
                    self.tried(*way, ",".join(map(str, some)) + ",")
                spent = os.times()
                if spent.children_user + spent.children_system > seconds:
                    return


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=list(TRIALS), choices=list(TRIALS))
    parser.add_argument("--steps", type=int, default=100_000, help="calls of a kind to let fail, spread over all")
    parser.add_argument("--minutes", type=float, help="processor time to spend on a seeded sample")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        if arguments.minutes:
            bench.sampled(arguments.kinds, 60 * arguments.minutes, arguments.seed)
        else:
            for kind in arguments.kinds:
                for how, code in TRIALS[kind]:
                    bench.tried(kind, how, code, str(arguments.steps))
    print(f"{bench.total} trials, {bench.wrong} wrong")
    sys.exit(bool(bench.wrong))


if __name__ == "__main__":
    main()
