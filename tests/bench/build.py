"""How fast a build is: CPU an image on three paths beside a plain script, workers, commit, memory, resume and plan.

Run it alone on the machine: python tests/bench/build.py [--count 120] [--only paths,workers,commit,resume,plan]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import numpy as np  # noqa: E402
import psutil  # noqa: E402
from pictures import describe, write_photographs  # noqa: E402
from plain_script import PlainScript  # noqa: E402
from spherehead.datasets.sample import Sample, SourceImage  # noqa: E402
from spherehead.datasets.sources.open import open_sources  # noqa: E402
from spherehead.pipeline.building.build import build  # noqa: E402
from spherehead.pipeline.building.memory.state import State  # noqa: E402
from spherehead.pipeline.building.plan import make_plan  # noqa: E402
from spherehead.pipeline.building.request import BuildRequest  # noqa: E402
from spherehead.pipeline.curation import measures  # noqa: E402
from spherehead.pipeline.execution.work import Task, WorkOrder  # noqa: E402
from spherehead.pipeline.execution.worker import Worker  # noqa: E402
from spherehead.pipeline.presets import preset  # noqa: E402
from spherehead.pipeline.recipe import Recipe  # noqa: E402
from spherehead.pipeline.stage import OpenStage, Stage  # noqa: E402


@dataclass(frozen=True)
class BlurOnly(Stage):
    """The blur measure of `quality` alone."""

    name = "blur"
    version = 1

    def open(self, device: str = "cpu") -> OpenStage:
        """Return the stage at work."""
        return _OpenBlur()


class _OpenBlur(OpenStage):
    def one(self, sample: Sample, rng: np.random.Generator) -> Iterable[Sample]:
        picture = measures.luma(sample.require("image"))
        edges = measures.Edges.of(picture)
        return [sample.with_(scores={"blur_px": measures.blur_sigma(edges, sample.require("mask") > 127)})]


def paths_timed() -> dict[str, tuple[Recipe, float]]:
    """Return the recipes that are timed, each with the images per second and core that it must reach."""
    heads = preset("heads")
    return {
        "frames": (preset("frames"), 35.0),
        "script's": (Recipe("detect, align, matte, blur", (*heads.stages[:3], BlurOnly())), 16.0),
        "heads": (heads, 8.0),
    }


def _spread(times: list[float]) -> str:
    """Return median and the middle half of CPU milliseconds, and images per second."""
    ordered = sorted(1000 * value for value in times)
    middle = statistics.median(ordered)
    low, high = ordered[len(ordered) // 4], ordered[3 * len(ordered) // 4]
    mean = statistics.fmean(ordered)
    return f"median {middle:6.1f} ms CPU ({low:.1f} to {high:.1f}), mean {mean:6.1f}, {1000 / mean:6.1f} images/s a core"


def _each(work: Callable[[Path], object], paths: list[Path], warm: int = 5) -> list[float]:
    """Return CPU seconds of `work` on each path after a warm-up."""
    times = []
    for index, path in enumerate(paths):
        before = time.process_time()
        work(path)
        if index >= warm:
            times.append(time.process_time() - before)
    return times


def bench_paths(paths: list[Path], scratch: Path) -> None:
    """One process, every step of a file on each path, and the plain script on the same files in the same run."""
    source = open_sources([str(paths[0].parent)])[0]
    for name, (recipe, bar) in paths_timed().items():
        recipe = recipe.resolved()
        worker = Worker(WorkOrder((source,), recipe))
        stages: dict[str, float] = {}

        def work(path: Path, worker: Worker = worker, stages: dict[str, float] = stages) -> None:
            result = worker.process(Task(0, 0, SourceImage(source.label, path.name, path.stat().st_size)))
            for stage, seconds in result.seconds:
                stages[stage] = stages.get(stage, 0.0) + seconds

        print(f"{name:8s} {_spread(_each(work, paths))}   bar {bar:g}")
        print(
            "        "
            + ", ".join(f"{stage} {1000 * seconds / len(paths):.1f}" for stage, seconds in stages.items())
            + " ms wall"
        )
        worker.close()
    script = PlainScript()
    print(f"script   {_spread(_each(script.process, paths))}   the plain script, the twin of the path above it")


def bench_workers(paths: list[Path], scratch: Path) -> None:
    """Wall time of whole builds with one and two workers, models loaded within; commit as a share; memory."""
    seconds = {}
    for workers in (1, 2):
        out = scratch / f"workers-{workers}"
        start = time.perf_counter()
        summary = build(BuildRequest((str(paths[0].parent),), out, preset("heads"), workers=workers))
        seconds[workers] = time.perf_counter() - start
        peak = json.loads((out / "run.json").read_bytes())["peak_rss_bytes"] / 2**20
        rate = summary.counts["inputs"] / seconds[workers]
        print(f"{workers} workers: {seconds[workers]:.1f} s, {rate:.1f} images/s, peak worker {peak:.0f} MiB   bar 1200")
    print(f"speed-up {seconds[1] / seconds[2]:.2f}   bar 1.8")
    from spherehead.pipeline.building.commit import Books, commit
    from spherehead.pipeline.building.folder import Tombstones
    from spherehead.pipeline.console.progress import Silent
    from spherehead.pipeline.execution.cache import StageCache

    out = scratch / "workers-1"
    for path in out.glob("*.tar"):
        path.unlink()
    state = State(out / ".state" / "state.sqlite")
    cache = StageCache(out / ".state" / "cache.sqlite")
    recipe = preset("heads").resolved()
    start = time.perf_counter()
    commit(Books(out, recipe, state, cache, Tombstones.read(out), Silent()))
    spent = time.perf_counter() - start
    print(f"commit {spent:.2f} s = {100 * spent / seconds[1]:.1f} % of the build with one worker   bar 3 %")


def bench_resume(scratch: Path, count: int = 10_000) -> None:
    """The same command again on a finished set of 10,000 rows."""
    import cv2
    import numpy as np

    folder = scratch / "small"
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        cv2.imwrite(str(folder / f"{index}.png"), rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    request = BuildRequest((str(folder),), scratch / "resume", preset("frames").override(["frame.size=64"]), workers=2)
    start = time.perf_counter()
    build(request)
    first = time.perf_counter() - start
    times = []
    for _ in range(3):
        start = time.perf_counter()
        assert build(request).worked == 0
        times.append(time.perf_counter() - start)
    print(f"resume of {count} rows: {statistics.median(times):.2f} s (built in {first:.0f} s)   bar 3 s")


def bench_plan(scratch: Path, count: int = 1_000_000) -> None:
    """Plan over a million files, all of them known from an earlier build; memory of this process."""
    folder = scratch / "million"
    seed = scratch / "seed.jpg"
    seed.write_bytes(b"\xff\xd8\xff\xd9")
    for start in range(0, count, 1000):
        part = folder / f"{start // 60_000:03d}" / f"{start:07d}"
        part.mkdir(parents=True)
        for index in range(1000):
            if index % 500 == 0:
                (part / f"{index}.jpg").write_bytes(b"\xff\xd8\xff\xd9")
                seed = part / f"{index}.jpg"
            else:
                os.link(seed, part / f"{index}.jpg")
    recipe: Recipe = preset("frames")
    request = BuildRequest((str(folder),), scratch / "plan", recipe)
    state = State(request.out / ".state" / "state.sqlite")
    from spherehead.pipeline.building.inputs import input_rows, open_all

    chain = state.chain_id(recipe.resolved().keys())
    state.inputs.fill(input_rows(open_all(request.sources, request.recipe), request.sources, request.limit), chain)
    state.begin()
    state.db.execute(
        "INSERT INTO contents SELECT number, CAST(printf('%032x', number) AS BLOB), NULL, ?, 'kept', '', '', '' FROM origins",
        (chain,),
    )
    state.db.execute("INSERT INTO stamps SELECT mark, number FROM origins")
    state.commit()
    state.close()
    before = psutil.Process().memory_info().rss
    start_time = time.perf_counter()
    plan = make_plan(request)
    spent = time.perf_counter() - start_time
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert plan.unchanged == count, plan.lines()
    print(
        f"plan of {count} inputs: {spent:.1f} s, process {peak:.0f} MiB at its peak ({before >> 20} before)   bars 10 s, 500 MB"
    )


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=120, help="photographs")
    parser.add_argument("--only", default="paths,workers,resume,plan", help="parts, comma-separated")
    parser.add_argument("--scratch", type=Path, default=None, help="folder for files; a temporary one by default")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    print(describe())
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as name:
        scratch = Path(name)
        if {"paths", "workers"} & set(parts):
            paths = write_photographs(scratch / "photographs", arguments.count)
            if "paths" in parts:
                bench_paths(paths, scratch)
            if "workers" in parts:
                bench_workers(paths, scratch)
        if "resume" in parts:
            bench_resume(scratch)
        if "plan" in parts:
            bench_plan(scratch)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
