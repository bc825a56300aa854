"""Decoding stays within the memory that was asked for, whatever the format, depth, alpha, profile and orientation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from spherehead.datasets.images.decode import DecodePolicy, memory_needed
from spherehead.datasets.sample import Drop
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.request import BuildRequest
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame

POLICY = DecodePolicy()
MEGABYTE = 1 << 20

PROBE = """
import json, os, sys
sys.path[:0] = [sys.argv[1]]
import large_pictures
from spherehead.datasets.images.decode import DecodePolicy, decode, memory_needed
import imagecodecs, simplejpeg, tifffile, cv2

def status(name):
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(name))

cv2.setNumThreads(1)
for name in ("jpeg_cmyk", "png16_linear", "tiff16", "png_palette"):
    decode(large_pictures.made(name, 200, 300), DecodePolicy())
for path in sys.argv[2:]:
    if os.fork():  # each picture begins with the same clean memory
        os.wait()
        continue
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = status("VmRSS")
    with open(path, "rb") as file:
        data = file.read()
    decode(data, DecodePolicy())
    print(json.dumps([os.path.basename(path), status("VmHWM") - before, memory_needed(data, DecodePolicy())]), flush=True)
    os._exit(0)
"""


def peaks(large, folder: Path, names: list[str], height: int, width: int) -> dict[str, tuple[int, int]]:
    """Decode pictures in other processes; return the peak beyond what was there before, and what was asked for, in bytes."""
    for name in names:
        (folder / name).write_bytes(large.made(name, height, width))
    helpers = Path(__file__).resolve().parents[2] / "helpers"
    command = [sys.executable, "-c", PROBE, str(helpers), *(str(folder / name) for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(names), done.stderr
    return {name: (peak, asked) for name, peak, asked in rows}


@pytest.fixture(scope="module")
def large(bad_inputs):
    import large_pictures

    return large_pictures


def check(found: dict[str, tuple[int, int]]) -> None:
    # some megabytes belong to blocks of rows and to the allocator, not to the picture
    wrong = {name: (peak, asked) for name, (peak, asked) in found.items() if peak > asked + 12 * MEGABYTE}
    assert found and wrong == {}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak can be reset under Linux only")
def test_some_formats_stay_below_what_they_ask_for(large, tmp_path):
    check(peaks(large, tmp_path, ["jpeg", "jpeg_progressive", "png16_rgba", "tiff16_associated"], 1500, 2000))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak can be reset under Linux only")
def test_every_format_and_depth_stays_below_what_it_asks_for(large, tmp_path):
    found = peaks(large, tmp_path, sorted(large.KINDS), 2400, 4000)
    check(found)
    # and does not ask for several times what it takes: that would refuse pictures for nothing
    assert {name: asked / peak for name, (peak, asked) in found.items() if asked > 3 * peak} == {}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak can be reset under Linux only")
def test_rarer_kinds_stay_below_what_they_ask_for(large, tmp_path):
    check(peaks(large, tmp_path, ["jpeg2000_deep_rgba", "png1_grey"], 1650, 2150))


def test_channels_depth_and_copies_are_counted(large):
    asked = {name: memory_needed(large.made(name, 300, 400), POLICY) for name in ("jpeg", "png", "png_rgba", "png16_rgba")}
    assert asked["jpeg"] < asked["png"] < asked["png_rgba"] < asked["png16_rgba"]
    assert asked["png16_rgba"] > 300 * 400 * 16


def huge_sixteen_bit_png() -> bytes:
    """A 12,000 x 12,000 16-bit RGBA PNG in a few megabytes."""
    import struct
    import zlib

    from picture_files import png_chunk

    packer, packed = zlib.compressobj(1), b""
    for row in range(12_000):
        packed += packer.compress(b"\x00" + np.full(4, 257 * (row % 256), ">u2").tobytes() * 12_000)
    head = struct.pack(">IIBBBBB", 12_000, 12_000, 16, 6, 0, 0, 0)
    body = png_chunk(b"IHDR", head) + png_chunk(b"IDAT", packed + packer.flush()) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_picture_beyond_the_budget_is_refused_before_it_is_decoded(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "huge.png").write_bytes(huge_sixteen_bit_png())
    recipe = Recipe("frames", (Frame(size=64, max_upscale=4.0),))
    request = BuildRequest(
        (str(tmp_path / "in"),), tmp_path / "out", recipe, engine="inline", max_memory=1700 * MEGABYTE, abort_share=1.1
    )
    summary = build(request)
    assert summary.counts["failed"] == 1
    import pyarrow.parquet as pq
    from spherehead.manifests import store

    (row,) = pq.read_table(tmp_path / "out" / store.ORIGINS).to_pylist()
    assert row["reason"] == "out_of_memory" and "the budget is 1700 MiB" in row["detail"]


def test_a_refused_header_asks_for_nothing():
    with pytest.raises(Drop, match="not_an_image"):
        memory_needed(b"no picture", POLICY)
