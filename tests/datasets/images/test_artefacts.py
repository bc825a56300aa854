"""Traces of damage are found where a JPEG was broken, and never in sound pictures, however they are framed."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from spherehead.datasets.images.artefacts import block_shift, grey_tail
from spherehead.datasets.images.jpeg import decode_jpeg, read_jpeg


def encoded(picture, quality=90, chroma=0x221111):
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, chroma]
    return cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), options)[1].tobytes()


def shifted(picture, block, row, column, levels):
    """Add levels to every block from (row, column) on in the order of coding: what one flipped bit of a mean does."""
    width, height = block
    out = picture.astype(int)
    out[row * height : (row + 1) * height, column * width :] += levels
    out[(row + 1) * height :] += levels
    return np.clip(out, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("block", [(8, 8), (16, 16), (16, 8)])
@pytest.mark.parametrize("levels", [(40, 40, 40), (-30, -30, -30), (0, -15, 60), (56, -28, 0)])
def test_a_shift_is_found_and_placed(astronaut, block, levels):
    # photographs are softer than this small one; far enough from black and white that no shift is clipped
    soft = cv2.GaussianBlur(astronaut // 2 + 64, (0, 0), 1.5)
    for row, column in ((5, 8), (12, 20), (20, 11)):
        found = block_shift(shifted(soft, block, row, column, np.array(levels)), block)
        place = re.search(r"row (\d+), column (\d+)", found)
        assert place and int(place[1]) == row * block[1] and abs(int(place[2]) - column * block[0]) <= 8, found


def test_flipped_bits_that_the_decoder_swallows_are_found(astronaut):
    soft = cv2.resize(astronaut, (768, 768), interpolation=cv2.INTER_CUBIC)
    data = encoded(soft)
    header, sound = read_jpeg(data), decode_jpeg(data)[0]
    rng, seen, found = np.random.default_rng(4), 0, 0
    for _ in range(120):
        broken = bytearray(data)
        broken[int(rng.integers(data.rindex(b"\xff\xda") + 14, len(data) - 2))] ^= 1 << int(rng.integers(8))
        pixels, complaint = decode_jpeg(bytes(broken))
        if pixels is None or complaint:
            continue
        gap = np.abs(pixels.astype(int) - sound).max(2)
        if (gap > 20).mean() > 0.1:
            seen += 1
            found += bool(block_shift(pixels, header.block))
    assert seen >= 10 and found >= 0.5 * seen


@pytest.mark.parametrize("chroma", [0x111111, 0x221111, 0x211111])
def test_sound_pictures_have_no_shift_whatever_their_quality(astronaut, photos, chroma):
    from skimage import data

    pictures = [
        astronaut,
        data.coffee(),
        data.rocket(),
        data.chelsea(),
        *(cv2.imread(str(photo))[::2, ::2, ::-1] for photo in photos),
    ]
    for index, picture in enumerate(pictures):
        for quality in (30, 60, 95):
            jpeg = encoded(picture[index * 3 :, index * 5 :], quality, chroma)
            pixels, complaint = decode_jpeg(jpeg)
            assert not complaint and block_shift(pixels, read_jpeg(jpeg).block) == "", (index, quality)


def test_frames_bars_and_collages_on_the_block_grid_are_no_shift(astronaut):
    for height in (16, 64, 128):
        barred = astronaut.copy()
        barred[:height], barred[-height:] = 0, 0
        window = astronaut.copy()
        window[height:, 160:] = np.clip(window[height:, 160:].astype(int) + 50, 0, 255)
        sky = np.full_like(astronaut, 200)
        sky[height * 2 :] = 120
        halves = np.where(np.arange(512)[:, None, None] < height * 2, astronaut, 255 - astronaut)
        for picture in (barred, window, sky, halves.astype(np.uint8)):
            assert block_shift(picture, (16, 16)) == "" and block_shift(picture, (8, 8)) == ""


def test_tiny_pictures_have_no_shift():
    for shape in ((1, 1, 3), (8, 8, 3), (9, 300, 3), (300, 17, 3)):
        assert block_shift(np.zeros(shape, np.uint8), (16, 16)) == ""


def test_the_grey_of_missing_rows_is_measured_and_grey_frames_are_not(astronaut):
    lost = astronaut.copy()
    lost[384:] = 128
    assert grey_tail(lost) == 0.25 and grey_tail(astronaut) == 0.0
    pixels, complaint = decode_jpeg(encoded(lost))
    assert grey_tail(pixels) == pytest.approx(0.25, abs=0.02) and not complaint
    framed = lost.copy()
    framed[:128] = 128
    dark = astronaut.copy()
    dark[384:] = 60
    assert grey_tail(framed) == 0.0 and grey_tail(dark) == 0.0
