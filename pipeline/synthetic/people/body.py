"""The body: morphs applied to MakeHuman's base mesh, and the bust that is drawn of it, refined and parted into classes.

Which morphs a person has is drawn by `population`. Regions of the face are polygons in the base mesh's texture plane, which
are the same for everybody; ears are what the ear morphs move.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy

from ....datasets.arrays import Array, Floats
from ....datasets.classes import INDEX
from ..assets.formats import AssetError
from ..assets.library import Assets
from .subdivision import Subdivision, quads_of, subdivide

BUST_BOTTOM = 4.7
"""Height on the base mesh (dm) above which the body is drawn."""
BUST_HALF_WIDTH = 2.4
"""Distance from the middle (dm) on the base mesh within which it is drawn: shoulders, but no arms."""
EAR_SHARE = 0.12
"""Share of the ear morph's largest move from which a vertex belongs to the ear."""

MIDDLE_ROW = 264.65
"""Texture row (of 512) of the face's middle line; columns run from the forehead down to the chin."""
UPPER_LIP = (
    (465.6, -11.7), (464.4, -10.8), (462.5, -9.0), (460.7, -7.1), (459.5, -4.6), (458.9, -2.1), (459.5, 0.0),
    (458.9, 2.1), (459.5, 4.6), (460.7, 7.1), (462.5, 9.0), (464.4, 10.8), (465.6, 11.7),
)  # fmt: skip
LOWER_LIP = (
    (465.6, 11.7), (467.3, 11.0), (469.8, 9.0), (471.9, 6.3), (473.2, 3.3), (473.6, 0.0),
    (473.2, -3.3), (471.9, -6.3), (469.8, -9.0), (467.3, -11.0), (465.6, -11.7),
)  # fmt: skip
NOSE = (
    (429.5, -2.5), (435.0, -3.0), (440.0, -4.2), (444.0, -6.5), (448.0, -8.8), (451.5, -8.5), (453.5, -5.0),
    (453.5, 5.0), (451.5, 8.5), (448.0, 8.8), (444.0, 6.5), (440.0, 4.2), (435.0, 3.0), (429.5, 2.5),
)  # fmt: skip
"""Outlines in texture pixels of 512: column, and row from the middle line."""
MOUTH_ISLAND = (380.0, 435.0, 480.0, 512.0)
"""Left, top, right, bottom of the inside of the mouth in the texture."""
JAW_LINE = ((1.60, 6.14), (1.40, 6.19), (0.95, 6.25), (0.65, 6.42), (0.45, 6.72), (-1.20, 6.75))
"""(z, y) on the base mesh: under the chin, under the ear, the nape; what lies lower is neck."""
NECK_LENGTH = 1.0
"""How far below that line (dm) a body has turned wholly where the head is turned on the neck."""


@dataclass(frozen=True, eq=False)
class Bust:
    """What is drawn of the body, the same mesh for everybody."""

    subdivision: Subdivision
    uvs: Floats
    """(T', 2) texture coordinates."""
    labels: Array
    """(F',) uint8 class of each fine face, neck and scalp counted as skin."""
    below_jaw: Floats
    """(V',) how far each fine vertex lies below the line of jaw and nape on the base mesh, in dm: neck where positive."""
    corners: Array
    """(F', 3) base vertices that each fine face hangs on most: to hide what clothes cover."""


