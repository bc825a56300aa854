"""Readings of squares: the same head mirrored and turned, and looks that stay in the picture."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from spherehead.datasets.camera import geodesic, mean_rotation, rotation_z
from spherehead.datasets.warp import warp
from spherehead.pipeline.annotators.heads.reader import HeadReader, Reading, Square, joined_turns, next_square


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


def test_looks_count_by_the_inverse_squares_of_what_they_may_be_off() -> None:
    """Rotations about one axis are means of angles, to the third order."""
    turns = [
        (np.stack([rotation_z(first), rotation_z(second)]), spread)
        for first, second, spread in ((0.0, 0.04, 0.1), (0.1, 0.0, 0.2))
    ]
    halves, spread = joined_turns(turns)
    for found, angle in zip(halves, (0.02, 0.032), strict=True):
        assert geodesic(found, rotation_z(angle)) < 1e-4
    assert spread == pytest.approx(0.8 * 0.1 + 0.2 * 0.2)
    alone, same = joined_turns(turns[:1])
    assert np.abs(alone - turns[0][0]).max() < 1e-12 and same == pytest.approx(0.1)


def test_the_pose_of_a_head_is_what_both_looks_say(reader: HeadReader, astronaut: np.ndarray) -> None:
    last = reader.settle(astronaut, (150.0, 20.0, 150.0, 190.0))
    first, pose = last.before, last.pose
    assert first is not None and first.before is None and first.square != last.square
    assert pose.halves is not None and geodesic(mean_rotation(pose.halves), pose.rotation) < 1e-9
    for one, other in ((first, last), (last, first)):
        assert geodesic(pose.rotation, one.rotation) < geodesic(one.rotation, other.rotation) + 1e-9
    assert pose.centre == pytest.approx(0.5 * (first.centre + last.centre))
    assert pose.scale == pytest.approx(math.sqrt(first.scale * last.scale))
    assert min(first.spread, last.spread) <= pose.spread <= max(first.spread, last.spread)
    assert pose.network == reader.digest


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
