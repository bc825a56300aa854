"""The viewer's page: viser (Yi et al. 2025) serves it, with a camera that is moved in the browser.

It needs no PyTorch, so that a browser can connect while that is imported; what the page shows is left to `server`.
"""

from __future__ import annotations

import math
from typing import Any

from ...datasets.camera import FOCAL, RADIUS

FOV = 2 * math.atan(0.5 / FOCAL)
"""Vertical field of view of the canonical camera, radians."""


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
    server.scene.set_up_direction("+y")
    server.initial_camera.position = (0.0, 0.0, RADIUS)
    server.initial_camera.look_at = (0.0, 0.0, 0.0)
    server.initial_camera.fov = FOV
    return server
