"""A head's volume as Gaussian splats (Kerbl et al. 2023), in the PLY that splat viewers read.

Heads that are drawn as Gaussians leave as those. Of others, each splat stands for a cell of a grid: as opaque as the cell's
density makes it. Cells that nothing outside sees are left out. Colours are those that the generator's raw picture would have
there, which is what the volume itself holds; the super-resolution behind it is no part of a volume.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...datasets.arrays import Array, Floats
from ..generator import Generator
from ..volume_rendering.splats.gaussians import Gaussians
from .density import SurfaceSettings, head_box
from .mesh import CENTIMETRE, MeshError
from .surface import POINTS

WIDTH = 0.6
"""Standard deviation of a splat in distances of the grid: neighbours overlap without gaps."""
LEAST = 0.01
"""Opacity below which a cell is empty, and share of light that must reach a cell from somewhere."""
LARGEST = 0.99
BOTTOM = -1.25
"""Where the volume ends below (`SurfaceSettings.bottom`): as far as raised cameras see; splats need no closed end."""
HARMONIC = 0.5 / math.sqrt(math.pi)
"""The constant spherical harmonic: colour = 0.5 + HARMONIC * f_dc."""


@dataclass(frozen=True, eq=False)
class Splats:
    """Gaussians in the head frame."""

    centres: Floats
    """(N, 3) world points."""
    colours: Floats
    """(N, 3) sRGB, 0 to 1."""
    opacities: Floats
    """(N,) opacity at the middle of a splat, 0 to 1."""
    lengths: Floats
    """(N, 3) standard deviations along the principal axes, in world units."""
    turns: Floats
    """(N, 4) quaternions w, x, y, z of length 1, which turn the world's axes to the principal ones."""


@torch.no_grad()
def volume_splats(generator: Generator, ws: Tensor, spacing: float = 0.5) -> Splats:
    """Turn one head's volume into splats.

    Args:
        generator: any generator.
        ws: (1, num_ws, w_dim) style vectors of the head.
        spacing: centimetres between neighbouring splats.

    Raises:
        MeshError: the volume is empty.
    """
    planes, w = generator.planes(ws), ws[:, generator.backbone.num_ws - 1]
    own = generator.splats(planes)
    if own is not None:
        return _drawn(generator, *own, w)
    axes = head_box(generator, SurfaceSettings(spacing, bottom=BOTTOM)).axes(spacing * CENTIMETRE)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    flat = torch.from_numpy(points.reshape(1, -1, 3)).to(ws.device, torch.float32)
    density, colour = [], []
    for some in flat.split(POINTS, dim=1):
        features, raw = generator.solid(planes, some)
        density.append(torch.nn.functional.softplus(raw[0, :, 0].float() - 1.0).cpu().numpy())
        colour.append(_colours(generator, features, w))
    steps = np.array([axis[1] - axis[0] for axis in axes])
    depth = (np.concatenate(density) * float(steps.mean())).reshape(points.shape[:3])
    kept = (-np.expm1(-depth) > LEAST) & (brightest(depth) > LEAST)
    if not kept.any():
        raise MeshError("the volume is empty: no cell of the grid is opaque; is the model trained?")
    opacity = -np.expm1(-depth[kept] / (2 * math.pi * WIDTH**2))
    colours = np.concatenate(colour).reshape(points.shape)[kept]
    lengths = np.full((len(opacity), 3), WIDTH * float(steps.mean()))
    return Splats(points[kept], colours, np.minimum(opacity, LARGEST), lengths, np.eye(4)[np.zeros(len(opacity), dtype=int)])


def _drawn(generator: Generator, gaussians: Gaussians, features: Tensor, w: Tensor) -> Splats:
    """Return the Gaussians that the generator itself draws."""

    def numbers(values: Tensor) -> Floats:
        return values.double().cpu().numpy()

    kept = numbers(gaussians.opacity) > LEAST
    if not kept.any():
        raise MeshError("no Gaussian of the head is opaque; is the model trained?")
    opacity = np.minimum(numbers(gaussians.opacity)[kept], LARGEST)
    turns = numbers(torch.nn.functional.normalize(gaussians.turns, dim=1))[kept]
    colours = _colours(generator, features[None], w)[kept]
    return Splats(numbers(gaussians.centres)[kept], colours, opacity, numbers(gaussians.lengths)[kept], turns)


def _colours(generator: Generator, features: Tensor, w: Tensor) -> Floats:
    """Return the (N, 3) sRGB that the raw picture shows of features (1, N, C), 0 to 1."""
    composed = generator.decoder.composed(features).transpose(1, 2)[..., None]
    shown = composed[:, :3] if generator.to_raw is None else generator.to_raw(composed, w)
    return np.clip(shown[0, :, :, 0].double().T.cpu().numpy() / 2 + 0.5, 0, 1)


def brightest(depth: Array) -> Array:
    """Return each cell's largest share of light that arrives from outside, over the 26 directions of its neighbours.

    Args:
        depth: (X, Y, Z) optical depth of a cell along its side.
    """
    best = np.zeros(depth.shape)
    for x, y, z in itertools.product((-1, 0, 1), repeat=3):
        if x or y or z:
            best = np.maximum(best, np.exp(-_before(depth, (x, y, z))))
    return best


def _before(depth: Array, direction: tuple[int, int, int]) -> Floats:
    """Return the optical depth that light has crossed before it enters each cell along a direction of the grid."""
    axis = next(index for index, step in enumerate(direction) if step)
    moved = np.moveaxis(depth, axis, 0)
    moved = moved if direction[axis] > 0 else moved[::-1]
    aside = [step for index, step in enumerate(direction) if index != axis]
    length = math.sqrt(sum(step**2 for step in direction))
    crossed = np.zeros(moved.shape)
    for layer in range(1, len(moved)):
        crossed[layer] = _shifted(crossed[layer - 1] + length * moved[layer - 1], aside)
    crossed = crossed if direction[axis] > 0 else crossed[::-1]
    return np.moveaxis(crossed, 0, axis)


def _shifted(layer: Floats, steps: list[int]) -> Floats:
    """Move a layer by up to one cell along both axes; what enters is zero."""
    out = np.zeros_like(layer)
    to = tuple(slice(max(0, step), layer.shape[index] + min(0, step)) for index, step in enumerate(steps))
    source = tuple(slice(max(0, -step), layer.shape[index] - max(0, step)) for index, step in enumerate(steps))
    out[to] = layer[source]
    return out


def splat_ply(splats: Splats, unit: float) -> bytes:
    """Return splats as the binary PLY of 3D Gaussian splatting.

    Viewers expect the axes of COLMAP's scenes, y downward, and turn them themselves; points are turned half way about x for it.

    Args:
        splats: what to write.
        unit: world units in one of the file's.
    """
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2"]
    names += ["rot_0", "rot_1", "rot_2", "rot_3"]
    rows = np.zeros((len(splats.centres), len(names)), dtype="<f4")
    rows[:, 0:3] = splats.centres * (1, -1, -1) / unit
    rows[:, 6:9] = (splats.colours - 0.5) / HARMONIC
    rows[:, 9] = np.log(splats.opacities / (1 - splats.opacities))
    rows[:, 10:13] = np.log(splats.lengths / unit)
    w, x, y, z = splats.turns.T
    rows[:, 13:17] = np.stack([w, x, -y, -z], axis=1)  # the same ellipsoid after the half turn, whose axes it keeps
    head = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(rows)}",
        *(f"property float {name}" for name in names),
    ]
    return ("\n".join([*head, "end_header"]) + "\n").encode() + rows.tobytes()
