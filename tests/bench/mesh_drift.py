"""Measures how the mesh network's points drift off turned faces, on previews of rendered people with known cameras.

Writes the table that `pipeline/faces/mesh_drift.py` reads. A face of the model's own (canonical face, a similarity, the modes
of `face_shape`) is fitted to all views of a person at once; what it leaves in a view is that view's drift. The similarities
printed at the end say how the renderer's placement of heads differs from a placement by all sides at once.
Run: python tests/bench/mesh_drift.py ASSETS --out pipeline/faces/data/mesh_drift.npy
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation
from spherehead.datasets.camera import CANONICAL_SCALE, CANONICAL_TILT, FOCAL, Camera, canonical_to_world, rotation_x
from spherehead.datasets.canonical_face import canonical_vertices, mirror_partners
from spherehead.manifests.identity import rng
from spherehead.pipeline.annotators.faces.face_shape import shape_modes, vertex_normals
from spherehead.pipeline.annotators.faces.mesh_drift import LARGEST_YAW
from spherehead.pipeline.stages.detect import Detect
from spherehead.pipeline.synthetic.assets.library import open_assets
from spherehead.pipeline.synthetic.people.figure import build_figure
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing
from spherehead.pipeline.synthetic.rendering.preview import preview

YAWS = (-70, -60, -50, -38, -25, -12, 0, 12, 25, 38, 50, 60, 70)
SIDE, WIDER, ORDER, ROUNDS = 384, 1.7, 4, 3
NOISE = 0.015 * 0.1418
"""Standard deviation of a mesh point in world units: that of `HeadFit` times the distance of the eyes."""
TRUSTED_YAW = np.radians(66)
"""Views turned farther have no say in a person's face."""
TYPICAL = 0.008
"""World units off the mean drift at which a view's weight is halved."""


@dataclass(eq=False)
class View:
    camera: Camera
    mesh: np.ndarray
    """(468, 2) normalised image coordinates."""


def views_of(head: int, seed: int, assets: object, detect: object, side: int = SIDE) -> list[View]:
    """Draw a person from many sides and let the network mark it."""
    figure, found = build_figure(assets, draw_person(assets, seed, head)), []
    shown = dataclasses.replace(figure, parts=tuple(part for part in figure.parts if not part.is_clear))
    drawing = Drawing(shown)
    for view, yaw in enumerate(YAWS):
        random = rng(5, str(head), f"{view}")
        turn, pitch, roll = random.uniform(-4, 4), random.normal(0, 0.15), random.normal(0, 0.08)
        camera = Camera.look_at(np.radians(yaw + turn), float(pitch), float(roll))
        intrinsics = camera.intrinsics.copy()
        intrinsics[[0, 1], [0, 1]] = FOCAL / WIDER
        camera = Camera(camera.cam2world, intrinsics)
        meshes = [one.mesh for one in detect.heads(preview(drawing, camera, side)) if one.mesh is not None]
        found += [View(camera, meshes[0][:468, :2] / side)] if meshes else []
    return found


def upright(view: View, offsets: np.ndarray, back: bool = False) -> np.ndarray:
    """Take the picture's roll out of (468, 2) offsets, or put it back in."""
    c, s = np.cos(view.camera.roll), np.sin(view.camera.roll) * (-1 if back else 1)
    return offsets @ np.array([[c, -s], [s, c]])


def offsets(view: View, points: np.ndarray) -> np.ndarray:
    """Return where the mesh lies off world points, (468, 2) world units at their distance."""
    image, depth = view.camera.project(points)
    return (view.mesh - image) * depth[:, None] / view.camera.intrinsics[0, 0]


def powers(view: View) -> np.ndarray:
    return float(np.clip(view.camera.yaw, -LARGEST_YAW, LARGEST_YAW)) ** np.arange(1, ORDER + 1)


