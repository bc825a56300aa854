"""The one warp, against what was drawn: where dots land, what a fine pattern becomes, and what counts as outside."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.warp import BORDERS, apply, magnification, padding, quad, similarity, warp, warp_reduced


def picture_of_dot(x: float, y: float, width: int = 200, height: int = 160, sigma: float = 3.0) -> np.ndarray:
    """A Gaussian dot whose centre is at continuous pixel (x, y): rendered from the formula at pixel centres."""
    u, v = np.arange(width) + 0.5, (np.arange(height) + 0.5)[:, None]
    return np.round(250 * np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * sigma**2))).astype(np.uint8)


def centroid(image: np.ndarray) -> np.ndarray:
    weight = image.astype(np.float64)
    v, u = np.indices(image.shape) + 0.5
    return np.array([(weight * u).sum(), (weight * v).sum()]) / weight.sum()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.floats(70, 130), st.floats(60, 100), st.floats(-math.pi, math.pi), st.floats(0.6, 2.0))
def test_a_dot_lands_where_the_matrix_says(x: float, y: float, angle: float, scale: float) -> None:
    matrix = similarity(scale, angle, np.array([x + 7.3, y - 4.1]), np.array([128.0, 128.0]))
    landed = centroid(warp(picture_of_dot(x, y), matrix, 256, border="black"))
    assert np.abs(landed - apply(matrix, np.array([x, y]))).max() < 0.05


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.floats(-4e-4, 4e-4), st.floats(-4e-4, 4e-4))
def test_a_small_dot_lands_right_under_perspective(gx: float, gy: float) -> None:
    matrix = np.array([[1.1, 0.1, 5.0], [-0.05, 1.2, 12.0], [gx, gy, 1.0]])
    landed = centroid(warp(picture_of_dot(90.25, 70.75, sigma=2.0), matrix, 256, border="black"))
    expected = apply(matrix, np.array([90.25, 70.75]))
    assert np.abs(landed - expected).max() < 0.1  # a dot of finite size is itself bent by perspective: about 0.03 px here


@pytest.mark.parametrize("scale", [0.5, 0.31, 0.125])
def test_reduction_moves_nothing(scale: float) -> None:
    source = picture_of_dot(803.7, 604.2, 1600, 1200, sigma=24.0)
    matrix = similarity(scale, 0.0, np.array([800.0, 600.0]), np.array([128.0, 128.0]))
    landed = centroid(warp(source, matrix, 256, border="black"))
    assert np.abs(landed - apply(matrix, np.array([803.7, 604.2]))).max() < 0.05


def test_the_identity_changes_no_pixel() -> None:
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(warp(image, np.eye(3), 64), image)


@pytest.mark.parametrize("scale", [0.5, 0.25, 0.2])
def test_a_fine_checkerboard_becomes_even_grey(scale: float) -> None:
    board = (np.indices((1200, 1200)).sum(axis=0) % 2 * 255).astype(np.uint8)
    matrix = similarity(scale, 0.3, np.array([600.0, 600.0]), np.array([64.0, 64.0]))
    grey = warp(board, matrix, 128).astype(np.float64)
    assert abs(grey.mean() - 127.5) < 2
    assert grey.std() < 16  # point sampling would give 80 and more


def test_nearest_keeps_the_classes() -> None:
    classes = np.random.default_rng(2).choice(np.array([0, 7, 18], dtype=np.uint8), (90, 90))
    turned = warp(classes, similarity(0.4, 0.7, np.array([45.0, 45.0]), np.array([32.0, 32.0])), 64, nearest=True)
    assert set(np.unique(turned)) <= {0, 7, 18}


def test_nearest_and_smooth_agree_on_where_edges_are() -> None:
    half = np.zeros((100, 100), dtype=np.uint8)
    half[:, 50:] = 200
    matrix = similarity(1.7, 0.4, np.array([50.0, 50.0]), np.array([64.0, 64.0]))
    smooth, nearest = warp(half, matrix, 128) > 100, warp(half, matrix, 128, nearest=True) > 100
    assert np.mean(smooth != nearest) < 0.02


def test_black_and_reflected_borders_differ_only_outside() -> None:
    image = np.full((80, 80, 3), 200, dtype=np.uint8)
    matrix = similarity(1.0, 0.0, np.array([10.0, 10.0]), np.array([64.0, 64.0]))
    outside = padding(80, 80, matrix, 128) > 0
    black, reflected, replicated = (warp(image, matrix, 128, border=border) for border in ("black", "reflect", "replicate"))
    assert (black[outside] == 0).all() and (black[~outside] == 200).all()
    assert (reflected == 200).all() and (replicated == 200).all()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.floats(-40, 200), st.floats(-40, 160), st.floats(-3, 3), st.floats(0.3, 3.0))
def test_padding_marks_exactly_the_pixels_whose_centre_is_outside(x: float, y: float, angle: float, scale: float) -> None:
    width, height, size = 160, 120, 48
    matrix = similarity(scale, angle, np.array([x, y]), np.array([24.0, 24.0]))
    inverse = np.linalg.inv(matrix)
    expected = np.zeros((size, size), dtype=bool)
    for row in range(size):
        for column in range(size):
            u, v = (inverse @ (column + 0.5, row + 0.5, 1.0))[:2]
            expected[row, column] = u < 0 or v < 0 or u > width or v > height
    assert np.array_equal(padding(width, height, matrix, size) > 0, expected)


def test_a_huge_source_beyond_opencvs_limit_is_warped_right() -> None:
    source = np.zeros((40, 70_000), dtype=np.uint8)
    source[:, 69_000:69_050] = picture_of_dot(25.3, 20.1, 50, 40)
    matrix = similarity(2.0, 0.2, np.array([69_020.0, 20.0]), np.array([64.0, 64.0]))
    landed = centroid(warp(source, matrix, 128, border="black"))
    assert np.abs(landed - apply(matrix, np.array([69_025.3, 20.1]))).max() < 0.05


def test_a_large_reduction_of_a_large_source_is_smooth() -> None:
    source = np.zeros((3000, 3000, 3), dtype=np.uint8)
    source[1000:2000, 1000:2000] = 240
    reduced = warp(source, similarity(64 / 3000, 0.0, np.array([1500.0, 1500.0]), np.array([32.0, 32.0])), 64)
    assert reduced[32, 32, 0] == 240 and reduced[5, 5, 0] == 0
    assert reduced.mean() == pytest.approx(240 / 9, rel=0.03)


def test_a_source_that_is_reduced_first_shows_the_same_in_the_same_place() -> None:
    source = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8), (0, 0), 9)
    whole = np.diag([0.25, 0.25, 1.0])
    assert np.array_equal(warp_reduced(source[:512, :512], whole, 128), warp(source[:512, :512], whole, 128))
    for scale, angle in ((0.19, 0.4), (0.3, -2.0), (0.7, 1.0)):
        matrix = similarity(scale, angle, np.array([430.0, 360.0]), np.array([64.0, 64.0]))
        apart = cv2.absdiff(warp_reduced(source, matrix, 128, "replicate"), warp(source, matrix, 128, "replicate"))
        assert apart[8:-8, 8:-8].max() <= 3 and apart.mean() < 1.0


def test_a_target_beside_the_source_is_refused() -> None:
    matrix = similarity(1.0, 0.0, np.array([5000.0, 5000.0]), np.array([32.0, 32.0]))
    with pytest.raises(ValueError, match="outside"):
        warp(np.zeros((50, 50), dtype=np.uint8), matrix, 64)


def test_an_unknown_border_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="mirror"):
        warp(np.zeros((50, 50), dtype=np.uint8), np.eye(3), 50, border="mirror")
    assert set(BORDERS) == {"reflect", "replicate", "black"}


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.floats(0.05, 20), st.floats(-3, 3))
def test_magnification_is_the_scale_of_a_similarity(scale: float, angle: float) -> None:
    matrix = similarity(scale, angle, np.array([3.0, 4.0]), np.array([5.0, 6.0]))
    assert magnification(matrix, 64) == pytest.approx(scale, rel=1e-6)
    assert np.allclose(apply(matrix, np.array([3.0, 4.0])), (5.0, 6.0))


def test_quad_lists_the_corners_in_the_source_clockwise_from_top_left() -> None:
    matrix = similarity(2.0, 0.0, np.array([100.0, 50.0]), np.array([32.0, 32.0]))
    assert np.allclose(quad(matrix, 64), [(84, 34), (116, 34), (116, 66), (84, 66)])


def test_similarity_turns_as_opencv_does_on_screen() -> None:
    """A quarter turn clockwise takes the top of the picture to its right side."""
    matrix = similarity(1.0, math.pi / 2, np.array([50.0, 50.0]), np.array([50.0, 50.0]))
    assert np.allclose(apply(matrix, np.array([50.0, 0.0])), (100.0, 50.0))
    image = np.zeros((100, 100), dtype=np.uint8)
    image[:10] = 255
    assert np.array_equal(warp(image, matrix, 100), cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE))
