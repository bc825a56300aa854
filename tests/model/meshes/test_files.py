"""Files of meshes: what other readers find in them, what the formats demand, and colours that lie where views put them."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import CLASSES
from spherehead.model.meshes import mesh_files, rasterise
from spherehead.model.meshes.gltf import glb, read_glb
from spherehead.model.meshes.mesh import CENTIMETRE, METRE, Mesh, Unit
from spherehead.model.meshes.mesh_files import mtl, obj, ply
from spherehead.model.meshes.rasterise import laid_out, seen_by
from spherehead.model.meshes.surface import Box, Grid, simplified, surface
from spherehead.model.meshes.texture import Samples, Texture, drawn, paint
from spherehead.model.meshes.unwrap import Atlas, unwrap
from spherehead.model.visualization.views import View

SIZE = 96
CM = Unit("centimetre", CENTIMETRE)


def colour_at(points: np.ndarray) -> np.ndarray:
    """Colour of the ball's surface: smooth in x, y and z."""
    return 128 + 100 * points / 0.25


def class_at(points: np.ndarray) -> np.ndarray:
    return np.where(points[..., 1] > 0, CLASSES.index("hair"), CLASSES.index("skin"))


def ball_view(camera: Camera) -> View:
    """A picture of a coloured ball of radius 0.25 by intersecting rays, with mask and classes."""
    centres = (np.arange(SIZE) + 0.5) / SIZE
    u, v = np.meshgrid(centres, centres)
    local = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(camera.intrinsics).T
    rays = local @ camera.cam2world[:3, :3].T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    middle = -(rays @ camera.position)
    root = middle**2 - (camera.radius**2 - 0.25**2)
    distance = np.where(root >= 0, middle - np.sqrt(np.maximum(root, 0)), 100.0)
    hit = root >= 0
    points = camera.position + distance[..., None] * rays
    image = np.where(hit[..., None], np.round(colour_at(points)), 0).clip(0, 255).astype(np.uint8)
    return View(
        image, image, hit.astype(np.float32), distance.astype(np.float32), np.where(hit, class_at(points), 0).astype(np.uint8)
    )


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    box = Box((-0.4,) * 3, (0.4,) * 3)
    return simplified(surface(Grid.sample(lambda p: 300 * (0.25 - np.linalg.norm(p, axis=1)), box, 0.02), 0.0, 10.0), 3000)


@pytest.fixture(scope="module")
def atlas(mesh: Mesh) -> Atlas:
    return unwrap(mesh, 256)


@pytest.fixture(scope="module")
def cameras() -> list[Camera]:
    return [Camera.look_at(2 * math.pi * k / 8, pitch) for pitch in (-0.7, 0.0, 0.7) for k in range(8)]


@pytest.fixture(scope="module")
def painted(mesh: Mesh, atlas: Atlas, cameras: list[Camera]) -> tuple[Texture, Samples]:
    return paint(mesh, atlas, cameras, [ball_view(camera) for camera in cameras], 256)


def test_charts_do_not_overlap_and_every_face_has_its_place(mesh: Mesh, atlas: Atlas) -> None:
    assert np.array_equal(atlas.vertices[atlas.faces], mesh.faces)
    assert 0 <= atlas.uv.min() <= atlas.uv.max() <= 1
    corners = atlas.uv[atlas.faces]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    areas = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
    covered = (laid_out(atlas.uv, atlas.faces, 1024).face >= 0).mean()
    assert covered == pytest.approx(areas.sum(), rel=0.01)  # faces on top of each other would cover less


def test_the_texture_has_the_colours_of_the_surface(mesh: Mesh, atlas: Atlas, painted: tuple[Texture, Samples]) -> None:
    texture, corners = painted
    raster = laid_out(atlas.uv, atlas.faces, 256)
    points = raster.blend(mesh.vertices, mesh.faces)
    error = np.abs(texture.colours[raster.face >= 0] - colour_at(points))
    assert texture.seen > 0.999
    assert np.percentile(error, 99) < 6
    assert np.percentile(np.abs(corners.colours - colour_at(mesh.vertices)), 99) < 6
    assert texture.classes is not None
    far = np.abs(points[:, 1]) > 0.02
    assert (texture.classes[raster.face >= 0] == class_at(points))[far].mean() > 0.999


def test_a_view_from_which_nothing_was_painted_looks_as_it_should(
    mesh: Mesh, atlas: Atlas, painted: tuple[Texture, Samples]
) -> None:
    camera = Camera.look_at(0.39, 0.35)
    picture, distance = drawn(mesh, atlas, painted[0].colours, camera, SIZE)
    truth = ball_view(camera)
    both = cv2.erode(truth.mask, np.ones((5, 5))) > 0
    assert np.isfinite(distance)[both].all()
    assert np.abs(distance[both] - truth.depth[both]).max() < 0.004
    assert np.abs(picture[both].astype(float) - truth.image[both]).mean() < 3


def test_hidden_points_take_no_colour_of_what_hides_them() -> None:
    """A small wall before a large one: seen from in front, what lies behind the small one is not painted."""
    wall = np.array([(-1.0, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)])
    faces = np.array([(0, 1, 2), (0, 2, 3)])
    both = Mesh(np.concatenate([wall * 0.3, wall * 0.1 + (0, 0, 0.2)]), np.concatenate([faces, faces + 4]))
    from spherehead.model.meshes.texture import view_weights

    points = np.array([(0.0, 0, 0), (0.25, 0.25, 0), (0, 0, 0.2)])
    say, _ = view_weights(both, points, np.tile((0.0, 0, 1), (3, 1)), Camera.look_at(0, 0), 128)
    assert say[0] == 0
    assert say[1] > 0
    assert say[2] > 0
    behind, _ = view_weights(both, points, np.tile((0.0, 0, 1), (3, 1)), Camera.look_at(math.pi, 0), 128)
    assert (behind == 0).all()


