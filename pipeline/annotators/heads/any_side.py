"""Heads of any side of a photograph: what the finder and the reader say, joined with the face meshes that MediaPipe fitted.

Where the reader is sure that it sees another side than a mesh (MediaPipe fits faces into hair), the mesh goes; else the two are
one estimate, see `fusion`. Which of the heads become samples is left to `stages.detect`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.camera import geodesic
from ....datasets.classes import INDEX, NOT_HEAD
from ....datasets.sample import Head, HeadPose
from ..faces.head_fit import Placement, camera_of, coarse_placement
from .boxes import area, inside, middle, overlap
from .crowd import LEAST_SHOWN, find_crowd
from .finder import FINE_SIDES, SIDES, FoundHead, HeadFinder
from .reader import SECOND_SIDE, HeadReader, Reading, Square

CONTRADICTION = math.radians(60.0)
"""Angle between the mesh's rotation and the reader's from which one of them sees another side of the head."""
SIDE, SIDE_CONTRADICTION = math.radians(60.0), math.radians(20.0)
"""The same for heads that the reader sees from an azimuth of `SIDE` or more, where the mesh is pulled towards the front."""
AGREEMENT = math.radians(40.0)
"""Angle between the mesh's rotation and a sure reading's up to which the face stands as the mesh has it, and not turned."""
CONFIRMING = 0.8
"""Confidence from which a reading is that sure."""
LEAST_CONFIDENCE, OTHER_CONFIDENCE = 0.05, 0.25
"""Confidence of a reading under which what the finder saw is taken for no head: a photograph's first, or one that the finder is
sure of and that is larger than those known; and any other one beside heads."""
READING_COUNTS, ENOUGH_CONFIDENCE = 0.4, 0.5
"""How much a reading's confidence, up to the second number, adds to the finder's score of what copies agree on. What the reader
sees at the middle counts for nothing there: of rendered heads it refused more true ones than false."""
WORN, BODY_CONFIDENCE = 0.6, 0.5
"""Share of a head's height up to which what lies on the body below it is smaller than a head there can be, and confidence from
which a reading is believed all the same (a picture on a shirt), and from which the larger head has a body."""
FAR = 1.0 / 12.0
"""Share of a sure head's height under which others must be sure too."""
SURE_SCORE = 0.65
"""The finder's score from which it is that sure."""
SURE = 0.4
"""Confidence from which the reader is believed against a mesh."""


