"""Labels of training crops: what a mirror, a roll, a scale and a shift do to them, by projecting points anew."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import FOCAL, RADIUS, Camera, geodesic
from spherehead.datasets.classes import INDEX, LANDMARK_MIRROR
from spherehead.manifests.config import ConfigError
from spherehead.model.annotators.networks import CROP
from spherehead.model.annotators.shown.augmentation import CropGeometry, CropSettings, draw_geometry, jpeg, make_crop
from spherehead.model.annotators.shown.grounds import cut, ground, photographs
from spherehead.model.annotators.shown.relighting import light
from spherehead.model.annotators.shown.views import View, Views, warped
from spherehead.pipeline.annotators.heads.parser import centred

SIZE = 96


def view_of(yaw: float, pitch: float, field: float = 1.5) -> View:
    """A view of a cloud of points in the head frame, symmetric under the landmarks' own mirror pairs."""
    camera = Camera.look_at(yaw, pitch)
    wide = camera.intrinsics.copy()
    wide[0, 0] = wide[1, 1] = FOCAL / field
    random = np.random.default_rng(3)
    points = random.normal(0.0, 0.1, (68, 3))
    blank = np.zeros((SIZE, SIZE), dtype=np.uint8)
    return View(np.zeros((SIZE, SIZE, 3), dtype=np.uint8), blank, blank, Camera(camera.cam2world, wide), None, points)


@settings(max_examples=60, deadline=None)
@given(
    yaw=st.floats(-3.1, 3.1), pitch=st.floats(-1.0, 1.0), roll=st.floats(-3.1, 3.1), scale=st.floats(0.5, 1.5),
    x=st.floats(-0.2, 0.2), y=st.floats(-0.2, 0.2), mirror=st.booleans(),
)  # fmt: skip
def test_points_under_the_labels_rotation_and_place_are_where_the_warp_puts_them(
    yaw: float, pitch: float, roll: float, scale: float, x: float, y: float, mirror: bool
) -> None:
    view, geometry = view_of(yaw, pitch), CropGeometry(mirror, roll, scale, (x, y))
    assert view.points is not None
    head = view.points * [-1.0, 1.0, 1.0] if mirror else view.points  # the mirrored head's points, in the same order
    local = head @ geometry.rotation(view).T + [0.0, 0.0, RADIUS]
    expected = CROP * (0.5 + np.array([x, y]) + scale * FOCAL * local[:, :2] / local[:, 2:])
    found = geometry.points(view, CROP)
    assert np.abs((found[LANDMARK_MIRROR] if mirror else found) - expected).max() < 1e-6


@pytest.mark.parametrize("mirror", [False, True])
def test_pixels_go_where_the_points_go(mirror: bool) -> None:
    view = view_of(0.4, 0.1)
    image, _ = view.camera.project(np.array([[0.05, 0.1, 0.0]]))
    column, row = (int(value) for value in image[0] * SIZE)
    picture = view.image.copy()
    picture[row, column] = 255
    marked = View(
        picture, view.mask, view.parsing, view.camera, None, np.repeat((np.array([[column, row]]) + 0.5)[None], 34, 1)[0]
    )
    geometry = CropGeometry(mirror, 0.5, 1.2, (0.05, -0.03))
    crop = warped(marked, geometry.matrix(view, CROP), CROP)[0].astype(float)[..., 0]
    rows, columns = np.mgrid[0:CROP, 0:CROP] + 0.5
    seen = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum()
    place = np.array([column + 0.5, row + 0.5, 1.0])
    assert np.abs(seen - (geometry.matrix(view, CROP) @ place)[:2]).max() < 0.1


def test_roll_turns_the_picture_clockwise_and_a_mirror_negates_the_yaw() -> None:
    view = view_of(0.7, 0.2)
    turned = CropGeometry(False, 0.3, 1.0, (0.0, 0.0)).rotation(view)
    assert geodesic(turned, view.camera.rolled(0.3).world2cam) < 1e-9
    mirrored = CropGeometry(True, 0.0, 1.0, (0.0, 0.0)).rotation(view)
    assert geodesic(mirrored, Camera.look_at(-0.7, 0.2).world2cam) < 1e-9


