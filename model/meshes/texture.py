"""Colours and classes of a surface from many rendered views, each with the weight that its sight of a point deserves.

A view's say at a point is a power of the cosine between the surface's normal and the direction to the camera, zero where
another part of the mesh hides the point, and fades towards edges of the depth, where pixels mix what lies before and behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from ...datasets.arrays import Array, Floats, Pixels
from ...datasets.camera import Camera
from ...datasets.classes import CLASSES, PALETTE
from ..visualization.views import View
from .mesh import Mesh
from .rasterise import Raster, laid_out, seen_by
from .unwrap import Atlas

SHARPNESS = 4.0
"""Power of the cosine; larger ones prefer the view that faces the surface."""
DEPTH_PIXELS = 512
"""Side of the depth map that tells what is hidden."""
HIDDEN, EDGE = 0.008, 0.03
"""World units behind the nearest surface from which a point is hidden, and depth's range in a neighbourhood that is an edge."""
FADE = 1.5
"""Pixels of the picture beside an edge over which a view's say fades in."""
LEAST = 1e-3
"""Weight below which nothing is known of a point."""


@dataclass(frozen=True, eq=False)
class Samples:
    """What views say of points."""

    colours: Floats
    """(N, 3) sRGB, 0 to 255; of points that no view sees, the nearest seen point's."""
    weights: Floats
    """(N,) sum of the views' weights."""
    votes: Array | None
    """(N, 19) float32 weight for each class; None where views have no class map."""

    def classes(self) -> Array | None:
        """Return the (N,) class with the most votes but background; skin where there are none."""
        if self.votes is None:
            return None
        return np.where(self.votes[:, 1:].any(axis=1), 1 + self.votes[:, 1:].argmax(axis=1), 1).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Texture:
    """Pictures of an atlas."""

    colours: Pixels
    """(T, T, 3) sRGB; beside the charts, the nearest texel's."""
    classes: Pixels | None
    """(T, T) class ids; None where views have no class map."""
    seen: float
    """Share of covered texels that some view sees."""


def gather(mesh: Mesh, points: Floats, normals: Floats, cameras: Sequence[Camera], views: Sequence[View]) -> Samples:
    """Ask every view about points on a mesh.

    Args:
        mesh: what hides points from views.
        points: (N, 3) world points on it.
        normals: (N, 3) outward unit normals there.
        cameras: of the views.
        views: rendered pictures, with class maps or all without.
    """
    colours, weights = np.zeros((len(points), 3)), np.zeros(len(points))
    parsed = all(view.parsing is not None for view in views)
    votes = np.zeros((len(points), len(CLASSES)), dtype=np.float32) if parsed else None
    for camera, view in zip(cameras, views, strict=True):
        say, places = view_weights(mesh, points, normals, camera, view.image.shape[0])
        rows = np.flatnonzero(say > 0)
        colours[rows] += say[rows, None] * _read(view.image, places[rows], cv2.INTER_LINEAR)
        weights[rows] += say[rows]
        if votes is not None and view.parsing is not None:
            found = _read(view.parsing, places[rows], cv2.INTER_NEAREST).astype(np.int64)
            known = found < len(CLASSES)
            votes[rows[known], found[known]] += say[rows[known]]
    seen = weights > LEAST
    colours[seen] /= weights[seen, None]
    if seen.any() and not seen.all():
        nearest = cKDTree(points[seen]).query(points[~seen])[1]
        colours[~seen] = colours[seen][nearest]
        if votes is not None:
            votes[~seen] = votes[seen][nearest]
    return Samples(colours, weights, votes)


def view_weights(mesh: Mesh, points: Floats, normals: Floats, camera: Camera, size: int) -> tuple[Floats, Floats]:
    """Return a view's (N,) weights at points and the points' (N, 2) places in its picture, normalised.

    Args:
        mesh: what hides points.
        points: (N, 3) world points.
        normals: (N, 3) unit normals.
        camera: of the view.
        size: side of the picture in pixels.
    """
    depth = seen_by(mesh, camera, DEPTH_PIXELS).depth
    places, distances = camera.project(points)
    towards = camera.position - points
    cosines = np.einsum("nk,nk->n", normals, towards) / np.linalg.norm(towards, axis=1)
    cells = np.floor(places * DEPTH_PIXELS).astype(np.int64)
    inside = ((cells >= 0) & (cells < DEPTH_PIXELS)).all(axis=1) & (cosines > 0.05)
    column, row = cells[inside].T
    say = np.zeros(len(points))
    visible = distances[inside] < depth[row, column] + HIDDEN
    far = _distance_from_edges(depth)[row, column] * (size / DEPTH_PIXELS)
    say[inside] = visible * cosines[inside] ** SHARPNESS * np.clip(far / FADE, 0.02, 1.0)
    return say, places


