"""Strands in the z-buffer: against the uncompiled twin, against geometry, and against 16 x 16 samples a pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from spherehead.datasets.camera import Camera
from spherehead.pipeline.synthetic.hair.strands import Strands, StrandSet, lay_end_to_end
from spherehead.pipeline.synthetic.rendering import ribbons
from spherehead.pipeline.synthetic.rendering.ribbons import draw_strands

GREY = np.array([[0.1, 0.1, 0.1], [0.4, 0.4, 0.4]], np.float32)


def strands_of(points: np.ndarray, radius: float, kind: str = "hair") -> Strands:
    count, length = points.shape[:2]
    return Strands(
        "hair", kind, points.astype(np.float32), np.full((count, length), radius, np.float32), np.tile(GREY, (count, 1, 1))
    )


def some_strands(random: np.random.Generator, shape: tuple[int, int], size: int) -> tuple[StrandSet, Camera, np.ndarray]:
    """Return strands by chance, a camera from anywhere, and (size, size) depths of which three of ten hide strands."""
    laid = lay_end_to_end([strands_of(random.uniform(-0.3, 0.3, (*shape, 3)), 0.006)])
    camera = Camera.look_at(float(random.uniform(-3, 3)), float(random.uniform(-1, 1)))
    return laid, camera, np.where(random.random((size, size)) < 0.3, 2.6, np.inf).astype(np.float32)


def nothing(size: int) -> np.ndarray:
    return np.full((size, size), np.inf, np.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_what_is_drawn_anew_in_a_window_is_what_a_whole_drawing_gives(seed: int) -> None:
    """A lens that comes before strands hides them; outside of it nothing may change, inside nothing may stay."""
    random = np.random.default_rng(seed)
    laid, camera, behind = some_strands(random, (9, 6), 40)
    first = draw_strands(laid, camera, behind)
    kept = first.depth.copy()
    left, top = random.integers(0, 25, 2)
    window = (int(left), int(top), int(left + random.integers(1, 16)), int(top + random.integers(1, 16)))
    behind[window[1] : window[3], window[0] : window[2]] = random.choice([2.4, 2.7, np.inf])
    anew, whole = ribbons.redraw_strands(laid, camera, behind, first, window), draw_strands(laid, camera, behind)
    for name in ("point", "along", "depth", "clear"):
        assert np.array_equal(getattr(anew, name), getattr(whole, name))
    assert np.array_equal(first.depth, kept)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_the_compiled_loop_is_the_plain_one(seed: int) -> None:
    size = 32
    laid, camera, behind = some_strands(np.random.default_rng(seed), (6, 5), size)
    fast = draw_strands(laid, camera, behind)
    image, depth = camera.project(laid.points)
    width = laid.radii * (camera.intrinsics[0, 0] * size / depth)
    plain = [np.full((size, size), -1, np.int32), *(np.full((size, size), x, np.float32) for x in (0.0, np.inf, 1.0))]
    ribbons.fill_ribbons(
        (image * size).astype(np.float32),
        depth.astype(np.float32),
        width.astype(np.float32),
        laid.strand_of,
        0.05,
        behind,
        (0, 0, size, size),
        *plain,
    )
    assert (fast.point >= 0).sum() > 20
    for one, other in zip((fast.along, fast.depth, fast.clear), plain[1:], strict=True):
        assert np.allclose(one, other, atol=2e-4)
    assert (fast.point == plain[0]).mean() > 0.999


@pytest.mark.parametrize("angle", [0.0, 0.3, 0.8, 1.2, 1.57])
@pytest.mark.parametrize("radius", [0.0004, 0.003])
def test_a_ribbon_covers_its_area_at_any_angle(angle: float, radius: float) -> None:
    """Length times width in pixels, for ribbons thinner and wider than a pixel."""
    length, size, camera = 0.3, 256, Camera.look_at(0.0, 0.0)
    ends = np.array([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0]]) * length
    turned = ends @ np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    line = turned[0] + np.linspace(0, 1, 9)[:, None] * (turned[1] - turned[0]) + [0.0013, 0.0007, 0.0]
    seen = draw_strands(lay_end_to_end([strands_of(line[None], radius)]), camera, nothing(size))
    pixel = 2.7 / 4.2647 / size
    assert (1.0 - seen.clear).sum() == pytest.approx(length * 2 * radius / pixel**2, rel=0.03)


def test_a_strand_behind_a_mesh_is_hidden_and_one_before_it_is_not() -> None:
    lines = np.array([[[-0.2, y, z], [0.2, y, z]] for y, z in ((0.1, 0.05), (-0.1, -0.05))])
    seen = draw_strands(
        lay_end_to_end([strands_of(lines, 0.004)]), Camera.look_at(0.0, 0.0), np.full((64, 64), 2.7, np.float32)
    )
    rows = np.unique(np.nonzero(seen.point >= 0)[0])
    assert rows.max() < 32 and len(rows)
    assert seen.depth[seen.point >= 0] == pytest.approx(2.65, abs=1e-5)


def test_the_nearest_strand_is_seen_and_all_of_them_cover() -> None:
    lines = np.array([[[-0.2, 0.0, z], [0.2, 0.0, z]] for z in (0.0, 0.1, -0.1)])
    laid = lay_end_to_end([strands_of(lines, 0.0008)])
    seen = draw_strands(laid, Camera.look_at(0.0, 0.0), nothing(128))
    shown = seen.point[seen.point >= 0]
    assert (laid.strand_of[shown] == 1).all()
    alone = draw_strands(lay_end_to_end([strands_of(lines[1:2], 0.0008)]), Camera.look_at(0.0, 0.0), nothing(128))
    assert (seen.clear <= alone.clear + 1e-6).all() and seen.clear.sum() < alone.clear.sum()


def test_tangents_and_normals_are_those_of_the_curve() -> None:
    line = np.array([[[-0.2, -0.1, 0.0], [0.0, 0.0, 0.0], [0.2, 0.1, 0.0]]])
    laid, camera = lay_end_to_end([strands_of(line, 0.004)]), Camera.look_at(0.4, 0.2)
    seen = draw_strands(laid, camera, nothing(128))
    along, normals = seen.normals(laid)
    there = seen.point >= 0
    assert np.allclose(along[there], np.array([0.2, 0.1, 0.0]) / np.hypot(0.2, 0.1), atol=1e-5)
    assert np.abs((along * normals).sum(axis=2)[there]).max() < 1e-5
    assert ((normals[there] @ camera.cam2world[:3, 2]) < 0).all()
    colours = seen.blend(laid.colours)[there]
    assert colours.min() >= 0.0999 and colours.max() <= 0.4001


def sampled(points: np.ndarray, radius: float, camera: Camera, size: int, fine: int = 16) -> np.ndarray:
    """Return the (S, S) share of `fine` x `fine` samples a pixel that lie on a ribbon, from its corners alone: no rasteriser.

    Each segment of (S, K, 3) strands is a strip about the line between its projected ends, as wide as its depth says.
    """
    image, depth = camera.project(points.reshape(-1, 3))
    image = image.reshape(*points.shape[:2], 2) * size
    width = radius * camera.intrinsics[0, 0] * size / depth.reshape(points.shape[:2])
    hit = np.zeros((size * fine, size * fine), dtype=bool)
    for start, end, wide in zip(image[:, :-1].reshape(-1, 2), image[:, 1:].reshape(-1, 2), width[:, :-1].ravel(), strict=True):
        low = np.maximum(np.floor((np.minimum(start, end) - wide) * fine).astype(int), 0)
        high = np.minimum(np.ceil((np.maximum(start, end) + wide) * fine).astype(int) + 1, size * fine)
        x, y = np.meshgrid(*((np.arange(a, b) + 0.5) / fine for a, b in zip(low, high, strict=True)))
        along = (end - start) / np.linalg.norm(end - start)
        away = np.stack([x, y], axis=-1) - start
        across = np.abs(away @ np.array([-along[1], along[0]]))
        inside = (across <= wide) & (away @ along >= 0.0) & (away @ along <= np.linalg.norm(end - start))
        hit[low[1] : high[1], low[0] : high[0]] |= inside
    return np.asarray(hit.reshape(size, fine, size, fine).mean(axis=(1, 3)))


@pytest.mark.parametrize("radius", [0.0006, 0.0015, 0.004])
def test_coverage_and_class_of_strands_are_those_of_16_by_16_samples_a_pixel(radius: float) -> None:
    """A lock of 160 curved strands: the rasteriser's three samples a pixel and analytic shares against 256 samples."""
    random, size, step = np.random.default_rng(5), 48, 3
    along = np.linspace(0.0, 1.0, 12)[None]
    root = random.uniform(-0.16, 0.16, (160, 1))
    x = root + 0.05 * np.sin(5.0 * along + random.uniform(0, 0.6, (160, 1)))
    z = random.uniform(-0.05, 0.05, (160, 1)) + 0.0 * along
    points = np.stack([x, 0.24 - 0.48 * along + 0.0 * root, z], axis=2)
    camera = Camera.look_at(0.2, 0.1)
    seen = draw_strands(lay_end_to_end([strands_of(points, radius)]), camera, nothing(size * step))
    ours = 1.0 - seen.clear.reshape(size, step, size, step).mean(axis=(1, 3))
    truth = sampled(points.astype(np.float32), radius, camera, size)
    assert truth.max() > 0.3 and (truth > 0.02).sum() > 400
    assert abs(float(ours.mean()) - float(truth.mean())) < 0.01
    half = truth >= 0.5
    around = np.ones((3, 3), dtype=bool)
    border = ndimage.binary_dilation(half, around) & ~ndimage.binary_erosion(half, around)
    assert (~border).mean() > 0.3
    assert ((ours >= 0.5) == half)[~border].mean() >= 0.995
