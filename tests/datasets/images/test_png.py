"""PNGs without alpha whose one transparent colour (tRNS) is told in the file's own numbers, of 1 to 16 bits."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from spherehead.datasets.images.decode import DecodePolicy, decode

WHITE = 255


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def keyed(levels: np.ndarray, depth: int, key: list[int]) -> bytes:
    """A PNG of (H, W, 1 or 3) levels with the chunk tRNS."""
    height, width, channels = levels.shape
    bits = (levels.reshape(height, -1, 1) >> np.arange(depth - 1, -1, -1)) & 1
    rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    head = struct.pack(">IIBBBBB", width, height, depth, 0 if channels == 1 else 2, 0, 0, 0)
    pixels = b"".join(b"\x00" + row.tobytes() for row in rows)
    parts = ((b"IHDR", head), (b"tRNS", struct.pack(f">{channels}H", *key)), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize(("depth", "channels"), [(1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (8, 3), (16, 3)])
def test_the_transparent_colour_of_a_picture_of_any_depth_is_laid_over_the_background(depth: int, channels: int) -> None:
    levels = np.random.default_rng(depth).integers(0, 1 << depth, (64, 72, channels))
    levels[20:40] = key = [min(1000, 1 << depth) // 3] * channels
    decoded = decode(keyed(levels, depth, key), DecodePolicy(background=(WHITE, 0, 0)))
    through = (levels == key).all(axis=2)
    assert "alpha" in decoded.info.flags and decoded.alpha is not None
    assert np.array_equal(decoded.alpha, np.where(through, 0, 255))
    assert (decoded.pixels[through] == (WHITE, 0, 0)).all()
    shown = np.floor(levels * 255 / ((1 << depth) - 1) + 0.5)
    assert np.array_equal(decoded.pixels[~through], np.broadcast_to(shown, (64, 72, 3))[~through])


def test_of_a_transparent_colour_only_the_bits_of_the_depth_count() -> None:
    levels = np.arange(64 * 64).reshape(64, 64, 1) % 256
    assert np.array_equal(decode(keyed(levels, 8, [0x0107]), DecodePolicy()).alpha == 0, levels[..., 0] == 7)
