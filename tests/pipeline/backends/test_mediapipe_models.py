"""MediaPipe's embedded models on a real portrait: what each guarantees about coordinates, repeatability and silence."""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from spherehead.pipeline.backends import mediapipe_models as models

EYES = np.array([[203.5, 101.1], [246.6, 103.5]])
"""Iris centres of scikit-image's astronaut, marked by eye: right, left."""
REGION = models.Region(224.0, 125.0, 160.0)


@pytest.fixture(scope="module")
def mesher() -> Iterator[models.FaceMesher]:
    with models.FaceMesher() as model:
        yield model


@pytest.mark.parametrize("reach", ["short", "full"])
def test_finder_sees_the_one_face_and_its_eyes(astronaut: np.ndarray, reach: str) -> None:
    with models.FaceFinder(reach) as finder:
        (face,) = finder.find(astronaut)
    assert face.score > 0.8
    assert np.abs(face.points[:2] - EYES).max() < 8
    x, y, width, height = face.box
    assert x < EYES[0, 0] < EYES[1, 0] < x + width and y < EYES[0, 1] < y + height


def test_mesh_lies_on_the_eyes_wherever_the_region_says(astronaut: np.ndarray, mesher: models.FaceMesher) -> None:
    mesh = mesher.mesh(astronaut, REGION)
    assert mesh is not None and mesh.shape == (478, 3) and mesh.dtype == np.float32
    assert np.abs(mesh[[468, 473], :2] - EYES).max() < 3
    assert mesh[1, 2] < mesh[[234, 454], 2].min()  # the nose is nearer than the temples


def test_mesh_of_a_turned_region_is_in_the_pictures_pixels(astronaut: np.ndarray, mesher: models.FaceMesher) -> None:
    upright, turned = (
        mesher.mesh(astronaut, REGION),
        mesher.mesh(np.rot90(astronaut), models.Region(125.0, 288.0, 160.0, -np.pi / 2)),
    )
    assert upright is not None and turned is not None
    back = np.column_stack([512 - turned[:, 1], turned[:, 0]])  # a quarter turn to the left takes (x, y) to (y, 512 - x)
    assert np.abs(back - upright[:, :2]).mean() < 1.5


def test_no_mesh_where_there_is_no_face(astronaut: np.ndarray, mesher: models.FaceMesher) -> None:
    assert mesher.mesh(astronaut, models.Region(420.0, 420.0, 120.0)) is None


def test_an_answer_does_not_depend_on_what_came_before(astronaut: np.ndarray, mesher: models.FaceMesher) -> None:
    first = mesher.mesh(astronaut, REGION)
    mesher.mesh(astronaut[:, ::-1], models.Region(290.0, 125.0, 160.0))
    second = mesher.mesh(astronaut, REGION)
    assert first is not None and np.array_equal(first, second)


def test_body_has_the_left_shoulder_on_the_right_of_a_frontal_picture(astronaut: np.ndarray) -> None:
    with models.PoseFinder() as finder:
        body = finder.body(astronaut)
    assert body is not None and body.shape == (33, 4)
    assert body[11, 0] > body[12, 0] and body[11, 3] > 0.9
    assert np.hypot(*(body[0, :2] - (224, 130))) < 10


def test_segmenter_tells_the_person_from_the_wall(astronaut: np.ndarray) -> None:
    with models.SelfieSegmenter() as segmenter:
        mask = segmenter.segment(astronaut)
    assert mask.shape == (512, 512) and mask.dtype == np.float32
    assert mask.min() >= 0 and mask.max() <= 1
    assert mask[130, 224] > 0.95 and mask[60, 420] < 0.05


def test_weights_are_named_by_the_sha256_of_the_files_in_the_wheel() -> None:
    file = "face_landmark/face_landmark.tflite"
    path = Path(str(importlib.metadata.distribution("mediapipe").locate_file(f"mediapipe/modules/{file}")))
    assert models.weights(file) == (("face_landmark.tflite", hashlib.sha256(path.read_bytes()).hexdigest()),)
    with pytest.raises(FileNotFoundError, match=r"0\.10\.14"):
        models.weights("pose_landmark/pose_landmark_heavy.tflite")


def test_an_unknown_reach_is_refused() -> None:
    with pytest.raises(ValueError, match="short"):
        models.FaceFinder("long")


def test_closing_twice_is_harmless() -> None:
    model = models.FaceMesher()
    model.close()
    model.close()


def test_models_start_and_run_without_a_word() -> None:
    code = (
        "import numpy as np; from spherehead.pipeline.backends.mediapipe_models import *;"
        "image = np.zeros((64, 64, 3), np.uint8);"
        "FaceFinder().find(image); FaceMesher().mesh(image, Region(32, 32, 64)); SelfieSegmenter().segment(image)"
    )
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert not any(word in done.stderr for word in ("TensorFlow", "inference_feedback", "GetPrototype")), done.stderr
