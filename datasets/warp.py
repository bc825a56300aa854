"""One warp from source pixels to a square picture: anti-aliased, in continuous pixel coordinates, with what it padded.

Pixel i covers [i, i + 1), so its centre is at i + 0.5; matrices map such coordinates. OpenCV puts centres at integers, which
is corrected here and nowhere else.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from .arrays import Array, Floats, Pixels

BORDERS = {"reflect": cv2.BORDER_REFLECT_101, "replicate": cv2.BORDER_REPLICATE, "black": cv2.BORDER_CONSTANT}
"""What a warp may put where the source has no pixel."""

MAX_SUPERSAMPLING = 8
"""Largest number of samples a target pixel is averaged over along each axis."""


def similarity(scale: float, angle: float, source_point: Array, target_point: Array) -> Floats:
    """Return the (3, 3) map that turns clockwise by `angle` radians, scales, and takes `source_point` to `target_point`."""
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[c, -s], [s, c]])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = np.asarray(target_point, dtype=np.float64) - linear @ np.asarray(source_point, dtype=np.float64)
    return matrix


def apply(matrix: Array, points: Array) -> Floats:
    """Map (..., 2) points by a (3, 3) homography."""
    points = np.asarray(points, dtype=np.float64)
    mapped = points @ matrix[:2, :2].T + matrix[:2, 2]
    return np.asarray(mapped / (points @ matrix[2, :2] + matrix[2, 2])[..., None])


def magnification(matrix: Array, size: int) -> float:
    """Return target pixels per source pixel at the centre of a target of `size` pixels a side."""
    centre = apply(np.linalg.inv(matrix), np.array([[size / 2, size / 2], [size / 2 + 1, size / 2], [size / 2, size / 2 + 1]]))
    step = centre[1:] - centre[:1]
    return 1.0 / math.sqrt(max(abs(step[0, 0] * step[1, 1] - step[0, 1] * step[1, 0]), 1e-18))


def quad(matrix: Array, size: int) -> Floats:
    """Return the (4, 2) corners of the target in source pixels: top left, top right, bottom right, bottom left."""
    return apply(np.linalg.inv(matrix), np.array([[0, 0], [size, 0], [size, size], [0, size]], dtype=np.float64))


def warp(source: Pixels, matrix: Array, size: int, border: str = "reflect", nearest: bool = False) -> Pixels:
    """Resample `source` once into a square of `size` pixels.

    Where the target is coarser than the source, each target pixel is the mean of k x k bilinear samples, k being the
    reduction rounded up (at most `MAX_SUPERSAMPLING`); where it is finer, cubic interpolation is used.

    Args:
        source: (H, W) or (H, W, 3) uint8.
        matrix: (3, 3) from source to target, continuous pixel coordinates.
        size: side of the target.
        border: a key of `BORDERS`.
        nearest: take the nearest pixel instead: for class maps.

    Returns:
        (size, size) or (size, size, 3) uint8.

    Raises:
        ValueError: unknown border, or a target that needs no pixel of the source.
    """
    if border not in BORDERS:
        raise ValueError(f"expected border {' | '.join(BORDERS)}, got {border!r}")
    region, shift = _cut(source, matrix, size)
    scale = magnification(matrix, size)
    samples = 1 if nearest else min(MAX_SUPERSAMPLING, max(1, math.ceil(1.0 / scale - 0.05)))
    to_target = np.diag([samples, samples, 1.0]) @ np.asarray(matrix, dtype=np.float64) @ shift
    half, back = np.eye(3), np.eye(3)
    half[:2, 2], back[:2, 2] = 0.5, -0.5
    in_opencv = back @ to_target @ half
    if nearest:
        flags = cv2.INTER_NEAREST
    else:
        flags = cv2.INTER_CUBIC if scale > 1.0 else cv2.INTER_LINEAR
    side = (size * samples, size * samples)
    if np.abs(in_opencv[2] - [0, 0, 1]).max() < 1e-12:
        warped = cv2.warpAffine(region, in_opencv[:2], side, flags=flags, borderMode=BORDERS[border])
    else:
        warped = cv2.warpPerspective(region, in_opencv, side, flags=flags, borderMode=BORDERS[border])
    if samples > 1:
        warped = cv2.resize(warped, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(warped, dtype=np.uint8)


def warp_reduced(source: Pixels, matrix: Array, size: int, border: str = "reflect") -> Pixels:
    """Resample for a network: as `warp`, but a much larger source is first reduced by a whole factor, which is faster.

    Args:
        source: (H, W, 3) uint8.
        matrix: (3, 3) similarity from source to target, continuous pixel coordinates.
        size: side of the target.
        border: a key of `BORDERS`.
    """
    reduction = int(1.0 / magnification(matrix, size))
    if reduction < 2:
        return warp(source, matrix, size, border)
    corners = quad(matrix, size)
    low = np.maximum(corners.min(axis=0).astype(int) - 2 * reduction, 0)
    high = np.minimum(corners.max(axis=0).astype(int) + 2 * reduction, [source.shape[1], source.shape[0]])
    width, height = (max(1, int(extent) // reduction) for extent in high - low)
    cut = source[low[1] : low[1] + height * reduction, low[0] : low[0] + width * reduction]
    small: Pixels = np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    to_source = np.array([[reduction, 0.0, low[0]], [0.0, reduction, low[1]], [0.0, 0.0, 1.0]])
    return warp(small, np.asarray(matrix) @ to_source, size, border)


def padding(width: int, height: int, matrix: Array, size: int) -> Pixels:
    """Return the (size, size) mask of target pixels whose centre lies outside a source of width x height: 255 there."""
    corners = quad(matrix, size)
    if corners.min() >= 0 and corners[:, 0].max() <= width and corners[:, 1].max() <= height:
        return np.zeros((size, size), dtype=np.uint8)
    inverse = np.linalg.inv(matrix)
    axis = np.arange(size) + 0.5
    x, y = axis[None, :], axis[:, None]
    depth = inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2]
    u = (inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]) / depth
    v = (inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]) / depth
    return np.where((u < 0) | (v < 0) | (u > width) | (v > height), np.uint8(255), np.uint8(0))


def _cut(source: Pixels, matrix: Array, size: int) -> tuple[Pixels, Floats]:
    """Cut out what the warp can reach, so that a huge photograph costs no more and OpenCV's 32767 px limit is not met."""
    height, width = source.shape[:2]
    corners = quad(matrix, size)
    margin = 4.0 + 2.0 / magnification(matrix, size)
    reach = 1.0 if corners.min() >= 0 and corners[:, 0].max() <= width and corners[:, 1].max() <= height else 2.0
    low, high = corners.min(axis=0) - margin, corners.max(axis=0) + margin
    if high.min() <= 0 or low[0] >= width or low[1] >= height:
        raise ValueError("expected a target that overlaps the source, got one that lies wholly outside")
    if reach > 1.0:  # reflected borders read as deep inside the source as the target leaves it
        extent = high - low
        low, high = low - extent, high + extent
    x0, y0 = max(0, math.floor(low[0])), max(0, math.floor(low[1]))
    x1, y1 = min(width, math.ceil(high[0])), min(height, math.ceil(high[1]))
    shift = np.eye(3)
    shift[:2, 2] = x0, y0
    return source[y0:y1, x0:x1], shift
