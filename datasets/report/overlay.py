"""Draw a sample's label, matte and parsing on its picture, so that an eye can judge at once whether they fit.

Where the drawings go (sheets, the report) is left to `sheets` and `report`. Every function returns a new picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from ..arrays import Array, Floats, Pixels
from ..camera import Camera, canonical_to_world
from ..canonical_face import canonical_vertices
from ..classes import colourise
from ..shards.codec import Decoded
from ..shards.inspect import landmarks
from .tiles import fit

AXES = ((0.235, 0.0, 0.0), (0.0, 0.235, 0.0), (0.0, 0.0, 0.3))
"""Ends of the drawn axes in world units: to the subject's left, up, and out of the nose."""
AXIS_COLOURS = ((230, 60, 50), (30, 175, 80), (50, 120, 255))
"""x red, y green, z blue."""
POINT_COLOUR = (255, 210, 0)
"""Canonical face points, where the label says that they are."""
LANDMARK_COLOUR = (0, 235, 235)
"""The detected 68 landmarks."""
OUTLINE_COLOUR = (255, 60, 200)
"""Matte at one half."""
_SHIFT = 4
"""Fraction bits of OpenCV's drawing coordinates: 1/16 pixel."""


@dataclass(frozen=True)
class Style:
    """What is drawn."""

    side: int = 320
    """Side of each panel in pixels."""
    axes: bool = True
    """The head frame's axes."""
    points: bool = True
    """The canonical face points that face the camera."""
    landmarks: bool = True
    """The detected landmarks."""


PANELS = ("picture", "label", "matte", "parsing")
"""Panels of a sample, left to right."""


def label_panel(sample: Decoded, style: Style = Style()) -> Pixels:
    """Draw the head frame's axes, the canonical points and the landmarks on the picture, (side, side, 3)."""
    panel = fit(sample.image, style.side)
    found = landmarks(sample)
    if sample.camera is not None and style.points:
        points = facing_points(sample.camera)
        _dots(panel, points * style.side, POINT_COLOUR, max(1.1, style.side / 260))
    if found is not None and style.landmarks:
        _dots(panel, found * (style.side / sample.image.shape[1]), LANDMARK_COLOUR, max(1.1, style.side / 200))
    if sample.camera is not None and style.axes:
        _draw_axes(panel, sample.camera)
    return panel


def facing_points(camera: Camera) -> Floats:
    """Return the (N, 2) normalised places of the canonical face points whose surface faces the camera."""
    points, normals = _canonical_surface()
    towards = camera.position - points
    facing = (normals * towards).sum(axis=1) > 0.12 * np.linalg.norm(towards, axis=1)
    image, depth = camera.project(points)
    return np.asarray(image[facing & (depth > 0)])


def matte_panel(sample: Decoded, style: Style = Style()) -> Pixels:
    """Composite the picture on a checkerboard by its matte, the matte's half level outlined, (side, side, 3)."""
    panel = fit(sample.image, style.side)
    if sample.mask is None:
        return _without(panel, "no matte")
    alpha = fit(np.repeat(sample.mask[..., None], 3, axis=2), style.side)[..., :1] / 255.0
    board = np.where(_squares(style.side)[..., None] % 2, 205, 240)
    mixed = np.round(panel * alpha + board * (1 - alpha)).astype(np.uint8)
    contours, _ = cv2.findContours((alpha[..., 0] >= 0.5).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(mixed, contours, -1, OUTLINE_COLOUR, 1, cv2.LINE_AA)
    return mixed


def parsing_panel(sample: Decoded, style: Style = Style()) -> Pixels:
    """Blend the class colours over a greyed picture, (side, side, 3); background stays as it is."""
    panel = fit(sample.image, style.side)
    if sample.parsing is None:
        return _without(panel, "no parsing")
    parsing = cv2.resize(sample.parsing, (style.side, style.side), interpolation=cv2.INTER_NEAREST)
    grey = panel.mean(axis=2, keepdims=True)
    mixed = np.where(parsing[..., None] > 0, 0.42 * grey + 0.58 * colourise(np.asarray(parsing, dtype=np.uint8)), panel)
    return np.round(mixed).astype(np.uint8)


def panels(sample: Decoded, style: Style = Style()) -> list[Pixels]:
    """Return the four `PANELS` of a sample, each (side, side, 3)."""
    return [fit(sample.image, style.side), label_panel(sample, style), matte_panel(sample, style), parsing_panel(sample, style)]


@cache
def _canonical_surface() -> tuple[Floats, Floats]:
    """Return the canonical points in the head frame and rough outward normals.

    The face is close to an ellipsoid, so the direction from an axis inside the head, flattened in depth, stands for the
    normal; it only decides which points are drawn.
    """
    vertices = canonical_vertices()
    points = canonical_to_world(vertices)
    inner = vertices - np.array([0.0, 0.0, -4.0])
    normals = inner / np.array([7.7, 12.0, 10.0]) ** 2
    normals = canonical_to_world(normals) - canonical_to_world(np.zeros((1, 3)))
    return points, np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))


