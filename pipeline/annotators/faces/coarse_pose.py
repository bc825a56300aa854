"""Where a head is and which way it faces, from a few points: for heads on which no face mesh fits.

Both BlazeFace's six points and BlazePose's eleven have ears, eyes, nose and mouth; ears and nose are enough for an azimuth over
the whole circle. The answer is coarse (about 5 degrees on faces, 15 to 20 from behind, level by assumption); the stages that
use it say so.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.camera import CANONICAL_SCALE, FOCAL, RADIUS
from .head_fit import Placement, placement_at

EAR_HALF_DISTANCE = 6.6
"""Centimetres from the head's middle plane to the ear points, as detectors mark them."""
NOSE_BEFORE_EARS = 8.5
"""Centimetres by which the nose tip lies before the ears."""
EYES_OVER_MOUTH = 7.0
"""Centimetres between the eyes' middle and the mouth's."""
MOUTH_BEFORE_EYES = 1.7
"""Centimetres by which the mouth lies before the eyes."""
ORIGIN_OVER_EARS = 1.0
"""Centimetres by which the head frame's origin lies above the ear points."""
FACE_POINTS_SCALE = 0.88
"""BlazeFace draws its six points wider than the head they are on; BlazePose does not. Calibrated against the mesh."""
BACK_SCALE = 0.16
"""Seen from behind, BlazePose draws the hidden face smaller by this share. Calibrated on rendered heads."""
SIZE_SPREAD = 0.35
"""How far the sizes that a head shows across and along usually differ, as a logarithm."""
SHOULDER_SPREAD = math.radians(35.0)
"""How far head and shoulders usually are turned against each other."""


@dataclass(frozen=True, eq=False)
class CoarseHead:
    """A head's place and direction from a few points."""

    placement: Placement
    """Where the head frame lies; the camera is level."""
    confidence: float
    """0 to 1: how well the points agree and how visible they were said to be."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x, y, width, height of a standard head there."""
        return self.placement.head_box()

    @property
    def yaw(self) -> float:
        """Azimuth of the camera in radians."""
        return self.placement.camera.yaw

    @property
    def roll(self) -> float:
        """Angle in radians by which the head is turned clockwise."""
        return self.placement.camera.roll

    def upright(self) -> CoarseHead:
        """Return the same head with its roll taken out, as the crop shows it."""
        placement = self.placement
        return CoarseHead(placement_at(placement.centre, placement.scale, self.yaw), self.confidence)


def head_of_face(points: Array) -> CoarseHead:
    """Place a head by BlazeFace's (6, 2) points: right eye, left eye, nose tip, mouth, right ear, left ear (the subject's)."""
    right_eye, left_eye, nose, mouth, right_ear, left_ear = np.asarray(points, dtype=np.float64)
    placement, confidence = _place(left_ear, right_ear, nose, 0.5 * (left_eye + right_eye), mouth)
    placement = dataclasses.replace(placement, scale=FACE_POINTS_SCALE * placement.scale)
    return CoarseHead(placement, confidence)


def head_of_body(body: Array) -> CoarseHead:
    """Place a head by BlazePose's (33, 4) points.

    The confidence is the mean visibility of head and shoulders, less what the head's azimuth is off the shoulders': from
    behind, the network still draws a face, and only the shoulders tell that it cannot be there.
    """
    points = np.asarray(body, dtype=np.float64)
    place = points[:, :2]
    eyes, mouth = place[[2, 5]].mean(axis=0), place[[9, 10]].mean(axis=0)
    placement, _ = _place(place[7], place[8], place[0], eyes, mouth)
    behind = max(0.0, -math.cos(placement.camera.yaw))
    placement = dataclasses.replace(placement, scale=(1.0 + BACK_SCALE * behind) * placement.scale)
    across = points[11] - points[12]
    shoulders = math.atan2(-across[2], across[0])
    apart = math.remainder(placement.camera.yaw - shoulders, 2.0 * math.pi)
    visibility = float(points[[0, 7, 8, 11, 12], 3].mean())
    return CoarseHead(placement, visibility * math.exp(-0.5 * (apart / SHOULDER_SPREAD) ** 2))


def _place(left_ear: Floats, right_ear: Floats, nose: Floats, eyes: Floats, mouth: Floats) -> tuple[Placement, float]:
    """Solve azimuth, scale and roll from points in pixels, without perspective and for a level camera.

    In a head turned by azimuth a, a point at (x, z) is seen at x cos a - z sin a: the ears span 2 x cos a, the nose lies
    z sin a off their middle. Also returned, 0 to 1: how well the head's size across agrees with its size along.
    """
    level = left_ear - right_ear
    middle = 0.5 * (left_ear + right_ear)
    roll = 0.0
    for _ in range(3):  # azimuth and roll depend weakly on each other; this settles at once
        right, down = np.array([math.cos(roll), math.sin(roll)]), np.array([-math.sin(roll), math.cos(roll)])
        cosine = float(level @ right) / (2.0 * EAR_HALF_DISTANCE)
        sine = -float((nose - middle) @ right) / NOSE_BEFORE_EARS
        across = math.hypot(cosine, sine)
        yaw = math.atan2(sine, cosine)
        leaning = float((eyes - mouth) @ right) - MOUTH_BEFORE_EYES * across * math.sin(yaw)
        roll += math.atan2(leaning, -float((eyes - mouth) @ down))
    along = abs(float((eyes - mouth) @ down)) / EYES_OVER_MOUTH
    per_centimetre = max(0.5 * (across + along), 1e-3)
    scale = per_centimetre / CANONICAL_SCALE * RADIUS / FOCAL
    agreement = math.exp(-0.5 * (math.log(max(across, 1e-3) / max(along, 1e-3)) / SIZE_SPREAD) ** 2)
    return placement_at(middle - ORIGIN_OVER_EARS * per_centimetre * down, scale, yaw, roll), agreement
