"""Triangle meshes to pixels: which face is nearest (without gradient), where in the face and how far (with gradient).

Plain PyTorch on any device, for a batch of meshes at once. Outlines get their gradient in `antialias`; what is seen at a point
of the surface is left to the renderer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..boxes import boxes_of, in_parts, num_pixels, pixels_in
from .marching import Meshes

NEAREST = 1e-4
"""Faces with a corner at less than this depth are not drawn, in world units."""


@dataclass(frozen=True, eq=False)
class Screen:
    """The corners of a batch of meshes as its cameras see them."""

    places: Tensor
    """(N, 3) float64: column and row in pixels, each times the depth, and the depth along the optical axis in world units."""
    faces: Tensor
    """(M, 3) int64 corners of faces."""
    face_head: Tensor
    """(M,) int64 picture of each face."""
    resolution: int
    """Pixels a side."""

    @property
    def pixels(self) -> Tensor:
        """(N, 2) column and row of each corner; pixel j's centre is at j + 0.5."""
        depth = self.places[:, 2:]
        return self.places[:, :2] / torch.where(depth > NEAREST, depth, NEAREST)


@dataclass(frozen=True, eq=False)
class Fragments:
    """What covers the covered pixels of a batch of pictures, picture by picture and row by row."""

    pixel: Tensor
    """(P,) int64 pixels of all pictures laid one after the other, rising."""
    face: Tensor
    """(P,) int64 nearest face."""
    bary: Tensor
    """(P, 3) float64 weights of its corners in space, with gradient."""
    depth: Tensor
    """(P,) float64 depth along the optical axis in world units, with gradient."""

    def blend(self, values: Tensor, faces: Tensor) -> Tensor:
        """Interpolate (N, C) values of corners: (P, C)."""
        corners = values[faces[self.face]]
        return (self.bary.to(values.dtype)[..., None] * corners).sum(dim=1)


def project(meshes: Meshes, camera: Tensor, resolution: int) -> Screen:
    """Project meshes with the camera of each head; differentiable in vertices and cameras.

    Args:
        meshes: the heads.
        camera: (B, 25) labels.
        resolution: pixels a side.
    """
    label = camera.double()
    cam2world = label[:, :16].view(-1, 4, 4)
    head = meshes.vertex_head
    local = torch.einsum("nij,ni->nj", cam2world[head, :3, :3], meshes.vertices.double() - cam2world[head, :3, 3])
    fx, skew, cx, fy, cy = (label[head, index] for index in (16, 17, 18, 20, 21))
    x, y, z = local.unbind(1)
    places = torch.stack([resolution * (fx * x + skew * y + cx * z), resolution * (fy * y + cy * z), z], dim=1)
    return Screen(places, meshes.faces, meshes.face_head, resolution)


@torch.no_grad()
def nearest_faces(screen: Screen, num_heads: int) -> Tensor:
    """Return the (num_heads * resolution^2,) nearest face at every pixel's centre, -1 for none; of equally near ones the first.

    Every pixel in a face's bounding box is tried, many faces at a time.
    """
    r = screen.resolution
    nearest = screen.places.new_full((num_heads * r * r,), torch.inf)
    covers = [_covered(screen, faces, counts) for faces, counts in _parts(screen)]
    for pixel, depth, _ in covers:
        nearest.scatter_reduce_(0, pixel, depth, "amin")
    none = len(screen.faces)
    found = torch.full_like(nearest, none, dtype=torch.int64)
    for pixel, depth, face in covers:
        first = depth == nearest[pixel]
        found.scatter_reduce_(0, pixel[first], face[first], "amin")
    return torch.where(found == none, -1, found)


def _parts(screen: Screen) -> list[tuple[Tensor, Tensor]]:
    """Return (K,) faces that may cover pixels and their (K, 4) boxes, in parts of bounded work."""
    corners = screen.pixels[screen.faces]
    boxes = boxes_of(corners.amin(dim=1), corners.amax(dim=1), screen.resolution)
    ahead = screen.places[:, 2][screen.faces].amin(dim=1) > NEAREST
    faces = ((num_pixels(boxes) > 0) & ahead).nonzero().squeeze(1)
    return in_parts(faces, boxes[faces])


def _covered(screen: Screen, faces: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return pixel, depth and face of every pixel centre that lies in one of these faces, its edges included."""
    which, column, row = pixels_in(boxes)
    face = faces[which]
    weights, depths = _weights(screen, face, column, row)
    total = weights.sum(dim=1)
    covered = ((weights >= 0).all(dim=1) | (weights <= 0).all(dim=1)) & (total != 0)
    depth = ((weights * depths).sum(dim=1) / total)[covered]
    r = screen.resolution
    pixel = (screen.face_head[face] * r + row) * r + column
    return pixel[covered], depth, face[covered]


def _weights(screen: Screen, face: Tensor, column: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    """Return (P, 3) weights of corners in space, before they are divided by their sum, and (P, 3) depths of the corners.

    A corner's weight is the volume between the pixel's ray and the edge against it, so it is right for the perspective, and a
    shared edge gets the same number from both of its faces, with the sign turned.
    """
    corners = screen.places[screen.faces[face]]
    depths = corners[..., 2]
    x = corners[..., 0] - (column + 0.5)[:, None] * depths
    y = corners[..., 1] - (row + 0.5)[:, None] * depths
    (x0, x1, x2), (y0, y1, y2) = x.unbind(1), y.unbind(1)
    weights = torch.stack([x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1], dim=1)
    return weights, depths


def rasterise(screen: Screen, num_heads: int) -> Fragments:
    """Find the nearest face at every pixel's centre, and with gradient where in it and how far the centre's ray meets it.

    Args:
        screen: projected meshes.
        num_heads: pictures of the batch.
    """
    r = screen.resolution
    nearest = nearest_faces(screen, num_heads)
    pixel = (nearest >= 0).nonzero().squeeze(1)
    face = nearest[pixel]
    weights, depths = _weights(screen, face, pixel % r, torch.div(pixel, r, rounding_mode="floor") % r)
    bary = weights / weights.sum(dim=1, keepdim=True)
    return Fragments(pixel, face, bary, (bary * depths).sum(dim=1))
