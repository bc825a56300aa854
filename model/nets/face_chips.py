"""Faces cut out of pictures as face recognition wants them, by where a camera shows the canonical face: no detector is asked.

dlib's alignment: the similarity that brings five points of its mean face to eye corners and the base of the nose. For a label
it is fixed, so that a gradient flows from the chip to the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ...datasets.camera import canonical_to_world
from ...datasets.canonical_face import canonical_vertices
from .face_recognition import CHIP

POINTS = (263, 362, 33, 133, 2)
"""Vertices of the canonical face: corners of the subject's left eye, outer and inner, of the right eye, base of the nose."""
MEAN_POINTS = (
    (0.8595674595992, 0.2134981538014), (0.6460604764104, 0.2289674387677), (0.1205750620789, 0.2137274526848),
    (0.3340850613712, 0.2290642403242), (0.4901123135679, 0.6277975316475),
)  # fmt: skip
"""The same of dlib's mean face, in its square (dlib, image_transforms/interpolation.h, get_face_chip_details)."""
PADDING = 0.25
"""Border that is added at each side, in sides of the mean face's square: what the network was trained with."""
VISIBLE_YAW_DEGREES, VISIBLE_PITCH_DEGREES = 60.0, 40.0
"""Largest azimuth and elevation of a camera at which a face can be recognised (docs/reference/models.md)."""


def chip_points() -> Tensor:
    """Return the (5, 2) places of the points in a chip, in its sides."""
    return (torch.tensor(MEAN_POINTS, dtype=torch.float64) + PADDING) / (1.0 + 2.0 * PADDING)


def face_points(camera: Tensor) -> Tensor:
    """Return the (B, 5, 2) places where (B, 25) cameras show the canonical face's points, in sides of the picture."""
    world = torch.from_numpy(canonical_to_world(canonical_vertices()[list(POINTS)])).to(camera.device)
    label = camera.double()
    pose, intrinsics = label[:, :16].view(-1, 4, 4), label[:, 16:].view(-1, 3, 3)
    seen = (world - pose[:, None, :3, 3]) @ pose[:, :3, :3] @ intrinsics.transpose(1, 2)
    return seen[..., :2] / seen[..., 2:]


def similarities(places: Tensor, points: Tensor) -> Tensor:
    """Return the (B, 2, 3) similarities that bring points nearest to places, by least squares (no mirroring).

    Args:
        places: (B, N, 2) where they shall lie.
        points: (N, 2)
    """
    near, far = points - points.mean(dim=0), places - places.mean(dim=1, keepdim=True)
    scale = near.square().sum()
    cosine = (near * far).sum(dim=(1, 2)) / scale
    sine = (near[:, 0] * far[..., 1] - near[:, 1] * far[..., 0]).sum(dim=1) / scale
    turn = torch.stack([torch.stack([cosine, -sine], dim=1), torch.stack([sine, cosine], dim=1)], dim=1)
    shift = places.mean(dim=1) - turn @ points.mean(dim=0)
    return torch.cat([turn, shift[..., None]], dim=2)


def face_chips(image: Tensor, camera: Tensor) -> Tensor:
    """Cut faces out of pictures.

    Args:
        image: (B, 3, R, R) pictures in [-1, 1]; a gradient flows to them.
        camera: (B, 25) their labels; none flows to these.

    Returns:
        (B, 3, 150, 150) chips; what lies outside the picture is its border.
    """
    with torch.no_grad():
        warp = similarities(face_points(camera), chip_points().to(camera.device))
        scale = float(warp[:, :, 0].norm(dim=1).max()) * image.shape[-1] / CHIP
        finer = max(1, math.ceil(scale - 1e-6))  # pixels of a large picture are averaged, not skipped
        side = CHIP * finer
        centres = (torch.arange(side, device=camera.device, dtype=torch.float64) + 0.5) / side
        rows, columns = torch.meshgrid(centres, centres, indexing="ij")
        grid = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1)
        places = torch.einsum("bij,hwj->bhwi", warp, grid)
    chips = functional.grid_sample(
        image.float(), (2.0 * places - 1.0).float(), mode="bilinear", padding_mode="border", align_corners=False
    )
    return functional.avg_pool2d(chips, finer) if finer > 1 else chips


def face_visible(camera: Tensor, limits: Sequence[float] = (VISIBLE_YAW_DEGREES, VISIBLE_PITCH_DEGREES)) -> Tensor:
    """Return (B,) whether (B, 25) cameras stand where they see the face, within limits of azimuth and elevation in degrees."""
    x, y, z = camera[:, 3], camera[:, 7], camera[:, 11]
    yaw, pitch = torch.atan2(x, z).abs(), torch.atan2(y, (x.square() + z.square()).sqrt()).abs()
    return (yaw <= math.radians(limits[0])) & (pitch <= math.radians(limits[1]))