def _dots(panel: Pixels, points: Array, colour: tuple[int, int, int], radius: float) -> None:
    for x, y in points:
        centre = (round((x - 0.5) * 2**_SHIFT), round((y - 0.5) * 2**_SHIFT))
        cv2.circle(panel, centre, round(radius * 2**_SHIFT), colour, -1, cv2.LINE_AA, _SHIFT)


def _draw_axes(panel: Pixels, camera: Camera) -> None:
    """Draw the axes and the origin from far to near, so that what is towards the camera lies on top."""
    side = panel.shape[0]
    ends, depths = camera.project(np.array([*AXES, (0.0, 0.0, 0.0)]))
    origin = ends[3]
    width = max(1, round(side / 130))
    for index in np.argsort(-depths, kind="stable"):
        if index == 3:
            cv2.circle(panel, _fixed(origin * side), round(side / 70 * 2**_SHIFT), (255, 255, 255), -1, cv2.LINE_AA, _SHIFT)
            continue
        start, end = (_fixed(point * side) for point in (origin, ends[index]))
        cv2.line(panel, start, end, (255, 255, 255), width + 2, cv2.LINE_AA, _SHIFT)
        cv2.line(panel, start, end, AXIS_COLOURS[index], width, cv2.LINE_AA, _SHIFT)
        _arrow_head(panel, origin * side, ends[index] * side, AXIS_COLOURS[index], side / 38)


def _arrow_head(panel: Pixels, start: Array, end: Array, colour: tuple[int, int, int], size: float) -> None:
    length = float(np.hypot(*(end - start)))
    if length < size:  # the axis points at the camera: a dot says so
        cv2.circle(panel, _fixed(end), round(size / 2.4 * 2**_SHIFT), colour, -1, cv2.LINE_AA, _SHIFT)
        return
    angle = math.atan2(*(end - start)[::-1])
    corners = [end] + [end - size * np.array([math.cos(angle + turn), math.sin(angle + turn)]) for turn in (0.45, -0.45)]
    cv2.fillPoly(panel, [np.array([_fixed(corner) for corner in corners], dtype=np.int32)], colour, cv2.LINE_AA, _SHIFT)


def _fixed(point: Array) -> tuple[int, int]:
    """Turn a continuous pixel coordinate into OpenCV's (centres at integers, 1/16 pixel)."""
    return round(float(point[0] - 0.5) * 2**_SHIFT), round(float(point[1] - 0.5) * 2**_SHIFT)


def _squares(side: int) -> Array:
    rows, columns = np.indices((side, side)) // max(4, side // 24)
    return np.asarray(rows + columns)


def _without(panel: Pixels, text: str) -> Pixels:
    """Return a dimmed picture that says what is missing."""
    dimmed = np.round(panel * 0.35 + 160).clip(0, 255).astype(np.uint8)
    scale = panel.shape[0] / 420
    cv2.putText(dimmed, text, (8, panel.shape[0] // 2), cv2.FONT_HERSHEY_SIMPLEX, scale, (90, 90, 90), 1, cv2.LINE_AA)
    return dimmed
