"""What holds a camera label up to doubt: its agreement with the mirrored picture, the mesh and the camera convention.

`estimate_camera` makes the labels and decides by these numbers.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from ...datasets.arrays import Array
from ...datasets.camera import Camera, CameraError, geodesic, rotation_z
from ...datasets.sample import Drop, HeadPose, Sample
from ..annotators.faces.face_shape import eye_distance
from ..annotators.faces.head_fit import camera_of
from ..annotators.faces.mesh_drift import marked
from .align import warp_mesh

DIGITS = 6
"""Angles of a label are rounded to this many digits, so that the last bits of a sum cannot change a data set."""
SIDECAR_DISAGREEMENT_DEGREES = 15.0
"""Largest angle between a known camera and the one that the mesh tells: twice what the mesh may be off."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """A camera label before it is decided whether it is believed."""

    camera: Camera
    mirror_error: float
    """Radians."""
    confidence: float
    residual: float
    """Median over the mesh, in eye distances; NaN without a mesh."""
    canonical_residual: float
    source: str
    disagreement: float = math.nan
    """Radians between the mesh's camera and our network's; NaN where one of them was not asked."""


def likely_mistake(camera: Camera, seen: Camera, sample: Sample) -> str:
    """Name the convention under which a known camera of a crop would agree with the one that the mesh tells."""
    turn = crop_turn(sample.crop.matrix) if sample.crop is not None else 0.0
    upright = camera.rolled(-turn)
    guesses = (
        ("its roll looks turned the other way", Camera.look_at(upright.yaw, upright.pitch, -upright.roll).rolled(turn)),
        ("it looks like that of the crop already turned upright", upright),
        ("it looks like that of the mirrored photograph", upright.mirrored().rolled(turn)),
    )
    for text, guess in guesses:
        if math.degrees(geodesic(seen.world2cam, guess.world2cam)) < SIDECAR_DISAGREEMENT_DEGREES / 2:
            return text
    return "is it the camera of this photograph?"


def crop_turn(matrix: Array) -> float:
    """Return the angle in radians by which a (3, 3) similarity of pixels turns a picture clockwise."""
    return math.atan2(float(matrix[1, 0]), float(matrix[0, 0]))


def mirror_error(camera: Camera, of_mirrored: Camera) -> float:
    """Return the angle in radians between a picture's camera and that of its mirror image, mirrored back.

    The geodesic distance folds no sign: a predictor that answers the same yaw for both pictures is off by twice the yaw.
    """
    return geodesic(of_mirrored.mirrored().world2cam, camera.world2cam)


def rounded(rotation: Array) -> Camera:
    """Return the canonical camera with a (3, 3) world-to-camera rotation, its angles rounded to `DIGITS`."""
    camera = camera_of(rotation)
    return Camera.look_at(round(camera.yaw, DIGITS), round(camera.pitch, DIGITS), round(camera.roll, DIGITS))


def label_residual(camera: Camera, face: Array, mesh: Array, size: int) -> float:
    """Return the median distance of a (468+, 3) mesh in crop pixels from a face under a label, in eye distances.

    The (468, 3) face is compared where the mesh network is expected to mark it (`mesh_drift`).
    """
    image = marked(camera, face)
    distance = np.linalg.norm(size * image - mesh[: len(image), :2], axis=1)
    return float(np.median(distance)) / eye_distance(mesh[:, :2])


def angle_scores(camera: Camera) -> dict[str, float]:
    """Return the scores that tell a label's azimuth, elevation and roll in degrees."""
    return {f"{name}_degrees": round(math.degrees(getattr(camera, name)), 4) for name in ("yaw", "pitch", "roll")}


def camera_from_label(label: tuple[float, ...]) -> Camera:
    """Return the camera of 25 numbers that somebody gave, or refuse the head."""
    try:
        return Camera.from_label(np.array(label))
    except CameraError as error:
        raise Drop("camera_invalid", str(error)) from error


def check_label(camera: Camera) -> None:
    """Refuse a camera that is no canonical label."""
    try:
        camera.check()
    except CameraError as error:
        raise Drop("camera_invalid", str(error)) from error


def meshes_in_crop(sample: Sample) -> tuple[Array, Array] | None:
    """Return the (478, 3) meshes of the crop and of its mirror image, mirrored back, that `detect` saw; None if it did not."""
    pair = None if sample.head is None else sample.head.mesh_pair
    if pair is None or sample.crop is None:
        return None
    return warp_mesh(pair[0], sample.crop.matrix), warp_mesh(pair[1], sample.crop.matrix)


def reading_in_crop(sample: Sample, network: str) -> HeadPose | None:
    """Return what our network read in `detect` with its rotation turned as the crop is; None if no network or another one did.

    Args:
        sample: with a crop.
        network: sha256 of the network.
    """
    pose = None if sample.head is None else sample.head.pose
    if pose is None or pose.network != network or pose.halves is None or sample.crop is None:
        return None
    turn = rotation_z(crop_turn(sample.crop.matrix))
    return dataclasses.replace(pose, rotation=turn @ pose.rotation, halves=turn @ pose.halves)
