"""Readings of squares: the same head mirrored and turned, and looks that stay in the picture."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from spherehead.datasets.camera import geodesic
from spherehead.datasets.warp import warp
from spherehead.pipeline.annotators.heads.reader import HeadReader, Reading, Square, next_square


@pytest.fixture(scope="module")
def reader() -> HeadReader:
    return HeadReader()


def test_a_mirrored_picture_has_the_mirrored_reading(reader: HeadReader, astronaut: np.ndarray) -> None:
    here = reader.read(astronaut, Square(225.0, 130.0, 260.0))
    there = reader.read(np.ascontiguousarray(astronaut[:, ::-1]), Square(512.0 - 225.0, 130.0, 260.0))
    flip = np.diag([-1.0, 1.0, 1.0])
    assert geodesic(flip @ there.rotation @ flip, here.rotation) < math.radians(0.5)
    assert there.centre[0] == pytest.approx(512.0 - here.centre[0], abs=0.5)


def test_a_turned_square_reads_the_same_head_turned_back(reader: HeadReader, astronaut: np.ndarray) -> None:
    straight = reader.settle(astronaut, (150.0, 20.0, 150.0, 190.0))
    turned = reader.read(astronaut, Square(straight.square.x, straight.square.y, straight.square.side, 0.3))
    assert geodesic(turned.rotation, straight.rotation) < math.radians(12.0)
    assert np.linalg.norm(turned.centre - straight.centre) < 0.05 * straight.scale
    assert turned.scale == pytest.approx(straight.scale, rel=0.1)
    again = next_square(straight)
    up = warp(astronaut, again.matrix(), 128)
    assert up.shape == (128, 128, 3) and abs(again.angle - straight_roll(straight.rotation)) < 1e-9


def straight_roll(rotation: np.ndarray) -> float:
    return math.atan2(rotation[0, 1], -rotation[1, 1])


def test_a_second_look_that_lies_outside_of_the_picture_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first reading may name a place far away; what it has read then counts."""
    reader = HeadReader()
    image = np.full((80, 100, 3), 128, dtype=np.uint8)
    first = reader.settle(image, (20.0, 20.0, 40.0, 40.0))
    read = reader.read
    for away in ([1e4, 40.0], [50.0, -1e4], [-500.0, -500.0]):
        looks: list[Square] = []

        def far(
            image: np.ndarray, square: Square, quick: bool = False, away: list[float] = away, looks: list[Square] = looks
        ) -> Reading:
            looks.append(square)
            return replace(read(image, square, quick), centre=np.array(away))

        monkeypatch.setattr(reader, "read", far)
        assert reader.settle(image, (20.0, 20.0, 40.0, 40.0)).centre.tolist() == away and len(looks) == 1
    assert not Square(-60.0, 40.0, 100.0).meets(100, 80) and Square(-40.0, 40.0, 100.0).meets(100, 80)
    assert first.square.meets(100, 80)
