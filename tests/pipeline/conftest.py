"""Fixtures for the stages: a real head, found and cropped by the stages that come before."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from spherehead.datasets.sample import Photo, Sample
from spherehead.pipeline.stages.align import Align
from spherehead.pipeline.stages.detect import Detect


@pytest.fixture(scope="session")
def crop_of():
    """A function from an (H, W, 3) uint8 picture to the aligned Sample of its largest head, 512 px a side."""
    cv2.setNumThreads(1)
    detect, align = Detect().open(), Align(size=512).open()
    rng = np.random.default_rng(0)

    def crop(pixels: np.ndarray) -> Sample:
        found = next(iter(detect.one(Sample("", Photo.of_pixels(pixels)), rng)))
        return dataclasses.replace(next(iter(align.one(found, rng))), id="0" * 16)

    yield crop
    detect.close()
    align.close()


@pytest.fixture(scope="session")
def astronaut_crop(crop_of, astronaut) -> Sample:
    """The aligned head of scikit-image's astronaut."""
    return crop_of(astronaut)
