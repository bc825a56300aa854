"""Camera labels into rays: one unit direction for the centre of every pixel, and the checks a label must pass before.

It leaves the label's making to `datasets.camera` (same axes, same 25 numbers) and what is seen along a ray to the renderers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LABEL_SIZE = 25
"""cam2world row by row (16), then the intrinsics divided by the image side, row by row (9)."""


class LabelError(ValueError):
    """A camera label that cannot be rendered; the message says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Rays:
    """The rays of square pictures, one through the centre of every pixel."""

    origins: Tensor
    """(B, M, 3) world points; M is resolution^2, rows first."""
    directions: Tensor
    """(B, M, 3) unit vectors."""
    camera: Tensor
    """(B, 25) labels of the cameras that they belong to."""
    resolution: int
    """Pixels per side."""

    @classmethod
    def cast(cls, camera: Tensor, resolution: int) -> Rays:
        """Cast the rays of labels (B, 25); see `camera_rays`."""
        return cls(*camera_rays(camera, resolution), camera, resolution)


def camera_rays(label: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """Cast one ray through the centre of every pixel of a square picture.

    Pixel (row i, column j) looks through ((j + 0.5) / resolution, (i + 0.5) / resolution), along OpenCV axes.
    Differentiable in the label, so a learned camera shift receives its gradient.

    Args:
        label: (B, 25) camera labels.
        resolution: pixels a side.

    Returns:
        (B, resolution^2, 3) origins and (B, resolution^2, 3) unit directions in the world, rows first.

    Raises:
        LabelError: the label has another shape or the resolution is not positive.
    """
    _check_shape(label)
    if resolution < 1:
        raise LabelError(f"expected a resolution of at least 1 pixel, got {resolution}")
    cam2world = label[:, :16].view(-1, 4, 4)
    fx, skew, cx, fy, cy = (label[:, index : index + 1] for index in (16, 17, 18, 20, 21))
    centres = (torch.arange(resolution, dtype=label.dtype, device=label.device) + 0.5) / resolution
    v, u = (grid.reshape(1, -1) for grid in torch.meshgrid(centres, centres, indexing="ij"))
    y = (v - cy) / fy
    x = (u - cx - skew * y) / fx
    local = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    directions = torch.nn.functional.normalize(local @ cam2world[:, :3, :3].transpose(1, 2), dim=-1)
    return cam2world[:, None, :3, 3].expand_as(directions), directions


def ray_distance(depth: Tensor, camera: Tensor, resolution: int) -> Tensor:
    """Return (B, 1, r, r) distances along the rays of (B, S, S) depths along the optical axis; 0 stays 0.

    Args:
        depth: world units, 0 where unknown.
        camera: (B, 25) labels.
        resolution: r, rays a side; each takes the nearest pixel.
    """
    small = torch.nn.functional.interpolate(depth[:, None], size=(resolution, resolution), mode="nearest-exact")
    _, directions = camera_rays(camera, resolution)
    axis = camera[:, :16].view(-1, 4, 4)[:, :3, 2]
    cosine = (directions * axis[:, None]).sum(dim=2)
    return small / cosine.view(-1, 1, resolution, resolution)


def camera_angles(label: Tensor) -> Tensor:
    """Return the (B, 2) yaw and pitch in radians at which cameras stand about the origin, as `Camera.look_at` takes them."""
    x, y, z = label[:, 3], label[:, 7], label[:, 11]
    return torch.stack([torch.atan2(x, z), torch.atan2(y, (x.square() + z.square()).sqrt())], dim=1)


def check_labels(label: Tensor, batch: int | None = None, head_radius: float = 0.6) -> None:
    """Refuse labels that no camera of a head could have.

    Args:
        label: (B, 25) camera labels.
        batch: expected B, or None for any.
        head_radius: world units about the origin that a camera may not enter.

    Raises:
        LabelError: wrong shape or batch, numbers not finite, intrinsics not normalised, no rotation, camera inside the head.
    """
    _check_shape(label)
    if not len(label):
        raise LabelError("expected at least one camera label, got none")
    if batch is not None and label.shape[0] != batch:
        raise LabelError(f"expected one camera label a head: {batch}, got {label.shape[0]}")
    rows = label.detach().to(device="cpu", dtype=torch.float64)
    for index, row in enumerate(rows):
        problem = _problem(row, head_radius)
        if problem:
            raise LabelError(f"camera label {index}: {problem}")


def _check_shape(label: Tensor) -> None:
    if label.ndim != 2 or label.shape[1] != LABEL_SIZE:
        raise LabelError(f"expected camera labels of shape (B, 25): cam2world 16, intrinsics 9; got {tuple(label.shape)}")
    if not label.is_floating_point():
        raise LabelError(f"expected floating-point camera labels, got {label.dtype}")


def _problem(row: Tensor, head_radius: float) -> str:
    """Say what is wrong with one label, or return an empty text."""
    if not torch.isfinite(row).all():
        at = int((~torch.isfinite(row)).nonzero()[0, 0])
        return f"expected finite numbers, got {float(row[at])} at entry {at}"
    cam2world, k = row[:16].view(4, 4), row[16:].view(3, 3)
    if not torch.equal(cam2world[3], cam2world.new_tensor([0, 0, 0, 1])):
        hint = "; the matrix looks transposed: write it row by row" if float(cam2world[3, :3].abs().max()) > 0.1 else ""
        return f"expected the last row of cam2world to be 0 0 0 1, got {cam2world[3].tolist()}{hint}"
    rotation = cam2world[:3, :3]
    error, determinant = (
        float((rotation.T @ rotation - torch.eye(3, dtype=row.dtype)).abs().max()),
        float(torch.linalg.det(rotation)),
    )
    if error > 5e-3 or determinant < 0:
        return f"expected a rotation with determinant +1, got determinant {determinant:.4g}, off orthonormal by {error:.2g}"
    distance = float(cam2world[:3, 3].norm())
    if distance <= head_radius:
        return f"expected the camera outside the head (farther than {head_radius} from the origin), got distance {distance:.4g}"
    return _intrinsics_problem(k)


def _intrinsics_problem(k: Tensor) -> str:
    fx, fy = float(k[0, 0]), float(k[1, 1])
    if fx <= 0 or fy <= 0:
        return f"expected positive focal lengths, got fx {fx:.5g}, fy {fy:.5g}"
    if max(fx, fy) > 50 or max(abs(float(k[0, 2])), abs(float(k[1, 2]))) > 10:
        return f"expected intrinsics divided by the image side (fx near 4.26), got fx {fx:.5g}: divide the first two rows by it"
    if not math.isclose(float(k[2, 2]), 1.0, abs_tol=1e-5) or float(k[[1, 2, 2], [0, 0, 1]].abs().max()) > 1e-5:
        return f"expected upper-triangular intrinsics with last entry 1, got {k.flatten().tolist()}"
    return ""
