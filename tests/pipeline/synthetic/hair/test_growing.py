"""Strands that grow on a ball: lengths, collisions, gravity, and the distance field beneath."""

from __future__ import annotations

import numpy as np
import pytest
from spherehead.datasets.compiled import compiled
from spherehead.pipeline.synthetic.hair import collision, growing
from spherehead.pipeline.synthetic.hair.collision import CELL, LOW, DistanceField, distance_field
from spherehead.pipeline.synthetic.hair.growing import Wishes, grow
from spherehead.pipeline.synthetic.hair.scalp import HAIRLINE, Roots, within

RADIUS = 0.2


def directions(count: int) -> np.ndarray:
    """Points of a sphere, evenly: the spiral of Fibonacci."""
    k = np.arange(count) + 0.5
    up, turn = 1.0 - 2.0 * k / count, np.pi * (1.0 + 5.0**0.5) * k
    return np.stack([np.sqrt(1 - up**2) * np.cos(turn), up, np.sqrt(1 - up**2) * np.sin(turn)], axis=1)


@pytest.fixture(scope="module")
def ball() -> DistanceField:
    return distance_field(RADIUS * directions(12_000), directions(12_000))


def test_distances_to_a_ball_are_those_of_the_formula(ball: DistanceField) -> None:
    random = np.random.default_rng(0)
    points = directions(400) * random.uniform(0.15, 0.34, (400, 1))
    true = np.linalg.norm(points, axis=1) - RADIUS
    assert np.abs(ball.at(points) - true)[np.abs(true) < 0.03].max() < 0.1 * CELL
    assert np.abs(ball.at(points) - true).max() < 0.9 * CELL
    assert (ball.normals(points) * directions(400)).sum(axis=1).min() > 0.97


def test_the_compiled_sample_is_the_plain_one(ball: DistanceField) -> None:
    points = np.random.default_rng(1).uniform(-0.7, 0.7, (50, 3)).astype(np.float32)
    fast, plain = np.empty((50, 4), np.float32), np.empty((50, 4), np.float32)
    low = np.asarray(LOW, np.float32)
    compiled(collision.sample_many, collision.sample)(ball.values, low, np.float32(CELL), points, fast)
    collision.sample_many(ball.values, low, np.float32(CELL), points, plain)
    assert np.allclose(fast, plain, atol=1e-3)


def wishes(count: int, length: float, **others: float) -> Wishes:
    told = {"lift": 0.3, "hold": 0.05, "weight": 20.0, "layer": 0.01, "turn": 20.0, "face": 0.0, **others}
    parts = {name: np.full(count, value, np.float32) for name, value in told.items()}
    return Wishes(length=np.full(count, length, np.float32), comb=np.tile([0.0, -1.0, 0.3], (count, 1)), **parts)


def roots(count: int) -> Roots:
    up = directions(2 * count)[:count].astype(np.float32)
    return Roots((RADIUS * up).astype(np.float32), up, np.zeros(count), np.zeros(count))


def test_strands_have_their_length_stay_outside_and_hang_down(ball: DistanceField) -> None:
    strands = grow(roots(300), wishes(300, 0.5), ball, 25)
    steps = np.linalg.norm(np.diff(strands, axis=1), axis=2)
    assert np.allclose(steps.sum(axis=1), 0.5, rtol=1e-3)
    assert np.linalg.norm(strands, axis=2).min() > RADIUS - 0.004
    assert np.median(np.linalg.norm(strands[:, 2], axis=1)) - RADIUS < 0.03  # they lie on the ball before they fall
    last = strands[:, -1] - strands[:, -4]
    assert np.median(last[:, 1] / np.linalg.norm(last, axis=1)) < -0.98


def test_the_compiled_growth_is_the_plain_one(ball: DistanceField) -> None:
    some, wanted = roots(5), wishes(5, 0.2)
    fast, plain = grow(some, wanted, ball, 8), np.empty((5, 8, 3), np.float32)
    growing.grow_all(
        some.points, some.normals, wanted.length, wanted.comb.astype(np.float32), wanted.lift, wanted.hold, wanted.weight,
        wanted.layer, wanted.turn, wanted.face, ball.values, np.asarray(LOW, np.float32), np.float32(CELL), plain,
    )  # fmt: skip
    assert np.allclose(fast, plain, atol=1e-5)


def test_a_layer_keeps_strands_off_the_skin(ball: DistanceField) -> None:
    for layer in (0.01, 0.04):
        strands = grow(roots(200), wishes(200, 0.15, layer=layer, lift=0.0, hold=1.0), ball, 25)
        assert np.linalg.norm(strands[:, 15], axis=1).min() - RADIUS > 0.6 * layer


def test_the_hairline_is_where_it_is_drawn() -> None:
    azimuth, elevation = np.radians(np.array(HAIRLINE)).T
    assert np.abs(within(azimuth, elevation)).max() < 1e-6
    assert (within(azimuth, elevation + 0.2) > 0.5)[azimuth < 1.0].all()
    top = within(np.array([0.0, 0.0, 3.1]), np.radians([80.0, 20.0, 0.0]))
    assert top[0] > 3 and top[1] < -1 and top[2] > 3
