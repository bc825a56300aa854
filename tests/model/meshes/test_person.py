"""A rendered person through the whole way: the density of their own mesh gives its area and volume back, closed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree
from spherehead.datasets.arrays import Array, Floats
from spherehead.model.meshes.mesh import CENTIMETRE, Mesh
from spherehead.model.meshes.surface import Box, Grid, simplified, surface


def closed(mesh: Mesh) -> Mesh:
    """Close every open boundary by a fan about its middle."""
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    there = {tuple(edge) for edge in edges.tolist()}
    follow = {b: a for a, b in there if (b, a) not in there}
    points, faces = [*mesh.vertices], [*mesh.faces]
    while follow:
        first = next(iter(follow))
        loop, at = [], first
        while at in follow:
            loop.append(at)
            at = follow.pop(at)
        points.append(np.mean([points[index] for index in loop], axis=0))
        faces += [np.array([a, b, len(points) - 1]) for a, b in zip(loop, [*loop[1:], loop[0]], strict=True)]
    return Mesh(np.array(points), np.array(faces))


def crossings(mesh: Mesh, x: Floats, y: Floats) -> list[list[list[float]]]:
    """Return, for every line along z, the places where it meets the mesh."""
    found: list[list[list[float]]] = [[[] for _ in y] for _ in x]
    corners = mesh.corners()
    low, high = corners.min(1), corners.max(1)
    for face, start, stop in zip(corners, low, high, strict=True):
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = face
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-15:
            continue
        for i in range(np.searchsorted(x, start[0]), np.searchsorted(x, stop[0], "right")):
            for j in range(np.searchsorted(y, start[1]), np.searchsorted(y, stop[1], "right")):
                u = ((bx - x[i]) * (cy - y[j]) - (by - y[j]) * (cx - x[i])) / area
                v = ((cx - x[i]) * (ay - y[j]) - (cy - y[j]) * (ax - x[i])) / area
                if u >= 0 and v >= 0 and u + v <= 1:
                    found[i][j].append(u * az + v * bz + (1 - u - v) * cz)
    return found


def signed_distance(mesh: Mesh, box: Box, spacing: float) -> Grid:
    """Distance from the surface at a grid's points, positive inside: nearest of many surface points, parity of crossings."""
    axes = box.axes(spacing)
    x, y, z = (axis + 1e-7 * (1 + k) for k, axis in enumerate(axes))
    lines = crossings(mesh, x, y)
    inside = np.array([[np.searchsorted(np.sort(line), z) % 2 for line in row] for row in lines]) == 1
    rng = np.random.default_rng(0)
    weights = np.linalg.norm(mesh.face_vectors(), axis=1)
    chosen = rng.choice(len(mesh.faces), 400_000, p=weights / weights.sum())
    share = rng.dirichlet((1, 1, 1), len(chosen))
    tree = cKDTree(np.einsum("nk,nkc->nc", share, mesh.corners()[chosen]))
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    distance = tree.query(points.reshape(-1, 3), distance_upper_bound=0.03)[0].reshape(points.shape[:3])
    return Grid(axes, np.where(inside, 1, -1) * np.minimum(distance, 0.03).astype(np.float32))


@pytest.mark.slow
def test_a_person_comes_back_with_area_and_volume_within_three_per_cent(shared: Path) -> None:
    folder = shared / "assets" / "makehuman"
    if not folder.is_dir():
        pytest.skip(f"no MakeHuman data at {folder}")
    from spherehead.pipeline.synthetic.assets.library import open_assets
    from spherehead.pipeline.synthetic.people.figure import body_of, build_figure
    from spherehead.pipeline.synthetic.people.population import draw_person

    assets = open_assets(folder)
    person = draw_person(assets, 3, 0)
    body = body_of(assets)
    vertices = build_figure(assets, person).placement.apply(body.bust.subdivision.refine(body.morph(person.shape)))
    faces = body.bust.subdivision.faces
    head = faces[(vertices[faces][..., 1] > -0.33).all(axis=1)]  # above the shoulders
    truth = closed(Mesh(np.asarray(vertices), outer_faces(vertices, head)).chosen(slice(None)))
    assert truth.is_watertight()
    low, high = truth.vertices.min(0) - 0.02, truth.vertices.max(0) + 0.02
    grid = signed_distance(truth, Box(tuple(low), tuple(high)), 0.3 * CENTIMETRE)  # type: ignore[arg-type]
    for count in (0, 40_000):
        mesh = surface(grid, 0.0, 0.02)
        mesh = simplified(mesh, count) if count else mesh
        assert mesh.is_watertight()
        assert mesh.volume() == pytest.approx(truth.volume(), rel=0.03)
        assert mesh.area() == pytest.approx(truth.area(), rel=0.03)


def outer_faces(vertices: Floats, faces: Array) -> Array:
    """Return the faces of the largest connected piece of a mesh: the skin, without what lies loose in the mouth."""
    from scipy import sparse
    from scipy.sparse import csgraph

    links = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = sparse.coo_matrix((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(len(vertices),) * 2)
    labels = csgraph.connected_components(graph, directed=False)[1][faces[:, 0]]
    return np.asarray(faces[labels == np.bincount(labels).argmax()], dtype=np.int64)
