"""Each measure gives the number that its picture was made with, whatever contrast and place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.pipeline.curation import measures
from spherehead.pipeline.curation.measures import Edges

EVERYWHERE = np.ones((256, 256), dtype=bool)


def disc(low=60.0, high=160.0, side=256, oversampling=4):
    """A disc whose edge pixels are area averages, float32."""
    y, x = (np.mgrid[0 : side * oversampling, 0 : side * oversampling] + 0.5) / oversampling
    picture = np.where((x - side / 2) ** 2 + (y - side / 2) ** 2 < (0.3 * side) ** 2, high, low).astype(np.float32)
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)


def texture(seed=0, deviation=5.0):
    return (128 + np.random.default_rng(seed).normal(0, deviation, (256, 256))).astype(np.float32)


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0, 3.0])
def test_blur_is_the_deviation_that_the_edge_was_blurred_with(sigma):
    picture = cv2.GaussianBlur(disc(), (0, 0), sigma)
    expected = np.hypot(sigma, 12**-0.5)  # an area-averaged edge is already blurred by a box of one pixel
    assert measures.blur_sigma(Edges.of(picture), EVERYWHERE) == pytest.approx(expected, rel=0.12)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 1.0), st.floats(0.0, 90.0), st.floats(0.6, 4.0))
def test_blur_does_not_depend_on_contrast_or_brightness(contrast, offset, sigma):
    picture = cv2.GaussianBlur(disc(), (0, 0), sigma)
    plain = measures.blur_sigma(Edges.of(picture), EVERYWHERE)
    assert measures.blur_sigma(Edges.of(contrast * picture + np.float32(offset)), EVERYWHERE) == pytest.approx(plain, rel=1e-2)


@pytest.mark.parametrize("angle", [0, 30, 90, 135])
def test_motion_blur_is_seen_in_whatever_direction(angle):
    length = 15
    kernel = np.zeros((length, length), dtype=np.float32)
    kernel[length // 2] = 1.0
    turn = cv2.getRotationMatrix2D((length // 2, length // 2), angle, 1.0)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    found = measures.blur_sigma(Edges.of(cv2.filter2D(disc(), -1, kernel / kernel.sum())), EVERYWHERE)
    assert 2.0 < found < 5.0  # a box of 15 px has a standard deviation of 4.3; edges along the motion stay sharp


def test_noise_does_not_make_a_blurred_picture_look_sharp():
    blurred = cv2.GaussianBlur(disc(0, 220), (0, 0), 3.0)
    plain = measures.blur_sigma(Edges.of(blurred), EVERYWHERE)
    noisy = measures.blur_sigma(Edges.of(blurred + texture() - 128), EVERYWHERE)
    assert noisy > 0.75 * plain


def test_noise_is_measured_as_it_was_drawn():
    for deviation in (1.0, 4.0, 9.0):
        found = Edges.of(texture(1, deviation)).noise(EVERYWHERE)
        assert found == pytest.approx(deviation, rel=0.05)


def test_a_sharp_background_does_not_hide_a_blurred_head():
    picture = cv2.GaussianBlur(disc(), (0, 0), 3.0)
    picture[:, :20] = texture(2, 40.0)[:, :20]
    inside = EVERYWHERE.copy()
    inside[:, :40] = False
    assert measures.blur_sigma(Edges.of(picture), inside) > 2.5
    assert measures.blur_sigma(Edges.of(picture), EVERYWHERE) < 1.5


def test_where_there_is_nothing_to_measure_nothing_is_sharp():
    flat = np.full((256, 256), 80.0, dtype=np.float32)
    assert measures.blur_sigma(Edges.of(flat), EVERYWHERE) == measures.MAX_SIGMA
    assert measures.blur_sigma(Edges.of(disc()), np.zeros((256, 256), dtype=bool)) == measures.MAX_SIGMA
    assert measures.exposure(flat, EVERYWHERE & False) is None


def test_exposure_reads_the_histogram():
    ramp = np.tile(np.arange(256, dtype=np.float32), (256, 1))
    found = measures.exposure(ramp, EVERYWHERE)
    assert found.mean == 127.5
    assert found.shadows == pytest.approx(12, abs=1) and found.highlights == pytest.approx(243, abs=1)
    assert found.clipped_low == pytest.approx(3 / 256) and found.clipped_high == pytest.approx(3 / 256)


@pytest.mark.parametrize("shift", [(0, 0), (3, 5)])
def test_blockiness_grows_as_jpeg_quality_falls_wherever_the_grid_starts(astronaut, shift):
    found = []
    for quality in (95, 75, 50, 30, 10):
        data = cv2.imencode(".jpg", astronaut, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        found.append(measures.blockiness(cv2.imdecode(data, cv2.IMREAD_COLOR)[shift[0] :, shift[1] :]))
    assert found == sorted(found)
    assert found[0] < 0.5 and found[-1] > 4.0
    assert measures.blockiness(astronaut) < 0.3


def test_blocks_are_steps_on_the_grid_alone():
    steps = np.kron(np.random.default_rng(5).integers(0, 2, (20, 20)), np.ones((8, 8))) * 10 + 100
    picture = np.repeat(steps.astype(np.uint8)[..., None], 3, axis=2)
    assert measures.blockiness(picture) == pytest.approx(5.0, abs=0.6)  # half of all neighbours differ, by 10 levels
    assert measures.blockiness(picture[:16, :16]) == 0.0


@pytest.mark.parametrize("shape", [(0, 5, 3), (9, 0, 3), (23, 400, 3), (1, 1, 3)])
def test_too_few_pixels_show_no_blocks(shape):
    """Nothing of a photograph lies under the middle of a crop that is mostly padding."""
    assert measures.blockiness(np.zeros(shape, dtype=np.uint8)) == 0.0
