"""Whatever bytes a picture file or a block in it is made of: pixels or our own refusal, soon and in little memory."""

from __future__ import annotations

import functools
import importlib
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spherehead.datasets.images import boxes, colour_space, orientation, png
from spherehead.datasets.images.decode import DecodePolicy, decode, memory_needed, probe
from spherehead.datasets.images.headers import bitmap_profile
from spherehead.datasets.images.tiff_pixels import read_tiff
from spherehead.datasets.sample import Drop

POLICY = DecodePolicy(max_pixels=1_000_000)
SECONDS = 10.0
"""No file of some kilobytes may take longer."""
COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


@functools.cache
def seeds() -> dict[str, bytes]:
    """Small sound files: every format, depth and way of telling colour and orientation."""
    files, large = importlib.import_module("picture_files"), importlib.import_module("large_pictures")
    made = {name: large.made(name, 72, 80) for name in large.KINDS}
    picture = files.portrait()[60:140, 80:160]
    plain, packet = files.saved(picture, "PNG"), files.xmp(6)
    text = b"Raw profile type exif\x00\x00" + __import__("zlib").compress(files.raw_profile("exif", files.exif(6).tobytes()))
    made["png_words"] = files.with_chunks(
        plain, (b"gAMA", b"\x00\x00\xd9\x03"), (b"cHRM", files.chromaticities(0.31, 0.33, 0.68, 0.32, 0.26, 0.69, 0.15, 0.06)),
        (b"cICP", b"\x0c\x0d\x00\x01"), (b"zTXt", text), (b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + packet),
    )  # fmt: skip
    made["jpeg_words"] = files.jpeg_with_xmp(files.jpeg(picture, exif=files.exif(6)), packet)
    ends = (0.43, 0.22, 0.01, 0.38, 0.71, 0.09, 0.14, 0.06, 0.71)
    made["bmp_calibrated"] = files.bitmap(np.dstack([picture, picture[..., 0]]), bytes(4), ends=ends, gamma=1.8)
    made["bmp_profile"] = files.bitmap(np.dstack([picture, picture[..., 0]]), b"DEBM", files.icc_profile(files.P3_TO_XYZ, "P3"))
    made["tiff16_lzw"] = files.tiff(
        files.sixteen(picture), photometric="rgb", compression="lzw", predictor=True, rowsperstrip=9
    )
    made["tiff16_tiles"] = files.tiff(files.sixteen(picture), photometric="rgb", compression="zlib", tile=(32, 48))
    return made


def attack(data: st.DataObject) -> None:
    """Change a file's bytes, more often near its start, and decode it."""
    changed = bytearray(data.draw(st.sampled_from(list(seeds().values()))))
    for _ in range(data.draw(st.integers(0, 5))):
        place = data.draw(st.one_of(st.integers(0, min(500, len(changed) - 1)), st.integers(0, len(changed) - 1)))
        size = data.draw(st.sampled_from((1, 1, 1, 2, 4)))
        changed[place : place + size] = data.draw(st.one_of(st.binary(min_size=size, max_size=size), st.sampled_from(
            (b"\xff" * size, bytes(size), b"\x7f" + b"\xff" * (size - 1)))))  # fmt: skip
    if data.draw(st.integers(0, 7)) == 0:
        changed = changed[: data.draw(st.integers(1, len(changed)))]
    check(bytes(changed))


def check(found: bytes) -> None:
    started = time.monotonic()
    try:
        info = probe(found, POLICY)
        assert memory_needed(found, POLICY) < len(found) + 600 * info.width * info.height
        pixels = decode(found, POLICY).pixels
        assert pixels.dtype == np.uint8 and pixels.shape == (info.height, info.width, 3)
    except Drop as drop:
        assert " at 0x" not in drop.detail
    assert time.monotonic() - started < SECONDS


@settings(max_examples=300, derandomize=True, **COMMON)
@given(data=st.data())
def test_changed_pictures_are_decoded_or_refused(bad_inputs: object, data: st.DataObject) -> None:
    attack(data)


@pytest.mark.slow
@settings(max_examples=10_000, **COMMON)
@given(data=st.data())
def test_ten_thousand_changed_pictures_are_decoded_or_refused(bad_inputs: object, data: st.DataObject) -> None:
    attack(data)


