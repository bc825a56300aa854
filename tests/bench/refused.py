"""Build from many pictures of which none is kept, and measure what the state weighs and what resume and report take.

python tests/bench/refused.py [--pictures 200000] [--kind small] [--scratch DIR] [--answer]

With --answer the first picture goes through the recipe, and every other is answered as it was, under its own digest: the
build, its state and its tables are those of a real build of pictures that are refused alike, without decoding each.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
from spherehead.commands.common import NOTHING_KEPT
from spherehead.manifests.identity import content_sha256, sample_id
from spherehead.pipeline.building import build as build_module
from spherehead.pipeline.building.request import BuildRequest
from spherehead.pipeline.engines.base import Engine, Limits, Parent
from spherehead.pipeline.execution.work import FileResult, Task, WorkOrder
from spherehead.pipeline.execution.worker import Worker
from spherehead.pipeline.presets import preset


def write_pictures(folder: Path, count: int, kind: str) -> None:
    """Write files of different bytes, a thousand in each folder: pictures too small for the crop, pictures cut short, texts."""
    if folder.is_dir():
        return
    for index in range(count):
        if index % 1000 == 0:
            (folder / f"{index // 1000:04d}").mkdir(parents=True)
        pixels = np.full((90, 80, 3), np.frombuffer(index.to_bytes(3, "big"), np.uint8), dtype=np.uint8)
        data = cv2.imencode(".png", pixels)[1].tobytes()
        data = {"small": data, "cut": data[: len(data) - 20], "text": b"no picture %d" % index}[kind]
        (folder / f"{index // 1000:04d}" / f"{index:07d}.png").write_bytes(data)


def timed(*words: str) -> tuple[float, float, str]:
    """Run a command of the toolkit as its own process; returns seconds, seconds of CPU time and what it printed last."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "spherehead", *words], capture_output=True, text=True)
    if done.returncode not in (0, NOTHING_KEPT):
        sys.exit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, spent, (done.stdout.strip().splitlines() or [""])[-1]


class Answering(Engine):
    """Works on one picture and answers all others as it was answered."""

    def run(self, order: WorkOrder, tasks: Iterable[Task], limits: Limits, parent: Parent) -> Iterator[tuple[Task, FileResult]]:
        """Yield a result for each task."""
        worker, first = Worker(order), None
        for task in tasks:
            if first is None:
                first = worker.process(task)
                yield task, first
                continue
            sha256 = content_sha256(order.sources[task.source].read(task.image))
            known = ((first.sha256, sha256), (sample_id(first.sha256, 0), sample_id(sha256, 0)))
            heads, thumbs = first.heads, first.thumbs
            for old, new in known:
                heads = tuple((id.replace(old, new), status, row.replace(old, new)) for id, status, row in heads)
                thumbs = tuple(dataclasses.replace(thumb, id=thumb.id.replace(old, new)) for thumb in thumbs)
            yield task, dataclasses.replace(first, work_key=sha256, sha256=sha256, heads=heads, thumbs=thumbs)


def build_answering(source: Path, out: Path) -> None:
    """Build by `Answering`."""
    with mock.patch.object(build_module, "open_engine", lambda _: Answering()):
        build_module.build(BuildRequest((str(source),), out, preset("frames")))


def digest(out: Path) -> str:
    """Return a hash over the tables that a build leaves."""
    names = ("manifest.json", "manifest.parquet", "origins.parquet")
    return hashlib.sha256(b"".join((out / name).read_bytes() for name in names)).hexdigest()[:16]


def main() -> None:
    """Build, measure, resume, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=200_000)
    parser.add_argument("--kind", choices=("small", "cut", "text"), default="small")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="resumes and reports to time")
    parser.add_argument("--answer", action="store_true", help="work on the first picture only")
    parser.add_argument("--scratch", type=Path, default=None, help="folder to work in; what is there is built upon")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = arguments.scratch or Path(name)
        source, out = scratch / f"pictures-{arguments.kind}-{arguments.pictures}", scratch / f"out-{arguments.kind}"
        write_pictures(source, arguments.pictures, arguments.kind)
        words = ("build-dataset", str(source), "--out", str(out), "--preset", "frames", "--workers", str(arguments.workers))
        if arguments.answer:
            build_answering(source, out)
        seconds, spent, line = timed(*words)
        print(f"Python {platform.python_version()}; built in {seconds:.0f} s, {spent:.0f} s of CPU: {line}", flush=True)
        files = [path for path in (out / ".state").rglob("*") if path.is_file()]
        weight = sum(path.stat().st_size for path in files)
        sizes = ", ".join(f"{path.name} {path.stat().st_size / 1e6:.1f}" for path in sorted(files))
        print(f"state: {len(files)} files, {weight / 1e6:.1f} MB ({sizes}); digest {digest(out)}", flush=True)
        for what, command in (("resume", words), ("report", ("report", str(out)))):
            runs = [timed(*command) for _ in range(arguments.repeats)]
            walls, spent_each = (sorted(run[place] for run in runs) for place in (0, 1))
            print(
                f"{what}: median {statistics.median(walls):.1f} s ({walls[0]:.1f} to {walls[-1]:.1f}), "
                f"{statistics.median(spent_each):.1f} s of CPU",
                flush=True,
            )
        more = source / "0000" / "more.png"
        more.write_bytes(b"no picture, but an input more")
        seconds, spent, _ = timed(*words)
        print(f"resume with one input more: {seconds:.1f} s, {spent:.1f} s of CPU", flush=True)
        more.unlink()
        seconds, spent, _ = timed(*words)
        print(f"resume with one input less: {seconds:.1f} s, {spent:.1f} s of CPU", flush=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        print(f"peak of memory of one process {peak / 1024:.0f} MiB; digest {digest(out)}")


if __name__ == "__main__":
    main()
