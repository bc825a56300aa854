"""Catmull-Clark subdivision of a fixed quad mesh, as one sparse matrix from coarse to fine vertices.

The mesh never changes between people, only its vertices do: so the work is done once, and each head costs one product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from ....datasets.arrays import Array, Floats


@dataclass(frozen=True, eq=False)
class Subdivision:
    """One step of subdivision of a mesh."""

    matrix: scipy.sparse.csr_matrix
    """(V', V) from coarse to fine vertices."""
    faces: Array
    """(F', 3) int32 triangles of the fine mesh; eight for each quad, in the quads' order."""
    uv_matrix: scipy.sparse.csr_matrix
    """(T', T) from coarse to fine texture coordinates."""
    face_uvs: Array
    """(F', 3) int32."""

    def refine(self, vertices: Floats) -> Floats:
        """Return the (V', 3) fine vertices of (V, 3) coarse ones."""
        return np.asarray(self.matrix @ vertices)


def compact(numbers: Array) -> tuple[Array, Array]:
    """Return the sorted vertices that faces use, and the faces over those alone.

    Args:
        numbers: (F, 3) vertex numbers from 0 on.

    Returns:
        (V',) the numbers there are, and (F, 3) int32 places among them.
    """
    there = np.zeros(int(numbers.max(initial=-1)) + 1, dtype=bool)
    there[numbers.ravel()] = True
    places = np.cumsum(there, dtype=np.int32) - np.int32(1)
    return np.flatnonzero(there), places[numbers]


def quads_of(faces: Array) -> Array:
    """Return the (Q, 4) quads that a reader cut into pairs of triangles (a, b, c), (a, c, d).

    Raises:
        ValueError: the triangles are no such pairs.
    """
    first, second = faces[0::2], faces[1::2]
    if len(first) != len(second) or (first[:, 0] != second[:, 0]).any() or (first[:, 2] != second[:, 1]).any():
        raise ValueError("expected a mesh of quads, got triangles that are no halves of quads")
    return np.column_stack([first, second[:, 2]])


def subdivide(num_vertices: int, quads: Array, num_uvs: int, uv_quads: Array) -> Subdivision:
    """Prepare one step (Catmull and Clark 1978); texture coordinates are refined linearly, so seams stay where they are.

    Args:
        num_vertices: V.
        quads: (Q, 4) indices of vertices.
        num_uvs: T.
        uv_quads: (Q, 4) indices of texture coordinates.
    """
    edges, of_quad, boundary = _edges(quads)
    faces_of = _rows(len(quads), num_vertices, quads, 0.25)
    middle = _rows(len(edges), num_vertices, edges, 0.5)
    beside = _incidence(of_quad, len(edges)).T @ faces_of  # sum of the face points on both sides of an edge
    inner = scipy.sparse.diags((~boundary).astype(float))
    edge_points = inner @ (0.5 * middle + 0.25 * beside) + scipy.sparse.diags(boundary.astype(float)) @ middle
    matrix = scipy.sparse.vstack([_vertex_rule(num_vertices, quads, edges, boundary, faces_of, middle), edge_points, faces_of])
    uv_edges, uv_of_quad, _ = _edges(uv_quads)
    uv_matrix = scipy.sparse.vstack(
        [
            scipy.sparse.identity(num_uvs),
            _rows(len(uv_edges), num_uvs, uv_edges, 0.5),
            _rows(len(uv_quads), num_uvs, uv_quads, 0.25),
        ]
    )
    return Subdivision(
        matrix.tocsr(), _cut(quads, of_quad, num_vertices, len(edges)), uv_matrix.tocsr(),
        _cut(uv_quads, uv_of_quad, num_uvs, len(uv_edges)),
    )  # fmt: skip


def _vertex_rule(
    count: int, quads: Array, edges: Array, boundary: Array, faces_of: scipy.sparse.csr_matrix, middle: scipy.sparse.csr_matrix
) -> scipy.sparse.csr_matrix:
    """Return where the old vertices go: (Q + 2 R + (n - 3) S) / n inside, the cubic spline's rule along boundaries."""
    at_quad = _incidence(quads, count).T
    at_edge = _incidence(edges, count).T
    n = np.asarray(at_quad.sum(axis=1)).ravel()
    on_boundary = np.asarray(at_edge @ boundary.astype(float)).ravel() > 0
    inside = (n > 0) & ~on_boundary
    inverse = np.where(inside, 1.0 / np.maximum(n, 1.0), 0.0)
    smooth = scipy.sparse.diags(inverse**2) @ at_quad @ faces_of + 2.0 * scipy.sparse.diags(inverse**2) @ at_edge @ middle
    smooth = smooth + scipy.sparse.diags(np.where(inside, (n - 3.0) * inverse, 0.0))
    degree = np.asarray(at_edge @ boundary.astype(float)).ravel()
    share = np.where(degree == 2, 0.25, 0.0)
    rim = scipy.sparse.diags(share) @ at_edge @ scipy.sparse.diags(boundary.astype(float)) @ middle
    keep = np.where(inside, 0.0, np.where(degree == 2, 0.5, 1.0))
    return (smooth + rim + scipy.sparse.diags(keep)).tocsr()


def _edges(quads: Array) -> tuple[Array, Array, Array]:
    """Return (E, 2) edges, (Q, 4) the edge that follows each corner, and (E,) whether only one quad has it."""
    sides = np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1).reshape(-1, 2)
    edges, inverse, counts = np.unique(np.sort(sides, axis=1), axis=0, return_inverse=True, return_counts=True)
    return edges, inverse.reshape(quads.shape), counts == 1


def _rows(count: int, width: int, indices: Array, weight: float) -> scipy.sparse.csr_matrix:
    rows = np.repeat(np.arange(count), indices.shape[1])
    return scipy.sparse.csr_matrix((np.full(indices.size, weight), (rows, indices.ravel())), shape=(count, width))


def _incidence(indices: Array, width: int) -> scipy.sparse.csr_matrix:
    return _rows(len(indices), width, indices, 1.0)


def _cut(quads: Array, edge_of: Array, num_vertices: int, num_edges: int) -> Array:
    """Return the triangles: each corner's small quad is (corner, next edge point, face point, previous edge point)."""
    after = num_vertices + edge_of
    before = np.roll(after, 1, axis=1)
    centre = np.broadcast_to((num_vertices + num_edges + np.arange(len(quads)))[:, None], quads.shape)
    small = np.stack([quads, after, centre, before], axis=-1).reshape(-1, 4)
    return np.stack([small[:, [0, 1, 2]], small[:, [0, 2, 3]]], axis=1).reshape(-1, 3).astype(np.int32)
