"""Cameras that an inversion may move: turns about the head, shifts and zooms of the crop, in units of their expected error.

A camera stays on its sphere and looks at the origin as the label's contract wants, except for the crop's shift and zoom,
which go into its intrinsics. What is minimised is left to `search`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from ...datasets.camera import geodesic

NUM_UNITS = 6
"""Turn about the camera's x, y and z axes, shift in x and y, zoom."""


@dataclass(frozen=True)
class CameraPrior:
    """How far a label may be off, beside its angles."""

    shift: float = 0.012
    """Standard deviation of the crop's place, in sides of the crop."""
    zoom: float = 0.025
    """Standard deviation of the logarithm of its scale."""


def moved(camera: Tensor, units: Tensor, angle_error: Tensor, prior: CameraPrior = CameraPrior()) -> Tensor:
    """Return the (B, 25) labels of cameras that were moved; differentiable in `units`.

    Args:
        camera: (B, 25) labels.
        units: (B, 6) turns about the head around the camera's own axes, shift and zoom, each in standard deviations.
        angle_error: (B,) standard deviation of each turn in radians.
        prior: the other standard deviations.
    """
    pose = camera[:, :16].reshape(-1, 4, 4)
    own = pose[:, :3, :3]
    turn = own @ rotation(units[:, :3] * angle_error[:, None]) @ own.transpose(1, 2)
    top = turn @ pose[:, :3]
    matrix = torch.cat([top, pose[:, 3:]], dim=1).flatten(1)
    zoom = torch.exp(units[:, 5] * prior.zoom)
    shift = units[:, 3:5] * prior.shift
    fx, skew, cx, fy, cy = (camera[:, index] for index in (16, 17, 18, 20, 21))
    rest = torch.zeros_like(fx)
    intrinsics = torch.stack(
        [fx * zoom, skew * zoom, 0.5 + (cx - 0.5) * zoom + shift[:, 0], rest, fy * zoom,
         0.5 + (cy - 0.5) * zoom + shift[:, 1], rest, rest, rest + 1.0], dim=1,
    )  # fmt: skip
    return torch.cat([matrix, intrinsics], dim=1)


def rotation(vector: Tensor) -> Tensor:
    """Return the (B, 3, 3) rotations by |v| radians about v of (B, 3) vectors (the exponential map of so(3))."""
    x, y, z = vector.unbind(dim=1)
    rest = torch.zeros_like(x)
    skew = torch.stack([rest, -z, y, z, rest, -x, -y, x, rest], dim=1).view(-1, 3, 3)
    found: Tensor = torch.linalg.matrix_exp(skew)
    return found


def rotation_vector(matrix: Tensor) -> Tensor:
    """Return the (B, 3) vectors whose `rotation` are (B, 3, 3) rotations, of lengths up to pi."""
    return torch.from_numpy(Rotation.from_matrix(matrix.detach().double().cpu().numpy()).as_rotvec()).to(matrix)


def angle_between(first: Tensor, second: Tensor) -> Tensor:
    """Return the (B,) angles in radians of the rotations between the cameras of (B, 25) labels."""
    rotations = [labels[:, :16].reshape(-1, 4, 4)[:, :3, :3].detach().cpu().numpy() for labels in (first, second)]
    return torch.tensor([geodesic(one, other) for one, other in zip(*rotations, strict=True)])
