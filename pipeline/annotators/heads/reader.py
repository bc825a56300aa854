"""Read a head's rotation, place, landmarks, classes and coverage off a crop, from any side, with the project's own network.

Where the head is about comes from `finder` or from a canonical crop. Every reading is the mean of the picture's and of its
mirror image's, so that a mirrored photograph has the mirrored label.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....datasets import warp as warping
from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.camera import geodesic, mean_rotation, rotation_z
from ....datasets.classes import LANDMARK_MIRROR, MIRROR_PAIRS
from ....datasets.sample import HeadPose, Sample
from .files import card, network, weights

CROP = 128
"""Side in pixels of the crops that the network looks at."""
FIRST_SIDE = 1.4
"""Side of the first square about a box, in the longer sides of the box."""
SECOND_SIDE = 1.12
"""Side of the second square, in sides of the canonical crop."""
RIGHT_WITHIN = math.radians(15.0)
"""Error within which a rotation counts as right in a confidence."""
SHARED = "crop_reading"
"""Name under which a sample carries the reading of its crop, see `Sample.shared`."""
_FLIP = np.diag([-1.0, 1.0, 1.0])
SWAP = np.arange(19)
for _left, _right in MIRROR_PAIRS:
    SWAP[_left], SWAP[_right] = _right, _left


@dataclass(frozen=True)
class Square:
    """A turned square in continuous pixels of a picture."""

    x: float
    """Centre."""
    y: float
    """Centre."""
    side: float
    angle: float = 0.0
    """Radians by which it is turned clockwise."""

    def matrix(self, size: int = CROP) -> Floats:
        """Return the (3, 3) similarity from the picture to the square's own `size` pixels a side."""
        return warping.similarity(size / self.side, -self.angle, np.array([self.x, self.y]), np.array([size / 2.0, size / 2.0]))

    def meets(self, width: int, height: int) -> bool:
        """Tell whether its inscribed circle reaches into a picture, so that there is something to read."""
        half = self.side / 2.0
        return -half < self.x < width + half and -half < self.y < height + half


@dataclass(frozen=True, eq=False)
class Reading:
    """What the network read, in continuous pixels of the picture."""

    rotation: Floats
    """(3, 3) world to camera, the picture's roll included."""
    centre: Floats
    """(2,) place of the head frame's origin."""
    scale: float
    """Pixels a side of the canonical crop."""
    spread: float
    """Scale in radians of the rotation's expected error, calibrated."""
    halves: Floats
    """(2, 3, 3) rotations of the picture and of its mirror image, mirrored back, whose mean `rotation` is."""
    points: Floats
    """(68, 2) landmarks, hidden ones too."""
    sigma: Floats
    """(68,) expected error of each landmark."""
    square: Square
    """Where the network looked."""
    classes: Array
    """(19, 64, 64) float32 logits over the square."""
    alpha: Array
    """(64, 64) float32 coverage by this head's person over the square, 0 to 1."""
    network: str = ""
    """The sha256 of the network that read it."""
    before: Reading | None = None
    """The reading that led to this one."""

    @property
    def mirror_error(self) -> float:
        """Radians between the picture's rotation and that of its mirror image, mirrored back."""
        return geodesic(*self.halves)

    @property
    def confidence(self) -> float:
        """Chance that the rotation is right within 15 degrees; see `confidence_of`."""
        return confidence_of(self.spread, self.mirror_error)

    @property
    def pose(self) -> HeadPose:
        """What a head keeps of it: rotation and place as this reading and the one before it say together."""
        looks = [self] if self.before is None else [self.before, self]
        halves, spread = joined_turns([(look.halves, look.spread) for look in looks])
        centre = np.mean([look.centre for look in looks], axis=0)
        scale = math.exp(sum(math.log(look.scale) for look in looks) / len(looks))
        confidence = confidence_of(spread, geodesic(halves[0], halves[1]))
        return HeadPose(mean_rotation(halves), centre, scale, confidence, spread, halves, self.network)


@dataclass(frozen=True, eq=False)
class CropReading:
    """A reading of a whole crop that stages share."""

    image: Pixels
    """The very array that was read: a stage that lays the head on another background makes another one."""
    reading: Reading


def whole(image: Pixels) -> Square:
    """Return the square that is a crop itself."""
    side = float(image.shape[1])
    return Square(side / 2.0, side / 2.0, side)


def chance_within(limit: float, spread: float) -> float:
    """Return the chance that an error's length is at most `limit` under a density proportional to exp(-length / spread) in 3-D.

    The length then has the Gamma distribution of shape 3.
    """
    ratio = limit / max(spread, 1e-9)
    return 1.0 - math.exp(-ratio) * (1.0 + ratio + 0.5 * ratio * ratio) if ratio < 500.0 else 1.0


def confidence_of(spread: float, mirror_error: float) -> float:
    """Return the chance that a rotation is right within 15 degrees, by its spread and the mirror image's error in radians."""
    return chance_within(RIGHT_WITHIN, max(spread, mirror_error / 4.0))


