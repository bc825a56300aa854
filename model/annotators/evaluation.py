"""How well a head network does on views that it was not trained on, by bands of yaw: the numbers of its card.

The photographs' side of it is `tests/bench/any_side.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from ...datasets.arrays import Array
from ...datasets.classes import CLASSES
from .losses import geodesic
from .tasks import HeadTask

BANDS = (("front", 0.0, 60.0), ("side", 60.0, 110.0), ("behind", 110.0, 181.0))
"""Name, least and greatest |yaw| in degrees."""
GAMMA_MEDIAN = 2.674
"""Median of the Gamma distribution of shape 3: of an error's length in units of its scale."""


@torch.no_grad()
def evaluate_head(
    network: nn.Module, task: HeadTask, count: int, batch: int = 32, angles: list[float] | None = None
) -> dict[str, Any]:
    """Return numbers over `count` crops of a task's views.

    Args:
        network: a `HeadNet`; it is put into evaluation mode.
        task: on held-out views; its crops' settings decide how hard they are.
        count: crops.
        batch: crops at once.
        angles: list that the rotation errors in degrees are added to, in the order of the crops; None for none.

    Returns:
        By band "num", "rotation_median", "within_20", "centre" (median, shares of the canonical side), "scale" (median,
        relative); and over all "iou" by class, "mean_iou", "alpha_soft_error" and "spread_factor", by which predicted spreads
        must be multiplied for half of the errors to lie within their median.
    """
    network.eval()
    told: dict[str, list[float]] = {name: [] for name in ("yaw", "angle", "centre", "scale", "ratio")}
    counts, soft = np.zeros((2, len(CLASSES))), list[float]()
    for start in range(0, count, batch):
        pictures, truth = task.batch(list(range(start, min(start + batch, count))))
        said = network(pictures)
        error = geodesic(said.rotation, truth["rotation"])
        told["yaw"] += yaw_degrees(truth["rotation"].numpy()).tolist()
        told["angle"] += torch.rad2deg(error).tolist()
        told["ratio"] += (error / said.log_spread.exp()).tolist()
        offset = (said.place - truth["place"]).numpy()
        canonical = 2.0 * np.exp(truth["place"][:, 2].numpy())
        told["centre"] += (np.linalg.norm(offset[:, :2], axis=1) / canonical).tolist()
        told["scale"] += np.abs(np.expm1(offset[:, 2])).tolist()
        classes, wanted = said.classes.argmax(1).numpy(), truth["classes"].numpy()
        counts += np.stack(shared(classes, wanted))
        edge = (truth["alpha"] > 0.05) & (truth["alpha"] < 0.95)
        soft.append(float((said.alpha.sigmoid() - truth["alpha"]).abs()[edge].mean()))
    if angles is not None:
        angles += told["angle"]
    bands = _by_band(*(np.array(told[name]) for name in ("yaw", "angle", "centre", "scale")))
    return {
        **bands,
        **ious(*counts),
        "alpha_soft_error": round(float(np.mean(soft)), 3),
        "spread_factor": round(float(np.median(told["ratio"])) / GAMMA_MEDIAN, 3),
    }


def _by_band(yaw: Array, angle: Array, centre: Array, scale: Array) -> dict[str, dict[str, float]]:
    found = {}
    for name, low, high in BANDS:
        here = (np.abs(yaw) >= low) & (np.abs(yaw) < high)
        if here.any():
            found[name] = {
                "num": int(here.sum()),
                "rotation_median": round(float(np.median(angle[here])), 2),
                "within_20": round(float((angle[here] <= 20.0).mean()), 3),
                "centre": round(float(np.median(centre[here])), 4),
                "scale": round(float(np.median(scale[here])), 4),
            }
    return found


def yaw_degrees(rotation: Array) -> Array:
    """Return the (B,) azimuths in degrees of cameras with (B, 3, 3) world-to-camera rotations."""
    backward = -np.asarray(rotation)[:, 2]  # the camera lies where its optical axis comes from
    return np.asarray(np.degrees(np.arctan2(backward[:, 0], backward[:, 2])))


def shared(first: Array, second: Array) -> tuple[Array, Array]:
    """Return the (19,) numbers of pixels of each class in both maps, and in either."""
    kinds = len(CLASSES)
    table = np.bincount(first.astype(np.int64).ravel() * kinds + second.ravel(), minlength=kinds * kinds).reshape(kinds, kinds)
    overlap = np.diagonal(table)
    return overlap, table.sum(axis=0) + table.sum(axis=1) - overlap


def ious(overlap: Array, union: Array) -> dict[str, Any]:
    """Return the intersection over union by name of the classes that are there, and their mean."""
    there = union > 0
    found = {name: round(float(overlap[kind] / union[kind]), 3) for kind, name in enumerate(CLASSES) if there[kind]}
    return {"iou": found, "mean_iou": round(float((overlap[there] / union[there]).mean()), 3)}


def calm(task: HeadTask) -> HeadTask:
    """Return a task whose crops are as the pipeline makes them: near upright, near the canonical place, nothing in front."""
    crops = replace(task.crops, roll_degrees=4.0, free_roll=0.0, least_scale=0.8, most_scale=1.05, shift=0.02, occluders=0.0)
    return HeadTask(task.views, task.seed, crops, task.weights)
