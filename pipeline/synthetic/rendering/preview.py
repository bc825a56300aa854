"""Quick pictures of a figure: textures under a fixed soft light, in milliseconds, for contact sheets and for checking geometry.

Believable light is `render`'s business.
"""

from __future__ import annotations

import cv2
import numpy as np

from ....datasets.arrays import Array, Pixels
from ....datasets.camera import Camera
from ....datasets.images.colour_space import linear_to_srgb
from .exact_pass import Drawing
from .ribbons import StrandBuffers

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
    strands = seen.strands
    if strands is not None:
        covered = (1.0 - strands.clear)[..., None]
        lit = linear_to_srgb(strands.blend(drawing.strands.colours) * _hair_light(drawing, strands, camera)[..., None])
        colour = (colour * share * (1.0 - covered) + lit * covered) / np.maximum(share * (1.0 - covered) + covered, 1e-6)
        share = 1.0 - (1.0 - share) * (1.0 - covered)
    flat = 255.0 * colour * share + np.array(background) * (1.0 - share)
    small = flat.reshape(size, 2, size, 2, 3).mean(axis=(1, 3))
    picture: Pixels = np.clip(np.round(small), 0, 255).astype(np.uint8)
    return picture


def _hair_light(drawing: Drawing, strands: StrandBuffers, camera: Camera) -> Array:
    """Return (S, S) light on strands: diffuse and specular terms of Kajiya and Kay 1989, darker where strands lie deep."""
    along, _ = strands.normals(drawing.strands)
    lamp = 0.6 * _LIGHT - 0.4 * camera.cam2world[:3, 2]
    lamp = lamp / np.linalg.norm(lamp)
    half = lamp - camera.cam2world[:3, 2]
    half = half / np.linalg.norm(half)
    diffuse = np.sqrt(np.clip(1.0 - (along @ lamp) ** 2, 0.0, 1.0))
    shine = np.clip(1.0 - (along @ half) ** 2, 0.0, 1.0) ** 20
    depth = np.where(np.isfinite(strands.depth), strands.depth, 0.0).astype(np.float32)
    there = (depth > 0.0).astype(np.float32)
    around = cv2.blur(depth, (9, 9)) / np.maximum(cv2.blur(there, (9, 9)), 1e-6)
    deep = np.exp(-np.clip(depth - around, 0.0, 0.1) / 0.02)
    return np.asarray((0.25 + 0.7 * diffuse + 0.45 * shine) * deep)
