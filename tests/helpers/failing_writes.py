"""Builds a set again and again in child processes while system calls below its folder fail, and tells what came of each.

python failing_writes.py SHIM PICTURES SCRATCH HOW CODE STEPS [KIND], with SHIM preloaded; prints one JSON object a trial. HOW
is that of `failing_writes.c`; STEPS is the number of calls of a KIND, spread over all, that are let fail in trials of their
own, more than there are lets every one fail; or it is the numbers of the calls, such as 3,17.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from spherehead.cli import explain
from spherehead.datasets.shards.verify import verify
from spherehead.manifests import store
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.request import BuildRequest
from spherehead.pipeline.console.progress import JsonLog
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame

NOTHING, ONCE, FROM_THERE, SHORT = range(4)
KINDS = ("write", "fsync", "rename", "unlink", "flock", "create", "truncate", "mkdir")
RECIPE = Recipe("test", (Frame(size=80, max_upscale=1.0),), shard_size=2)


def digests(out: Path) -> dict[str, str]:
    """Return sha256 by name of all that must not vary."""
    names = (store.MANIFEST, store.HEADER, store.ORIGINS)
    files = [*out.glob("*.tar"), *(out / name for name in names), *(out / "quarantine").glob("*/*.jpg")]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def attempt(pictures: Path, out: Path) -> tuple[int, str]:
    """Build as the command line does, log included; returns exit code and the line that would be printed."""
    try:
        with contextlib.closing(JsonLog(out / "log.jsonl")) as log:
            build(BuildRequest((str(pictures),), out, RECIPE, engine="inline"), log)
    except Exception as error:
        return explain(error)
    return 0, ""


def in_child(work: Any) -> Any:
    """Run a function in a forked process and return what it returns."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        os.write(writer, json.dumps(work()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text)


def tell(what: dict[str, Any]) -> None:
    """Print a JSON object as a line."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def spread(steps: str, calls: int) -> list[int]:
    """Return the numbers of the calls that fail."""
    if "," in steps:
        return [int(number) for number in steps.split(",") if number]
    count = min(int(steps), calls)
    return sorted({round(step * (calls - 1) / max(1, count - 1)) for step in range(count)})


def main(shim: str, pictures: Path, scratch: Path, how: int, code: int, steps: str, kind: str = "write") -> None:
    """Count the calls of a build, then let some of them fail, each in a build of its own that is then resumed."""
    library = ctypes.CDLL(shim)
    library.calls_seen.restype = ctypes.c_long

    def armed(number: int, out: Path, how: int = how) -> dict[str, Any]:
        library.arm(how, ctypes.c_long(number), code, os.fsencode(out), KINDS.index(kind))
        exit_code, line = attempt(pictures, out)
        seen = library.calls_seen()
        library.arm(NOTHING, ctypes.c_long(0), 0, b"", 0)
        damage = verify(out, deep=True) if (out / store.HEADER).is_file() else []
        return {"number": number, "code": exit_code, "line": line, "seen": seen, "damage": [str(one) for one in damage]}

    total = in_child(lambda: armed(1 << 40, scratch / "calm", FROM_THERE))
    calm = digests(scratch / "calm")
    tell({"calm": total, "files": len(calm)})
    for number in spread(steps, int(total["seen"])):
        out = scratch / f"out {number}"
        trial = in_child(lambda number=number, out=out: armed(number, out))
        again = in_child(lambda out=out: attempt(pictures, out))
        left = [str(path.relative_to(out)) for path in out.rglob(f"*{store.TEMPORARY}*")]
        tell({**trial, "again": again, "equal": digests(out) == calm, "left": left})
        shutil.rmtree(out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), *map(int, sys.argv[4:6]), *sys.argv[6:])
