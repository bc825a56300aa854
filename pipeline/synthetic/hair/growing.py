"""Strands grow step by step: stiff, combed along the head, pulled down, and kept outside of the head and of what is worn.

What a strand wants (length, direction, lift) is told by styles; curls and clumps come after, in `shaping`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ....datasets.arrays import Array
from ....datasets.compiled import compiled
from .collision import CELL, LOW, DistanceField, sample
from .scalp import Roots

FACE_FROM, FACE_TOP, FACE_REACH = np.float32(0.02), np.float32(0.20), np.float32(0.09)
"""World units: before which plane and below which height hair is kept off the face, and over what way towards the front."""
FACE_FALL, ASIDE = np.float32(0.13), np.float32(0.6)
"""World units below that height over which hair is drawn aside, and by how much at most for each unit of its length: hair that
is drawn faster has a corner."""


@dataclass(frozen=True, eq=False)
class Wishes:
    """What each strand wants, (S,) float32 unless another shape is told."""

    length: Array
    """World units."""
    comb: Array
    """(S, 3) unit directions in which hair is combed; only their parts along the head count."""
    lift: Array
    """0 to 1: how far strands leave the skin upright at the root, 0 lying flat."""
    hold: Array
    """World units of length over which combing and lift fade and weight takes over."""
    weight: Array
    """How fast strands turn down, per world unit of length."""
    layer: Array
    """World units from the skin that strands keep once they lie on it."""
    turn: Array
    """How fast strands follow the comb, per world unit of length."""
    face: Array
    """World units from the middle plane that strands keep before the face: to the left where positive, 0 for none."""


def grow(roots: Roots, wishes: Wishes, field: DistanceField, num_points: int) -> Array:
    """Grow one strand from each root.

    Args:
        roots: where strands begin.
        wishes: what each strand wants.
        field: what strands stay outside of.
        num_points: K, points a strand.

    Returns:
        (S, K, 3) float32.
    """
    out = np.empty((len(roots), num_points, 3), dtype=np.float32)
    compiled(grow_all, sample)(
        roots.points, roots.normals, *(np.ascontiguousarray(part, dtype=np.float32) for part in (
            wishes.length, wishes.comb, wishes.lift, wishes.hold, wishes.weight, wishes.layer, wishes.turn, wishes.face,
        )), field.values, np.asarray(LOW, np.float32), np.float32(CELL), out,
    )  # fmt: skip
    return out


def grow_all(
    roots: Any, normals: Any, length: Any, comb: Any, lift: Any, hold: Any, weight: Any, layer: Any, turn: Any, face: Any,
    values: Any, low: Any, cell: float, out: Any,
) -> None:  # fmt: skip
    """Write strands into `out` (S, K, 3); the arguments are what `grow` names."""
    steps = out.shape[1] - 1
    one, tiny = np.float32(1.0), np.float32(1e-9)
    for s in range(out.shape[0]):
        x, y, z = roots[s, 0], roots[s, 1], roots[s, 2]
        nx, ny, nz = normals[s, 0], normals[s, 1], normals[s, 2]
        along = comb[s, 0] * nx + comb[s, 1] * ny + comb[s, 2] * nz
        cx, cy, cz = comb[s, 0] - along * nx, comb[s, 1] - along * ny, comb[s, 2] - along * nz
        size = np.sqrt(cx * cx + cy * cy + cz * cz) + tiny
        cx, cy, cz = cx / size, cy / size, cz / size
        up = lift[s]
        dx, dy, dz = up * nx + (one - up) * cx, up * ny + (one - up) * cy, up * nz + (one - up) * cz
        size = np.sqrt(dx * dx + dy * dy + dz * dz) + tiny
        dx, dy, dz = dx / size, dy / size, dz / size
        out[s, 0, 0], out[s, 0, 1], out[s, 0, 2] = x, y, z
        step = length[s] / np.float32(steps)
        for k in range(steps):
            done = np.float32(k) * step
            held = np.exp(-done / (hold[s] + tiny))
            distance, nx, ny, nz = sample(values, low, cell, x, y, z)
            along = comb[s, 0] * nx + comb[s, 1] * ny + comb[s, 2] * nz
            cx, cy, cz = comb[s, 0] - along * nx, comb[s, 1] - along * ny, comb[s, 2] - along * nz
            size = np.sqrt(cx * cx + cy * cy + cz * cz) + tiny
            cx, cy, cz = cx / size + up * nx, cy / size + up * ny, cz / size + up * nz
            follow = min(turn[s] * step, one) * held
            fall = min(weight[s] * step, one) * (one - held * np.float32(0.8))
            dx, dy, dz = dx + follow * cx, dy + follow * cy - fall, dz + follow * cz
            size = np.sqrt(dx * dx + dy * dy + dz * dz) + tiny
            x, y, z = x + step * dx / size, y + step * dy / size, z + step * dz / size
            distance, nx, ny, nz = sample(values, low, cell, x, y, z)
            wanted = layer[s] * min(one, (done + step) / (np.float32(1.5) * layer[s] + np.float32(0.02)))
            if distance < wanted:
                push = min(wanted - distance, step)
                x, y, z = x + push * nx, y + push * ny, z + push * nz
            if face[s] != 0.0 and z > FACE_FROM and y < FACE_TOP:
                wanted = abs(face[s]) * min(one, (z - FACE_FROM) / FACE_REACH) * min(one, (FACE_TOP - y) / FACE_FALL)
                aside = wanted - (x if face[s] > 0.0 else -x)
                if aside > 0.0:
                    aside = min(aside, ASIDE * step)
                    x += aside if face[s] > 0.0 else -aside
            dx, dy, dz = x - out[s, k, 0], y - out[s, k, 1], z - out[s, k, 2]
            size = np.sqrt(dx * dx + dy * dy + dz * dz) + tiny
            dx, dy, dz = dx / size, dy / size, dz / size
            x, y, z = out[s, k, 0] + step * dx, out[s, k, 1] + step * dy, out[s, k, 2] + step * dz
            out[s, k + 1, 0], out[s, k + 1, 1], out[s, k + 1, 2] = x, y, z