def own_face(views: list[View], table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit a face to all views at once; returns its (468, 3) vertices, and turn (degrees), scale and shift of its placement."""
    face = canonical_to_world(canonical_vertices())
    modes = shape_modes(40) @ (CANONICAL_SCALE * rotation_x(CANONICAL_TILT).T)
    normals = vertex_normals() @ rotation_x(CANONICAL_TILT).T
    turn, scale, shift, weights = np.eye(3), 1.0, np.zeros(3), np.zeros(len(modes))
    for _ in range(6):
        points = scale * (face + np.tensordot(weights, modes, 1)) @ turn.T + shift
        about = points - shift
        ways = np.concatenate(
            [
                np.stack([np.cross(axis, about) for axis in np.eye(3)]),
                about[None],
                np.broadcast_to(np.eye(3)[:, None], (3, *face.shape)),
                scale * modes @ turn.T,
            ]
        )
        information, gradient = np.zeros((len(ways), len(ways))), np.zeros(len(ways))
        information[7:, 7:] += np.eye(len(modes))
        gradient[7:] -= weights
        for view in views:
            axes = view.camera.cam2world[:3, :3]
            local, moved = (points - view.camera.position) @ axes, ways @ axes
            slope = moved[..., :2] - local[:, :2] * moved[..., 2:] / local[:, 2:]
            left = offsets(view, points) - upright(view, np.tensordot(powers(view), table, 1), back=True)
            facing = np.clip((0.1 - (normals @ turn.T @ axes)[:, 2]) / 0.4, 0.0, 1.0)
            trust = facing / (NOISE**2 * np.sqrt(1.0 + (left**2).sum(axis=1) / (2 * NOISE) ** 2)) * 180 / 468
            flat, trust = slope.reshape(len(ways), -1), np.repeat(trust, 2)
            information += (flat * trust) @ flat.T
            gradient += (flat * trust) @ left.reshape(-1)
        step = np.linalg.solve(information, gradient)
        turn, scale = Rotation.from_rotvec(step[:3]).as_matrix() @ turn, scale * float(np.exp(step[3]))
        shift, weights = shift + step[4:7], weights + step[7:]
    points = scale * (face + np.tensordot(weights, modes, 1)) @ turn.T + shift
    return points, np.array([*np.degrees(Rotation.from_matrix(turn).as_rotvec()), scale, *shift])


def mean_drift(views: list[View], drifts: list[np.ndarray]) -> np.ndarray:
    """Fit powers of the yaw to all drifts and their mirror images, far ones counting less; (ORDER, 468, 2)."""
    found, by = np.array(drifts), np.array([powers(view) for view in views])
    found = np.concatenate([found, found[:, mirror_partners()] * [-1, 1]])
    by, weight = np.concatenate([by, by * [(-1) ** k for k in range(1, ORDER + 1)]]), np.ones(2 * len(views))
    for _ in range(5):
        weighted = by * weight[:, None]
        table = np.linalg.solve(weighted.T @ by + 1e-3 * np.eye(ORDER), weighted.T @ found.reshape(len(found), -1))
        left = (found.reshape(len(found), -1) - by @ table).reshape(found.shape)
        weight = 1.0 / (1.0 + (np.sqrt((left**2).sum(axis=2).mean(axis=1)) / TYPICAL) ** 2)
    return table.reshape(ORDER, *found.shape[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--heads", type=int, default=40)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    assets, detect = open_assets(options.assets), Detect(landmarks="mediapipe").open()
    people = [views_of(head, options.seed, assets, detect) for head in range(options.heads)]
    people = [[view for view in views if abs(view.camera.yaw) < np.radians(80)] for views in people if len(views) >= 6]
    table = np.zeros((ORDER, 468, 2))
    for _ in range(ROUNDS):
        views, drifts, placed = [], [], []
        for own in people:
            points, placement = own_face([view for view in own if abs(view.camera.yaw) < TRUSTED_YAW], table)
            placed.append(placement)
            views += own
            drifts += [upright(view, offsets(view, points)) for view in own]
        table = mean_drift(views, drifts)
    spread = np.std(placed, axis=0)
    print(f"{len(people)} people, {len(views)} views; placement by all sides (turn in degrees, scale, shift in world units):")
    print(np.median(placed, axis=0).round(4), "spread", spread.round(4))
    if options.out is not None:
        np.save(options.out, table.astype(np.float32), allow_pickle=False)


if __name__ == "__main__":
    main()