def _distance_from_edges(depth: Array) -> Array:
    """Return each pixel's (S, S) distance in pixels from the nearest jump of depth, outlines included."""
    filled = np.where(np.isfinite(depth), depth, 100.0).astype(np.float32)
    kernel = np.ones((3, 3), dtype=np.uint8)
    smooth = cv2.dilate(filled, kernel) - cv2.erode(filled, kernel) < EDGE
    return np.asarray(cv2.distanceTransform(smooth.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE))


def _read(picture: Pixels, places: Floats, how: int) -> Array:
    """Read a picture at normalised places (N, 2)."""
    height, width = picture.shape[:2]
    maps = (places * (width, height) - 0.5).astype(np.float32)
    rows = [  # OpenCV's remap takes at most 32,767 rows
        cv2.remap(picture.astype(np.float32), part[None, :, 0], part[None, :, 1], how, borderMode=cv2.BORDER_REPLICATE)[0]
        for part in np.split(maps, range(30_000, len(maps), 30_000))
        if len(part)
    ]
    return np.concatenate(rows) if rows else np.zeros((0, *picture.shape[2:]), dtype=np.float32)


def paint(mesh: Mesh, atlas: Atlas, cameras: Sequence[Camera], views: Sequence[View], size: int) -> tuple[Texture, Samples]:
    """Paint an atlas, and the vertices of its mesh, from views.

    Args:
        mesh: the surface.
        atlas: its unwrapping.
        cameras: of the views.
        views: rendered pictures.
        size: texels a side.

    Returns:
        The texture, and what views say of the mesh's vertices.
    """
    raster = laid_out(atlas.uv, atlas.faces, size)
    normals = mesh.normals()
    points = raster.blend(mesh.vertices, mesh.faces)
    across = raster.blend(normals, mesh.faces)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    count = len(mesh.vertices)
    found = gather(mesh, np.concatenate([mesh.vertices, points]), np.concatenate([normals, across]), cameras, views)
    texels = np.zeros((size, size, 3), dtype=np.uint8)
    covered = raster.face >= 0
    texels[covered] = np.round(np.clip(found.colours[count:], 0, 255)).astype(np.uint8)
    classes, corners = None, None if found.votes is None else found.votes[:count]
    if corners is not None:
        classes = _spread(_class_texels(raster, corners, mesh.faces), covered)
    seen = float((found.weights[count:] > LEAST).mean()) if len(points) else 0.0
    return Texture(_spread(texels, covered), classes, seen), Samples(found.colours[:count], found.weights[:count], corners)


def _class_texels(raster: Raster, votes: Array, faces: Array) -> Pixels:
    """Return the (T, T) class of every texel, from its corners' votes."""
    sums = np.maximum(votes.sum(axis=1, keepdims=True), 1e-12)
    shares = raster.blend(votes / sums, faces)
    out = np.zeros(raster.face.shape, dtype=np.uint8)
    out[raster.face >= 0] = np.where(shares[:, 1:].any(axis=1), 1 + shares[:, 1:].argmax(axis=1), 1)
    return out


def _spread(picture: Pixels, covered: Array) -> Pixels:
    """Return a picture whose uncovered texels have the value of the nearest covered one, so that no seam shows."""
    if covered.all() or not covered.any():
        return picture
    _, (rows, columns) = ndimage.distance_transform_edt(~covered, return_indices=True)
    return np.ascontiguousarray(picture[rows, columns])


def drawn(mesh: Mesh, atlas: Atlas, texture: Pixels, camera: Camera, size: int, ground: int = 255) -> tuple[Pixels, Array]:
    """Draw a textured mesh without light.

    Args:
        mesh: the surface.
        atlas: its unwrapping.
        texture: (T, T, 3) or (T, T) class ids, which are drawn in the palette.
        camera: where it is seen from.
        size: pixels a side.
        ground: grey behind.

    Returns:
        (size, size, 3) picture and the (size, size) distances from the camera, infinity where there is nothing.
    """
    raster = seen_by(mesh, camera, size)
    places = raster.blend(atlas.uv, atlas.faces)
    out = np.full((size, size, 3), ground, dtype=np.uint8)
    if texture.ndim == 2:
        out[raster.face >= 0] = PALETTE[_read(texture, places, cv2.INTER_NEAREST).astype(np.int64)]
    else:
        out[raster.face >= 0] = np.round(_read(texture, places, cv2.INTER_LINEAR)).astype(np.uint8)
    centres = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(centres, centres)
    local = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(camera.intrinsics).T
    return out, raster.depth * np.linalg.norm(local, axis=-1)
