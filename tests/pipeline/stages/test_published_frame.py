"""The frame of published checkpoints: its constants against the six labels that they ship, and its way through the stages."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from spherehead.datasets.camera import Camera, geodesic, published_rise, published_rotation
from spherehead.datasets.sample import Photo, Sample
from spherehead.pipeline.annotators.faces.head_fit import HeadFit, camera_of
from spherehead.pipeline.stages.align import Align
from spherehead.pipeline.stages.detect import Detect
from spherehead.pipeline.stages.estimate_camera import EstimateCamera


def test_turned_labels_agree_with_the_published_ones(shared: Path) -> None:
    told = json.loads((shared / "reference" / "published_labels.json").read_text())["pictures"]
    before, after, moved = [], [], []
    for picture in told:
        cam2world = np.array(picture["label"], dtype=np.float64)[:16].reshape(4, 4)
        left, _, right = np.linalg.svd(cam2world[:3, :3])
        truth = (left @ right).T
        placed = HeadFit().fit(np.array(picture["mesh"]))
        before.append(math.degrees(geodesic(placed.rotation, truth)))
        after.append(math.degrees(geodesic(published_rotation(placed.rotation), truth)))
        centre = placed.centre + placed.scale * published_rise(placed.rotation)
        moved.append((centre / picture["width"] - 0.5)[1])
    assert np.median(before) > 4.5 and np.median(after) < 3.0
    assert abs(np.median(moved)) < 0.005  # 0.016 before


def test_a_published_label_is_our_own_turned_and_its_crop_shows_the_head_lower(astronaut: np.ndarray) -> None:
    draw = np.random.default_rng(0)
    (found,) = Detect(faces="largest").open().one(Sample("", Photo.of_pixels(astronaut)), draw)
    cut, cameras = {}, {}
    for frame in ("own", "published"):
        (cut[frame],) = Align(frame=frame).open().one(found, draw)
        (done,) = EstimateCamera().open().one(cut[frame], draw)
        cameras[frame] = done.camera
    wanted = camera_of(published_rotation(cameras["own"].world2cam))
    assert math.degrees(geodesic(wanted.world2cam, cameras["published"].world2cam)) < 1.0
    assert math.degrees(cameras["published"].pitch - cameras["own"].pitch) > 4.0
    lower = (cut["published"].mesh - cut["own"].mesh)[:, 1].mean()
    assert 5.0 < lower < 12.0  # 1.6 % of 512 px
    assert "frame" not in cut["own"].notes and isinstance(cameras["published"], Camera)
