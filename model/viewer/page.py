"""The viewer's page: viser (Yi et al. 2025) serves it, with a camera that is moved in the browser.

It needs no PyTorch, so that a browser can connect while that is imported; what the page shows is left to `server`.
"""

from __future__ import annotations

import math
from typing import Any

from ...datasets.camera import FOCAL, RADIUS

FOV = 2 * math.atan(0.5 / FOCAL)
"""Vertical field of view of the canonical camera, radians."""
AXIS = 0.6
"""Length of the drawn axes in world units: beyond the head's surface."""


def open_server(host: str = "127.0.0.1", port: int = 8080) -> Any:
    """Return a viser server whose world is ours: y up, the face towards +z.

    Args:
        host: address to listen on; 0.0.0.0 lets other machines in.
        port: port to listen on; the next free one where it is taken.

    Raises:
        ImportError: viser is not installed.
    """
    try:
        import viser
    except ImportError as missing:
        raise ImportError("viser is not installed; pip install 'spherehead-toolkit[view]'") from missing
    server = viser.ViserServer(host=host, port=port, label="spherehead", verbose=False)
    # viser's logo looks like axes with z upwards; its share button sends the page through a server on the internet
    server.gui.configure_theme(show_logo=False, show_share_button=False)
    server.scene.set_up_direction("+y")
    server.initial_camera.position = (0.0, 0.0, RADIUS)
    server.initial_camera.look_at = (0.0, 0.0, 0.0)
    server.initial_camera.fov = FOV
    return server


def show_axes(server: Any, visible: bool) -> Any:
    """Add the axes of the head frame at its origin, with names, and a box that turns them on and off; return the box.

    Args:
        server: what `open_server` returned.
        visible: whether they are on at first.
    """
    axes = server.scene.world_axes
    axes.axes_length, axes.axes_radius, axes.visible = AXIS, 0.02 * AXIS, visible
    for row, name in enumerate(("x", "y (up)", "z (face)")):
        end = tuple(1.1 * AXIS if column == row else 0.0 for column in range(3))
        server.scene.add_label(f"{axes.name}/{name[0]}", name, position=end, anchor="center-center")
    box = server.gui.add_checkbox("Axes of the head frame", visible)

    def change(_: Any) -> None:
        axes.visible = bool(box.value)

    box.on_update(change)
    return box
