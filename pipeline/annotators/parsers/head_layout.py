"""Where skin, hair and clothes are likely in a crop, from the face mesh or, without one, from the camera alone.

Everything lives on a coarse grid over the crop. What the pixels' colours say is left to `colour_models`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.camera import CANONICAL_SCALE, Camera, canonical_to_world
from ....datasets.canonical_face import canonical_vertices
from ..faces.face_regions import CHIN, CORE, EAR_CENTRE, FACE_OVAL, FOREHEAD, JAW, ear_outline, feature_polygons, fill
from ..faces.face_shape import vertex_normals

SKIN, NECK, HAIR, CLOTH = range(4)
"""Order of the classes in a prior; skin is that of face and ears."""

THROAT = (0.0, -11.0, -3.0)
"""A point on the neck's axis, in centimetres of the canonical face model."""
NAPE = (0.0, -6.5, -8.0)
"""Where the neck begins behind, in centimetres of the canonical face model."""
_MIDDLE = 5.5
"""Centimetres around the middle of the face that hair seldom covers."""
_EAR_GROWTH = 0.9
"""Centimetres around the expected ear in which ears are still looked for."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Places of a head on a (g, g) grid."""

    prior: Array
    """(4, g, g) float32 chance of skin, neck, hair, cloth."""
    skin_seed: Array
    """(g, g) boolean: mostly skin, with a mesh away from brows, eyes and mouth; empty from behind."""
    face: Array
    """(g, g) boolean: inside the mesh's outline, or where a face without a mesh is expected."""
    core: Array
    """(g, g) boolean: always face, whatever the colour."""
    hair_seed: Array
    """(g, g) float32: how surely a place shows hair, if there is any: over the face, and less so beside it, not on ears."""
    below: Array
    """(g, g) float32: 1 under the jaw line, 0 above it."""
    centimetre: float
    """Grid cells a centimetre at the head's depth."""


def project(camera: Camera, points: Array, size: float) -> Floats:
    """Project (N, 3) points of the canonical face model (cm) into a square picture of `size`: (N, 2) continuous pixels."""
    image, _ = camera.project(canonical_to_world(points))
    return np.asarray(image * size)


def scale(camera: Camera, size: float) -> float:
    """Return pixels a centimetre at the origin's depth, in a picture of `size`."""
    return float(size * camera.intrinsics[1, 1] * CANONICAL_SCALE / camera.radius)


def visible_face(camera: Camera, size: float, reach: float = 100.0) -> Floats:
    """Return the (N, 2) convex outline of what the camera sees of the canonical face; empty where it sees too little.

    Args:
        camera: the crop's camera.
        size: side of the crop.
        reach: take only what lies within this number of centimetres of the middle of the face, between nose and cheeks.
    """
    vertices = canonical_vertices()
    vertices = vertices[np.linalg.norm(vertices[:, :2], axis=1) < reach]
    towards = camera.position - canonical_to_world(vertices)
    normals = vertex_normals()[np.linalg.norm(canonical_vertices()[:, :2], axis=1) < reach]
    seen = (normals * towards).sum(axis=1) > 0.0
    if seen.sum() < 30:
        return np.zeros((0, 2))
    points = project(camera, vertices[seen], size).astype(np.float32)
    return np.asarray(cv2.convexHull(points)[:, 0, :], dtype=np.float64)


def visible_ears(camera: Camera, size: float, grow: float = _EAR_GROWTH) -> list[tuple[int, Floats]]:
    """Return (side, outline (24, 2) in pixels) of where ears not behind the head may lie, widened by `grow` cm."""
    found = []
    for side in (-1, 1):
        centre = np.array([side * EAR_CENTRE[0], EAR_CENTRE[1], EAR_CENTRE[2]])
        outward = np.array([side, 0.0, 0.1])
        towards = camera.position - canonical_to_world(centre[None])[0]
        if float(outward @ towards) > -0.35 * float(np.linalg.norm(towards)):
            found.append((side, project(camera, ear_outline(side, grow), size)))
    return found


def jaw_limit(points: Array, size: float) -> Floats:
    """Return a polygon of everything above the jaw line, which is prolonged sideways from its ends.

    Args:
        points: (468 or more, 2 or 3) mesh in pixels.
        size: side of the picture.
    """
    jaw = points[list(JAW), :2].astype(np.float64)
    across = jaw[-1] - jaw[0]
    across = across / max(float(np.linalg.norm(across)), 1e-6)
    up = np.array([across[1], -across[0]])
    left, right = jaw[0] - 2.0 * size * across, jaw[-1] + 2.0 * size * across
    return np.concatenate([jaw, [right, right + 3.0 * size * up, left + 3.0 * size * up, left]])


