"""The viewer's frames: a free camera as a label that shows the same, kept styles, every mode, and windows wider than high."""

from __future__ import annotations

import importlib
import math
import threading
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spherehead.datasets.camera import FOCAL, RADIUS, Camera
from spherehead.model.meshes.mesh import CENTIMETRE, UNITS
from spherehead.model.viewer.frames import MODES, Axis, Chosen, Heads, label_of, plane_of, rotation_of, translucent, widened
from spherehead.model.viewer.page import FOV, open_server, show_axes
from spherehead.model.viewer.server import UNPLACED, Painter, quaternion_of, read_mesh, show_mesh, slices
from spherehead.model.volume_rendering.rays import check_labels


@given(st.floats(-3.1, 3.1), st.floats(-1.4, 1.4))
def test_the_canonical_view_is_the_canonical_label(yaw: float, pitch: float) -> None:
    camera = Camera.look_at(yaw, pitch)
    rotation = rotation_of(quaternion_of(camera.cam2world[:3, :3]))
    label = label_of(camera.position, rotation, FOV)
    np.testing.assert_allclose(label[0].numpy(), camera.label(), atol=1e-5)


@given(st.floats(0.9, 10.0), st.floats(0.1, 1.5))
def test_distance_becomes_zoom(distance: float, fov: float) -> None:
    label = label_of(np.array([0.0, 0.0, distance]), Camera.look_at(0.0, 0.0).cam2world[:3, :3], fov)
    check_labels(label)
    shown = Camera.from_label(label[0].numpy()).project(np.array([0.1, 0.0, 0.0]))[0]
    assert shown[0] - 0.5 == pytest.approx(0.1 / distance * 0.5 / math.tan(fov / 2), rel=1e-4)
    assert Camera.from_label(label[0].numpy()).radius == pytest.approx(RADIUS)


def test_every_mode_of_a_mixed_head_has_one_size() -> None:
    small = importlib.import_module("small_heads")
    heads = Heads(small.generator())
    label = label_of(np.array([0.0, 0.0, RADIUS]), Camera.look_at(0.0, 0.0).cam2world[:3, :3], 2 * math.atan(0.5 / FOCAL))
    sizes = {mode: heads.frame(Chosen(mode=mode), label, 8).shape for mode in MODES}
    assert set(sizes.values()) == {(64, 64, 3)}
    one, two, half = (heads.styles(Chosen(3, 4, mix)) for mix in (0.0, 1.0, 0.5))
    torch.testing.assert_close(half, (one + two) / 2)
    assert heads.styles(Chosen(3, 4, 0.5)) is heads.styles(Chosen(3, 4, 0.5))


