"""What the viewer's page shows: heads with their sliders, a mesh, or a data set's cameras.

The page itself is left to `page`, what a head looks like to `frames`. A moving camera gets coarse pictures at once and a fine
one when it rests.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.arrays import Pixels
from ...datasets.report.tiles import fit
from ...datasets.shards.codec import Decoded
from ..meshes.mesh import METRE, UNITS
from ..visualization.views import look_from
from .frames import AXES, MODES, SLICE, Chosen, Heads, label_of, plane_of, rotation_of, translucent, widened

RESTS = 0.2
"""Seconds without a move after which the fine picture is rendered."""
COARSE = 0.5
"""Rays a side while moving, of the generator's own."""
UNPLACED = (0.0, 0.0, -5.0)
"""Where a page that has just connected says that its camera is, until it has taken the server's first one."""
THUMBNAIL = 96
"""Pixels a side of a data set's pictures on their frusta."""


class Painter(threading.Thread):
    """Renders for one client: coarse after each move, fine when nothing moved for a moment."""

    def __init__(self, client: Any, heads: Heads, chosen: Callable[[], Chosen], lock: threading.Lock) -> None:
        super().__init__(daemon=True)
        self.client, self.heads, self.chosen, self.lock = client, heads, chosen, lock
        self.moved, self.ended = threading.Event(), False

    def stop(self) -> None:
        """End the thread after the picture that it is at."""
        self.ended = True
        self.moved.set()

    def run(self) -> None:
        """Render until stopped."""
        coarse = max(8, round(COARSE * self.heads.rays))
        while not self.ended:
            self.moved.wait()
            self.moved.clear()
            if self.ended:
                return
            self._paint(coarse)
            if not self.moved.wait(RESTS) and not self.ended:
                self._paint(self.heads.rays)

    def _paint(self, rays: int) -> None:
        camera, label = self.client.camera, look_from([0.0])
        if not np.array_equal(camera.position, UNPLACED):
            label = label_of(np.asarray(camera.position), rotation_of(np.asarray(camera.wxyz)), float(camera.fov))
        with self.lock:  # one head at a time: PyTorch uses every core already
            picture = self.heads.frame(self.chosen(), label, rays)
        self.client.scene.set_background_image(widened(picture, float(camera.aspect)), format="jpeg", jpeg_quality=90)


def show_heads(server: Any, heads: Heads) -> dict[int, Painter]:
    """Fill a server's page with heads and their sliders.

    Returns:
        The painters of the clients that are connected, by id; it changes as they come and go.
    """
    gui = server.gui
    by_seed = heads.only is None
    seed = gui.add_number("Seed", 0, min=0, step=1, visible=by_seed)
    other = gui.add_number("Other seed", 1, min=0, step=1, visible=by_seed)
    mix = gui.add_slider("Mix", 0.0, 1.0, 0.05, 0.0, visible=by_seed)
    psi = gui.add_slider("Truncation", 0.0, 1.5, 0.05, 0.7, visible=by_seed)
    mode = gui.add_dropdown("Show", MODES)
    painters: dict[int, Painter] = {}
    lock = threading.Lock()

    def chosen() -> Chosen:
        return Chosen(int(seed.value), int(other.value), float(mix.value), float(psi.value), mode.value)

    def arrive(client: Any) -> None:
        painter = painters[client.client_id] = Painter(client, heads, chosen, lock)
        client.camera.on_update(lambda _: painter.moved.set())
        painter.start()
        painter.moved.set()

    def leave(client: Any) -> None:
        if (painter := painters.pop(client.client_id, None)) is not None:
            painter.stop()

    def change(_: Any) -> None:
        for painter in list(painters.values()):
            painter.moved.set()

    for handle in (seed, other, mix, psi, mode):
        handle.on_update(change)
    slices(server, heads, chosen, lock, (seed, other, mix, psi))
    server.on_client_connect(arrive)
    server.on_client_disconnect(leave)
    return painters


