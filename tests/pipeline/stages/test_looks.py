"""Heads without a face mesh are labelled by all looks at them, and refused where those disagree."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from spherehead.datasets.camera import Camera, geodesic
from spherehead.datasets.sample import Drop, Photo, Sample
from spherehead.manifests.identity import rng
from spherehead.pipeline.stage import OpenStage
from spherehead.pipeline.stages.align import Align
from spherehead.pipeline.stages.detect import Detect
from spherehead.pipeline.stages.estimate_camera import EstimateCamera


def one(stage: OpenStage, sample: Sample) -> Sample:
    (made,) = stage.one(sample, rng(0, "0" * 16, "looks"))
    return made


def test_a_head_without_a_mesh_is_labelled_by_the_crop_and_by_what_the_same_network_saw_in_the_photograph(
    shared: Path,
) -> None:
    estimator = EstimateCamera().open()
    picture = cv2.imread(str(shared / "photos" / "obama-blue-room.jpg"))[::4, ::4, ::-1].copy()
    cv2.ellipse(picture, (192, 107), (44, 56), 0, 0, 360, (60, 45, 35), -1)
    found = one(Detect().open(), Sample("", Photo.of_pixels(picture)))
    aligned = one(Align(max_upscale=20.0).open(), found)
    pose = aligned.head.pose
    assert aligned.mesh is None and pose is not None and pose.halves is not None

    def label(sure: float, network: str, further: float = 0.3) -> np.ndarray:
        """The label where the photograph's looks told a camera that many radians further round, of which they are that sure."""
        turn = Camera.look_at(further, 0.0).world2cam @ Camera.look_at(0.0, 0.0).world2cam.T
        other = dataclasses.replace(
            pose, rotation=turn @ pose.rotation, halves=turn @ pose.halves, spread=pose.spread / sure, network=network
        )
        sample = aligned.with_(head=dataclasses.replace(aligned.head, pose=other))
        return one(estimator, sample).camera.world2cam

    alone = label(1.0, "another network")
    assert geodesic(alone, one(estimator, aligned).camera.world2cam) > 1e-3
    told = [geodesic(label(sure, pose.network), alone) for sure in (1e-3, 1.0, 1e3)]
    assert told[0] < 1e-3 < told[1] < told[2]
    with pytest.raises(Drop, match="pose_mirror"):
        label(1.0, pose.network, 0.8)
