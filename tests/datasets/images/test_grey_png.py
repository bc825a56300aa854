"""Grey PNGs: every filter undone as the specification says, other decoders' pixels, and damage never overlooked."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from itertools import pairwise
from unittest.mock import patch

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from spherehead.datasets.compiled import compiled
from spherehead.datasets.images import grey_png
from spherehead.datasets.images.grey_png import open_grey, unfilter
from spherehead.datasets.shards import codec
from spherehead.datasets.shards.codec import decode_grey, encode_grey

fast = settings(max_examples=60, deadline=None, derandomize=True)


def test_a_few_pictures_are_read_without_the_compiled_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs a process 1 to 2 s of CPU, which a command that reads one sample would spend on two small pictures."""
    asked: list[object] = []
    monkeypatch.setattr(grey_png, "compiled", lambda loop: asked.append(loop) or loop)
    monkeypatch.setattr(codec, "_DECODED", itertools.count())
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    data = encode_grey(picture)
    with np.errstate(over="ignore"):
        for count in range(codec.FEW + 2):
            assert bool(asked) == (count > codec.FEW)
            np.testing.assert_array_equal(decode_grey(data), picture)


def paeth(left: int, upper: int, corner: int) -> int:
    """The specification's predictor: of the three neighbours the nearest to left + upper - corner, in this order on a tie."""
    return min((left, upper, corner), key=lambda value: abs(left + upper - corner - value))


def filtered(pixels: np.ndarray, kinds: list[int]) -> np.ndarray:
    """Filter each row as an encoder does: what a row is more than its prediction from unfiltered neighbours."""
    rows = np.zeros((pixels.shape[0], pixels.shape[1] + 1), np.uint8)
    for y, kind in enumerate(kinds):
        rows[y, 0] = kind
        for x in range(pixels.shape[1]):
            left = int(pixels[y, x - 1]) if x else 0
            upper = int(pixels[y - 1, x]) if y else 0
            corner = int(pixels[y - 1, x - 1]) if x and y else 0
            guess = (0, left, upper, (left + upper) // 2, paeth(left, upper, corner))[kind]
            rows[y, x + 1] = (int(pixels[y, x]) - guess) % 256
    return rows


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(rows: np.ndarray, parts: int = 1) -> bytes:
    """Put filtered rows into a file, the pixels in several chunks."""
    height, width = rows.shape[0], rows.shape[1] - 1
    data = zlib.compress(rows.tobytes())
    cuts = np.linspace(0, len(data), parts + 1).astype(int)
    body = b"".join(chunk(b"IDAT", data[a:b]) for a, b in pairwise(cuts.tolist()))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"tEXt", b"a\0b") + body + chunk(b"IEND", b"")


@fast
@given(
    kinds=st.lists(st.integers(0, 4), min_size=1, max_size=9), width=st.integers(1, 17), parts=st.integers(1, 3),
    seed=st.integers(0, 999), flat=st.booleans(),
)  # fmt: skip
def test_every_filter_is_undone(kinds: list[int], width: int, parts: int, seed: int, flat: bool) -> None:
    pixels = np.random.default_rng(seed).integers(3 if flat else 256, size=(len(kinds), width)).astype(np.uint8)
    rows = filtered(pixels, kinds)
    plain, fast_one = np.empty_like(pixels), np.empty_like(pixels)
    with np.errstate(over="ignore"):
        assert unfilter(rows, plain) and compiled(unfilter)(rows, fast_one)
    assert np.array_equal(plain, pixels) and np.array_equal(fast_one, pixels)
    data = png(rows, parts)
    for few in (0, 10**9):  # by the loop, by OpenCV
        with patch.object(codec, "FEW", few):
            assert np.array_equal(decode_grey(data), pixels)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)  # the file is one that others read too


@pytest.mark.parametrize("level", [0, 1, 9])
def test_pixels_are_those_of_opencv(level: int, astronaut: np.ndarray) -> None:
    grey = np.ascontiguousarray(astronaut[..., 1])
    for picture in (grey, (grey > 128).astype(np.uint8) * 255, grey // 16, grey[:3, :5].copy()):
        for data in (encode_grey(picture), bytes(cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, level])[1])):
            assert open_grey(data) is not None
            place = np.zeros_like(picture)
            assert decode_grey(memoryview(data), place) is place
            assert np.array_equal(place, picture)
            assert decode_grey(data, np.zeros((2, 2), np.uint8)).shape == picture.shape


def test_other_pictures_are_left_to_opencv() -> None:
    ramp = np.arange(64, dtype=np.uint8).reshape(8, 8)
    palette = io.BytesIO()
    Image.fromarray(ramp).convert("P").save(palette, "PNG")
    colour = bytes(cv2.imencode(".png", np.dstack([ramp] * 3))[1])
    deep = bytes(cv2.imencode(".png", ramp.astype(np.uint16))[1])
    for data in (b"", b"no picture", colour, deep, palette.getvalue()):
        assert open_grey(data) is None
    for data in (colour, deep):
        with pytest.raises(ValueError, match="expected an 8-bit grey PNG"):
            decode_grey(data)


@pytest.mark.parametrize("few", [0, 10**9])
def test_no_changed_byte_goes_unnoticed(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "FEW", few)
    random = np.random.default_rng(3)
    pixels = (random.random((24, 24)) < 0.3).astype(np.uint8) * 7
    data = png(filtered(pixels, [k % 5 for k in range(24)]), 2)
    for at in range(len(data)):
        spoilt = bytearray(data)
        spoilt[at] ^= 1 << int(random.integers(8))
        try:
            found = decode_grey(bytes(spoilt))
        except (ValueError, cv2.error):
            continue
        assert at >= len(data) - 12  # only the empty last chunk may be hurt without harm
        assert np.array_equal(found, pixels)
    for end in range(len(data) - 12):
        with pytest.raises((ValueError, cv2.error)):
            decode_grey(data[:end])


@pytest.mark.parametrize("extra", [-1, 1, 10**6])
def test_pixels_of_another_size_than_told_are_refused(extra: int) -> None:
    rows = filtered(np.zeros((8, 8), np.uint8), [0] * 8)
    stream = zlib.compress(rows.tobytes()[:extra] if extra < 0 else rows.tobytes() + bytes(extra))
    whole = png(rows)
    start = whole.index(b"IDAT") - 4
    data = whole[:start] + chunk(b"IDAT", stream) + chunk(b"IEND", b"")
    with pytest.raises(ValueError, match="expected pixels of 72 bytes, got 7"):
        decode_grey(data)


@pytest.mark.parametrize("few", [0, 10**9])
def test_an_unknown_filter_is_refused(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "FEW", few)
    rows = np.zeros((2, 5), np.uint8)
    rows[1, 0] = 5
    with pytest.raises(ValueError, match="filter that PNG does not know"):
        decode_grey(png(rows))
