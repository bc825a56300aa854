"""Whatever a geometric change does to a picture, the new label sees every point where the change took it."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets import warp
from spherehead.datasets.camera import Camera, canonical_to_world, geodesic
from spherehead.datasets.canonical_face import canonical_vertices
from spherehead.pipeline.annotators.faces.face_shape import mesh_partners
from spherehead.pipeline.stages.geometry import Geometry

SIZE = 512
ONE_BY_ONE = {
    "none": Geometry(),
    "mirror": Geometry(mirror=True),
    "roll": Geometry(roll=0.2),
    "upside down": Geometry(roll=math.pi),
    "zoom": Geometry(zoom=1.15),
    "shift": Geometry(shift=(0.07, -0.04)),
    "aspect": Geometry(aspect=1.1),
    "shear": Geometry(shear=0.1),
    "perspective": Geometry(perspective=(0.2, -0.1)),
    "all": Geometry(True, -0.3, 0.9, (-0.03, 0.05), 0.95, -0.08, (-0.1, 0.15)),
}

signed = st.floats(-1, 1, allow_subnormal=False)


@st.composite
def changes(draw):
    s = [draw(signed) for _ in range(8)]
    return Geometry(
        draw(st.booleans()),
        3.1 * s[0],
        1.5 ** s[1],
        (0.3 * s[2], 0.3 * s[3]),
        1.3 ** s[4],
        0.4 * s[5],
        (0.3 * s[6], 0.3 * s[7]),
    )


cameras = st.builds(Camera.look_at, st.floats(-3.1, 3.1), st.floats(-1.2, 1.2), st.floats(-3, 3))


def worst_error(geometry, camera, world):
    """Pixels between where the change takes each point and where the new label sees it; a mirrored head is (-x, y, z)."""
    before, _ = camera.project(world)
    moved = warp.apply(geometry.pixel_matrix(SIZE), SIZE * before)
    twin = world * (-1.0, 1.0, 1.0) if geometry.mirror else world
    after, depth = geometry.camera(camera).project(twin)
    assert (depth > 0).all()
    return np.abs(SIZE * after - moved).max()


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_the_label_follows_each_change(name):
    world = canonical_to_world(canonical_vertices())
    for camera in (Camera.look_at(0.3, -0.1), Camera.look_at(2.8, 0.6, 0.4)):
        assert worst_error(ONE_BY_ONE[name], camera, world) < 1e-6
        ONE_BY_ONE[name].camera(camera).check(free_k=not ONE_BY_ONE[name].keeps_intrinsics)


@settings(max_examples=150, deadline=None)
@given(changes(), cameras)
def test_the_label_follows_every_composed_change(geometry, camera):
    world = canonical_to_world(canonical_vertices()[::9])
    assert worst_error(geometry, camera, world) < 1e-5
    geometry.camera(camera).check(free_k=True)


@settings(max_examples=50, deadline=None)
@given(cameras, st.floats(-3, 3), st.booleans())
def test_mirror_and_roll_keep_the_canonical_label_and_turn_by_the_angle(camera, angle, mirror):
    changed = Geometry(mirror=mirror, roll=angle).camera(camera)
    changed.check()
    assert geodesic((camera.mirrored() if mirror else camera).cam2world[:3, :3], changed.cam2world[:3, :3]) == pytest.approx(
        abs(angle), abs=1e-9
    )


def dotted(world, camera):
    """A picture with a round dot at each projected point."""
    points = SIZE * camera.project(world)[0]
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    picture = np.zeros((SIZE, SIZE))
    for u, v in points:
        picture += np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 2.5**2))
    return np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)


def centroid(picture, near, reach=9):
    x0, y0 = (round(float(value)) for value in near)
    patch = picture[y0 - reach : y0 + reach, x0 - reach : x0 + reach].astype(float)
    y, x = np.mgrid[y0 - reach : y0 + reach, x0 - reach : x0 + reach] + 0.5
    return np.array([(x * patch).sum(), (y * patch).sum()]) / patch.sum()


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_dots_land_where_the_new_label_sees_them(name):
    geometry, camera = ONE_BY_ONE[name], Camera.look_at(0.25, 0.1)
    world = np.array([[x, y, 0.05] for x in (-0.15, -0.03, 0.14) for y in (-0.13, 0.02, 0.12)])
    warped = warp.warp(dotted(world, camera), geometry.pixel_matrix(SIZE), SIZE, border="black")
    twin = world * (-1.0, 1.0, 1.0) if geometry.mirror else world
    for seen in SIZE * geometry.camera(camera).project(twin)[0]:
        assert np.abs(centroid(warped, seen) - seen).max() < 0.05


def test_landmarks_and_mesh_change_names_when_mirrored():
    mesh = np.column_stack([SIZE * Camera.look_at(0.4, 0.2).project(canonical_to_world(canonical_vertices()))[0], np.ones(468)])
    geometry = Geometry(mirror=True, roll=0.1, zoom=1.1)
    mirrored_face = SIZE * geometry.camera(Camera.look_at(0.4, 0.2)).project(canonical_to_world(canonical_vertices()))[0]
    np.testing.assert_allclose(geometry.mesh(mesh, SIZE)[:, :2], mirrored_face, atol=1e-3)
    np.testing.assert_allclose(geometry.mesh(mesh, SIZE)[:, 2], 1.1, rtol=1e-6)
    jaw = np.full((68, 2), 100.0)
    jaw[36], jaw[45] = (150.0, 220.0), (350.0, 230.0)
    moved = Geometry(mirror=True).landmarks(jaw, SIZE)
    np.testing.assert_allclose(moved[[45, 36]], [(362.0, 220.0), (162.0, 230.0)], atol=1e-4)


def test_mesh_partners_pair_up():
    for count in (468, 478):
        partners = mesh_partners(count)
        np.testing.assert_array_equal(partners[partners], np.arange(count))
    with pytest.raises(ValueError, match="468 or 478"):
        mesh_partners(400)


def test_changes_without_a_picture_are_refused():
    for bad in (Geometry(zoom=0.0), Geometry(aspect=-1.0), Geometry(perspective=(1.5, 0.9))):
        with pytest.raises(ValueError, match="expected"):
            bad.homography()


def test_roll_turns_the_picture_clockwise():
    picture = np.zeros((64, 64), dtype=np.uint8)
    cv2.circle(picture, (32, 8), 4, 255, -1)
    turned = warp.warp(picture, Geometry(roll=math.pi / 2).pixel_matrix(64), 64)
    assert np.argmax(turned.sum(axis=0)) > 50
