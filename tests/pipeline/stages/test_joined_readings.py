"""Heads without a face mesh are labelled by all readings of them, and refused where those disagree."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from spherehead.datasets.camera import Camera, geodesic
from spherehead.datasets.sample import Drop, Photo, Sample
from spherehead.manifests.identity import rng
from spherehead.pipeline.annotators.heads.any_side import head_of
from spherehead.pipeline.annotators.heads.reader import HeadReader
from spherehead.pipeline.stage import OpenStage
from spherehead.pipeline.stages.align import Align
from spherehead.pipeline.stages.detect import Detect
from spherehead.pipeline.stages.estimate_camera import EstimateCamera


def one(stage: OpenStage, sample: Sample) -> Sample:
    (made,) = stage.one(sample, rng(0, "0" * 16, "readings"))
    return made


def faceless(shared: Path) -> np.ndarray:
    """A portrait whose face is painted over, so that only our network sees how the head is turned."""
    picture = cv2.imread(str(shared / "photos" / "obama-blue-room.jpg"))[::4, ::4, ::-1].copy()
    return np.asarray(cv2.ellipse(picture, (192, 107), (44, 56), 0, 0, 360, (60, 45, 35), -1))


def aligned_head(picture: np.ndarray) -> Sample:
    return one(Align(max_upscale=20.0).open(), one(Detect().open(), Sample("", Photo.of_pixels(picture))))


def test_a_head_without_a_mesh_is_labelled_by_the_crop_and_by_what_the_same_network_saw_in_the_photograph(
    shared: Path,
) -> None:
    estimator, aligned = EstimateCamera().open(), aligned_head(faceless(shared))
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


def test_the_same_head_in_the_mirrored_photograph_has_the_mirrored_label(shared: Path) -> None:
    picture, estimator = faceless(shared), EstimateCamera().open()
    here = aligned_head(picture)
    x, y, width, height = here.head.box
    flipped, box = np.ascontiguousarray(picture[:, ::-1]), (picture.shape[1] - x - width, y, width, height)
    head = head_of(HeadReader().settle(flipped, box), box, here.head.confidence)
    there = one(Align(max_upscale=20.0).open(), Sample("", Photo.of_pixels(flipped), head=head))
    first, second = one(estimator, here), one(estimator, there)
    assert geodesic(second.camera.mirrored().world2cam, first.camera.world2cam) < math.radians(1.0)
    assert second.scores["pose_confidence"] == pytest.approx(first.scores["pose_confidence"], abs=0.02)
