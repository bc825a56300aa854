"""3D Gaussians of a batch of heads, and how cameras see them: each as an ellipse of pixels (Kerbl et al. 2023).

Where Gaussians come from is left to `splats`, what pixels make of the ellipses to `compose`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..rays import Rays

SMOOTHING = 0.3
"""Square pixels added to every ellipse's variance, so that none falls between pixel centres (Kerbl et al. 2023)."""
NEAREST = 0.01
"""Gaussians whose centre is less deep than this are not drawn, in world units."""


@dataclass(frozen=True, eq=False)
class Gaussians:
    """N Gaussians of a batch of heads, one head after the other."""

    centres: Tensor
    """(N, 3) world points."""
    lengths: Tensor
    """(N, 3) standard deviations along the principal axes, in world units."""
    turns: Tensor
    """(N, 4) quaternions w, x, y, z, which turn the world's axes to the principal ones; of any length above zero."""
    opacity: Tensor
    """(N,) opacity at the centre, 0 to 1."""
    head: Tensor
    """(N,) int64 head of each, not falling."""

    @property
    def axes(self) -> Tensor:
        """(N, 3, 3): columns are the principal axes, as long as the standard deviation along each."""
        return rotations(self.turns) * self.lengths[:, None, :]


@dataclass(frozen=True, eq=False)
class Ellipses:
    """Gaussians as the cameras of their heads see them."""

    centre: Tensor
    """(N, 2) column and row in pixels; pixel j's centre is at j + 0.5."""
    conic: Tensor
    """(N, 3) numbers a, b, c: at an offset (x, y) the exponent is -(a x^2 + 2 b x y + c y^2) / 2."""
    deviation: Tensor
    """(N, 2) standard deviation along columns and rows, in pixels."""
    depth: Tensor
    """(N,) depth of the centre along the optical axis, in world units."""
    distance: Tensor
    """(N,) distance of the centre from the camera, in world units."""


def rotations(quaternions: Tensor) -> Tensor:
    """Return the (N, 3, 3) rotations of (N, 4) quaternions w, x, y, z, of any length above zero."""
    w, x, y, z = torch.nn.functional.normalize(quaternions, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    out: Tensor = torch.stack(rows, dim=-1).unflatten(-1, (3, 3))
    return out


def lattice(spacing: float, box: tuple[float, float, float]) -> Tensor:
    """Return the (N, 3) points of a body-centred cubic lattice inside a box about the origin.

    Args:
        spacing: side of the lattice's cubes, in world units; nearest neighbours are 0.866 of it apart.
        box: sides of the box in world units.
    """
    halves = []
    for shift in (0.0, 0.5):
        axes = []
        for side in box:
            most = math.floor(side / 2 / spacing) + 1
            places = [(number + shift) * spacing for number in range(-most, most + 1)]
            axes.append(torch.tensor([place for place in places if abs(place) <= side / 2 + 1e-6 * spacing]))
        halves.append(torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 2))
    return torch.cat(halves)


def project(gaussians: Gaussians, rays: Rays) -> Ellipses:
    """See Gaussians with the camera of each head; the projection is linear about each centre (Zwicker et al. 2001, eq. 29).

    Differentiable in the Gaussians and in the cameras.
    """
    label, head, r = rays.camera.to(gaussians.centres.dtype), gaussians.head, rays.resolution
    cam2world = label[:, :16].view(-1, 4, 4)[head]
    to_camera = cam2world[:, :3, :3].transpose(1, 2)
    local = (to_camera @ (gaussians.centres - cam2world[:, :3, 3])[..., None])[..., 0]
    fx, skew, cx, fy, cy = (label[head, index] for index in (16, 17, 18, 20, 21))
    x, y = local[:, 0], local[:, 1]
    z = local[:, 2].clamp_min(NEAREST)
    across, down = fx * x + skew * y, fy * y
    none = torch.zeros_like(z)
    slopes = torch.stack([fx / z, skew / z, -across / z**2, none, fy / z, -down / z**2], dim=1).unflatten(1, (2, 3)) * r
    spread = slopes @ to_camera @ gaussians.axes
    covariance = spread @ spread.transpose(1, 2)
    xx, xy, yy = covariance[:, 0, 0] + SMOOTHING, covariance[:, 0, 1], covariance[:, 1, 1] + SMOOTHING
    area = xx * yy - xy * xy
    return Ellipses(
        torch.stack([across / z + cx, down / z + cy], dim=1) * r,
        torch.stack([yy, -xy, xx], dim=1) / area[:, None],
        torch.stack([xx, yy], dim=1).sqrt(),
        local[:, 2],
        local.norm(dim=1),
    )
