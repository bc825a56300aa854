"""Who stands where before which camera: the composition of one photograph, drawn at random, as one pinhole for each head.

Pictures of it are `scene`'s. The apparent direction of a head, along its own line of sight, is what is drawn, so that heads
cover the whole sphere however far from the picture's middle they lie.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.camera import FOCAL, RADIUS, Camera

HEAD_HEIGHT = 0.58
"""World units from chin to crown with hair, about."""
CLOSEST = 0.95
"""World units from the camera within which no head is placed; 42 cm."""
FARTHEST = 60.0
APART = 1.1
"""World units between the distances of two heads that overlap in the picture: no body reaches into another."""
CROWDS = (0.55, 0.22, 0.11, 0.06, 0.04, 0.02)
"""Share of photographs with one to six heads."""
_TRIES = 6
"""Places that are tried for a further head before it is left out."""
UPSIDE_DOWN = 0.12
"""Share of heads that are turned in the picture by any angle, not only a little."""
STEEP = 0.25
"""Share of heads that are seen from anywhere on the sphere, not only from about the level of the eyes."""


@dataclass(frozen=True, eq=False)
class Place:
    """One head of a photograph."""

    member: int
    """Which of the people at hand."""
    camera: Camera
    """The photograph's pinhole in the head's frame."""


def draw_layout(random: np.random.Generator, size: int, lead: int, num_people: int, smallest: float = 24.0) -> list[Place]:
    """Draw a composition; the nearest head comes first.

    Args:
        random: source of chance.
        size: side of the photograph in pixels.
        lead: the member who must be in it.
        num_people: members that may be in it.
        smallest: height of the smallest head in pixels.
    """
    focal = float(np.exp(random.uniform(math.log(0.65), math.log(6.5))))
    wanted = 1 + int(random.choice(len(CROWDS), p=CROWDS))
    others = [int(member) for member in random.permutation(num_people) if member != lead][: wanted - 1]
    tallest = 1.35 if not others else 0.75 / math.sqrt(len(others))
    height = float(np.exp(random.uniform(math.log(smallest / size), math.log(tallest))))
    focal = max(focal, 1.02 * CLOSEST * height / HEAD_HEIGHT)
    places = [Place(lead, _camera(random, focal, height))]
    for member in others:
        for _ in range(_TRIES):
            own = float(np.clip(height * np.exp(random.normal(-0.1, 0.35)), smallest / size, tallest))
            place = Place(member, _camera(random, focal, own))
            if all(_stand_clear(place, other) for other in places):
                places.append(place)
                break
    return sorted(places, key=lambda place: place.camera.radius)


def _camera(random: np.random.Generator, focal: float, height: float) -> Camera:
    """Draw where a head of some height, in sides of the picture, lies and how it is turned."""
    distance = float(np.clip(focal * HEAD_HEIGHT / height, CLOSEST, FARTHEST))
    reach = 0.5 + 0.12 * min(height, 1.0)
    spread = random.beta(1.6, 1.6, 2) * 2.0 - 1.0
    ray = np.array([spread[0] * reach / focal, spread[1] * reach / focal, 1.0])
    ray /= np.linalg.norm(ray)
    yaw = float(random.uniform(-np.pi, np.pi))
    level = float(np.clip(random.normal(0.0, 0.24), -0.9, 0.9))
    anywhere = math.asin(float(random.uniform(-0.94, 0.94)))
    pitch = anywhere if random.random() < STEEP else level
    turned, tilted = float(random.uniform(-np.pi, np.pi)), float(random.normal(0.0, 0.16))
    roll = turned if random.random() < UPSIDE_DOWN else tilted
    return place_head(Camera.look_at(yaw, pitch, roll), ray, distance, focal)


def place_head(looking: Camera, ray: Floats, distance: float, focal: float) -> Camera:
    """Return the pinhole of a photograph in which a head is seen as `looking` sees it, but elsewhere in the picture.

    Args:
        looking: a camera that looks at the head frame's origin; its rotation counts.
        ray: (3,) unit direction of the head frame's origin in the photograph's camera axes.
        distance: world units to it.
        focal: focal length in sides of the picture.
    """
    cam2world = np.eye(4)
    cam2world[:3, :3] = looking.cam2world[:3, :3] @ turn_to(ray).T
    cam2world[:3, 3] = -distance * (cam2world[:3, :3] @ ray)
    return Camera(cam2world, np.array([[focal, 0.0, 0.5], [0.0, focal, 0.5], [0.0, 0.0, 1.0]]))


def turn_to(ray: Floats) -> Floats:
    """Return the smallest (3, 3) rotation that takes the optical axis to a unit ray before the camera."""
    x, y, z = ray
    share = 1.0 / (1.0 + z)
    return np.array([[1.0 - share * x * x, -share * x * y, x], [-share * x * y, 1.0 - share * y * y, y], [-x, -y, z]])


def canonical_view(photo_camera: Camera) -> tuple[Camera, Floats]:
    """Return the canonical camera of a head's own crop, and the (3, 3) homography that cuts the crop out.

    The crop turns the camera to the head's origin by the smallest rotation and enlarges it as a canonical camera does;
    direction and roll of the label are exact, its distance is the contract's. Both pictures are in normalised coordinates.

    Args:
        photo_camera: the pinhole that took the photograph, in the head's frame.
    """
    distance = photo_camera.radius
    towards = photo_camera.world2cam @ (-photo_camera.position / distance)
    turn = turn_to(towards)
    rotation = photo_camera.cam2world[:3, :3] @ turn
    label = np.eye(4)
    label[:3, :3], label[:3, 3] = rotation, -RADIUS * rotation[:, 2]
    long = FOCAL * distance / RADIUS
    crop = np.array([[long, 0.0, 0.5], [0.0, long, 0.5], [0.0, 0.0, 1.0]])
    homography = crop @ turn.T @ np.linalg.inv(photo_camera.intrinsics)
    canonical = np.array([[FOCAL, 0.0, 0.5], [0.0, FOCAL, 0.5], [0.0, 0.0, 1.0]])
    return Camera(label, canonical), homography / homography[2, 2]


def _stand_clear(one: Place, other: Place) -> bool:
    """Tell whether two heads' bodies cannot meet: far apart in the picture, or in depth."""
    first, second = _reach(one.camera), _reach(other.camera)
    beside = abs(first[0] - second[0]) > first[2] + second[2]
    return bool(beside) or abs(one.camera.radius - other.camera.radius) > APART


def _reach(camera: Camera) -> Array:
    """Return column and row of a head in the picture, and half the width of its shoulders there."""
    centre = camera.project(np.zeros(3))[0]
    return np.array([*centre, 0.8 * float(camera.intrinsics[0, 0]) / camera.radius])
