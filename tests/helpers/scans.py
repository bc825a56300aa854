"""Small scans made by formula: a ball about the head frame's origin, its left half red and its right half blue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from PIL import Image
from spherehead.pipeline.synthetic.scans.mesh_head import LANDMARKS, places

RADIUS = 0.3
"""World units."""
SCALE = 40.0
OFFSET = np.array([10.0, -200.0, 33.0])
_AXIS = np.array([1.0, 2.0, -0.5]) / np.linalg.norm([1.0, 2.0, -0.5])
_CROSS = np.array([[0, -_AXIS[2], _AXIS[1]], [_AXIS[2], 0, -_AXIS[0]], [-_AXIS[1], _AXIS[0], 0]])
ROTATION = np.eye(3) + np.sin(0.8) * _CROSS + (1 - np.cos(0.8)) * _CROSS @ _CROSS
"""Rodrigues' rotation by 0.8 about an axis of no special direction."""
RED, BLUE = (200, 40, 30), (30, 60, 190)


def own_frame(points: np.ndarray) -> np.ndarray:
    """Bring points of the head frame to the scan's own frame and unit."""
    return SCALE * points @ ROTATION.T + OFFSET


def ball() -> tuple[np.ndarray, np.ndarray]:
    """Return vertices in the head frame and faces; no vertex lies on the plane x = 0."""
    shape = trimesh.creation.icosphere(subdivisions=4, radius=RADIUS)
    turn = trimesh.transformations.rotation_matrix(0.3, [0.2, 1.0, 0.4])[:3, :3]
    return np.array(shape.vertices) @ turn.T, np.array(shape.faces)


def textured() -> trimesh.Trimesh:
    """The ball with a texture of two colours, in its own frame."""
    points, faces = ball()
    picture = np.zeros((16, 32, 3), dtype=np.uint8)
    picture[:, :16], picture[:, 16:] = BLUE, RED
    uvs = np.column_stack([0.5 + points[:, 0] / (2.2 * RADIUS), 0.5 + points[:, 1] / (2.2 * RADIUS)])
    material = trimesh.visual.texture.SimpleMaterial(image=Image.fromarray(picture))
    visual = trimesh.visual.TextureVisuals(uv=uvs, material=material)
    return trimesh.Trimesh(own_frame(points), faces, process=False, visual=visual)


def coloured() -> trimesh.Trimesh:
    """The ball with colours at its vertices, in its own frame."""
    points, faces = ball()
    colours = np.where(points[:, :1] > 0, RED, BLUE).astype(np.uint8)
    return trimesh.Trimesh(own_frame(points), faces, process=False, vertex_colors=colours)


def sidecar(**changes: Any) -> dict[str, Any]:
    """Return what stands beside the ball: landmarks exactly where a head has them."""
    landmarks = {name: own_frame(place[None])[0].tolist() for name, place in zip(LANDMARKS, places(), strict=True)}
    return {"landmarks": landmarks, "license": "CC-BY-4.0", "attribution": "A. Ball", **changes}


def save(mesh: trimesh.Trimesh, path: Path, **changes: Any) -> Path:
    """Write a scan and its sidecar; textures of an .obj get names of their own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".obj" and mesh.visual.kind == "texture":
        mesh.visual.material.name = path.stem
        mesh.export(path, mtl_name=f"{path.stem}.mtl")
    else:
        mesh.export(path)
    path.with_suffix(".json").write_text(json.dumps(sidecar(**changes)))
    return path
