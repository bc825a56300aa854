"""Whole builds stay within --max-memory and a quarter, whatever the format, bit depth and number of workers."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import ModuleType

import psutil
import pytest
from spherehead.datasets.images.decode import DecodePolicy, memory_needed
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.request import BuildRequest
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame

RECIPE = Recipe("test", (Frame(size=64, max_upscale=4.0),))
GROUPS = {
    "jpeg": ("jpeg",),
    "png8": ("png", "png_grey", "png_rgba", "png_rgba_turned", "png_grey_alpha"),
    "png palette and films": ("png_palette", "png_palette_alpha", "png_key_colour", "png_film", "gif_alpha"),
    "png16": ("png16", "png16_grey", "png16_rgba", "png16_linear", "png16_rgba_linear_turned"),
    "tiff8": ("tiff", "tiff_lzw", "tiff_associated", "tiff_cmyk", "tiff_jpeg", "tiff_eight_channels"),
    "tiff16": ("tiff16",),
    "bitmaps": ("bmp", "bmp_alpha", "ppm", "pgm16"),
    "webp": ("webp",),
    "others": ("jpeg2000_alpha", "avif_alpha"),
}
"""What is built together: formats that ask for about as much. Of names in a group of one, all that begin so."""


@pytest.fixture(scope="module")
def large(bad_inputs: ModuleType) -> ModuleType:
    import large_pictures

    return large_pictures


def members(large: ModuleType, group: str) -> list[str]:
    names = GROUPS[group]
    return [name for name in large.KINDS if name in names or (len(names) == 1 and name.split("_")[0] == names[0])]


class Watch(threading.Thread):
    """Sees what the worker processes take, many times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_of_all, self.highest, self.done = 0, dict[int, int](), False

    def run(self) -> None:
        while not self.done:
            now = 0
            for child in psutil.Process().children():
                try:
                    is_worker = b"spawn_main" in Path(f"/proc/{child.pid}/cmdline").read_bytes()
                    text = Path(f"/proc/{child.pid}/status").read_text()
                    sizes = {
                        line.split(":")[0]: int(line.split()[1]) << 10
                        for line in text.splitlines()
                        if line[:5] in ("VmRSS", "VmHWM")
                    }
                except (OSError, psutil.Error):
                    continue
                if sizes and is_worker:
                    now += sizes["VmRSS"]
                    self.highest[child.pid] = max(sizes["VmHWM"], self.highest.get(child.pid, 0))
            self.peak_of_all = max(self.peak_of_all, now)
            time.sleep(0.002)


def watched(folder: Path, out: Path, limit: int, workers: int, count: int) -> Watch:
    watch = Watch()
    watch.start()
    try:
        summary = build(BuildRequest((str(folder),), out, RECIPE, workers=workers, max_memory=limit, engine="local"))
    finally:
        watch.done = True
        watch.join()
    assert summary.worked == count and summary.counts["failed"] == 0
    assert summary.counts["kept"] + summary.reasons.get("pixel_duplicate", 0) == count  # kinds that decode to equal pixels
    return watch


def write(large: ModuleType, folder: Path, names: list[str], height: int, width: int) -> int:
    """Write a picture of each kind; returns what the largest asks for."""
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(large.made(name, height, width))
    return max(memory_needed(path.read_bytes(), DecodePolicy()) for path in folder.iterdir())


def test_every_kind_of_picture_is_in_one_group(large: ModuleType) -> None:
    assert sorted(name for group in GROUPS for name in members(large, group)) == sorted(large.KINDS)


@pytest.fixture(scope="module")
def bare(large: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> int:
    """What a worker takes that has seen a small picture of every kind."""
    folder = tmp_path_factory.mktemp("bare")
    write(large, folder / "pictures", list(large.KINDS), 96, 128)
    watch = watched(folder / "pictures", folder / "out", 1 << 30, 1, len(large.KINDS))
    return max(watch.highest.values())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks of processes are read under Linux only")
@pytest.mark.parametrize("group", list(GROUPS))
def test_builds_of_every_format_and_depth_stay_within_the_limit(
    large: ModuleType, tmp_path: Path, bare: int, group: str
) -> None:
    """The system's own mark of the highest, of one worker, beyond one that has seen small pictures only."""
    names = members(large, group)
    limit = write(large, tmp_path / "pictures", names, 1800, 2400)
    watch = watched(tmp_path / "pictures", tmp_path / "out", limit, 1, len(names))
    assert max(watch.highest.values()) - bare <= 1.25 * limit, (limit >> 20, bare >> 20)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks of processes are read under Linux only")
def test_workers_together_stay_within_the_limit(large: ModuleType, tmp_path: Path, bare: int) -> None:
    names = ["png16_rgba", "tiff16_associated", "png16_linear", "tiff16", "png_rgba", "jpeg_cmyk"]
    limit = write(large, tmp_path / "pictures", names, 1800, 2400)
    watch = watched(tmp_path / "pictures", tmp_path / "out", limit, 3, len(names))
    assert len(watch.highest) >= 2
    assert watch.peak_of_all - len(watch.highest) * bare <= 1.25 * limit, (limit >> 20, bare >> 20)
