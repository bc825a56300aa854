"""Learns the mean face about which `pipeline/faces/face_shape.py` lets people differ, from previews with known cameras.

What the network marks on a view of a rendered person (seed 7) is explained, under the true camera, by the canonical face, the
network's mean drift and the modes of `face_shape`; mean and covariance of their weights are found together (expectation and
maximisation, Dempster et al. 1977), and `SHARE` of the mean is written, symmetric. Only the mean is used: with the learned
covariance too, the cameras of other people (seed 11) were worse.
Run: python tests/bench/mean_face.py ASSETS --out pipeline/faces/data/mean_face.npy
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from mesh_drift import NOISE, TRUSTED_YAW, View, offsets, powers, upright, views_of
from spherehead.datasets.camera import CANONICAL_SCALE, CANONICAL_TILT, canonical_to_world, rotation_x
from spherehead.datasets.canonical_face import canonical_vertices, mirror_partners
from spherehead.pipeline.annotators.faces.face_shape import shape_modes, vertex_normals
from spherehead.pipeline.annotators.faces.mesh_drift import coefficients
from spherehead.pipeline.stages.detect import Detect
from spherehead.pipeline.synthetic.assets.library import open_assets

SHARE = 0.75
"""Of the mean of rendered people: with this share the fits of five faces in photographs cost least, as those of renders do."""
NUM_MODES, ROUNDS, HOLD = 40, 15, 0.1
"""Modes; rounds of the search; share of the unit covariance that is kept, since people are few."""


def linear(view: View, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return information (K, K) and right side (K,) for the weights of a view's face, under its known camera."""
    tilt, axes = rotation_x(CANONICAL_TILT).T, view.camera.cam2world[:3, :3]
    modes = CANONICAL_SCALE * shape_modes(NUM_MODES) @ tilt
    points = canonical_to_world(canonical_vertices()) + np.tensordot(weights, modes, 1)
    local, moved = (points - view.camera.position) @ axes, modes @ axes
    slope = (moved[..., :2] - local[:, :2] * moved[..., 2:] / local[:, 2:]).reshape(NUM_MODES, -1)
    left = offsets(view, points) - upright(view, np.tensordot(powers(view), coefficients(), 1), back=True)
    facing = np.clip((0.1 - (vertex_normals() @ tilt @ axes)[:, 2]) / 0.4, 0.1, 1.0)
    trust = facing / (NOISE**2 * np.sqrt(1.0 + (left**2).sum(axis=1) / (2 * NOISE) ** 2)) * 180 / 468
    weighted = slope * np.repeat(trust, 2)
    return weighted @ slope.T, weighted @ (left.reshape(-1) + weights @ slope)


def mean_weights(views: list[View]) -> np.ndarray:
    """Return the (K,) mean weights of the modes over views of many people; those of one-sided modes are 0."""
    modes = shape_modes(NUM_MODES)
    even = np.array([np.abs(mode[mirror_partners()] * [-1, 1, 1] - mode).max() < 1e-6 for mode in modes])
    signs = np.where(even, 1.0, -1.0)
    mean, covariance = np.zeros(NUM_MODES), np.eye(NUM_MODES)
    found = [np.zeros(NUM_MODES) for _ in views]
    for _ in range(ROUNDS):
        prior, unsure = np.linalg.inv(covariance), np.zeros((NUM_MODES, NUM_MODES))
        for index, view in enumerate(views):
            information, right = linear(view, found[index])
            known = np.linalg.inv(information + prior)
            found[index] = known @ (right + prior @ mean)
            unsure += known
        mean = np.mean(found, axis=0) * even
        apart = np.array(found) - mean
        covariance = (apart.T @ apart + unsure) / len(views)
        covariance = 0.5 * (1.0 - HOLD) * (covariance + covariance * np.outer(signs, signs)) + HOLD * np.eye(NUM_MODES)
    return mean


def write(path: Path, mean: np.ndarray) -> None:
    """Write the (468, 3) centimetres by which the mean face lies off the canonical one."""
    np.save(path, (SHARE * np.tensordot(mean, shape_modes(NUM_MODES), 1)).astype(np.float32), allow_pickle=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    assets, detect = open_assets(options.assets), Detect(landmarks="mediapipe").open()
    views = [view for head in range(options.heads) for view in views_of(head, options.seed, assets, detect, options.side)]
    views = [view for view in views if abs(view.camera.yaw) < TRUSTED_YAW]
    mean = mean_weights(views)
    print(f"{len(views)} views; mean weights {mean.round(2).tolist()}")
    if options.out is not None:
        write(options.out, mean)


if __name__ == "__main__":
    main()
