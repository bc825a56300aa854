"""Tetrahedra, marching tetrahedra, rasteriser and outlines, held to closed forms, finite differences and a plain twin."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from spherehead.datasets.camera import Camera
from spherehead.model.volume_rendering import boxes
from spherehead.model.volume_rendering.rays import camera_rays
from spherehead.model.volume_rendering.surfaces import rasterise as module
from spherehead.model.volume_rendering.surfaces.antialias import outlines
from spherehead.model.volume_rendering.surfaces.marching import Meshes, marching_tetrahedra, sign_entropy
from spherehead.model.volume_rendering.surfaces.rasterise import project, rasterise
from spherehead.model.volume_rendering.surfaces.tetrahedra import TetrahedralGrid, body_centred_grid, signed_volumes
from torch import Tensor


def camera(yaw: float = 0.0, pitch: float = 0.0) -> Tensor:
    return torch.as_tensor(Camera.look_at(yaw=yaw, pitch=pitch).label())[None]


def ball(grid: TetrahedralGrid, radius: Tensor | float) -> Tensor:
    return radius - grid.vertices.double().norm(dim=1)


def soup(vertices: Tensor, faces: list[list[int]]) -> Meshes:
    return Meshes(vertices, torch.tensor(faces), torch.zeros(len(vertices), dtype=torch.int64))


def euler(mesh: Meshes) -> int:
    edges = mesh.faces[:, [0, 1, 1, 2, 2, 0]].view(-1, 2).sort(dim=1).values.unique(dim=0)
    return len(mesh.faces.unique()) - len(edges) + len(mesh.faces)


def is_closed(mesh: Meshes) -> bool:
    edges = mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).tolist()
    directed = {tuple(edge) for edge in edges}
    return len(directed) == len(edges) and all((b, a) in directed for a, b in directed)


# --- the grid


@pytest.mark.parametrize("cells", [1, 2, 5])
def test_tetrahedra_fill_the_cube_without_gaps(cells: int) -> None:
    grid = body_centred_grid(cells)
    assert len(grid.vertices) == (cells + 1) ** 3 + cells**3
    assert len(grid.tetrahedra) == 12 * cells**3
    volumes = signed_volumes(grid.vertices.double()[grid.tetrahedra])
    torch.testing.assert_close(volumes, torch.full_like(volumes, 1 / (12 * cells**3)), rtol=1e-5, atol=0)
    sides = grid.tetrahedra[:, [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]].view(-1, 3).sort(dim=1).values
    counts = sides.unique(dim=0, return_counts=True)[1]
    assert counts.max() <= 2
    assert int((counts == 1).sum()) == 6 * cells**2 * 2  # two triangles on each outer square
    ends = grid.edges[grid.tetrahedron_edges]
    assert all(
        set(pair) == {tetrahedron[a], tetrahedron[b]}
        for pairs, tetrahedron in zip(ends[:50].tolist(), grid.tetrahedra[:50].tolist(), strict=True)
        for pair, (a, b) in zip(pairs, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)], strict=True)
    )


def test_the_border_is_the_cube_s_surface() -> None:
    grid = body_centred_grid(4)
    assert int(grid.border.sum()) == 5**3 - 3**3


@pytest.mark.slow
def test_36_cells_have_as_many_vertices_as_the_literature_s_grid_90() -> None:
    grid = body_centred_grid(36)
    assert (len(grid.vertices), len(grid.tetrahedra)) == (97_309, 559_872)


# --- marching tetrahedra


def test_a_ball_s_distances_give_its_area_volume_and_topology() -> None:
    grid = body_centred_grid(24)
    mesh = marching_tetrahedra(grid, ball(grid, 0.3))
    assert euler(mesh) == 2
    assert is_closed(mesh)
    assert float(mesh.areas(1)) == pytest.approx(4 * math.pi * 0.3**2, rel=0.01)
    assert float(mesh.volumes(1)) == pytest.approx(4 / 3 * math.pi * 0.3**3, rel=0.01)


def test_a_ring_has_a_hole() -> None:
    grid = body_centred_grid(16)
    x, y, z = grid.vertices.double().unbind(1)
    mesh = marching_tetrahedra(grid, 0.12 - torch.sqrt((torch.sqrt(x * x + z * z) - 0.28) ** 2 + y * y))
    assert euler(mesh) == 0
    assert is_closed(mesh)
    assert float(mesh.volumes(1)) == pytest.approx(2 * math.pi**2 * 0.28 * 0.12**2, rel=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_any_distances_that_are_negative_at_the_border_give_a_closed_mesh(seed: int) -> None:
    grid = body_centred_grid(4)
    distances = torch.randn(len(grid.vertices), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    mesh = marching_tetrahedra(grid, torch.where(grid.border, -distances.abs() - 0.01, distances))
    assert len(mesh.faces) > 100
    assert is_closed(mesh)
    assert 0 < float(mesh.volumes(1)) < 1


def test_volume_grows_by_the_area_and_gradients_are_those_of_finite_differences() -> None:
    grid = body_centred_grid(20)
    radius = torch.tensor(0.31, dtype=torch.float64, requires_grad=True)
    mesh = marching_tetrahedra(grid, ball(grid, radius))
    (slope,) = torch.autograd.grad(mesh.volumes(1).sum(), radius)
    assert float(slope) == pytest.approx(float(mesh.areas(1).detach()), rel=0.01)

    coarse = body_centred_grid(3)
    points = coarse.vertices.double() + 0.02 * torch.randn(
        coarse.vertices.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    distances = ball(coarse, 0.37)
    torch.autograd.gradcheck(
        lambda s, p: marching_tetrahedra(coarse, s, p).areas(1), (distances.requires_grad_(), points.requires_grad_())
    )


def test_sign_entropy_falls_when_a_speck_goes() -> None:
    grid = body_centred_grid(8)
    one = ball(grid, 0.3)
    speck = one.clone()
    speck[(grid.vertices - torch.tensor([0.375, 0.375, 0.375])).norm(dim=1).argmin()] = 0.2
    values = [float(sign_entropy(grid, s, s > 0, scale=0.1)) for s in (one, speck)]
    # by hand: an edge between +a and -b contributes softplus(a / scale) + softplus(b / scale), on average over crossing edges
    ends = one[grid.edges]
    crossing = ends[(ends[:, 0] > 0) != (ends[:, 1] > 0)].abs() / 0.1
    assert values[0] == pytest.approx(float(torch.nn.functional.softplus(crossing).sum(dim=1).mean()), rel=1e-6)
    assert values[1] > values[0]


# --- the rasteriser


def drawn_plainly(vertices: np.ndarray, faces: np.ndarray, seen_by: Camera, side: int) -> np.ndarray:
    """The slow twin: every face against every pixel, weights on the screen, reciprocal depths interpolated."""
    places, depths = seen_by.project(vertices)
    ids, nearest = np.full((side, side), -1), np.zeros((side, side))
    centres = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(centres, centres)
    for index, face in enumerate(faces):
        (ax, ay), (bx, by), (cx, cy) = places[face]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        a = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
        b = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
        near = a / depths[face[0]] + b / depths[face[1]] + (1 - a - b) / depths[face[2]]
        better = (a >= 0) & (b >= 0) & (1 - a - b >= 0) & (near > nearest)
        ids[better], nearest[better] = index, near[better]
    return ids


@pytest.mark.parametrize("pairs", [1 << 22, 40])
@pytest.mark.parametrize("size", [0.04, 0.4])
def test_nearest_faces_equal_brute_force(size: float, pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "PAIRS", pairs)
    rng = np.random.default_rng(3)
    corners = rng.uniform(-0.35, 0.35, (120, 1, 3)) + rng.normal(0, size / 2, (120, 3, 3))
    faces = np.arange(360).reshape(-1, 3)
    cameras = [Camera.look_at(yaw=0.4, pitch=-0.2), Camera.look_at(yaw=2.5, pitch=0.3)]
    mesh = soup(torch.as_tensor(corners.reshape(-1, 3)), faces.tolist())
    labels = torch.stack([torch.as_tensor(each.label()).double() for each in cameras])
    found = module.nearest_faces(project(Meshes.joined([mesh, mesh]), labels, 24), 2).view(2, 24, 24).numpy()
    for index in range(2):
        expected = drawn_plainly(corners.reshape(-1, 3), faces, Camera.from_label(labels[index].numpy()), 24)
        assert (expected >= 0).mean() > 0.05
        np.testing.assert_array_equal(np.where(found[index] >= 0, found[index] - index * 120, -1), expected)


def test_a_shared_edge_leaves_no_crack_and_the_first_face_keeps_it() -> None:
    flat = torch.tensor([[-0.2, -0.2, 0.0], [0.2, -0.2, 0], [0.2, 0.2, 0], [-0.2, 0.2, 0]], dtype=torch.float64)
    label = camera().double()
    label[:, :16] = torch.tensor([1.0, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 2.7, 0, 0, 0, 1])
    screen = project(soup(flat, [[0, 1, 2], [0, 2, 3]]), label, 16)
    ids = module.nearest_faces(screen, 1).view(16, 16)
    rows, columns = (ids >= 0).nonzero().unbind(1)
    height, width = int(rows.max() - rows.min() + 1), int(columns.max() - columns.min() + 1)
    assert int((ids >= 0).sum()) == height * width > 60
    assert {int(ids[15 - k, k]) for k in range(int(columns.min()), int(columns.max()) + 1)} == {0}


def test_of_equal_faces_the_first_is_seen_whatever_their_number() -> None:
    corners = torch.tensor([[-0.2, -0.2, 0.0], [0.2, -0.2, 0.1], [0.0, 0.25, -0.1]], dtype=torch.float64)
    ids = module.nearest_faces(project(soup(corners, [[0, 1, 2]] * 40), camera(0.2).double(), 16), 1)
    assert int((ids >= 0).sum()) > 10 and set(ids.tolist()) == {-1, 0}


def test_pixels_meet_the_surface_on_their_rays() -> None:
    grid = body_centred_grid(12)
    mesh, label = marching_tetrahedra(grid, ball(grid, 0.33)), camera(0.7, 0.3).double()
    fragments = rasterise(project(mesh, label, 32), 1)
    points = fragments.blend(mesh.vertices, mesh.faces)
    origins, directions = (part[0, fragments.pixel] for part in camera_rays(label, 32))
    distance = ((points - origins) * directions).sum(dim=1, keepdim=True)
    torch.testing.assert_close(origins + distance * directions, points, rtol=0, atol=1e-6)
    axis = label[0, :16].view(4, 4)[:3, 2]
    torch.testing.assert_close(fragments.depth, (points - origins) @ axis, rtol=0, atol=1e-6)
    middle = (origins * directions).sum(dim=1)
    exact = -middle - (0.33**2 - (origins + -middle[:, None] * directions).square().sum(dim=1)).clamp_min(0).sqrt()
    centre = (points.norm(dim=1) > 0.3) & ((-directions * points / 0.33).sum(dim=1) > 0.5)
    assert float((distance[:, 0] - exact)[centre].abs().max()) < 0.01  # sagitta of a cell


def test_positions_and_depths_have_the_gradients_of_finite_differences() -> None:
    torch.manual_seed(0)
    vertices = torch.tensor([[-0.3, -0.2, 0.1], [0.25, -0.25, -0.1], [0.05, 0.3, 0.2]], dtype=torch.float64)
    label = camera(0.2, 0.1).double()

    def seen(points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        mesh = soup(points, [[0, 1, 2]])
        fragments = rasterise(project(mesh, labels, 8), 1)
        return fragments.depth, fragments.blend(mesh.vertices, mesh.faces)

    assert len(seen(vertices, label)[0]) > 5
    torch.autograd.gradcheck(seen, (vertices.requires_grad_(), label.requires_grad_()), eps=1e-7, atol=1e-5)


# --- outlines


def coverage(mesh: Meshes, label: Tensor, side: int) -> Tensor:
    screen = project(mesh, label, side)
    fragments = rasterise(screen, 1)
    hard = torch.zeros(side * side, 1, dtype=torch.float64)
    hard[fragments.pixel] = 1.0
    return outlines(mesh, screen, fragments, label).apply(hard)


@pytest.mark.parametrize("side", [32, 96])
@pytest.mark.parametrize("yaw", [0.0, 0.6, 2.2])
def test_a_ball_s_outline_grows_as_its_projected_circle(yaw: float, side: int) -> None:
    grid, radius = body_centred_grid(24), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    area = coverage(marching_tetrahedra(grid, ball(grid, radius)), camera(yaw, 0.2), side).sum()
    (slope,) = torch.autograd.grad(area, radius)
    tangent = 2.7**2 - 0.3**2  # the outline is where rays touch the ball: its radius on the screen is f r / sqrt(d^2 - r^2)
    seen = 4.2647 * side * 0.3 / math.sqrt(tangent)
    growth = 4.2647 * side * 2.7**2 / tangent**1.5
    assert float(area.detach()) == pytest.approx(math.pi * seen**2, rel=0.006)
    assert float(slope) == pytest.approx(2 * math.pi * seen * growth, rel=0.008)


def test_outlines_measure_fractions_of_pixels() -> None:
    label = torch.zeros(1, 25, dtype=torch.float64)
    label[0, :16] = torch.tensor([1.0, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 2.0, 0, 0, 0, 1])
    label[0, [16, 20, 24]] = 1.0  # at depth 2, a world unit is half the picture
    label[0, [18, 21]] = 0.5
    for low, high in ((3.3, 11.9), (4.75, 10.2)):
        sides = [(edge - 8) / 16 * 2 for edge in (low, high)]
        x = torch.tensor(sides, dtype=torch.float64, requires_grad=True)
        corners = [(0, 0), (1, 0), (1, 1), (0, 1)]
        square = torch.stack([torch.stack([x[i], -x[j], x[0] * 0.0]) for i, j in corners])
        seen = coverage(soup(square, [[0, 2, 1], [0, 3, 2]]), label, 16).view(16, 16)
        torch.testing.assert_close(seen[8].sum(), x.new_tensor(high - low))
        torch.testing.assert_close(seen[:, 8].sum(), x.new_tensor(high - low))
        (slope,) = torch.autograd.grad(seen[8].sum(), x)
        torch.testing.assert_close(slope, x.new_tensor([-8.0, 8.0]))


@pytest.mark.parametrize("reach", [20.1, 20.3, 20.7, 20.9])
def test_slanted_outlines_measure_fractions_of_pixels(reach: float) -> None:
    """A square on its corner: rows and columns cross each side at one fraction of a pixel, and count once together."""
    label = torch.zeros(1, 25, dtype=torch.float64)
    label[0, :16] = torch.tensor([1.0, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 2.0, 0, 0, 0, 1])
    label[0, [16, 20, 24]] = 1.0
    label[0, [18, 21]] = 0.5
    way = reach / 32
    corners = torch.tensor([[way, 0, 0], [0, way, 0], [-way, 0, 0], [0, -way, 0]], dtype=torch.float64)
    square = soup(corners, [[0, 1, 2], [0, 2, 3]])
    assert float(coverage(square, label, 64).sum()) == pytest.approx(2 * reach**2, rel=0.002)
    whole = len(rasterise(project(square, label, 64), 1).pixel)
    assert whole != pytest.approx(2 * reach**2, rel=0.015)


def test_what_lies_before_another_surface_has_an_outline_and_folds_have_none() -> None:
    grid, label = body_centred_grid(16), camera()
    near = marching_tetrahedra(grid, ball(grid, 0.2))
    wall = torch.tensor([[-1.0, -1, -0.6], [1, -1, -0.6], [1, 1, -0.6], [-1, 1, -0.6]], dtype=torch.float64)
    both = Meshes(
        torch.cat([near.vertices, wall]),
        torch.cat([near.faces, torch.tensor([[0, 1, 2], [0, 2, 3]]) + len(near.vertices)]),
        torch.zeros(len(near.vertices) + 4, dtype=torch.int64),
    )
    screen = project(both, label, 32)
    fragments = rasterise(screen, 1)
    found = outlines(both, screen, fragments, label)
    hit = torch.full((32 * 32,), -1)
    hit[fragments.pixel] = fragments.face
    assert (hit >= 0).all()
    is_wall = hit >= len(near.faces)
    assert len(found.amount) > 40
    assert (is_wall[found.target] != is_wall[found.source]).all()


def walls(*depths: tuple[float, float]) -> Meshes:
    """Squares that face the camera at z = 2.7: z and half their side."""
    corners = [[x * half, y * half, z] for z, half in depths for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    faces = [
        [4 * k + first, 4 * k + second, 4 * k + third]
        for k in range(len(depths))
        for first, second, third in ((0, 1, 2), (0, 2, 3))
    ]
    return soup(torch.tensor(corners, dtype=torch.float64), faces)


def outlined(mesh: Meshes) -> int:
    screen, label = project(mesh, camera(), 32), camera()
    return len(outlines(mesh, screen, rasterise(screen, 1), label).amount)


def test_a_step_within_a_surface_and_what_is_hidden_have_no_outline() -> None:
    """A square 0.004 of its distance before another is a fold in one surface, one of 0.02 lies before it."""
    assert outlined(walls((0.0, 0.15), (-0.004 * 2.7, 1.0))) == 0
    assert outlined(walls((0.0, 0.15), (-0.02 * 2.7, 1.0))) > 20
    assert outlined(walls((0.3, 1.0), (0.0, 0.15), (-0.5, 1.0))) == 0  # behind the first


def test_nothing_to_draw_gives_an_empty_picture() -> None:
    grid = body_centred_grid(3)
    distances = torch.full((len(grid.vertices),), -0.1, dtype=torch.float64, requires_grad=True)
    mesh = marching_tetrahedra(grid, distances)
    seen = coverage(mesh, camera(), 8)
    assert len(mesh.faces) == 0
    assert float(seen.detach().sum()) == 0.0
