"""Quick pictures of a figure: textures under a fixed soft light, in milliseconds, for contact sheets and for checking geometry.

Believable light is `render`'s business.
"""

from __future__ import annotations

import numpy as np

from ....datasets.arrays import Pixels
from ....datasets.camera import Camera
from ..people.paint import linear_to_srgb
from .exact_pass import Drawing

_LIGHT = np.array([0.35, 0.55, 0.75]) / np.linalg.norm([0.35, 0.55, 0.75])


def preview(drawing: Drawing, camera: Camera, size: int, background: tuple[int, int, int] = (196, 200, 204)) -> Pixels:
    """Return an (S, S, 3) sRGB picture of a figure, drawn at twice the size and reduced."""
    seen = drawing.see(camera, 2 * size)
    normals = seen.blend(drawing.normals, drawing.faces)
    normals /= np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), 1e-9)
    ahead = camera.cam2world[:3, 2]
    facing = np.where(normals @ ahead > 0, -1.0, 1.0)
    light = 0.35 + 0.8 * np.clip((normals @ (0.6 * _LIGHT - 0.4 * ahead)) * facing, 0.0, 1.0)
    colour = linear_to_srgb(drawing.colours(seen) * light[..., None])
    share = np.where(seen.face >= 0, 1.0 - seen.clear, 0.0)[..., None]
    flat = 255.0 * colour * share + np.array(background) * (1.0 - share)
    small = flat.reshape(size, 2, size, 2, 3).mean(axis=(1, 3))
    picture: Pixels = np.clip(np.round(small), 0, 255).astype(np.uint8)
    return picture
