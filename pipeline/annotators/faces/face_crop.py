"""One look of the mesh network at a square of a picture, and where to look next.

Which faces are looked at, and how often, is decided by the stages.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from ....datasets.arrays import Array, Pixels
from ...backends import mediapipe_models as models
from .face_shape import eye_centres, mirror_mesh

REGION_GROWTH = 1.5
"""Side of the square for a closer look, in extents of the mesh found before (the network's training had the same)."""
REGION_PIXELS = 192
"""Least side of a region that is reduced before the mesh network sees it: the side of the network's own input."""


def mesh_in_region(mesher: models.FaceMesher, pixels: Pixels, region: models.Region, mirrored: bool = False) -> Array | None:
    """Run the mesh on a cut-out around a region, reduced without aliasing.

    Args:
        mesher: the network.
        pixels: (H, W, 3) uint8 picture.
        region: where to look, in its pixels.
        mirrored: show the network the mirror image, and mirror its answer back.

    Returns:
        (478, 3) float32 mesh in the picture's pixels, or None.
    """
    half = 0.5 * region.side * (abs(math.cos(region.angle)) + abs(math.sin(region.angle))) + 2.0
    x0, y0 = max(0, math.floor(region.x - half)), max(0, math.floor(region.y - half))
    x1, y1 = min(pixels.shape[1], math.ceil(region.x + half)), min(pixels.shape[0], math.ceil(region.y + half))
    if x1 - x0 < 8 or y1 - y0 < 8:
        return None
    factor = min(max(1, int(region.side / REGION_PIXELS)), x1 - x0, y1 - y0)
    cut = reduce_by(pixels[y0:y1, x0:x1], factor)
    place = models.Region((region.x - x0) / factor, (region.y - y0) / factor, region.side / factor, region.angle)
    if mirrored:
        mesh = mesher.mesh(cut[:, ::-1], models.Region(cut.shape[1] - place.x, place.y, place.side, -place.angle))
        mesh = None if mesh is None else mirror_mesh(mesh, cut.shape[1])
    else:
        mesh = mesher.mesh(cut, place)
    return None if mesh is None else np.asarray(mesh * factor + (x0, y0, 0.0), dtype=np.float32)


def region_of_mesh(mesh: Array) -> models.Region:
    """Return the square for the mesh network around a known mesh: its extent along the eyes' line, grown."""
    points = np.asarray(mesh, dtype=np.float64)[:, :2]
    right, left = eye_centres(points)
    angle = math.atan2(left[1] - right[1], left[0] - right[0])
    c, s = math.cos(angle), math.sin(angle)
    axes = np.array([[c, s], [-s, c]])
    along = points @ axes.T
    low, high = along.min(axis=0), along.max(axis=0)
    x, y = axes.T @ (0.5 * (low + high))
    return models.Region(float(x), float(y), REGION_GROWTH * float((high - low).max()), angle)


def distance(first: models.Region, second: models.Region) -> float:
    """Return by how much two squares differ in place, size and angle, the largest of the three as a share of the side."""
    moved = math.hypot(second.x - first.x, second.y - first.y) / second.side
    turned = abs(math.remainder(second.angle - first.angle, 2.0 * math.pi))
    return max(moved, abs(math.log(second.side / first.side)), turned)


def factor_to(pixels: Pixels, max_side: int) -> int:
    """Return the least whole factor that brings the longest side to `max_side` and leaves every side a pixel."""
    height, width = int(pixels.shape[0]), int(pixels.shape[1])
    return min(math.ceil(max(height, width) / max_side), height, width)


def reduce_by(pixels: Pixels, factor: int) -> Pixels:
    """Return the picture reduced by a whole factor, each pixel the mean of factor x factor; a rest at the edges is left out.

    A whole factor keeps coordinates exact (divide by it) and is many times faster than a broken one.
    """
    if factor <= 1:
        return pixels
    width, height = pixels.shape[1] // factor, pixels.shape[0] // factor
    whole = pixels[: height * factor, : width * factor]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def resized_by(pixels: Pixels, factor: int, size: tuple[int, int]) -> tuple[Pixels, tuple[float, float]]:
    """Return the picture in another size, reduced by a whole factor first, and what a pixel of it is worth.

    Args:
        pixels: (H, W, 3) uint8.
        factor: of `reduce_by`; what it leaves out at the edges is not shown.
        size: (width, height) in pixels.

    Returns:
        The picture, and the pixels of the given one for each of its own, across and down.
    """
    near, whole = reduce_by(pixels, factor), max(1, factor)
    worth = whole * near.shape[1] / size[0], whole * near.shape[0] / size[1]
    if near.shape[1::-1] == size:
        return near, worth
    interpolation = cv2.INTER_AREA if max(size) < max(pixels.shape[:2]) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(near, size, interpolation=interpolation), dtype=np.uint8), worth
