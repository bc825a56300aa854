"""Windows of photographs for the finder: boxes lie on the heads they are of, and what cannot be found is asked of nobody."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from spherehead.datasets.camera import FOCAL, Camera
from spherehead.datasets.classes import INDEX
from spherehead.datasets.shards.photographs import HeadLabel, Photograph
from spherehead.manifests.config import ConfigError
from spherehead.model.annotators.networks import FINDER_STRIDE
from spherehead.model.annotators.shown.photo_scenes import IGNORED, Shot, Shots, box_of, photo_scene, without
from spherehead.model.annotators.shown.scenes import CHIN_BELOW, SceneSettings, targets

SIZE = 200
SKULL = (70.0, 60.0, 60.0, 70.0)


def photograph(roll: float = 0.0) -> Photograph:
    """Return a head in the middle of a picture, with a square of hair that reaches from its crown to the picture's border."""
    camera = Camera.look_at(0.0, 0.0, roll)
    hair = np.zeros((SIZE, SIZE), dtype=np.uint8)
    hair[50:, 60:140] = 255
    parsing = np.where(hair > 0, INDEX["hair"], INDEX["background"]).astype(np.uint8)
    label: Any = SimpleNamespace(skull=SKULL, photo_camera=camera, seen=1.0)
    nobody = np.zeros((SIZE, SIZE), dtype=np.uint8)
    image = np.dstack([hair] * 3)
    return Photograph(image, hair, parsing, nobody, nobody.astype(np.float32), (hair,), (label,))


def test_a_box_holds_skull_and_hair_down_to_the_chin() -> None:
    """A canonical crop shows CHIN_BELOW at half its side plus that times the focal length over the distance."""
    photo = photograph()
    camera = photo.heads[0].photo_camera
    chin = SIZE * (0.5 + CHIN_BELOW * FOCAL / camera.radius)
    x, y, width, height = box_of(photo, 0)
    assert (x, y, width) == (60.0, 50.0, 80.0)
    assert y + height == pytest.approx(max(chin, SKULL[1] + SKULL[3]), abs=1.0)


def test_what_is_hair_below_the_chin_follows_the_heads_own_roll() -> None:
    """Upside down, the chin's level lies above the head, and hair below the head in the picture is above it in truth."""
    x, y, width, height = box_of(photograph(np.pi), 0)
    assert (x, width) == (60.0, 80.0) and y + height == SIZE
    assert y == 50.0  # the chin's level lies higher than the hair begins


class One(Shots):
    """One photograph in memory."""

    def __init__(self, shot: Shot) -> None:
        self.only = shot

    def __len__(self) -> int:
        return 1

    def shot(self, index: int) -> Shot:
        return self.only


def bright(box: tuple[int, int, int, int], seen: float) -> One:
    """Return a dark photograph in which a head is white."""
    x, y, width, height = box
    image = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    image[y : y + height, x : x + width] = 255
    return One(Shot(image, ((float(x), float(y), float(width), float(height)),), (seen,)))


def test_boxes_lie_where_the_heads_are_in_every_window_mirrored_or_not() -> None:
    shots, found = bright((80, 90, 50, 40), 1.0), 0
    for seed in range(60):
        scene = photo_scene(np.random.default_rng(seed), shots, SceneSettings())
        again = photo_scene(np.random.default_rng(seed), shots, SceneSettings())
        assert np.array_equal(scene.image, again.image) and np.array_equal(scene.heat, again.heat)
        for row, column in np.argwhere(scene.heat == 1.0).tolist():
            dx, dy, width, height = scene.boxes[:, row, column]
            x, y = FINDER_STRIDE * (column + 0.5 + dx), FINDER_STRIDE * (row + 0.5 + dy)
            wide, high = FINDER_STRIDE * np.exp(width), FINDER_STRIDE * np.exp(height)
            told = np.array([x - wide / 2, x + wide / 2, y - high / 2, y + high / 2])
            rows, columns = np.nonzero(scene.image[..., 0] > 127)
            seen = [columns.min(), columns.max() + 1, rows.min(), rows.max() + 1]
            within = (told > 1.0) & (told < len(scene.image) - 1.0)
            if 0 < x < len(scene.image) and 0 < y < len(scene.image):  # else the centre was moved into the picture
                assert np.abs(told - seen)[within].max(initial=0.0) < 2.0
                found += int(within.all())
    assert found > 15


def test_hidden_heads_are_neither_to_be_found_nor_to_be_left_out() -> None:
    for seed in range(40):
        scene = photo_scene(np.random.default_rng(seed), bright((80, 90, 50, 40), 0.1), SceneSettings())
        assert scene.heat.max() < 1.0 and not scene.boxes.any()
        if (scene.image[48:80, 48:80] > 127).all():
            assert scene.heat[7, 7] == np.float32(IGNORED)


def test_ignored_boxes_leave_the_heads_beside_them() -> None:
    heat, _ = targets([(20.0, 20.0, 30.0, 30.0)], 128)
    found = without(heat, [(18.0, 18.0, 40.0, 40.0), (-50.0, -50.0, 20.0, 20.0), (120.0, 120.0, 60.0, 60.0)], 128)
    assert (found == 1.0).sum() == 1 and (found >= heat).all() and found[0, 0] == heat[0, 0]


def test_a_set_of_crops_is_told_before_anything_is_learned(finished_set: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected sets of render-photographs .* give those of crops as --data"):
        Shots([finished_set])


def test_labels_of_real_photographs_have_what_a_box_is_made_of() -> None:
    assert {"skull", "photo_camera", "seen"} <= set(HeadLabel.__dataclass_fields__)
