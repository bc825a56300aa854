"""Cameras, masks and class maps that do not fit their picture are refused with a hint, and never mended in silence."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import PALETTE, mirror_parsing, swap_sides
from spherehead.datasets.depth import encode_depth
from spherehead.datasets.sample import Drop
from spherehead.datasets.shards.codec import encode_grey
from spherehead.datasets.sources.sidecars import read_camera, read_depth, read_mask, read_parsing, sides_swapped

SIZE = (40, 30)


def face():
    """A class map of a head seen from the front: the subject's left eye lies to the right."""
    parsing = np.zeros((30, 40), np.uint8)
    parsing[5:28, 8:32] = 1
    parsing[10:13, 22:28], parsing[10:13, 12:18] = 4, 5
    parsing[22:24, 15:25] = 12
    return parsing


def refused(read, *args):
    with pytest.raises(Drop) as caught:
        read(*args)
    return caught.value


def test_cameras_are_read_in_every_offered_form():
    camera = Camera.look_at(0.7, -0.2, 0.1)
    label = camera.label().tolist()
    forms = (
        label,
        {"label": label},
        {"camera": label},
        {"cam2world": camera.cam2world.tolist(), "intrinsics": camera.intrinsics.tolist()},
    )
    for form in forms:
        assert np.allclose(read_camera(json.dumps(form).encode()).label(), camera.label(), atol=1e-6)


@pytest.mark.parametrize(("change", "hint"), [
    (lambda label: label[:24], "expected 25 numbers"),
    (lambda label: [*label[:3], float("nan"), *label[4:]], "finite"),
    (lambda label: [*np.eye(4).reshape(-1), *label[16:]], "never filled in"),
    (lambda label: [*label[:16], *(512 * np.array(label[16:22])), *label[22:]], "looks like pixels"),
    (lambda label: [*(np.array(label[:16]).reshape(4, 4) @ np.diag([1, -1, -1, 1])).reshape(-1), *label[16:]], "OpenGL"),
    (lambda label: {"focal": 3}, "expected 25"),
    (lambda label: ["a"] * 25, ""),
])  # fmt: skip
def test_a_camera_outside_the_contract_is_refused_with_the_likely_cause(change, hint):
    label = [float(value) for value in Camera.look_at(0.7, -0.2).label()]
    drop = refused(read_camera, json.dumps(change(label)).encode())
    assert drop.reason == "camera_invalid" and hint in drop.detail


def test_masks_of_zero_and_one_mean_the_same_as_those_of_zero_and_255(bad_inputs):
    import picture_files as files
    from PIL import Image

    truth = (face() > 0) * np.uint8(255)
    soft = np.arange(1200, dtype=np.uint8).reshape(30, 40)
    for data in (
        encode_grey(truth), encode_grey(truth // 255), files.saved(Image.fromarray(truth > 0), "PNG"),
        files.saved(np.repeat(truth[..., None], 3, 2), "PNG"),
        files.tiff(truth.astype(np.uint16) * 257, photometric="minisblack"),
    ):  # fmt: skip
        assert np.array_equal(read_mask(data, SIZE), truth)
    assert np.array_equal(read_mask(encode_grey(soft), SIZE), soft)
    assert not read_mask(encode_grey(truth * 0), SIZE).any()


def test_a_mask_of_another_size_or_kind_is_refused(bad_inputs):
    import picture_files as files

    truth = face()
    for data, hint in (
        (encode_grey(truth[:-1]), "expected 40 x 30 like the upright picture, got 40 x 29"),
        (encode_grey(np.ascontiguousarray(truth.T)), "turned upright"),
        (files.saved(PALETTE[truth], "PNG"), "one grey channel"),
        (encode_grey(truth)[:-20], "truncated"),
        (b"", "empty_file"),
        (files.tiff(truth.astype(np.float32)), "unsupported_depth"),
    ):
        drop = refused(read_mask, data, SIZE)
        assert drop.reason == "sidecar_mismatch" and hint in drop.detail


def test_class_maps_are_read_as_numbers_from_grey_and_palette_files(bad_inputs):
    import picture_files as files
    from PIL import Image

    indexed = Image.fromarray(face(), "P")
    indexed.putpalette(PALETTE.reshape(-1).tolist())
    for data in (encode_grey(face()), files.saved(indexed, "PNG")):
        assert np.array_equal(read_parsing(data, SIZE), face())


def test_a_class_map_that_is_lossy_coloured_foreign_or_swapped_is_refused(bad_inputs):
    import picture_files as files

    for data, hint in (
        (files.jpeg(face()), "a JPEG cannot hold class ids"),
        (files.saved(PALETTE[face()], "PNG"), "save ids, not colours"),
        (encode_grey(face() * 2), "expected class ids 0 to 18, got 24"),
        (encode_grey(swap_sides(face())), "left and right look swapped"),
        (encode_grey(face().repeat(2, 0)), "got 40 x 60"),
    ):
        drop = refused(read_parsing, data, SIZE)
        assert drop.reason == "sidecar_mismatch" and hint in drop.detail


def test_depth_maps_are_read_in_world_units_and_other_pictures_refused(bad_inputs):
    import picture_files as files

    steps = np.arange(1200, dtype=np.uint16).reshape(30, 40)
    steps[0, 1] = 65535
    data = bytes(cv2.imencode(".png", steps)[1])
    found = read_depth(data, SIZE)
    assert found.dtype == np.float32 and np.allclose(found, steps / 1000, rtol=1e-6)
    assert np.array_equal(read_depth(encode_depth(found), SIZE), found)
    for other, hint in (
        (encode_grey(face()), "expected thousandths of a world unit in 16-bit grey, got uint8"),
        (bytes(cv2.imencode(".png", np.dstack([steps] * 3))[1]), "in 16-bit grey, got uint16 of shape (30, 40, 3)"),
        (bytes(cv2.imencode(".png", steps.T)[1]), "got 30 x 40; was it made before the photograph was turned upright?"),
        (bytes(cv2.imencode(".png", steps[:20])[1]), "expected 40 x 30 like the upright picture, got 40 x 20"),
        (files.jpeg(face()), "depth: expected thousandths"),
        (data[: len(data) // 2], "depth: "),
        (b"no picture", "depth: "),
        (b"", "depth: "),
    ):
        drop = refused(read_depth, other, SIZE)
        assert drop.reason == "sidecar_mismatch" and hint in drop.detail


@settings(max_examples=60, deadline=None)
@given(angle=st.floats(-3.1, 3.1))
def test_swapped_sides_are_seen_at_any_roll(angle):
    import cv2

    turn = cv2.getRotationMatrix2D((20, 15), np.degrees(angle), 4.0)
    turn[:, 2] += 100
    rolled = cv2.warpAffine(face(), turn, (240, 240), flags=cv2.INTER_NEAREST)
    assert not sides_swapped(rolled) and sides_swapped(swap_sides(rolled))
    assert not sides_swapped(mirror_parsing(rolled)) and sides_swapped(np.ascontiguousarray(rolled[:, ::-1]))
