"""The models inside MediaPipe's wheel, as small classes from pixels to arrays: the only module that imports mediapipe.

What the numbers mean for a head, and which of these to run, is left to the stages. Every class treats each picture on its
own (no tracking), so its answer depends on the pixels alone; an object belongs to one process and one thread.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from ...datasets.arrays import Array, Pixels

NUM_MESH_POINTS = 478
"""468 points of the face and 2 x 5 of the irises."""
NUM_BODY_POINTS = 33
"""Points of the pose model: 0 nose, 2 and 5 eyes, 7 and 8 ears, 9 and 10 mouth, 11 and 12 shoulders (left, right)."""

_MESH_GRAPH = """
input_stream: "image"
input_stream: "roi"
output_stream: "landmarks"
node {
  calculator: "ConstantSidePacketCalculator"
  output_side_packet: "PACKET:with_attention"
  options: { [mediapipe.ConstantSidePacketCalculatorOptions.ext]: { packet { bool_value: %s } } }
}
node {
  calculator: "FaceLandmarkCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  input_side_packet: "WITH_ATTENTION:with_attention"
  output_stream: "LANDMARKS:landmarks"
}
"""
"""The mesh network alone, for a region that the caller names: the stock graph would look for the face once more."""


@dataclass(frozen=True, eq=False)
class Face:
    """A face as the detector saw it, in continuous pixels of the picture it was given."""

    box: tuple[float, float, float, float]
    """x, y, width, height: brow to chin, ear to ear; not the whole head."""
    score: float
    """0 to 1."""
    points: Array
    """(6, 2) float32: right eye, left eye, nose tip, mouth, right ear, left ear (the subject's)."""


@dataclass(frozen=True)
class Region:
    """A turned square in continuous pixels: where a network is to look."""

    x: float
    """Centre."""
    y: float
    """Centre."""
    side: float
    angle: float = 0.0
    """Radians, clockwise."""


def version() -> str:
    """Return the version of the installed MediaPipe.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.metadata.version("mediapipe")
    except importlib.metadata.PackageNotFoundError as error:
        raise ImportError("MediaPipe is not installed; pip install mediapipe==0.10.14") from error


@functools.cache
def weights(*files: str) -> tuple[tuple[str, str], ...]:
    """Return (file name, sha256) of model files in the wheel, given as "folder/name.tflite" under mediapipe/modules.

    Raises:
        FileNotFoundError: this MediaPipe does not carry the file.
        ImportError: MediaPipe is not installed.
    """
    number = version()
    modules = Path(str(importlib.metadata.distribution("mediapipe").locate_file("mediapipe/modules")))
    found = []
    for file in files:
        path = modules / file
        if not path.is_file():
            raise FileNotFoundError(f"MediaPipe {number} carries no {file}; pip install mediapipe==0.10.14, which does")
        found.append((path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
    return tuple(found)


class _Model:
    """A running MediaPipe graph, closed once."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    def close(self) -> None:
        """Free the network; further calls do nothing."""
        if self._graph is not None:
            self._graph.close()
            self._graph = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FaceFinder(_Model):
    """BlazeFace: boxes and six points of faces (Bazarevsky et al. 2019)."""

    FILES: ClassVar = {
        "short": "face_detection/face_detection_short_range.tflite",
        "full": "face_detection/face_detection_full_range_sparse.tflite",
    }
    """Model file by reach."""

    def __init__(self, reach: str = "short", min_confidence: float = 0.5) -> None:
        """Load a detector: "short" for faces that fill a good part of the picture, "full" for smaller ones too.

        Raises:
            ValueError: another reach.
        """
        if reach not in self.FILES:
            raise ValueError(f"expected a reach of {' | '.join(self.FILES)}, got {reach!r}")
        with _quiet() as solutions:
            super().__init__(solutions.face_detection.FaceDetection(min_confidence, list(self.FILES).index(reach)))
            self.find(_BLANK)

    def find(self, image: Pixels) -> list[Face]:
        """Return the faces in an (H, W, 3) uint8 RGB picture, best score first."""
        height, width = image.shape[:2]
        found = []
        for detection in self._graph.process(np.ascontiguousarray(image)).detections or []:
            box = detection.location_data.relative_bounding_box
            points = [(point.x * width, point.y * height) for point in detection.location_data.relative_keypoints]
            place = (box.xmin * width, box.ymin * height, box.width * width, box.height * height)
            found.append(Face(place, float(detection.score[0]), np.array(points, dtype=np.float32)))
        return sorted(found, key=lambda face: (-face.score, face.box))


class FaceMesher(_Model):
    """The 478-point face mesh of one region (Kartynnik et al. 2019; Grishchenko et al. 2020)."""

    FILES: ClassVar = {False: "face_landmark/face_landmark.tflite", True: "face_landmark/face_landmark_with_attention.tflite"}
    """Model file without and with refinement."""

    def __init__(self, refine: bool = True, min_confidence: float = 0.5) -> None:
        """Load the network; `refine` adds the irises and better eyes and lips."""
        with _quiet():
            super().__init__(_mesh_graph(refine, min_confidence))
            self.mesh(_BLANK, Region(64.0, 64.0, 96.0))

    def mesh(self, image: Pixels, region: Region) -> Array | None:
        """Fit the mesh to the face in a region of an (H, W, 3) uint8 RGB picture.

        The network was trained on regions 1.5 times the face's box, turned so that the eyes are level; parts of the region
        outside the picture are taken as black.

        Returns:
            (478, 3) float32 (468 without refinement): x and y in pixels of the picture, z in the same scale, negative
            towards the camera; or None where the network sees no face.
        """
        from mediapipe.framework.formats import rect_pb2

        height, width = image.shape[:2]
        where = rect_pb2.NormalizedRect(
            x_center=region.x / width,
            y_center=region.y / height,
            width=region.side / width,
            height=region.side / height,
            rotation=region.angle,
        )
        found = self._graph.process({"image": np.ascontiguousarray(image), "roi": where}).landmarks
        if found is None:
            return None
        points = np.array([(point.x, point.y, point.z) for point in found.landmark], dtype=np.float64)
        return (points * (width, height, width)).astype(np.float32)


class PoseFinder(_Model):
    """BlazePose: 33 points of the most prominent body (Bazarevsky et al. 2020)."""

    FILES: ClassVar = ("pose_detection/pose_detection.tflite", "pose_landmark/pose_landmark_full.tflite")
    """Model files."""

    def __init__(self, min_confidence: float = 0.5) -> None:
        """Load the detector and the full (complexity 1) network, the one that MediaPipe's wheel carries."""
        with _quiet() as solutions:
            super().__init__(
                solutions.pose.Pose(static_image_mode=True, model_complexity=1, min_detection_confidence=min_confidence)
            )
            self.body(_BLANK)

    def body(self, image: Pixels) -> Array | None:
        """Return (33, 4) float32 points of one body in an (H, W, 3) uint8 RGB picture, or None.

        Columns: x, y in pixels, z in the same scale (negative towards the camera, 0 at the hips), visibility 0 to 1.
        """
        height, width = image.shape[:2]
        found = self._graph.process(np.ascontiguousarray(image)).pose_landmarks
        if found is None:
            return None
        points = [(point.x * width, point.y * height, point.z * width, point.visibility) for point in found.landmark]
        return np.array(points, dtype=np.float32)


class SelfieSegmenter(_Model):
    """A soft mask of the person in front."""

    FILES: ClassVar = ("selfie_segmentation/selfie_segmentation.tflite",)
    """Model files."""

    def __init__(self) -> None:
        """Load the general (256 x 256) model."""
        with _quiet() as solutions:
            super().__init__(solutions.selfie_segmentation.SelfieSegmentation(model_selection=0))
            self.segment(_BLANK)

    def segment(self, image: Pixels) -> Array:
        """Return the (H, W) float32 chance, 0 to 1, that a pixel of an (H, W, 3) uint8 RGB picture is a person."""
        return np.array(self._graph.process(np.ascontiguousarray(image)).segmentation_mask, dtype=np.float32)


_BLANK = np.zeros((128, 128, 3), dtype=np.uint8)
"""A picture to start networks on: TensorFlow Lite writes its notices on the first run."""


def _mesh_graph(refine: bool, min_confidence: float) -> Any:
    from google.protobuf import text_format
    from mediapipe.calculators.core import constant_side_packet_calculator_pb2  # noqa: F401 (registers the node's options)
    from mediapipe.framework import calculator_pb2
    from mediapipe.python.solution_base import SolutionBase

    graph = text_format.Parse(_MESH_GRAPH % str(refine).lower(), calculator_pb2.CalculatorGraphConfig())
    threshold = {"facelandmarkcpu__ThresholdingCalculator.threshold": min_confidence}
    return SolutionBase(graph_config=graph, calculator_params=threshold)


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """Give `mediapipe.solutions` while what the native code writes to file descriptor 2 goes nowhere."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    version()
    warnings.filterwarnings("ignore", message="SymbolDatabase.GetPrototype", category=UserWarning)
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import mediapipe

        yield mediapipe.solutions
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
