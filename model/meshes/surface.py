"""A density to the closed surface on which it has one value: sampled on a grid, cavities filled, marched by cubes, cleaned.

The module that wraps scikit-image's marching cubes (Lewiner et al. 2003) and fast-simplification (quadric errors, Garland and
Heckbert 1997). Which density is a head's surface is left to `density`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from ...datasets.arrays import Array, Floats
from .mesh import Mesh, MeshError

Values = Callable[[Floats], Array]
"""(N, 3) world points -> (N,) values, larger inside."""
POINTS = 1 << 16
"""Points that are asked for at once."""
AGGRESSION = (7.0, 5.0, 3.0, 1.0)
"""Tries of the simplification, from fast to careful, until its result is closed."""


@dataclass(frozen=True)
class Box:
    """An axis-aligned box in the head frame."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def axes(self, spacing: float) -> tuple[Floats, Floats, Floats]:
        """Return x, y and z of grid points that fill the box evenly, at most `spacing` apart, ends included."""
        counts = [max(2, 1 + math.ceil((high - low) / spacing - 1e-9)) for low, high in zip(self.low, self.high, strict=True)]
        x, y, z = (np.linspace(low, high, n) for low, high, n in zip(self.low, self.high, counts, strict=True))
        return x, y, z


@dataclass(frozen=True, eq=False)
class Grid:
    """Values at the points of a grid; everything outside is empty."""

    axes: tuple[Floats, Floats, Floats]
    """x, y and z of the points."""
    values: Array
    """(X, Y, Z) float32, larger inside."""

    @classmethod
    def sample(cls, field: Values, box: Box, spacing: float) -> Grid:
        """Ask a field at every point of a grid.

        Args:
            field: values of points.
            box: where; beyond it is nothing.
            spacing: largest distance of neighbouring points in world units.
        """
        axes = box.axes(spacing)
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        parts = [np.asarray(field(points[start : start + POINTS]), np.float32) for start in range(0, len(points), POINTS)]
        x, y, z = (len(axis) for axis in axes)
        return cls(axes, np.concatenate(parts).reshape(x, y, z))

    def steps(self) -> Floats:
        """Return the distances of neighbours along x, y and z."""
        return np.array([axis[1] - axis[0] for axis in self.axes])


def surface(grid: Grid, level: float, reach: float) -> Mesh:
    """Return the outer surface of the largest body whose values are at or above a level: closed, without cavities.

    The grid is surrounded by empty points, so that a body which its walls cut is closed there by a plane.

    Args:
        grid: the values.
        level: value of the surface.
        reach: values further than this from the level are clipped to it, so that a wall lies where the grid ends.

    Raises:
        MeshError: nothing reaches the level, or a value is not finite.
    """
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise MeshError("scikit-image is not installed: pip install 'spherehead-toolkit[mesh]'") from error
    if not np.isfinite(grid.values).all():
        raise MeshError("expected finite densities on the grid, got NaN or infinity; is the model trained?")
    values = np.pad(np.clip(grid.values, level - reach, level + reach), 1, constant_values=level - reach)
    values = _largest_body(values, level, reach)
    vertices, faces, _, _ = marching_cubes(values, level, gradient_direction="ascent", allow_degenerate=False)
    low = np.array([axis[0] for axis in grid.axes])
    high = np.array([axis[-1] for axis in grid.axes])
    placed = low + (np.asarray(vertices, dtype=np.float64) - 1.0) * grid.steps()
    return Mesh(np.clip(placed, low, high), np.asarray(faces, dtype=np.int64))


def _largest_body(values: Array, level: float, reach: float) -> Array:
    """Return the values with all bodies but the largest emptied, and with what it encloses filled."""
    bodies, count = ndimage.label(values >= level)
    if not count:
        raise MeshError(f"no density reaches {level:.4g}, the highest is {float(values.max()):.4g}; choose a lower opacity")
    sizes = np.bincount(bodies.ravel())
    sizes[0] = 0
    body = bodies == sizes.argmax()
    values = np.where((values >= level) & ~body, level - reach, values)
    outside, _ = ndimage.label(~body, structure=np.ones((3, 3, 3)))
    return np.where(~body & (outside != outside[0, 0, 0]), level + reach, values)


def largest_piece(mesh: Mesh) -> Mesh:
    """Return the connected piece of the greatest volume."""
    count = len(mesh.vertices)
    links = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]]])
    graph = sparse.coo_matrix((np.ones(len(links), dtype=np.int8), (links[:, 0], links[:, 1])), shape=(count, count))
    pieces, labels = csgraph.connected_components(graph, directed=False)
    if pieces == 1:
        return mesh
    each = (mesh.corners()[:, 0] * mesh.face_vectors()).sum(axis=1)
    volumes = np.bincount(labels[mesh.faces[:, 0]], weights=each, minlength=pieces)
    return mesh.chosen(labels[mesh.faces[:, 0]] == volumes.argmax())


def simplified(mesh: Mesh, count: int) -> Mesh:
    """Return a mesh of about `count` faces near the given one; the same one where it has no more.

    Raises:
        MeshError: the package is missing, or no try gives a closed surface of a closed one.
    """
    if len(mesh.faces) <= count:
        return mesh
    try:
        from fast_simplification import simplify
    except ImportError as error:
        raise MeshError("fast-simplification is not installed: pip install 'spherehead-toolkit[mesh]'") from error
    points, faces = mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32)
    closed = mesh.is_watertight()
    for aggression in AGGRESSION:
        vertices, kept = simplify(points, faces, target_count=count, agg=aggression)
        found = largest_piece(Mesh(np.asarray(vertices, dtype=np.float64), np.asarray(kept, dtype=np.int64)))
        if not closed or found.is_watertight():
            return found
    raise MeshError(f"cannot bring the surface to {count:,} faces and keep it closed; ask for more faces")
