"""Depth maps of rendered heads: their 16-bit PNG, and what becomes of them when a crop is warped.

A depth is the distance along the camera's optical axis in world units; 0 stands where nothing is known. Where such maps come
from is left to the renderer, which samples have them to `shards.codec`.
"""

from __future__ import annotations

import cv2
import numpy as np

from .arrays import Array, Floats
from .camera import Camera

UNIT = 1e-3
"""World units of one step of the PNG: about a quarter of a millimetre on a head."""
MEMBER = "depth.png"
"""Suffix of the member of a shard."""


def encode_depth(depth: Array) -> bytes:
    """Encode a depth map as PNG.

    Args:
        depth: (H, W) float32; 0 or infinity where nothing is known. It is rounded to steps of `UNIT` and ends at 65.535.
    """
    known = np.isfinite(depth) & (depth > 0)
    steps = np.where(known, np.clip(np.rint(np.where(known, depth, 0.0) / UNIT), 1, 65535), 0).astype(np.uint16)
    done, data = cv2.imencode(".png", steps, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise ValueError(f"OpenCV could not encode a {steps.shape} depth map")
    return bytes(data)


def decode_depth(data: bytes | memoryview) -> Array:
    """Decode a depth map to (H, W) float32, 0 where nothing is known.

    Raises:
        ValueError: the bytes are no 16-bit picture of one channel.
    """
    steps = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if steps is None or steps.ndim != 2 or steps.dtype != np.uint16:
        raise ValueError(f"expected a 16-bit grey PNG, got {None if steps is None else (steps.shape, steps.dtype)}")
    return np.asarray(steps * np.float32(UNIT), dtype=np.float32)


def ray_lengths(intrinsics: Floats, size: int) -> Array:
    """Return (S, S) float32 distances along the ray of each pixel's centre that go with a depth of 1.

    Args:
        intrinsics: (3, 3), normalised by the side.
        size: S, side in pixels.
    """
    axis = (np.arange(size) + 0.5) / size
    points = np.stack([*np.meshgrid(axis, axis), np.ones((size, size))], axis=-1)
    return np.asarray(np.linalg.norm(points @ np.linalg.inv(intrinsics).T, axis=2), dtype=np.float32)


def warp_depth(depth: Array, matrix: Floats, size: int, before: Camera, after: Camera) -> Array:
    """Return the depth map of a warped picture, whose camera stands in the same place.

    The distance along a ray does not change; the optical axis may. Each pixel takes the nearest one of the source, since a
    mean over an outline would lie in mid-air.

    Args:
        depth: (H, H) float32, 0 where nothing is known.
        matrix: (3, 3) from source to target, continuous pixel coordinates; it may mirror.
        size: side of the target.
        before: camera of the source.
        after: camera of the target.
    """
    side = depth.shape[0]
    axis = np.arange(size) + 0.5
    points = np.stack([*np.meshgrid(axis, axis), np.ones((size, size))], axis=-1) @ np.linalg.inv(matrix).T
    there = np.floor(points[..., :2] / points[..., 2:] + 1e-9).astype(np.int64)
    inside = ((there >= 0) & (there < side)).all(axis=2) & (points[..., 2] > 0)
    x, y = np.clip(there, 0, side - 1).transpose(2, 0, 1)
    distance = (depth * ray_lengths(before.intrinsics, side))[y, x]
    return np.where(inside, distance / ray_lengths(after.intrinsics, size), 0.0).astype(np.float32)