class AnySideHeads:
    """The loaded finder and reader."""

    def __init__(
        self, device: str = "cpu", min_score: float = 0.4, min_other_score: float = 0.55, networks: str = "",
        min_crowd_score: float = 0.68,
    ) -> None:  # fmt: skip
        """Load both networks, from a folder of the user's where it has them."""
        self.finder, self.reader = HeadFinder(device, networks), HeadReader(device, networks)
        self.min_score, self.min_other_score, self.min_crowd_score = min_score, min_other_score, min_crowd_score

    def join(self, pixels: Pixels, reduced: Pixels, factor: int, faces: Sequence[Head], fine: bool = False) -> list[Head]:
        """Return all heads of a photograph, each with the reader's pose.

        Where nothing is found with `min_score`, the best of what has half of that is looked at.

        Args:
            pixels: (H, W, 3) uint8 photograph.
            reduced: the same, `factor` times smaller: what the finder looks at.
            factor: whole number.
            faces: heads with a mesh, and lone faces that are sure to be heads.
            fine: look for small heads too.
        """
        sides = FINE_SIDES if fine else sides_for(reduced, factor, faces)
        found = self.finder.find(reduced, sides, 0.5 * self.min_score)
        if sides == SIDES[:1] and may_be_larger(found, factor, faces):
            found = self.finder.find(reduced, SIDES, 0.5 * self.min_score)
        heads = [self._checked(pixels, face) for face in faces]
        for head in self._candidates(found, bool(heads)):
            box = _scaled(head.box, factor)
            if any(_same(box, other.box) for other in heads):
                continue
            reading = self.reader.settle(pixels, box)
            leading = not heads or (head.score >= SURE_SCORE and area(box) > max(area(other.box) for other in heads))
            if shows_head(reading, LEAST_CONFIDENCE if leading else OTHER_CONFIDENCE):
                heads.append(head_of(reading, box, head.score))
        return without_repeats(heads)

    def crowd(self, pixels: Pixels, faces: Sequence[Head], least_head: float, most: int) -> list[Head]:
        """Return all heads of a photograph, the small ones of a crowd too; none where all are doubtful, and `join` may see one.

        Args:
            pixels: (H, W, 3) uint8 photograph.
            faces: as for `join`.
            least_head: height in pixels of the smallest heads that are sought.
            most: heads beside faces that are read at most, those with the best scores.
        """
        least = self.min_crowd_score - READING_COUNTS * ENOUGH_CONFIDENCE
        heads = [self._checked(pixels, face) for face in faces]
        for head in [head for head in find_crowd(self.finder, pixels, least_head) if head.score >= least][:most]:
            if any(_same(head.box, other.box) for other in heads):
                continue
            reading = self.reader.settle(pixels, head.box)
            evidence = head.score + READING_COUNTS * min(reading.confidence, ENOUGH_CONFIDENCE)
            if evidence >= self.min_crowd_score:
                heads.append(head_of(reading, head.box, head.score))
        return without_worn(without_repeats(heads))

    def _candidates(self, found: Sequence[FoundHead], has_face: bool) -> list[FoundHead]:
        """Return what may be a head: beside a face, and beside a first head without one, only what is surely one."""
        sure = [head for head in found if head.score >= self.min_other_score]
        first = [head for head in found if head.score >= self.min_score] or list(found)
        return sure if has_face or sure else first[:1]

    def posed(self, pixels: Pixels, head: Head) -> Head:
        """Return a head that something else found, with the reader's pose."""
        return dataclasses.replace(head, pose=self.reader.settle(pixels, head.box).pose)

    def confirmed(self, pixels: Pixels, mesh: Array) -> HeadPose | None:
        """Return the reader's pose of a face that it is sure to see as the (478, 3) mesh has it; None where it is not."""
        fitted = coarse_placement(mesh)
        reading = self.reader.read(pixels, square_of(fitted), quick=True)
        near = geodesic(fitted.rotation, reading.rotation) < AGREEMENT
        return reading.pose if near and reading.confidence > CONFIRMING and not contradicted(fitted.rotation, reading) else None

    def _checked(self, pixels: Pixels, head: Head) -> Head:
        """Return a face's head with the reader's pose; without its mesh where the reader is sure of another side."""
        if head.pose is not None:
            return head
        if head.mesh is None:
            return self.posed(pixels, head)
        fitted = coarse_placement(head.mesh)
        reading = self.reader.read(pixels, square_of(fitted))
        if contradicted(fitted.rotation, reading):
            again = self.reader.settle(pixels, head.box)
            if contradicted(fitted.rotation, again):
                return head_of(again, head.box, head.confidence)
        return dataclasses.replace(head, pose=reading.pose)


def sides_for(reduced: Pixels, factor: int, faces: Sequence[Head]) -> tuple[int, ...]:
    """Return the longest sides of the copies in which a photograph's largest head is sought beside known faces.

    Beside a confirmed face that even the coarsest copy shows well, only a larger head matters, and that copy shows it.

    Args:
        reduced: the photograph, `factor` times smaller.
        factor: whole number.
        faces: heads that are known.
    """
    least = LEAST_SHOWN / SIDES[0] * factor * max(reduced.shape[:2])
    sure = any(head.mesh is not None and head.pose is not None and min(head.box[2:]) >= least for head in faces)
    return SIDES[:1] if sure else SIDES


def may_be_larger(found: Sequence[FoundHead], factor: int, faces: Sequence[Head]) -> bool:
    """Tell whether something that the finder saw in a reduced copy may be a larger head than every face that is known."""
    largest = max((area(face.box) for face in faces), default=0.0)
    boxes = [_scaled(head.box, factor) for head in found]
    return any(area(box) > largest and not any(_same(box, face.box) for face in faces) for box in boxes)


def contradicted(rotation: Floats, reading: Reading) -> bool:
    """Say whether a reading is sure of another side of the head than a mesh's (3, 3) rotation shows."""
    side = abs(camera_of(reading.rotation).yaw) >= SIDE
    limit = SIDE_CONTRADICTION if side else CONTRADICTION
    return reading.confidence > SURE and geodesic(rotation, reading.rotation) > limit