def slices(
    server: Any, heads: Heads, chosen: Callable[[], Chosen], lock: threading.Lock, handles: Sequence[Any]
) -> tuple[Any, Any, Any, Any]:
    """Add slices of the chosen head's density, drawn when they are turned on, moved, or the head changes.

    A slice is seen flat in the panel, and over the head's picture as a plane in the scene. The plane lies where it is drawn at
    the distance that generators know; nearer and farther the picture is zoomed and its perspective is not the plane's.

    Args:
        server: what `open_server` returned.
        heads: whose density is cut.
        chosen: which head the page shows.
        lock: held while something is drawn.
        handles: what changes the head.

    Returns:
        The handles of axis, place, picture and plane.
    """
    gui = server.gui
    axis = gui.add_dropdown("Density slice", ("off", *AXES))
    place = gui.add_slider("Slice at cm", -20.0, 20.0, 0.5, 0.0, visible=False)
    panel = gui.add_image(np.zeros((SLICE, SLICE, 3), dtype=np.uint8), label="Opacity of a centimetre", visible=False)
    empty = np.zeros((2, 2, 4), dtype=np.uint8)
    plane = server.scene.add_image("/slice", empty, heads.side, heads.side, format="png", visible=False)

    def draw(_: Any) -> None:
        if axis.value != "off":
            with lock:
                panel.image = heads.slice(chosen(), axis.value, float(place.value))
            rotation, plane.position = plane_of(axis.value, float(place.value))
            plane.wxyz, plane.image = quaternion_of(rotation), translucent(panel.image)
        place.visible = panel.visible = plane.visible = axis.value != "off"

    for handle in (axis, place, *handles):
        handle.on_update(draw)
    return axis, place, panel, plane


def show_mesh(server: Any, vertices: Any, faces: Any, glb: bytes | None = None) -> None:
    """Show a surface: a GLB file, whose metres become world units, or plain triangles.

    Args:
        server: what `open_server` returned.
        vertices: (N, 3) in world units.
        faces: (M, 3) indices.
        glb: a file's bytes, with its textures; None for the triangles.
    """
    if glb is not None:
        server.scene.add_glb("/mesh", glb, scale=METRE)
    else:
        server.scene.add_mesh_simple("/mesh", np.asarray(vertices), np.asarray(faces), color=(200, 180, 165))


def show_samples(server: Any, samples: Sequence[Decoded]) -> None:
    """Show samples' cameras around the head as frusta with their pictures; a click opens the sample beside.

    Args:
        server: what `open_server` returned.
        samples: with cameras.
    """
    server.scene.add_icosphere("/head", radius=0.3, color=(190, 170, 155), opacity=0.6)
    server.initial_camera.position, server.initial_camera.fov = (3.0, 2.2, 5.5), 0.9
    panel = server.gui.add_image(np.full((256, 256, 3), 128, dtype=np.uint8), label="Click a camera")
    words = server.gui.add_markdown(f"{len(samples)} samples")
    for sample in samples:
        camera = sample.camera
        if camera is None:
            continue
        handle = server.scene.add_camera_frustum(
            f"/cameras/{sample.id}", fov=2 * math.atan(0.5 / float(camera.intrinsics[1, 1])), aspect=1.0,
            scale=0.15, thickness=0.006, wxyz=quaternion_of(camera.cam2world[:3, :3]), position=camera.position,
            image=fit(sample.image, THUMBNAIL),
        )  # fmt: skip
        handle.on_click(_opener(panel, words, sample))


def _opener(panel: Any, words: Any, sample: Decoded) -> Callable[[Any], None]:
    """Return what a click on a sample's camera does."""
    camera = sample.camera
    assert camera is not None
    angles = ", ".join(f"{name} {math.degrees(getattr(camera, name)):.0f}°" for name in ("yaw", "pitch", "roll"))

    def click(_: Any) -> None:
        picture: Pixels = fit(sample.image, 256)
        panel.image, words.content = picture, f"`{sample.id}` {angles}"

    return click


def quaternion_of(rotation: Any) -> Any:
    """Return the (4,) unit quaternion, w first, of a (3, 3) rotation."""
    from scipy.spatial.transform import Rotation

    return np.roll(Rotation.from_matrix(np.asarray(rotation)).as_quat(), 1)


def read_mesh(path: Path) -> tuple[Any, Any, bytes | None]:
    """Read a surface for `show_mesh`: vertices in world units by the unit that the file's first lines name, else centimetres.

    Raises:
        ValueError: it is no GLB, OBJ or PLY file.
    """
    if path.suffix.lower() == ".glb":
        return None, None, path.read_bytes()
    if path.suffix.lower() not in (".obj", ".ply"):
        raise ValueError(f"expected a .glb, .obj or .ply file, got {path.name}")
    import trimesh

    with path.open("rb") as file:
        head = file.read(1024).decode("latin-1")
    unit = next((unit for unit in UNITS.values() if f"unit: {unit.name}" in head), UNITS["cm"])
    mesh: Any = trimesh.load(path, force="mesh")
    return mesh.vertices * unit.size, mesh.faces, None