class HeadReader:
    """The loaded network."""

    def __init__(self, device: str = "cpu", networks: str = "") -> None:
        """Load the network from a folder of the user's, or the package's own.

        Raises:
            HeadNetworkError: the file is missing or changed.
        """
        self._model = network("head", device, networks)
        self.digest = weights("head", folder=networks)[0][1]
        """The sha256 of the network."""
        self._spread_factor = float(card("head", networks).get("spread_factor", 1.0))

    def settle(self, image: Pixels, box: tuple[float, float, float, float]) -> Reading:
        """Read the head in an x, y, width, height box: once about the box, once where the first reading has the head frame.

        There is no second look where that lies wholly outside of the picture.
        """
        x, y, width, height = box
        first = self.read(image, Square(x + width / 2.0, y + height / 2.0, FIRST_SIDE * max(width, height)))
        then = next_square(first)
        if not then.meets(image.shape[1], image.shape[0]):
            return first
        return dataclasses.replace(self.read(image, then), before=first)

    def read_crop(self, sample: Sample) -> tuple[Reading, Sample]:
        """Read all of a sample's crop, or take the reading that the same network made of it in an earlier stage.

        Returns:
            The reading, and the sample that carries it on to later stages.
        """
        image = sample.require("image")
        known = sample.shared.get(SHARED)
        if known is not None and known.image is image and known.reading.network == self.digest:
            return known.reading, sample
        reading = self.read(image, whole(image), quick=True)  # exact where the side is a multiple of `CROP`
        return reading, sample.with_(shared={SHARED: CropReading(image, reading)})

    def read(self, image: Pixels, square: Square, quick: bool = False) -> Reading:
        """Read the head in a square of an (H, W, 3) uint8 RGB picture; `quick` resamples a large one less exactly."""
        warp = warping.warp_reduced if quick else warping.warp
        crop = warp(image, square.matrix(), CROP, border="replicate")
        both = np.stack([crop, crop[:, ::-1]]).astype(np.float32)
        tensor = np.ascontiguousarray(((both - np.float32(127.0)) / np.float32(128.0)).transpose(0, 3, 1, 2))
        numbers, classes, alpha = self._model(tensor)
        values = numbers.astype(np.float64)
        first = rotation_of(values[0, :6])
        second = _FLIP @ rotation_of(values[1, :6]) @ _FLIP
        place = 0.5 * (values[0, 7:10] + values[1, 7:10] * [-1.0, 1.0, 1.0])
        there = values[:, 10:146].reshape(2, 68, 2)
        points = 0.5 * (there[0] + there[1][LANDMARK_MIRROR] * [-1.0, 1.0])
        sigma = np.exp(0.5 * (values[0, 146:] + values[1, 146:][LANDMARK_MIRROR]))
        back = np.linalg.inv(square.matrix(2))  # from half sides about the centre, moved by one
        return Reading(
            rotation_z(square.angle) @ mean_rotation([first, second]),
            warping.apply(back, place[None, :2] + 1.0)[0],
            square.side * math.exp(float(place[2])),
            self._spread_factor * math.exp(0.5 * float(values[:, 6].sum())),
            rotation_z(square.angle) @ np.stack([first, second]),
            warping.apply(back, points + 1.0),
            square.side / 2.0 * sigma,
            square,
            0.5 * (classes[0] + classes[1][SWAP][..., ::-1]),
            0.5 * (alpha[0, 0] + alpha[1, 0][:, ::-1]),
            self.digest,
        )


def joined_turns(turns: Sequence[tuple[Array, float]]) -> tuple[Floats, float]:
    """Return the mean of several readings of a head's rotation.

    Readings count by the inverse squares of their spreads. Their errors are much alike, so that the mean's spread is theirs.

    Args:
        turns: of each reading the (2, 3, 3) rotations of the picture and of its mirror image, mirrored back, and their spread.

    Returns:
        The same of all readings.
    """
    weights = np.array([1.0 / max(spread, 1e-9) ** 2 for _, spread in turns])
    halves = [mean_rotation([halves[side] for halves, _ in turns], weights) for side in range(2)]
    return np.stack(halves), float(np.average([spread for _, spread in turns], weights=weights))


def next_square(reading: Reading) -> Square:
    """Return the upright square about the head frame that a reading names."""
    roll = math.atan2(reading.rotation[0, 1], -reading.rotation[1, 1])  # where the head's up points in the picture
    return Square(float(reading.centre[0]), float(reading.centre[1]), SECOND_SIDE * reading.scale, roll)


def rotation_of(six: Array) -> Floats:
    """Return the (3, 3) rotation of 6 numbers: two rows made orthonormal and their cross product (Zhou et al. 2019)."""
    first = np.asarray(six[:3], dtype=np.float64)
    first = first / max(float(np.linalg.norm(first)), 1e-9)
    second = six[3:] - float(first @ six[3:]) * first
    second = second / max(float(np.linalg.norm(second)), 1e-9)
    return np.stack([first, second, np.cross(first, second)])
