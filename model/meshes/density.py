"""A generator's density as a surface: on which grid it is sampled, and which of its values is where the head begins.

Densities of trained generators are soft, and how soft differs from model to model, so that no fixed value fits all. The level
is either that of which a centimetre has a given opacity, or the one whose silhouettes agree best with the rendered masks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ...datasets.arrays import Array, Floats
from ...datasets.camera import FOCAL, RADIUS, Camera
from ...manifests.config import ConfigError
from ..generator import Generator
from ..visualization.views import View
from .mesh import CENTIMETRE, MeshError
from .surface import Box, Grid

SEEN = 0.5 * RADIUS / FOCAL
"""World units above and below the origin that a canonical picture shows; training sees nothing far beyond."""
REACH = 10.0
"""Raw densities beyond this distance from the level have no say in where the surface lies."""
LEVELS = 96
"""Levels that are tried."""
STEP = 0.01
"""World units between the samples of a ray through the grid."""


@dataclass(frozen=True)
class SurfaceSettings:
    """Where a head's surface lies and how finely it is found."""

    spacing: float = 0.25
    """Centimetres between points of the grid."""
    opacity: float | None = None
    """Opacity of one centimetre of what the surface has beneath it; null for the level that fits the rendered masks best."""
    bottom: float = -1.0
    """Where the neck is cut, in units of the height that a canonical picture shows below the origin."""
    top: float = 1.15
    """Where space ends above, in the same units."""

    def __post_init__(self) -> None:
        if not 0.02 <= self.spacing <= 5.0:
            raise ConfigError(f"expected a spacing of 0.02 to 5 centimetres, got {self.spacing}")
        if self.opacity is not None and not 0.0 < self.opacity < 1.0:
            raise ConfigError(f"expected an opacity between 0 and 1, got {self.opacity}")
        if not self.bottom < 0.0 < self.top:
            raise ConfigError(f"expected bottom < 0 < top, got {self.bottom} and {self.top}")


def head_box(generator: Generator, settings: SurfaceSettings) -> Box:
    """Return the part of a generator's space in which it shows something: its box, without what its renderer leaves empty."""
    half = generator.settings.volume.box_size / 2
    side = min(half, generator.renderer.reach or half)
    return Box((-side, max(-half, settings.bottom * SEEN), -side), (side, min(half, settings.top * SEEN), side))


@torch.no_grad()
def density_grid(generator: Generator, planes: Tensor, settings: SurfaceSettings) -> Grid:
    """Return the (X, Y, Z) raw densities of one head, before the softplus.

    Args:
        generator: any generator.
        planes: what `Generator.planes` returned for one head.
        settings: the grid.
    """

    def values(points: Floats) -> Array:
        asked = torch.from_numpy(points).to(planes.device, torch.float32)
        return np.asarray(generator.solid(planes, asked[None])[1][0, :, 0].float().cpu().numpy())

    return Grid.sample(values, head_box(generator, settings), settings.spacing * CENTIMETRE)


def raw_density(opacity: float, thickness: float = CENTIMETRE) -> float:
    """Return the raw density of which a slab has an opacity: 1 - exp(-softplus(raw - 1) thickness) = opacity."""
    density = -math.log1p(-opacity) / thickness
    return 1.0 + density + math.log(-math.expm1(-density))


def opacity_of(raw: float, thickness: float = CENTIMETRE) -> float:
    """Return the opacity of a slab of a raw density; the inverse of `raw_density`."""
    return -math.expm1(-float(np.logaddexp(0.0, raw - 1.0)) * thickness)


def fitting_level(grid: Grid, cameras: Sequence[Camera], views: Sequence[View]) -> tuple[float, float]:
    """Return the raw density whose surface has the silhouettes of the rendered masks, and their mean IoU.

    A ray meets the surface of a level where its largest density reaches the level, so that all levels are judged at once.

    Args:
        grid: raw densities.
        cameras: of the views.
        views: rendered views with their masks.

    Raises:
        MeshError: no view shows anything that is more than half opaque.
    """
    largest = np.concatenate(
        [ray_maxima(grid, camera, view.mask.shape[0]).ravel() for camera, view in zip(cameras, views, strict=True)]
    )
    truth = np.concatenate([view.mask.ravel() > 0.5 for view in views])
    if not truth.any():
        raise MeshError("no rendered view shows a head that is more than half opaque; is the model trained?")
    levels = np.linspace(raw_density(0.005), float(largest.max()), LEVELS, endpoint=False)
    scores = [float((truth & (largest >= level)).sum() / (truth | (largest >= level)).sum()) for level in levels]
    best = int(np.argmax(scores))
    return float(levels[best]), scores[best]


def ray_maxima(grid: Grid, camera: Camera, size: int) -> Array:
    """Return the (size, size) largest value of the grid along the ray of every pixel; minus infinity beside the grid."""
    centres = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(centres, centres)
    local = np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3) @ np.linalg.inv(camera.intrinsics).T
    directions = local @ camera.cam2world[:3, :3].T
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    low, steps = np.array([axis[0] for axis in grid.axes]), grid.steps()
    reach = float(np.linalg.norm([max(abs(axis[0]), abs(axis[-1])) for axis in grid.axes]))
    best = np.full(len(directions), -np.inf, dtype=np.float32)
    for distance in np.arange(camera.radius - reach, camera.radius + reach, STEP):
        places = (camera.position + distance * directions - low) / steps
        inside = ((places >= 0) & (places <= np.array(grid.values.shape) - 1)).all(axis=1)
        if inside.any():
            found = ndimage.map_coordinates(grid.values, places[inside].T, order=1, mode="nearest")
            best[inside] = np.maximum(best[inside], found)
    return best.reshape(size, size)


def at_centres(plane: Array, size: int) -> Array:
    """Return the (size, size) pixels of an (S, S) plane that lie nearest to the centres of a raster of `size` pixels a side."""
    side = len(plane)
    rows = np.floor((np.arange(size) + 0.5) * side / size).astype(np.int64)
    return np.asarray(plane[np.ix_(rows, rows)])


def depth_gap(found: Array, view: View) -> float:
    """Return the median distance, in centimetres, between a mesh's depth and the rendered one where both see a head.

    Args:
        found: (S, S) distance from the camera; infinity where there is nothing.
        view: the rendered view.

    Returns:
        The distance; NaN where no pixel that is nine tenths opaque has a mesh.
    """
    small = at_centres(found, view.depth.shape[0])
    both = np.isfinite(small) & (view.mask > 0.9)
    return float(np.median(np.abs(small[both] - view.depth[both])) / CENTIMETRE) if both.any() else math.nan