@functools.cache
def tiffs() -> list[bytes]:
    """The TIFF seeds, of a few pixels."""
    large = importlib.import_module("large_pictures")
    small = [large.made(name, 12, 9) for name in large.KINDS if name.startswith("tiff")]
    return [*small, *(data for name, data in seeds().items() if name in ("tiff16_lzw", "tiff16_tiles"))]


def attack_tiff(seed: int) -> None:
    """Change a TIFF's bytes, mostly in its table of tags, which may lie anywhere, and decode it."""
    draw = np.random.default_rng(seed)
    changed = bytearray(tiffs()[draw.integers(len(tiffs()))])
    table = int.from_bytes(changed[4:8], "little" if changed[:2] == b"II" else "big") % len(changed)
    for _ in range(draw.integers(1, 6)):
        start = 0 if draw.random() < 0.2 else table
        place = min(len(changed) - 1, start + int(draw.integers(0, 300)))
        size = int(draw.choice((1, 1, 2, 4)))
        new = (draw.bytes(size), b"\xff" * size, bytes(size), int(draw.integers(0, 40)).to_bytes(size, "little"))
        changed[place : place + size] = new[draw.integers(4)]
    check(bytes(changed[: draw.integers(1, len(changed))] if draw.random() < 0.1 else changed))


@settings(max_examples=60, derandomize=True, **COMMON)
@given(seed=st.integers(0, 2**40))
def test_changed_tiffs_are_decoded_or_refused(bad_inputs: object, seed: int) -> None:
    attack_tiff(seed)


@pytest.mark.slow
@settings(max_examples=10_000, **COMMON)
@given(seed=st.integers(0, 2**40))
def test_ten_thousand_changed_tiffs_are_decoded_or_refused(bad_inputs: object, seed: int) -> None:
    attack_tiff(seed)


def parse(block: bytes) -> None:
    """Hand bytes to every parser of a header or block."""
    assert 0 <= orientation.of_exif(block) <= 8 and 0 <= orientation.of_xmp(block) <= 8
    orientation.unpack_raw_profile(block)
    boxes.read_colour(block)
    bitmap_profile(block)
    for read in (png.read_png, read_tiff, colour_space.refuse_hdr):
        try:
            read(block)
        except Drop:
            continue


STARTS = (
    b"", b"Exif\x00\x00", b"II*\x00\x08\x00\x00\x00", b"MM\x00*", b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR", b"BM",
    b"<x:xmpmeta tiff:Orientation=", b"\nexif\n 12\n", b"\x00\x00\x00\x20meta", bytes(36) + b"acsp",
)  # fmt: skip
starts = st.sampled_from(STARTS)


@settings(max_examples=500, derandomize=True, **COMMON)
@given(start=starts, rest=st.binary(max_size=300))
def test_any_bytes_go_through_every_parser(start: bytes, rest: bytes) -> None:
    parse(start + rest)


@pytest.mark.slow
@settings(max_examples=10_000, **COMMON)
@given(start=starts, rest=st.binary(max_size=300))
def test_ten_thousand_blocks_go_through_every_parser(start: bytes, rest: bytes) -> None:
    parse(start + rest)


@given(st.integers(0, 255), st.integers(0, 255), st.booleans())
def test_any_code_points_give_a_profile_or_a_refusal(primaries: int, transfer: int, grey: bool) -> None:
    try:
        found = colour_space.of_code_points(primaries, transfer, grey)
    except Drop as drop:
        assert drop.reason == "unsupported_depth"
        return
    assert found is None or found == b"" or found[36:40] == b"acsp"


@given(st.floats(0, 50), st.lists(st.floats(0, 43_000), min_size=8, max_size=8), st.booleans())
def test_any_gamma_and_chromaticities_give_a_profile_or_none(gamma: float, corners: list[float], grey: bool) -> None:
    assert colour_space.of_gamma(gamma, tuple(corners), grey)[36:40] in (b"", b"acsp")
    assert colour_space.of_gamma(gamma, tuple(value / 43_000 for value in corners), grey)[36:40] in (b"", b"acsp")
