"""Check many 25-number labels at once, with the very verdicts of `Camera.check`.

Labels that are inside every limit by a clear margin pass here; all others are put to `Camera.check` itself, so that rounding
cannot make the two disagree.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .arrays import Array, Floats
from .camera import LABEL_MIRROR_NEGATES, RADIUS, Camera, CameraError, canonical_intrinsics

_MARGIN = 1.0 - 1e-6
"""Share of each limit within which the sums here may judge alone: rounding of float64 stays far below the rest."""


def surely_sound(labels: Array, free_k: bool = False) -> Array:
    """Return (N,) bool: labels that `Camera.check` accepts beyond doubt; False says only that it must be asked.

    Args:
        labels: (N, 25) float32 labels.
        free_k: as in `Camera.check`.
    """
    flat = np.asarray(labels, dtype=np.float64).reshape(-1, 25)
    sound: Array = np.asarray(np.isfinite(flat).all(axis=1))
    flat = np.where(sound[:, None], flat, 0.0)
    matrix, intrinsics = flat[:, :16].reshape(-1, 4, 4), flat[:, 16:].reshape(-1, 3, 3)
    rotation, position = matrix[:, :3, :3], matrix[:, :3, 3]
    axis = rotation[:, :, 2]
    gram = np.einsum("nki,nkj->nij", rotation, rotation)
    sound &= np.abs(matrix[:, 3] - [0, 0, 0, 1]).max(axis=1) <= 1e-6 * _MARGIN
    sound &= np.abs(gram - np.eye(3)).max(axis=(1, 2)) <= 1e-5 * _MARGIN
    sound &= np.einsum("ni,ni->n", np.cross(rotation[:, :, 0], rotation[:, :, 1]), axis) > 0.5
    sound &= np.abs(np.linalg.norm(position, axis=1) - RADIUS) <= 1e-4 * _MARGIN
    if not free_k:
        sound &= np.abs(intrinsics - canonical_intrinsics()).max(axis=(1, 2)) <= 1e-4 * _MARGIN
        sound &= np.linalg.norm(np.cross(position, axis), axis=1) <= 1e-4 * _MARGIN
        sound &= -np.einsum("ni,ni->n", position, axis) > 0.5
    lower = np.abs(intrinsics[:, [1, 2, 2], [0, 0, 1]]).max(axis=1)
    sound &= (np.abs(intrinsics[:, 2, 2] - 1) <= 1e-6 * _MARGIN) & (lower <= 1e-6 * _MARGIN)
    return np.asarray(sound & (intrinsics[:, 0, 0] > 0) & (intrinsics[:, 1, 1] > 0))


def label_problems(labels: Array, free_k: bool = False) -> Iterator[tuple[int, str]]:
    """Yield (index, message) of each label outside the contract, in order.

    Args:
        labels: (N, 25) float32 labels.
        free_k: as in `Camera.check`.
    """
    for index in np.flatnonzero(~surely_sound(labels, free_k)).tolist():
        try:
            Camera.from_label(labels[index]).check(free_k=free_k)
        except CameraError as error:
            yield index, str(error)


def label_angles(labels: Array) -> Floats:
    """Return the (N, 3) yaw, pitch and roll in degrees, as `Camera` defines them, of (N, 25) labels."""
    flat = np.asarray(labels, dtype=np.float64).reshape(-1, 25)
    matrix = flat[:, :16].reshape(-1, 4, 4)
    x, y, z = matrix[:, 0, 3], matrix[:, 1, 3], matrix[:, 2, 3]
    yaw = np.arctan2(x, z)
    with np.errstate(invalid="ignore", divide="ignore"):
        pitch = np.arcsin(np.clip(y / np.sqrt(x * x + y * y + z * z), -1.0, 1.0))
    zero = np.zeros_like(yaw)
    right = np.stack([np.cos(yaw), zero, -np.sin(yaw)], axis=1)
    ahead = -np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)], axis=1)
    first = matrix[:, :3, 0]
    roll = np.arctan2(-np.einsum("ni,ni->n", np.cross(ahead, right), first), np.einsum("ni,ni->n", right, first))
    return np.asarray(np.degrees(np.stack([yaw, pitch, roll], axis=1)))


def mirrored_labels(labels: Array) -> Array:
    """Return the (N, 25) float32 labels of `Camera.mirrored`, bit for bit, of (N, 25) float32 labels."""
    mirrored = np.asarray(labels, dtype=np.float64).copy()
    mirrored[:, [*LABEL_MIRROR_NEGATES, 12, 17]] *= -1.0  # 12 is 0 up to the tolerance of the check
    mirrored[:, 18] = 1.0 - mirrored[:, 18]
    return mirrored.astype(np.float32) + np.float32(0)
