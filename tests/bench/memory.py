"""Measure what whole builds take of memory, for every format and bit depth, against --max-memory and a quarter.

python tests/bench/memory.py [KIND ...] [--engine inline] [--workers 2] [--mebibytes 160] [--scratch DIR]

Each kind of `tests/helpers/large_pictures.py` is built alone, two pictures of it, with --max-memory as small as one of them
asks for, which is about --mebibytes: up to 32 MiB more are what glibc's allocator keeps of freed blocks that are smaller than
that, whatever the size of the pictures. What the program itself takes is left out: the peak is beyond that of a build of small
pictures of the kind. With --engine local the sum over all processes is sampled every few milliseconds. HEIF needs the plug-in
pillow-heif.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from spherehead.datasets.images.decode import DecodePolicy, memory_needed, read_header
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.request import BuildRequest
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame

sys.path.append(str(Path(__file__).parents[1] / "helpers"))
import large_pictures

MEBIBYTE = 1 << 20
RECIPE = Recipe("test", (Frame(size=64, max_upscale=64.0),))


def status(name: str) -> int:
    """Return a size in bytes that the system tells of this process."""
    with Path("/proc/self/status").open() as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))


class Tree(threading.Thread):
    """Sees what this process and its children take together."""

    def __init__(self) -> None:
        """Take nothing as seen yet."""
        super().__init__(daemon=True)
        self.peak, self.done = 0, False

    def run(self) -> None:
        """Look until told to end."""
        own = psutil.Process()
        while not self.done:
            sizes = []
            for process in (own, *own.children(recursive=True)):
                with suppress(psutil.Error):
                    sizes.append(process.memory_info().rss)
            self.peak = max(self.peak, sum(sizes))
            time.sleep(0.003)


def built(folder: Path, out: Path, limit: int, arguments: argparse.Namespace) -> int:
    """Build and return the highest that all processes took."""
    request = BuildRequest(
        (str(folder),), out, RECIPE, engine=arguments.engine, workers=arguments.workers, max_memory=limit, abort_share=1.1
    )
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    tree = Tree()
    if arguments.engine != "inline":
        tree.start()
    summary = build(request)
    tree.done = True
    if summary.counts["kept"] + summary.counts["duplicate"] + summary.reasons.get("pixel_duplicate", 0) < 2:
        sys.exit(f"{folder}: {summary.counts}, {summary.reasons}")
    return max(tree.peak, status("VmHWM") if arguments.engine == "inline" else 0)


def measured(name: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Build small pictures of a kind, then large ones."""
    peaks, asked, what, side = [], 0, "", 96
    for size in ("small", "large"):
        (folder / size).mkdir()
        written = [folder / size / str(number) for number in (0, 1)]
        if not (pid := os.fork()):  # what encoders leave behind is none of a build's
            for number, path in enumerate(written):
                path.write_bytes(large_pictures.made(name, 3 * side, 4 * side + 8 * number))
            os._exit(0)
        os.waitpid(pid, 0)
        data = written[1].read_bytes()
        asked, header = memory_needed(data, DecodePolicy()), read_header(data)
        num_bytes, data = len(data), b""
        pixels, what = header.width * header.height, f"{header.format}, {header.bit_depth} bit"
        peaks.append(built(folder / size, folder / f"{size} out", asked if size == "large" else 1 << 30, arguments))
        side = round(side * (arguments.mebibytes * MEBIBYTE / (asked - num_bytes + pixels)) ** 0.5)
    return {"what": what, "limit": asked, "base": peaks[0], "peak": peaks[1] - peaks[0]}


def main() -> None:
    """Print a row for each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = large_pictures.KINDS | large_pictures.FURTHER
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    parser.add_argument("--engine", default="inline", choices=("inline", "local"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--mebibytes", type=float, default=160.0)
    parser.add_argument("--scratch", type=Path, default=None)
    arguments = parser.parse_args()
    print(f"{'kind':26}{'format, depth':20}{'asked':>9}{'peak':>9}{'limit':>9}  MiB; the limit is what is asked and a quarter")
    over = 0
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        for name in arguments.kinds or kinds:
            folder = Path(scratch) / name
            folder.mkdir()
            sys.stdout.flush()
            if not (pid := os.fork()):  # each kind begins with the same memory
                (folder / "row.json").write_text(json.dumps(measured(name, folder, arguments)))
                os._exit(0)
            if os.waitpid(pid, 0)[1]:
                sys.exit(f"{name} did not end well")
            row = json.loads((folder / "row.json").read_text())
            most = 1.25 * row["limit"]
            over += row["peak"] > most
            sizes = "".join(f"{size / MEBIBYTE:9.1f}" for size in (row["limit"], row["peak"], most))
            print(f"{name:26}{row['what']:20}{sizes}  {'OVER' if row['peak'] > most else ''}", flush=True)
    print(f"{over} over their limits")
    sys.exit(bool(over))


if __name__ == "__main__":
    main()