def test_a_mirrored_crop_swaps_left_and_right_classes() -> None:
    view = view_of(0.0, 0.0)
    parsing = np.zeros((SIZE, SIZE), dtype=np.uint8)
    parsing[:, : SIZE // 2], parsing[:, SIZE // 2 :] = INDEX["right_ear"], INDEX["left_ear"]
    view = View(view.image, np.full((SIZE, SIZE), 255, dtype=np.uint8), parsing, view.camera, None, view.points)
    plain = CropSettings(
        roll_degrees=0.0, free_roll=0.0, least_scale=0.9, most_scale=0.91, shift=0.0, others=0.0, occluders=0.0
    )
    seen = set()
    for seed in range(8):
        crop = make_crop(np.random.default_rng(seed), view, None, plain)
        seen.add((int(crop.classes[32, 12]), int(crop.classes[32, 52])))
        assert math.isclose(crop.place[2], math.log(0.905), abs_tol=0.006)
    assert seen == {(INDEX["right_ear"], INDEX["left_ear"])}  # the subject's right stays on the picture's left


def test_light_on_what_is_covered_is_that_of_light_everywhere() -> None:
    drawn = np.random.default_rng(6)
    colour = drawn.uniform(0.0, 1.0, (SIZE, SIZE, 3)).astype(np.float32)
    normals = drawn.normal(0.0, 1.0, (SIZE, SIZE, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    parsing = drawn.choice([INDEX["hair"], INDEX["skin"]], (SIZE, SIZE)).astype(np.uint8)
    covered, ahead = drawn.random((SIZE, SIZE)) < 0.4, np.array([0.0, 0.0, -1.0])
    for seed in range(8):
        whole = light(np.random.default_rng(seed), colour, normals, ahead, parsing)
        part = light(np.random.default_rng(seed), colour, normals, ahead, parsing, covered)
        assert np.allclose(part[covered], whole[covered], rtol=1e-4, atol=1e-6)
        assert not part[~covered].any()
        assert whole.min() >= 0.0 and whole.std() > 0.01
        turned = light(np.random.default_rng(seed), colour, -normals, ahead, parsing)
        assert np.allclose(turned, whole, rtol=1e-4, atol=1e-6)  # either side of a surface is lit alike


@pytest.mark.parametrize("side", [2, 40])
def test_small_pictures_and_any_name_do_for_grounds(side: int, tmp_path: Path) -> None:
    colour = np.full((side, side, 3), (10, 20, 30), dtype=np.uint8)  # blue first, as OpenCV has it
    cv2.imwrite(str(tmp_path / "camera.png"), colour)
    pictures = photographs(str(tmp_path))
    assert [picture.shape for picture in pictures] == [(side, side, 3)]
    assert cut(np.random.default_rng(0), 16, pictures).shape == (16, 16, 3)


def test_folders_without_pictures_are_refused_for_grounds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    for wrong in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigError, match="expected a folder of pictures"):
            ground(np.random.default_rng(0), 16, str(wrong))


def test_taught_classes_read_back_by_the_parsers_reader_lie_where_they_are(views: Views) -> None:
    """Between the middles of what is learned and read lies half a pixel: read as if it did not, maps were that much too low."""
    how, off = CropSettings(size=256, occluders=0.0), list[list[float]]()
    for number in range(6):
        view = views.view(number)
        crop = make_crop(np.random.default_rng(number), view, None, how)
        there = warped(view, draw_geometry(np.random.default_rng(number), how).matrix(view, 256), 256)[2] > 0
        said = cv2.GaussianBlur((crop.classes > 0).astype(np.float32), (0, 0), 1.5)[None, None]  # networks' edges are soft
        for read in (centred(said), said):
            large = cv2.resize(read[0, 0], (256, 256), interpolation=cv2.INTER_LINEAR) > 0.5
            off.append([float(a.mean() - b.mean()) for a, b in zip(np.nonzero(large), np.nonzero(there), strict=True)])
    read, as_it_stood = np.abs(np.mean(off[::2], axis=0)), np.mean(off[1::2], axis=0)
    assert read.max() < 0.1
    assert as_it_stood == pytest.approx([0.5, 0.5], abs=0.1)


def test_a_jpeg_keeps_the_brightness_of_red_green_and_blue_and_halves_their_colours() -> None:
    red, blue = [97, 0, 0], [0, 0, 254]  # 0.299 and 0.114 of them are alike: the file has no stripes, their mean colour only
    stripes = np.tile(np.array([[red, blue]], dtype=np.uint8), (64, 32, 1))
    shown = jpeg(stripes, 95).astype(float)
    assert np.abs(shown.mean(axis=(0, 1)) - stripes.mean(axis=(0, 1))).max() < 6.0
    assert np.ptp(shown[16:48, 16:48], axis=1).max() < 12.0
    assert np.ptp(jpeg(stripes[..., ::-1], 95).astype(float)[16:48, 16:48], axis=1).max() > 30.0  # those differ in brightness
