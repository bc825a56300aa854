"""Time each quality measure, an augmented copy, and the decisions over a whole set.

python tests/bench/quality.py [--repeats 60] [--rows 1000000] [--distance 6]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from pictures import describe, originals  # noqa: E402
from spherehead.datasets.sample import Photo, Sample  # noqa: E402
from spherehead.manifests.identity import rng  # noqa: E402
from spherehead.pipeline.annotators.heads.strengths import StrengthReader  # noqa: E402
from spherehead.pipeline.backends.photometry import Blur, Compression, Noise, Photometry, Tint, Tone  # noqa: E402
from spherehead.pipeline.curation import measures  # noqa: E402
from spherehead.pipeline.curation.balance import balance_views  # noqa: E402
from spherehead.pipeline.curation.duplicates import DuplicateSettings, find_near  # noqa: E402
from spherehead.pipeline.curation.perceptual_hash import perceptual_hashes  # noqa: E402
from spherehead.pipeline.curation.splits import Links, assign_splits, leakage  # noqa: E402
from spherehead.pipeline.stages import head_regions, quality  # noqa: E402
from spherehead.pipeline.stages.align import Align  # noqa: E402
from spherehead.pipeline.stages.augment import Augment, Moves  # noqa: E402
from spherehead.pipeline.stages.detect import Detect  # noqa: E402
from spherehead.pipeline.stages.estimate_camera import EstimateCamera  # noqa: E402
from spherehead.pipeline.stages.matte import Matte  # noqa: E402
from spherehead.pipeline.stages.parse import Parse  # noqa: E402


def heads() -> list[Sample]:
    """Return the heads of the photographs at hand, through every stage before quality."""
    found = []
    stages = [stage.open() for stage in (Detect(), Align(), Matte(), EstimateCamera(), Parse())]
    for number, picture in enumerate(originals()):
        photo = Photo.of_pixels(np.ascontiguousarray(picture[..., ::-1]), sha256=f"{number:064x}")
        samples = [Sample(id="", photo=photo)]
        for stage in stages:
            samples = [out for sample in samples for out in stage.one(sample, rng(0, sample.id, "bench"))]
        found += samples
    return found


def show(name: str, work: Callable[[Sample], object], samples: list[Sample], repeats: int) -> None:
    """Print median and quartiles of CPU milliseconds of `work`, the heads taking turns."""
    for sample in samples:
        work(sample)
    times = []
    for turn in range(repeats):
        start = time.process_time()
        work(samples[turn % len(samples)])
        times.append(1e3 * (time.process_time() - start))
    low, middle, high = statistics.quantiles(times, n=4)
    print(f"{name:28s} {middle:7.2f} ms CPU ({low:.2f} to {high:.2f})")


def bench_measures(samples: list[Sample], repeats: int) -> None:
    """Time the parts of the quality stage, then all of it; bar: 8 ms."""
    heads = {sample.id: head_regions.regions(sample)[0] for sample in samples}
    show("regions", head_regions.regions, samples, repeats)
    show("luma", lambda s: measures.luma(s.image), samples, repeats)
    reader = StrengthReader()
    show("strengths", lambda s: reader.read(s.image, heads[s.id], s.crop, s.photo.pixels), samples, repeats)
    show("exposure", lambda s: measures.exposure(measures.luma(s.image), heads[s.id]), samples, repeats)
    show("blockiness", lambda s: measures.blockiness(head_regions.source_region(s)), samples, repeats)
    show("both perceptual hashes", lambda s: perceptual_hashes(s.image), samples, repeats)
    stage = quality.Quality().open()
    show("quality, all (bar 8)", lambda s: list(stage.one(s, rng(0, s.id, "bench"))), samples, repeats)


def bench_augment(samples: list[Sample], repeats: int) -> None:
    """Time one copy under several settings; bar: 15 ms."""
    all_of_it = Photometry(Tone(1.0), Tint(1.0), Blur(1.0), Noise(1.0), Compression(1.0))
    free = Moves(zoom=1.1, shift=0.05, aspect=1.05, shear_degrees=3.0, perspective=0.1)
    for name, stage in {
        "copy, defaults (bar 15)": Augment(keep_original=False),
        "copy, free-k": Augment(keep_original=False, policy="free-k", moves=free),
        "copy, every light change": Augment(keep_original=False, photometry=all_of_it),
    }.items():
        opened = stage.open()
        show(name, lambda s, opened=opened: list(opened.one(s, rng(0, s.id, "bench"))), samples, repeats)


def bench_whole_set(rows: int, distance: int) -> None:
    """Time duplicates, splits and balance on evenly spread hashes of which one in twenty has a near duplicate."""
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**64, rows, dtype=np.uint64)
    twins = rows // 20
    hashes[:twins] = hashes[twins : 2 * twins] ^ np.uint64(1 << 17 | 1 << 40)
    mirrors = generator.integers(0, 2**64, rows, dtype=np.uint64)
    ids = [f"{value:016x}" for value in generator.permutation(rows).tolist()]
    own, mirrored = [f"{v:016x}" for v in hashes.tolist()], [f"{v:016x}" for v in mirrors.tolist()]
    people = [f"p{value}" for value in generator.integers(0, rows // 4 + 1, rows).tolist()]
    scores, empty = generator.random(rows).tolist(), [""] * rows
    start = time.perf_counter()
    near = find_near(ids, own, mirrored, scores, empty, DuplicateSettings(max_distance=distance))
    print(f"{'near duplicates':28s} {time.perf_counter() - start:7.1f} s, {int((~near.kept).sum())} give way (bar 60 s)")
    start = time.perf_counter()
    links = Links(ids, people, empty, [f"f{value}" for value in range(rows)], near.cluster, empty)
    splits = assign_splits(links)
    print(f"{'splits':28s} {time.perf_counter() - start:7.1f} s, leakage {leakage(links, splits.split)}")
    start = time.perf_counter()
    balance = balance_views(generator.vonmises(0, 2, rows), generator.normal(0, 0.3, rows).clip(-1.5, 1.5))
    took = time.perf_counter() - start
    print(f"{'balance':28s} {took:7.1f} s, max/min {balance.imbalance:.0f} -> {balance.effective_imbalance:.1f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB for {rows} rows (bar 2000)")


def main() -> None:
    """Run everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--distance", type=int, default=6)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(describe())
    bench_whole_set(options.rows, options.distance)
    samples = heads()
    print(f"{len(samples)} heads of {samples[0].crop.size} px")
    bench_measures(samples, options.repeats)
    bench_augment(samples, options.repeats)


if __name__ == "__main__":
    main()
