"""What a reader of heads says of pictures: whole faces, rotations and classes, counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from spherehead.datasets.arrays import Pixels
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX, UNLABELLED
from spherehead.model.evaluation.reading import HeadReading, ReadView, class_agreement, shows_face, summarise_readings

PARTS = ("left_eye", "right_eye", "nose", "mouth")


def face(*left_out: str, side: int = 64) -> Pixels:
    """A class map of skin with parts of 4 x 4 pixels, some of them left out."""
    drawn = np.full((side, side), INDEX["skin"], np.uint8)
    for number, name in enumerate(PARTS):
        if name not in left_out:
            drawn[10 + 8 * number : 14 + 8 * number, 20:24] = INDEX[name]
    return drawn


def view(yaw: float, classes: Pixels, read_yaw: float | None = None, drawn: Pixels | None = None) -> ReadView:
    camera, read = (Camera.look_at(math.radians(angle), 0.0) for angle in (yaw, yaw if read_yaw is None else read_yaw))
    return ReadView(HeadReading(read.world2cam[:3, :3], classes), camera.label(), drawn)


@pytest.mark.parametrize("missing", PARTS)
def test_a_face_wants_all_its_parts(missing: str) -> None:
    assert shows_face(face())
    assert not shows_face(face(missing))


def test_lips_are_a_mouth() -> None:
    drawn = face("mouth")
    drawn[50:53, 20:24] = INDEX["upper_lip"]
    assert shows_face(drawn)


def test_fronts_and_backs_are_counted_apart_and_sides_not_at_all() -> None:
    views = [
        view(0, face()),
        view(-29, face("nose")),
        view(31, face()),
        view(129, face()),
        view(180, face()),
        view(-131, face("nose")),
    ]
    faces = summarise_readings(views).faces
    assert (faces.front.faces, faces.front.total, faces.back.faces, faces.back.total) == (1, 2, 1, 2)


def test_rotations_are_compared_with_those_asked_for() -> None:
    views = [view(0, face(), 10), view(90, face(), 120), view(170, face(), -170)]
    assert summarise_readings(views).degrees == pytest.approx(20.0, abs=1e-4)


def test_classes_agree_by_their_share_in_common() -> None:
    """Skin on the left half, drawn one quarter wider than read: 0.5 / 0.75 for skin, 0.25 / 0.5 for hair."""
    drawn, read = (np.full((64, 64), INDEX["hair"], np.uint8) for _ in range(2))
    drawn[:, :48], read[:, :32] = INDEX["skin"], INDEX["skin"]
    assert class_agreement([view(0, read, drawn=drawn)]) == pytest.approx((32 / 48 + 16 / 32) / 2)
    drawn[:, 48:] = UNLABELLED
    assert class_agreement([view(0, read, drawn=drawn)]) == pytest.approx(32 / 48)
    assert math.isnan(class_agreement([view(0, read)]))


def test_no_readings_are_refused() -> None:
    with pytest.raises(ValueError, match="got none"):
        summarise_readings([])