class Body:
    """MakeHuman's base mesh with its morphs."""

    def __init__(self, assets: Assets) -> None:
        """Wrap the base mesh of some assets."""
        self._assets = assets
        self.base = assets.base
        self.targets = frozenset(assets.names("targets"))

    def morph(self, weights: Mapping[str, float]) -> Floats:
        """Return the (V, 3) vertices with morphs applied, in decimetres.

        Args:
            weights: name of a target -> weight.

        Raises:
            AssetError: a target is damaged or missing.
        """
        vertices = self.base.vertices.copy()
        for name in sorted(weights):
            if weights[name]:
                target = self._assets.target(name)
                vertices[target.indices] += weights[name] * target.offsets
        return vertices

    def turned(self, vertices: Floats, neck: tuple[float, float, float]) -> Floats:
        """Return (V, 3) morphed vertices with the body turned below the head, which stays.

        The neck is twisted and bent smoothly from the jaw down, about its own middle.

        Args:
            vertices: as `morph` gives them.
            neck: rotation of the head on the body in radians about the axes of the base mesh: nod down, turn to the person's
                left, tilt to their right.
        """
        if not any(neck):
            return vertices
        depth = self.below_jaw / NECK_LENGTH
        share = np.clip(depth, 0.0, 1.0)
        share = share * share * (3.0 - 2.0 * share)
        x = self.base.vertices[:, 0]
        middle = vertices[(depth > 0.3) & (depth < 0.6) & (np.abs(x) < 0.8)].mean(axis=0)
        turn = scipy.spatial.transform.Rotation.from_rotvec(-share[:, None] * np.array(neck))
        return np.asarray(np.where(share[:, None] > 0.0, turn.apply(vertices - middle) + middle, vertices))

    @cached_property
    def below_jaw(self) -> Floats:
        """(V,) how far each vertex of the base mesh lies below the line of jaw and nape, in dm."""
        return _below_jaw(self.base.vertices)

    def mirrored(self, indices: Array) -> Array:
        """Return the vertices of the base mesh that mirror others."""
        places = self.base.vertices[indices.ravel()] * [-1.0, 1.0, 1.0]
        _, found = scipy.spatial.cKDTree(self.base.vertices).query(places)
        return np.asarray(found.reshape(indices.shape))

    def centre(self, vertices: Floats, group: str) -> Floats:
        """Return the (3,) mean vertex of a group such as "joint-l-eye" on a morphed body."""
        return np.asarray(vertices[np.unique(self.base.faces[self.base.group(group)])].mean(axis=0))

    @cached_property
    def bust(self) -> Bust:
        """The mesh that is drawn."""
        base = self.base
        chosen = base.group("body")
        vertices = base.vertices
        quads, uv_quads = quads_of(base.faces[chosen]), quads_of(base.face_uvs[chosen])
        corner = vertices[quads]
        inside = (corner[..., 1] > BUST_BOTTOM).all(axis=1) & (np.abs(corner[..., 0]) < BUST_HALF_WIDTH).all(axis=1)
        quads, uv_quads = quads[inside], uv_quads[inside]
        fine = subdivide(len(vertices), quads, len(base.uvs), uv_quads)
        uvs = np.asarray(fine.uv_matrix @ base.uvs)
        below_jaw = _below_jaw(fine.refine(vertices))
        return Bust(fine, uvs, self._classes(fine, uvs), below_jaw, np.repeat(quads.reshape(-1), 2)[:, None])

    def _classes(self, fine: Subdivision, uvs: Floats) -> Array:
        """Return the class of every fine face, from its middle in the texture plane."""
        texture = uvs[fine.face_uvs].mean(axis=1) * 512.0
        labels = np.full(len(texture), INDEX["skin"], dtype=np.uint8)
        for name, outline in (("nose", NOSE), ("upper_lip", UPPER_LIP), ("lower_lip", LOWER_LIP)):
            labels[_inside(texture - [0.0, MIDDLE_ROW], outline)] = INDEX[name]
        left, top, right, bottom = MOUTH_ISLAND
        x, y = texture.T
        labels[(x > left) & (x < right) & (y > top) & (y < bottom)] = INDEX["mouth"]
        for side, name in (("l", "left_ear"), ("r", "right_ear")):
            moved = fine.matrix @ self._moved_by(f"ears/{side}-ear-wing-incr")
            labels[moved[fine.faces].mean(axis=1) > EAR_SHARE] = INDEX[name]
        return labels

    def _moved_by(self, name: str) -> Floats:
        """Return how far a morph moves each base vertex, as a share of its largest move."""
        try:
            target = self._assets.target(name)
        except AssetError:
            return np.zeros(len(self.base.vertices))
        moved = np.zeros(len(self.base.vertices))
        moved[target.indices] = np.linalg.norm(target.offsets, axis=1)
        return np.asarray(moved / max(float(moved.max()), 1e-9))


def _below_jaw(points: Floats) -> Floats:
    jaw = np.array(sorted(JAW_LINE))
    return np.asarray(np.interp(points[:, 2], jaw[:, 0], jaw[:, 1]) - points[:, 1])


def _inside(points: Floats, outline: tuple[tuple[float, float], ...]) -> Array:
    """Tell which (N, 2) points lie in a polygon (even-odd rule)."""
    x, y = points.T
    inside = np.zeros(len(points), dtype=bool)
    for (x0, y0), (x1, y1) in zip(outline, outline[1:] + outline[:1], strict=True):
        crosses = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


def vertex_normals(points: Floats, faces: Array) -> Floats:
    """Return (V, 3) unit normals: the faces' normals, weighted by area."""
    first, second, third = (points[faces[:, k]] for k in range(3))
    (ax, ay, az), (bx, by, bz) = (second - first).T, (third - first).T
    weighted = (ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)  # NumPy's cross product takes 1.7 times as long
    normals = np.stack(
        [sum(np.bincount(faces[:, k], weights=along, minlength=len(points)) for k in range(3)) for along in weighted], axis=1
    )
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.asarray(np.where(length > 1e-20, normals / np.maximum(length, 1e-20), [0.0, 1.0, 0.0]))