def shows_head(reading: Reading, least_confidence: float) -> bool:
    """Say whether the middle of what a reading looked at is covered by a head, not by a neck, clothes or nothing.

    A hole in the head is part of it: something held before it, or a bun that was taken for that.
    """
    middle_cells = slice(24, 40)
    classes = reading.classes.argmax(axis=0)
    covered = ~np.isin(classes, NOT_HEAD) | _holes(classes == INDEX["background"])
    return float(covered[middle_cells, middle_cells].mean()) > 0.6 and reading.confidence > least_confidence


def _holes(empty: Array) -> Array:
    """Return the cells of those areas of an (H, W) mask that do not reach its border."""
    _, areas = cv2.connectedComponents(empty.astype(np.uint8), connectivity=4)
    outside = np.unique(np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]]))
    return empty & ~np.isin(areas, outside)


def square_of(placement: Placement) -> Square:
    """Return the upright square in which the reader looks for a head whose frame is placed."""
    x, y = (float(value) for value in placement.centre)
    return Square(x, y, SECOND_SIDE * placement.scale, placement.camera.roll)


def placement_of_pose(pose: HeadPose) -> Placement:
    """Return a read pose as a placement of the head frame."""
    return Placement(pose.rotation, pose.scale, pose.centre, np.zeros(0), np.zeros(0), np.full(3, math.nan))


def head_of(reading: Reading, box: tuple[float, float, float, float], score: float) -> Head:
    """Return the head of a reading without a mesh."""
    camera = camera_of(reading.rotation)
    return Head(box, score, "head", camera.yaw, roll=camera.roll, pose=reading.pose)


def without_repeats(heads: Sequence[Head]) -> list[Head]:
    """Drop a head whose frame lies where another one's does: two boxes may lead to the same head; meshes are kept before."""
    kept: list[Head] = []
    for head in sorted(heads, key=lambda head: (head.mesh is None, -head.confidence, head.box)):
        if all(not _same(head.box, other.box) for other in kept):
            kept.append(head)
    return kept


def without_worn(heads: Sequence[Head]) -> list[Head]:
    """Drop small heads before a larger, sure one, where farther people cannot be: parts of its face, hands, buttons, badges.

    On its body they stay where the reader is sure of them (a child in arms, a picture on a shirt), and so do tiny ones
    anywhere: they are as many times farther off as they are smaller, where a lens that shows the larger one well blurs lights
    into discs.
    """
    sure = [head for head in heads if head.mesh is not None or _confidence(head) >= BODY_CONFIDENCE]

    def worn(head: Head, other: Head) -> bool:
        place, doubtful = middle(head.box), _confidence(head) < BODY_CONFIDENCE
        smaller = head.mesh is None and head.box[3] < WORN * other.box[3]
        unlikely = head.box[3] < FAR * other.box[3] or on_body(place, other)
        return smaller and (in_ellipse(place, other.box) or (doubtful and unlikely))

    return [head for head in heads if not any(worn(head, other) for other in sure)]


def in_ellipse(point: tuple[float, float], box: Sequence[float]) -> bool:
    """Tell whether a point lies in the inner four fifths of the ellipse that fills a box."""
    x, y = middle(box)
    return math.hypot((point[0] - x) / (0.5 * box[2]), (point[1] - y) / (0.5 * box[3])) < 0.8


def on_body(point: tuple[float, float], head: Head) -> bool:
    """Tell whether a point lies on the body of an upright or turned head: on the neck or between about the shoulders' ends."""
    x, y = middle(head.box)
    across = (math.cos(head.roll) * (point[0] - x) + math.sin(head.roll) * (point[1] - y)) / max(head.box[2:])
    down = (math.cos(head.roll) * (point[1] - y) - math.sin(head.roll) * (point[0] - x)) / max(head.box[2:])
    return down > 0.0 and abs(across) <= (0.6 if down <= 1.0 else 1.3)


def _confidence(head: Head) -> float:
    return 0.0 if head.pose is None else head.pose.confidence


def _same(first: Sequence[float], second: Sequence[float]) -> bool:
    near = inside(middle(first), second) and inside(middle(second), first)
    return near or overlap(first, second) > 0.4


def _scaled(box: tuple[float, float, float, float], factor: int) -> tuple[float, float, float, float]:
    x, y, width, height = (factor * value for value in box)
    return x, y, width, height
