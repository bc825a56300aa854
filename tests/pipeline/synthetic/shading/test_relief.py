"""Skin's relief: as steep as told, only on skin, and never finer than the pixels that show it."""

from __future__ import annotations

import numpy as np
import pytest
from spherehead.pipeline.synthetic.hair.scalp import CENTIMETRE
from spherehead.pipeline.synthetic.shading.relief import COUNT, LENGTHS, STEEP, roughen, waves


def slopes(points: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The gradient of all waves at (N, 3) points, by the formula."""
    phase = points @ found[:, :3].T + found[:, 3]
    return (np.cos(phase) * found[:, 4]) @ found[:, :3]


def test_all_waves_together_are_as_steep_as_told_and_fade_below_four_pixels() -> None:
    points = np.random.default_rng(1).uniform(-0.4, 0.4, (20000, 3))
    fine = waves(1e-6)
    assert len(fine) == COUNT
    assert np.sqrt((slopes(points, fine) ** 2).sum(axis=1).mean()) == pytest.approx(STEEP, rel=0.02)
    longest = LENGTHS[1] * CENTIMETRE
    assert len(waves(longest / 2.0)) == 0
    some = waves(longest / 4.0)
    lengths = 2.0 * np.pi / np.linalg.norm(some[:, :3], axis=1)
    assert 0 < len(some) < COUNT and lengths.min() > longest / 2.0
    assert np.sqrt((slopes(points, some) ** 2).sum(axis=1).mean()) < 0.6 * STEEP


def test_normals_of_skin_lean_against_the_slope_and_others_stay() -> None:
    """One triangle of skin and one of cloth, seen at their corners: the new normal is that of the height's own surface."""
    points = np.array([[0.0, 0.0, 0.1], [0.1, 0.0, 0.1], [0.0, 0.1, 0.1]])
    faces = np.array([[0, 1, 2], [0, 1, 2]], dtype=np.int32)
    face = np.array([[0, 0, 1]], dtype=np.int32)
    bary = np.array([[[0.2, 0.3], [0.6, 0.1], [0.2, 0.3]]], dtype=np.float32)
    places, parts = np.array([[0, 0], [0, 1], [0, 2]], dtype=np.int32), np.array([0, 0, 1], dtype=np.int32)
    finishes = np.array([[1.0], [0.0]], dtype=np.float32)
    out = np.zeros((3, 20), dtype=np.float32)
    out[:, 2] = out[:, 18] = out[:, 19] = 1.0
    found = waves(1e-6)
    roughen(places, parts, finishes, face, bary, faces, points, found, out)
    at = np.array([[0.02, 0.03, 0.1], [0.06, 0.01, 0.1]])
    lean = slopes(at, found) * [1.0, 1.0, 0.0]
    expected = np.array([0.0, 0.0, 1.0]) - lean
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert out[:2, :3] == pytest.approx(expected, abs=1e-3) and out[:2, 19] == pytest.approx(expected[:, 2], abs=1e-3)
    assert np.array_equal(out[2, :3], [0.0, 0.0, 1.0])