def layout_of_mesh(mesh: Array, camera: Camera, size: int, grid: int) -> Layout:
    """Lay out a head whose face mesh is known.

    Args:
        mesh: (478, 3) mesh in pixels of a crop.
        camera: the crop's camera.
        size: side of the crop.
        grid: side of the grid.
    """
    points = np.asarray(mesh[:, :2], dtype=np.float64) * (grid / size)
    unit = scale(camera, grid)
    face = _mask(points[list(FACE_OVAL)], grid)
    above_jaw = _mask(jaw_limit(points, grid), grid)
    up = points[FOREHEAD] - points[CHIN]
    up = up / max(float(np.linalg.norm(up)), 1e-6)
    rows, columns = np.mgrid[0:grid, 0:grid] + 0.5
    height = ((columns - points[CHIN, 0]) * up[0] + (rows - points[CHIN, 1]) * up[1]) / unit
    throat = project(camera, np.array([THROAT]), grid)[0]
    across = np.abs((columns - throat[0]) * up[1] - (rows - throat[1]) * up[0]) / unit
    brows = np.concatenate([points[list(feature_polygons()[i][1])] for i in (0, 1)])
    brow = float(((brows - points[CHIN]) @ up).max()) / unit
    core = _mask(cv2.convexHull(points[list(CORE)].astype(np.float32))[:, 0, :], grid)
    features: Array = np.zeros((grid, grid), dtype=np.uint8)
    for name, indices in feature_polygons():
        if name != "nose":
            fill(features, points[list(indices)], 1)
    features = cv2.dilate(features, disc(0.35 * unit))
    nose_end = float((points[2] - points[CHIN]) @ up) / unit
    seed = face & (features == 0) & (height > nose_end) & (height < brow + 2.5)
    seed &= cv2.erode(face.astype(np.uint8), disc(1.2 * unit)) > 0
    ears = _ear_chance(camera, grid)
    below = cv2.blur((~above_jaw).astype(np.float32), (3, 3))
    prior = _prior(face, core, ears, below, height, across, brow, unit)
    return Layout(prior, seed, face, core, _hair_seed(prior, face, ears, below, height - brow), below, unit)


def layout_of_camera(camera: Camera, size: int, grid: int) -> Layout:
    """Lay out a head of which only the camera is known: profiles without a mesh and heads from behind."""
    unit = scale(camera, grid)
    outline, middle = visible_face(camera, grid), visible_face(camera, grid, _MIDDLE)
    face = _mask(outline, grid) if len(outline) else np.zeros((grid, grid), dtype=bool)
    points = project(camera, canonical_vertices(), grid)
    facing = float(camera.position[2]) / camera.radius
    chin, nape = points[CHIN], project(camera, np.array([NAPE]), grid)[0]
    low = nape + (chin - nape) * min(1.0, max(0.0, 0.5 + facing))
    up = project(camera, np.array([[0.0, 5.0, -4.0], [0.0, -5.0, -4.0]]), grid)
    up = (up[0] - up[1]) / max(float(np.linalg.norm(up[0] - up[1])), 1e-6)
    rows, columns = np.mgrid[0:grid, 0:grid] + 0.5
    height = ((columns - low[0]) * up[0] + (rows - low[1]) * up[1]) / unit
    throat = project(camera, np.array([THROAT]), grid)[0]
    across = np.abs((columns - throat[0]) * up[1] - (rows - throat[1]) * up[0]) / unit
    below = _rise(-height, 0.5)
    ears = _ear_chance(camera, grid)
    nothing = np.zeros((grid, grid), dtype=bool)
    below = below.astype(np.float32)
    seed = _mask(middle, grid) if len(middle) else cv2.erode(face.astype(np.uint8), disc(1.2 * unit)) > 0
    prior = _prior(face, nothing, ears, below, height, across, 12.0, unit)
    return Layout(prior, seed, face, nothing, _hair_seed(prior, face, ears, below, height - 12.0), below, unit)


def _prior(
    face: Array, core: Array, ears: Array, below: Array, height: Array, across: Array, brow: float, unit: float
) -> Array:
    """Return the (4, g, g) prior; `height` is in centimetres above the chin, `across` beside the neck's axis."""
    outside = np.minimum(cv2.distanceTransform((~face).astype(np.uint8), cv2.DIST_L2, 3) / unit, 20.0)
    near = np.exp(-((outside / 1.6) ** 2))
    above = _rise(height - brow, 0.8)
    side = np.clip(1.0 - above - below, 0.0, 1.0)
    throat = _rise(5.6 - across, 0.6)
    deep = _rise(-height - 2.5, 0.8)
    low = _rise(-height - 0.5, 0.8)
    skin = above * (0.04 + 0.45 * near) + side * (0.04 + 0.26 * near)
    skin = np.maximum(skin, ears) * (1.0 - below)
    neck = below * (throat * (0.88 - 0.5 * deep) + (1.0 - throat) * 0.1)
    cloth = above * 0.004 + side * 0.008 + below * (throat * (0.08 + 0.47 * deep) + (1.0 - throat) * (0.06 + 0.4 * low))
    skin = np.where(core, 0.995, np.where(face, 0.85, skin))
    neck = np.where(face, 0.001, neck)
    cloth = np.where(face, 0.001, cloth)
    hair = np.maximum(1.0 - skin - neck - cloth, 0.003) * (1.0 - 0.6 * below * throat)
    return np.stack([skin, neck, hair, cloth]).astype(np.float32)


def _hair_seed(prior: Array, face: Array, ears: Array, below: Array, over: Array) -> Array:
    weight = prior[HAIR] ** 2 * (1.0 - below) * (0.25 + 0.75 * _rise(over, 0.8))
    return np.where(face | (ears > 0.2), 0.0, weight).astype(np.float32)


def _rise(values: Array, width: float) -> Array:
    """Return the logistic curve: 0 far below zero, 1 far above, over about four times `width`."""
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(-values / width, -30.0, 30.0))))


def _ear_chance(camera: Camera, grid: int) -> Array:
    """Return the (g, g) chance of bare ear: hair covers about half of all ears."""
    chance = np.zeros((grid, grid), dtype=np.float32)
    for grow, value in ((_EAR_GROWTH, 0.3), (0.1, 0.55)):
        for _, outline in visible_ears(camera, grid, grow):
            chance[_mask(outline, grid)] = value
    return chance


def _mask(polygon: Array, grid: int) -> Array:
    canvas = np.zeros((grid, grid), dtype=np.uint8)
    fill(canvas, polygon, 1)
    return canvas > 0


def disc(radius: float) -> Array:
    """Return a disc for morphology, one pixel in radius at least."""
    side = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