def test_the_compiled_rasteriser_draws_what_the_plain_one_draws(mesh: Mesh) -> None:
    camera = Camera.look_at(0.3, 0.2)
    places, depths = camera.project(mesh.vertices)
    face, bary, nearest = np.full((40, 40), -1, np.int32), np.zeros((40, 40, 3), np.float32), np.zeros((40, 40))
    rasterise.draw(places * 40, 1 / depths, mesh.faces, face, bary, nearest)
    fast = seen_by(mesh, camera, 40)
    assert np.array_equal(fast.face, face)
    assert np.allclose(fast.bary, bary, atol=1e-6)
    hit = face >= 0
    points = fast.blend(mesh.vertices, mesh.faces)
    u, v = np.meshgrid((np.arange(40) + 0.5) / 40, (np.arange(40) + 0.5) / 40)
    again, depth = camera.project(points)
    assert np.allclose(again, np.stack([u[hit], v[hit]], 1), atol=1e-6)
    assert np.allclose(depth, fast.depth[hit], atol=1e-5)


def test_glb_holds_metres_normals_places_and_classes(mesh: Mesh, atlas: Atlas, painted: tuple[Texture, Samples]) -> None:
    texture, corners = painted
    classes = corners.classes()
    data = glb(mesh, atlas, texture, classes, {"seed": 7})
    document, binary = read_glb(data)
    assert len(data) % 4 == 0
    assert document["asset"]["extras"] == {"seed": 7, "world_units_per_metre": METRE}

    def array(index: int, width: int) -> np.ndarray:
        entry = document["accessors"][index]
        view = document["bufferViews"][entry["bufferView"]]
        kind = {5126: np.float32, 5125: np.uint32}[entry["componentType"]]
        return np.frombuffer(binary, kind, entry["count"] * width, view["byteOffset"]).reshape(-1, width)

    primitive = document["meshes"][0]["primitives"][0]
    places = array(primitive["attributes"]["POSITION"], 3)
    assert np.linalg.norm(places, axis=1) == pytest.approx(0.25 / METRE, rel=0.02)
    bounds = document["accessors"][primitive["attributes"]["POSITION"]]
    assert bounds["min"] == places.min(0).tolist()
    assert bounds["max"] == places.max(0).tolist()
    assert np.linalg.norm(array(primitive["attributes"]["NORMAL"], 3), axis=1) == pytest.approx(1, abs=1e-5)
    faces = array(primitive["indices"], 1).reshape(-1, 3)
    welded = Mesh(mesh.vertices, atlas.vertices[faces])
    assert welded.is_watertight()
    assert welded.volume() == pytest.approx(mesh.volume())
    assert np.array_equal(array(primitive["attributes"]["_CLASS"], 1)[:, 0], classes[atlas.vertices])
    assert [image["name"] for image in document["images"]] == ["colour", "classes"]
    assert glb(mesh, atlas, texture, classes, {"seed": 7}) == data


def test_another_reader_finds_the_same_solid_in_every_file(
    mesh: Mesh, atlas: Atlas, painted: tuple[Texture, Samples], tmp_path: Path
) -> None:
    trimesh = pytest.importorskip("trimesh")
    texture, corners = painted
    classes = corners.classes()
    files = {
        "head.glb": glb(mesh, atlas, texture, classes, {}),
        "head.obj": obj(mesh, atlas, classes, CM),
        "head.mtl": mtl(),
        "head.ply": ply(mesh, corners.colours, classes, CM),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    cv2.imwrite(str(tmp_path / mesh_files.TEXTURE_NAME), texture.colours)
    for name, scale in (("head.glb", METRE), ("head.obj", CENTIMETRE), ("head.ply", CENTIMETRE)):
        read = trimesh.load(tmp_path / name, force="mesh", process=False, maintain_order=True)
        read.merge_vertices(merge_tex=True, merge_norm=True)
        assert read.is_watertight, name
        assert read.volume * scale**3 == pytest.approx(mesh.volume(), rel=1e-4), name
        assert read.area * scale**2 == pytest.approx(mesh.area(), rel=1e-4), name
    read = trimesh.load(tmp_path / "head.ply", process=False)
    assert np.abs(read.visual.vertex_colors[:, :3] - corners.colours).max() <= 0.5
    assert np.array_equal(read.metadata["_ply_raw"]["vertex"]["data"]["class"], classes)


def test_obj_groups_are_classes_and_v_counts_upward(mesh: Mesh, atlas: Atlas, painted: tuple[Texture, Samples]) -> None:
    lines = obj(mesh, atlas, painted[1].classes(), CM).decode().splitlines()
    assert {line[2:] for line in lines if line.startswith("g ")} == {"hair", "skin"}
    uv = np.array([line.split()[1:] for line in lines if line.startswith("vt ")], dtype=float)
    assert np.allclose(uv, atlas.uv * (1, -1) + (0, 1), atol=1e-6)
    assert sum(line.startswith("f ") for line in lines) == len(mesh.faces)