@pytest.mark.parametrize(("axis", "row", "column"), [("x", 1, 2), ("y", 2, 0), ("z", 1, 0)])
def test_a_slice_of_the_density_shows_a_ball_where_it_lies(axis: Axis, row: int, column: int) -> None:
    """A ball of radius 0.1 about (0.1, 0.2, 0.05), dense inside: its disc on each plane through its centre."""
    heads = Heads(importlib.import_module("small_heads").generator())
    centre = torch.tensor([0.1, 0.2, 0.05])

    def field(planes: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inside = (points - centre).norm(dim=-1, keepdim=True) < 0.1
        return points, torch.where(inside, 500.0, -50.0)

    heads.generator.solid = field  # type: ignore[method-assign]
    normal = {"x": 0, "y": 1, "z": 2}[axis]
    picture = heads.slice(Chosen(), axis, float(centre[normal]) / CENTIMETRE, 100)
    rows, columns = np.nonzero(picture[..., 0] > 250)
    assert len(rows) == pytest.approx(np.pi * 10**2, rel=0.05)  # pixels of a hundredth of the volume's side of 1
    sign = -1.0 if row == 1 else 1.0
    assert (rows.mean() + 0.5) / 100 - 0.5 == pytest.approx(sign * float(centre[row]), abs=0.006)
    assert (columns.mean() + 0.5) / 100 - 0.5 == pytest.approx(float(centre[column]), abs=0.006)
    frame, middle = plane_of(axis, float(centre[normal]) / CENTIMETRE)
    assert np.linalg.det(frame) == pytest.approx(1.0)
    seen = np.array([columns.mean() + 0.5, rows.mean() + 0.5, 50.0]) / 100 - 0.5  # on a plane as wide as the volume
    np.testing.assert_allclose(middle + frame @ (seen * heads.side), centre.numpy(), atol=0.006)
    assert (heads.slice(Chosen(), axis, float(centre[normal] + 0.15) / CENTIMETRE, 100) < 5).all()


def test_slices_are_drawn_when_they_are_asked_for() -> None:
    drawn: list[tuple[str, float]] = []
    handles = [SimpleNamespace(value=value, visible=True, image=None) for value in ("off", 0.0, None, None)]
    for handle in handles:
        handle.heard = []
        handle.on_update = handle.heard.append
    gui = SimpleNamespace(
        add_dropdown=lambda *_, **__: handles[0], add_slider=lambda *_, **__: handles[1], add_image=lambda *_, **__: handles[2]
    )
    scene = SimpleNamespace(add_image=lambda *_, **__: handles[3])
    picture = np.array([[[0] * 3, [255] * 3]], dtype=np.uint8)
    heads = SimpleNamespace(slice=lambda _, axis, place: drawn.append((axis, place)) or picture, side=1.0)
    server = SimpleNamespace(gui=gui, scene=scene)
    axis, place, panel, plane = slices(server, heads, Chosen, threading.Lock(), ())  # type: ignore[arg-type]
    axis.heard[0](None)
    assert drawn == [] and not panel.visible and not plane.visible
    axis.value, place.value = "y", 3.0
    place.heard[0](None)
    assert drawn == [("y", 3.0)] and panel.visible and plane.visible and panel.image is picture
    np.testing.assert_allclose(plane.position, (0.0, 3.0 * CENTIMETRE, 0.0))
    np.testing.assert_allclose(rotation_of(plane.wxyz), plane_of("y", 3.0)[0], atol=1e-9)
    np.testing.assert_array_equal(plane.image[0], translucent(picture)[0])
    assert plane.image[0, :, 3].tolist() == [round(0.35 * 255), round(0.8 * 255)]


@pytest.mark.parametrize("place", [UNPLACED, (0.0, 0.0, RADIUS)])
def test_the_first_picture_is_from_the_front_though_the_page_has_no_camera_yet(place: tuple[float, float, float]) -> None:
    seen: list[torch.Tensor] = []
    heads = SimpleNamespace(frame=lambda _, label, rays: seen.append(label) or np.zeros((2, 2, 3), dtype=np.uint8))
    turned = quaternion_of(np.diag([-1.0, -1.0, 1.0]) if place == UNPLACED else np.diag([1.0, -1.0, -1.0]))
    camera = SimpleNamespace(position=np.array(place), wxyz=turned, fov=FOV, aspect=1.0)
    client = SimpleNamespace(camera=camera, scene=SimpleNamespace(set_background_image=lambda *_, **__: None))
    Painter(client, heads, Chosen, threading.Lock())._paint(8)  # type: ignore[arg-type]
    np.testing.assert_allclose(seen[0][0].numpy(), Camera.look_at(0.0, 0.0).label(), atol=1e-5)


def test_a_wide_window_keeps_the_square_in_the_middle() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    wide = widened(picture, 2.0)
    assert wide.shape == (20, 40, 3)
    np.testing.assert_array_equal(wide[:, 10:30], picture)
    assert widened(picture, 0.5).shape == (20, 20, 3)


def test_a_file_that_is_no_mesh_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(ValueError, match=r"expected a \.glb, \.obj or \.ply file"):
        read_mesh(tmp_path_factory.mktemp("mesh") / "head.stl")


@pytest.mark.parametrize("name", list(UNITS))
@pytest.mark.parametrize("suffix", [".obj", ".ply"])
def test_a_mesh_is_shown_in_world_units_whatever_its_own(tmp_path: Path, name: str, suffix: str) -> None:
    """A tetrahedron a fifth of a world unit wide; its unit stands in the file's first lines."""
    pytest.importorskip("trimesh")
    corners = 0.2 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]]) / UNITS[name].size
    faces = [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]
    rows = [f"{x:.6g} {y:.6g} {z:.6g}" for x, y, z in corners]
    told = f"y up; unit: {UNITS[name].name}"
    if suffix == ".obj":
        lines = [f"# {told}", *(f"v {row}" for row in rows), *(f"f {a + 1} {b + 1} {c + 1}" for a, b, c in faces)]
    else:
        fields = [f"property float {axis}" for axis in "xyz"]
        lines = ["ply", "format ascii 1.0", f"comment {told}", "element vertex 4", *fields, "element face 4"]
        lines += ["property list uchar int vertex_indices", "end_header", *rows, *(f"3 {a} {b} {c}" for a, b, c in faces)]
    path = tmp_path / f"head{suffix}"
    path.write_text("\n".join(lines) + "\n")
    vertices, found, glb = read_mesh(path)
    assert glb is None and len(found) == 4
    np.testing.assert_allclose(np.ptp(vertices, axis=0), 0.2, rtol=1e-4)


def test_a_glb_is_shown_with_its_metres_as_world_units(tmp_path: Path) -> None:
    """One world unit is 1 / 2.25 m: a mesh written in metres is enlarged by 2.25."""
    (tmp_path / "head.glb").write_bytes(b"glTF")
    asked: dict[str, object] = {}
    scene = SimpleNamespace(add_glb=lambda name, data, scale: asked.update(name=name, data=data, scale=scale))
    show_mesh(SimpleNamespace(scene=scene), *read_mesh(tmp_path / "head.glb"))
    assert asked == {"name": "/mesh", "data": b"glTF", "scale": pytest.approx(2.25)}


def test_a_server_serves_its_page_without_the_network() -> None:
    pytest.importorskip("viser")
    server = open_server(port=18_431)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.get_port()}", timeout=20) as answer:
            page = answer.read()
        assert answer.status == 200 and b"<html" in page
        assert tuple(server.initial_camera.position) == (0.0, 0.0, RADIUS)
        box = show_axes(server, visible=False)
        assert not server.scene.world_axes.visible
        heard = threading.Event()
        box.on_update(lambda _: heard.set())
        box.value = True
        assert heard.wait(20) and server.scene.world_axes.visible
    finally:
        server.stop()
