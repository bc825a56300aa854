"""What the settings of detect decide, which of them are refused, and what is said where nothing is found."""

from __future__ import annotations

import numpy as np
import pytest
from spherehead.datasets.sample import Drop, Photo, Sample
from spherehead.pipeline.stages.detect import Detect


def test_where_weights_lie_is_no_part_of_what_a_stage_was_asked_for() -> None:
    here, there = Detect(face_alignment_weights="~/weights"), Detect(face_alignment_weights="/elsewhere")
    assert here.settings() == there.settings() == Detect().settings()


def test_a_picture_without_heads_names_what_was_sought_and_the_settings() -> None:
    blank = Sample("", Photo.of_pixels(np.full((96, 128, 3), 127, dtype=np.uint8)))
    for stage, words in (
        (Detect(use_pose=False), r"no head \(min_head_confidence 0.4\), no face \(min_confidence 0.5\) in 128 x 96 pixels"),
        (Detect(finder="mediapipe", min_body_confidence=0.2), r"no face \(min_confidence 0.5\), no body \(.* 0.2\) in 128 x"),
    ):
        opened = stage.open()
        with pytest.raises(Drop, match=words):
            opened.one(blank, np.random.default_rng(0))
        opened.close()


def test_less_than_two_looks_at_a_face_are_refused() -> None:
    with pytest.raises(ValueError, match=r"max_looks: expected 2 or more.*got 1"):
        Detect(max_looks=1)
