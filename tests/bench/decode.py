"""Time reading and decoding JPEGs of 1 to 2 megapixels against plain cv2.imdecode, and walking a large folder.

python tests/bench/decode.py [--photos FOLDER] [--repeats N] [--files N]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow.csv  # noqa: F401 - imported before the clock starts
from spherehead.datasets.images import artefacts, jpeg
from spherehead.datasets.images.decode import DecodePolicy, decode, probe
from spherehead.datasets.sources.folder import FolderSource
from spherehead.datasets.sources.open import open_source


def pictures(folder: Path | None) -> dict[str, bytes]:
    """Make 1600 x 1200 JPEGs (4:2:0 and 4:4:4, quality 90) from the given photographs, or from skimage's astronaut."""
    if folder:
        sources = {path.stem: cv2.imread(str(path)) for path in sorted(folder.glob("*.jpg"))}
    else:
        from skimage import data

        sources = {"astronaut": np.ascontiguousarray(data.astronaut()[..., ::-1])}
    made = {}
    for name, picture in sources.items():
        large = cv2.resize(picture, (1200, 1600), interpolation=cv2.INTER_CUBIC)
        for chroma, factor in (("420", 0x221111), ("444", 0x111111)):
            options = [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
            made[f"{name} {chroma}"] = cv2.imencode(".jpg", large, options)[1].tobytes()
    return made


def medians(calls: list[Callable[[], object]], repeats: int) -> list[str]:
    """Return median and quartiles in milliseconds of CPU time of each call; the calls take turns, after three warm-ups."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(repeats + 3):
        for call, kept in zip(calls, times, strict=True):
            start = time.process_time()
            call()
            if turn >= 3:
                kept.append(1e3 * (time.process_time() - start))
    times.append([decoded - plain for plain, decoded in zip(times[0], times[-1], strict=True)])
    quartiles = [statistics.quantiles(kept, n=4) for kept in times]
    return [f"{middle:.2f} ({low:.2f} to {high:.2f})" for low, middle, high in quartiles]


def decoding(made: dict[str, bytes], repeats: int) -> None:
    """Print a table: what each step costs for each picture."""
    policy = DecodePolicy()
    names = ("cv2.imdecode RGB", "probe", "shift search", "decode", "decode - imdecode")
    print(f"{'picture':20} {'kB':>5} " + " ".join(name.rjust(22) for name in names))
    for name, data in made.items():
        array = np.frombuffer(data, np.uint8)
        block, pixels = jpeg.read_jpeg(data).block, jpeg.decode_jpeg(data)[0]
        calls = [
            lambda array=array: cv2.imdecode(array, cv2.IMREAD_COLOR_RGB),
            lambda data=data: probe(data, policy),
            lambda pixels=pixels, block=block: artefacts.block_shift(pixels, block),
            lambda data=data: decode(data, policy),
        ]
        print(f"{name:20} {len(data) / 1e3:5.0f} " + " ".join(cell.rjust(22) for cell in medians(calls, repeats)))


def walking(files: int) -> None:
    """Print what one entry costs beyond its system calls, for a folder and for a CSV list of the same files."""
    with tempfile.TemporaryDirectory() as root:
        for index in range(files):
            if index % 1000 == 0:
                folder = Path(root) / f"{index // 1000:04d}"
                folder.mkdir()
            (folder / f"{index:07d}.jpg").touch()
        start = time.perf_counter()
        for name in os.scandir(root):
            for inner in os.scandir(name.path):
                inner.stat(follow_symlinks=False)
        calls = 1e6 * (time.perf_counter() - start) / files
        start = time.perf_counter()
        count = sum(1 for _ in FolderSource("bench", root).entries())
        walk = 1e6 * (time.perf_counter() - start) / count
        rows = "".join(f"{index // 1000:04d}/{index:07d}.jpg,CC0,person {index}\n" for index in range(files))
        (Path(root) / "list.csv").write_text("path,license,identity\n" + rows)
        start = time.perf_counter()
        count = sum(1 for _ in open_source(f"{root}/list.csv").entries())
        listed = 1e6 * (time.perf_counter() - start) / count
    print(f"entries: {files} files; system calls {calls:.1f} us each, folder {walk:.1f} us, CSV list {listed:.1f} us")


def main() -> None:
    """Run both and print the versions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--files", type=int, default=20_000)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(
        f"Python {platform.python_version()}, OpenCV {cv2.__version__}, numpy {np.__version__}; ms of CPU, median (quartiles)"
    )
    decoding(pictures(options.photos), options.repeats)
    walking(options.files)


if __name__ == "__main__":
    main()
