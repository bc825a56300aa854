"""Print how fast data sets stream into training, beside a plain OpenCV loop over the same bytes, and that memory stays flat.

Run as `python tests/bench/stream.py [--sizes 512,128] [--batches 10000] [--rounds 5]`. The bars: at least 0.9 of the plain
loop with as many workers, and flat memory over 10,000 batches.

The plain loop holds the encoded bytes in memory and decodes picture, mask and class map with cv2.imdecode, nothing else; the
stream reads them from the shards, proves the picture's hash, mirrors half of them, and hands whole batches to this process.
Both run by turns. `wall` compares images per second of wall time, `CPU` the seconds of processor time an image, which other
programs on the machine disturb less; 1.00 would be the plain loop's own.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import psutil
import torch
from spherehead.datasets.camera import Camera
from spherehead.datasets.shards.codec import Encoding, encode_grey, encode_image, row_json
from spherehead.datasets.shards.tar import write_shard
from spherehead.datasets.streaming.batch import members_of
from spherehead.datasets.streaming.loader import ShardStream, StreamSettings, open_loader
from spherehead.manifests.identity import content_sha256, sample_id

sys.path.append(str(Path(__file__).resolve().parents[1] / "helpers"))
import finished_set

Encoded = tuple[bytes, bytes, bytes]


def portraits(size: int) -> Iterator[np.ndarray]:
    """Yield pictures like photographs for ever: scikit-image's astronaut under many lights, with a little noise."""
    from skimage import data

    face = cv2.resize(np.asarray(data.astronaut())[:400, 60:460], (size, size), interpolation=cv2.INTER_AREA)
    random = np.random.default_rng(0)
    while True:
        lit = face * random.uniform(0.6, 1.1) + random.normal(0, 3, face.shape)
        yield np.clip(np.roll(lit, random.integers(-size // 8, size // 8), axis=1), 0, 255).astype(np.uint8)


def build(folder: Path, size: int, count: int) -> Path:
    """Write a set of `count` samples."""
    random = np.random.default_rng(1)
    cameras = [Camera.look_at(random.uniform(-3, 3), random.uniform(-0.5, 0.5)) for _ in range(12)]
    truths = [(camera, *map(encode_grey, finished_set.render(camera, size)[1:])) for camera in cameras]
    samples, rows, entries = [], [], []
    for index, image in zip(range(count), portraits(size), strict=False):
        camera, mask, parsing = truths[index % len(truths)]
        row, _ = finished_set.row_of(finished_set.View(0), index, 8, quick=True)
        row.update(
            camera=camera.label().tolist(), yaw_degrees=math.degrees(camera.yaw), pitch_degrees=math.degrees(camera.pitch),
            roll_degrees=math.degrees(camera.roll), id=sample_id(content_sha256(f"photograph {index}".encode())),
        )  # fmt: skip
        members = {"jpg": encode_image(image, Encoding()), "mask.png": mask, "seg.png": parsing}
        row["image_sha256"] = content_sha256(members["jpg"])
        samples.append((row["id"], {**members, "json": row_json({"id": row["id"]})}))
        rows.append(row)
    order = sorted(range(count), key=lambda index: samples[index][0])
    for start in range(0, count, 200):
        part = [samples[index] for index in order[start : start + 200]]
        entry, placed = write_shard(folder / f"train-{start // 200:06d}.tar", "train", part)
        entries.append(entry)
        for index, place in zip(order[start : start + 200], placed, strict=True):
            rows[index].update(
                shard=entry.name, index_in_shard=place.index, offset=place.offset, num_bytes=place.num_bytes, split="train"
            )
    finished_set.finish(folder, rows, [], entries, None)
    return folder


def encoded(folder: Path) -> list[Encoded]:
    """Read every sample's encoded picture, mask and class map."""
    import pyarrow.parquet as pq

    found = []
    for row in pq.read_table(folder / "manifest.parquet", columns=["id", "shard", "offset", "num_bytes"]).to_pylist():
        with (folder / row["shard"]).open("rb") as file:
            file.seek(row["offset"])
            members = members_of(memoryview(file.read(row["num_bytes"])), row["id"])
        found.append((bytes(members["jpg"]), bytes(members["mask.png"]), bytes(members["seg.png"])))
    return found


def plain_worker(folder: Path, count: int, barrier: Barrier, used: multiprocessing.Queue[float]) -> None:
    """Decode `count` samples in one process."""
    cv2.setNumThreads(1)
    samples = encoded(folder)
    barrier.wait()
    start = time.process_time()
    for index in range(count):
        jpg, mask, parsing = samples[index * 7 % len(samples)]
        cv2.imdecode(np.frombuffer(jpg, np.uint8), cv2.IMREAD_COLOR)
        cv2.imdecode(np.frombuffer(mask, np.uint8), cv2.IMREAD_UNCHANGED)
        cv2.imdecode(np.frombuffer(parsing, np.uint8), cv2.IMREAD_UNCHANGED)
    used.put(time.process_time() - start)
    barrier.wait()


def plain(folder: Path, workers: int, count: int) -> tuple[float, float]:
    """Return wall and processor milliseconds an image of the plain loop."""
    context = multiprocessing.get_context("fork")
    barrier, used = context.Barrier(workers + 1), context.Queue()
    processes = [context.Process(target=plain_worker, args=(folder, count // workers, barrier, used)) for _ in range(workers)]
    for process in processes:
        process.start()
    barrier.wait()
    start = time.perf_counter()
    barrier.wait()
    wall = time.perf_counter() - start
    spent = sum(used.get() for _ in processes)
    for process in processes:
        process.join()
    return 1e3 * wall / count, 1e3 * spent / count


def children() -> list[psutil.Process]:
    """Return this process and those that make batches for it."""
    own = psutil.Process()
    return [own, *(process for process in own.children(recursive=True) if process.name() == "pt_data_worker")]


def seconds(processes: list[psutil.Process]) -> float:
    """Return the processor seconds that processes have used."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def streamed(stream: ShardStream, workers: int, count: int) -> tuple[float, float]:
    """Return wall and processor milliseconds an image of the stream."""
    size = stream.settings.batch
    warm = 4 * workers
    batches = open_loader(stream, range(count // size + warm), workers)
    for _ in range(warm):
        next(batches)
    processes = children()
    start, spent = time.perf_counter(), seconds(processes)
    images = 0
    for batch in batches:
        images += len(batch)
        if images + 4 * size * workers >= count:  # before the workers run out of work
            break
    wall, spent = time.perf_counter() - start, seconds(processes) - spent
    del batches
    return 1e3 * wall / images, 1e3 * spent / images


def memory(stream: ShardStream, batches: int) -> None:
    """Print the memory of trainer and worker along a long run."""
    found = []
    for batch in open_loader(stream, range(batches + 1), 1):
        if batch.number and batch.number % max(1, batches // 10) == 0:
            found.append(sum(process.memory_full_info().uss for process in children()) / 2**20)
    grown = statistics.mean(found[-3:]) - statistics.mean(found[1:4])
    print(f"\nmemory over {batches:,} batches of {stream.settings.batch} x {stream.settings.resolution}, 1 worker, MiB:")
    print(" ", " ".join(f"{value:.0f}" for value in found), f" growth from the 2nd-4th to the last tenths {grown:+.1f}")


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="512,128")
    parser.add_argument("--batches", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; Python {platform.python_version()}, "
          f"OpenCV {cv2.__version__}, torch {torch.__version__}, numpy {np.__version__}")  # fmt: skip
    print(f"{'set':>10} {'workers':>7} {'plain img/s':>12} {'stream img/s':>13} {'wall':>17} {'CPU':>17}")
    with tempfile.TemporaryDirectory() as root:
        for size in map(int, options.sizes.split(",")):
            folder = build(Path(root, str(size)), size, 400)
            stream = ShardStream([folder], StreamSettings(batch=8, resolution=size, lanes=16, need_parsing=True))
            count = 1600 if size > 256 else 8000
            for workers in (1, 2):
                pairs = [(plain(folder, workers, count), streamed(stream, workers, count)) for _ in range(options.rounds)]
                wall, spent = ([p[k] / s[k] for p, s in pairs] for k in (0, 1))
                speeds = [1e3 / statistics.median(pair[k][0] for pair in pairs) for k in (0, 1)]
                print(f"{size:>7} px {workers:>7} {speeds[0]:>12.0f} {speeds[1]:>13.0f} {ratio(wall):>17} {ratio(spent):>17}")
        memory(ShardStream([folder], StreamSettings(batch=8, resolution=64, lanes=16)), options.batches)


def ratio(values: list[float]) -> str:
    """Return median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


if __name__ == "__main__":
    main()
