"""One pose from mesh and reader: weights by azimuth and spread, rotations part of the way, mirrored alike."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from spherehead.datasets.camera import Camera, geodesic
from spherehead.datasets.sample import HeadPose
from spherehead.pipeline.annotators.faces.head_fit import placement_at
from spherehead.pipeline.annotators.heads.fusion import fused, part_way, reader_share

SPREAD = math.radians(1.6)
"""What the reader says of a clear head."""


def seen(yaw_degrees: float, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    return Camera.look_at(math.radians(yaw_degrees), pitch, roll).world2cam


def pose(yaw_degrees: float, spread: float = SPREAD) -> HeadPose:
    return HeadPose(seen(yaw_degrees), np.array([110.0, 90.0]), 220.0, 0.9, spread)


def test_a_front_stays_as_the_mesh_has_it_and_a_profile_as_the_reader_has_it() -> None:
    """By inverse variances: 1.9 and 6.4 degrees in front, 41 and 6.4 in profile."""
    assert reader_share(seen(0.0), SPREAD) == pytest.approx(1.9**2 / (1.9**2 + 6.4**2))
    assert reader_share(seen(-82.0), SPREAD) == pytest.approx(41.0**2 / (41.0**2 + 6.4**2))


def test_an_unsure_reader_weighs_less_at_every_azimuth() -> None:
    for yaw in range(-90, 91, 15):
        shares = [reader_share(seen(yaw), spread * SPREAD) for spread in (0.5, 1.0, 2.0, 8.0)]
        assert shares == sorted(shares, reverse=True) and shares[-1] > 0.0 and shares[0] < 1.0


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_part_of_the_way_divides_the_shortest_turn(share: float) -> None:
    first, second = seen(20.0, 0.2, -0.1), seen(75.0, -0.1, 0.3)
    between = part_way(first, second, share)
    whole = geodesic(first, second)
    assert geodesic(first, between) == pytest.approx(share * whole, abs=1e-9)
    assert geodesic(between, second) == pytest.approx((1.0 - share) * whole, abs=1e-9)
    np.testing.assert_allclose(between @ between.T, np.eye(3), atol=1e-12)


def test_mirrored_poses_fuse_to_the_mirrored_one() -> None:
    flip = np.diag([-1.0, 1.0, 1.0])
    mesh, reader = seen(40.0, 0.1, 0.05), seen(62.0, 0.0, 0.02)
    share = reader_share(reader, SPREAD)
    assert reader_share(flip @ reader @ flip, SPREAD) == pytest.approx(share)
    mirrored = part_way(flip @ mesh @ flip, flip @ reader @ flip, share)
    np.testing.assert_allclose(mirrored, flip @ part_way(mesh, reader, share) @ flip, atol=1e-12)


def test_place_and_scale_move_with_the_rotation_and_stay_without_a_spread() -> None:
    placed = placement_at(np.array([100.0, 100.0]), 200.0, math.radians(50.0))
    found = fused(placed, pose(67.0))
    share = reader_share(seen(67.0), SPREAD)
    assert math.degrees(found.camera.yaw) == pytest.approx(50.0 + 17.0 * share, abs=1e-6)
    np.testing.assert_allclose(found.centre, [100.0 + 10.0 * share, 100.0 - 10.0 * share])
    assert found.scale == pytest.approx(200.0 * 1.1**share)
    assert fused(placed, None) is placed
    assert fused(placed, dataclasses.replace(pose(67.0), spread=0.0)) is placed


@pytest.mark.parametrize("short", [0.0, 1e-9, 3e-9, 1e-8])
def test_half_a_turn_apart_the_first_rotation_stays(short: float) -> None:
    turn, cos, sin = np.eye(3), math.cos(math.pi - short), math.sin(math.pi - short)
    turn[:2, :2] = [[cos, -sin], [sin, cos]]
    assert np.array_equal(part_way(np.eye(3), turn, 0.5), np.eye(3))
