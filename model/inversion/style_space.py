"""The Gaussian of a generator's style vectors: coordinates in which every head is about standard normal.

Generators with a table of persons carry it; of others it is measured on drawn latents. How coordinates are found for a
photograph is left to `search`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..generator import Generator
from ..nets.persons import GaussianStyles, principal_factor
from ..visualization.views import seeded_latents, usual_condition

DRAWN = 10_000
"""Latents on which the style vectors of a mapping network are measured (PanoHead's and EG3D's projectors take as many)."""
AT_ONCE = 500


@dataclass(frozen=True, eq=False)
class StyleSpace:
    """w = mean + factor a, with a standard normal; likewise for the ground's style vector where it has one of its own."""

    mean: Tensor
    """(w_dim,)"""
    factor: Tensor
    """(w_dim, K)"""
    num_layers: int
    """Style vectors of the head itself."""
    ground_mean: Tensor | None = None
    """(w_dim,), or None where the ground shares the head's vectors."""
    ground_factor: Tensor | None = None
    """(w_dim, G)"""

    @property
    def size(self) -> int:
        """K, the number of coordinates of a head."""
        return int(self.factor.shape[1])

    @property
    def ground_size(self) -> int:
        """G, the number of coordinates of a ground; 0 where it has none of its own."""
        return 0 if self.ground_factor is None else int(self.ground_factor.shape[1])

    def styles(self, head: Tensor, ground: Tensor, layers: Tensor | None = None) -> Tensor:
        """Return the (B, num_ws, w_dim) style vectors of one head before several grounds.

        Args:
            head: (K,) coordinates.
            ground: (B, G) coordinates of the grounds.
            layers: (num_layers, K) additions for each layer (W+), or None.
        """
        coordinates = head.expand(self.num_layers, -1) if layers is None else head + layers
        ws = (self.mean + coordinates @ self.factor.T).expand(len(ground), -1, -1)
        if self.ground_mean is None or self.ground_factor is None:
            return ws
        behind = self.ground_mean + ground @ self.ground_factor.T
        return torch.cat([ws, behind[:, None]], dim=1)

    def several(self, heads: Tensor, ground: Tensor, layers: Tensor | None = None) -> Tensor:
        """Return the (B, num_ws, w_dim) style vectors of B heads, each before its own ground.

        Args:
            heads: (B, K) coordinates.
            ground: (B, G) coordinates of the grounds.
            layers: (B, num_layers, K) additions for each layer (W+), or None.
        """
        rows = [
            self.styles(head, ground[index : index + 1], None if layers is None else layers[index])
            for index, head in enumerate(heads)
        ]
        return torch.cat(rows)

    def coordinates(self, w: Tensor) -> Tensor:
        """Return the (N, K) coordinates of style vectors (N, w_dim), least squares where they lie beside the Gaussian."""
        found: Tensor = torch.linalg.lstsq(self.factor.double(), (w - self.mean).double().T).solution
        return found.T.to(w.dtype)


@torch.no_grad()
def style_space(generator: Generator, count: int = DRAWN) -> StyleSpace:
    """Return a generator's Gaussian of style vectors.

    Args:
        generator: any generator that is conditioned on nothing or on a camera.
        count: heads drawn by seed where the Gaussian must be measured.

    Raises:
        ViewError: the generator is conditioned on another vector, for which a head has none.
    """
    mapping, layers = generator.mapping, generator.backbone.num_ws
    if isinstance(mapping, GaussianStyles):
        if not generator.settings.own_ground:
            return StyleSpace(mapping.w_mean, mapping.w_factor, layers)
        return StyleSpace(mapping.w_mean, mapping.w_factor, layers, mapping.ground_mean, mapping.ground_factor)
    rows = []
    for start in range(0, count, AT_ONCE):
        latents = seeded_latents(range(start, min(start + AT_ONCE, count)), generator.settings.z_dim)
        condition = usual_condition(generator, len(latents))
        device = mapping.w_mean.device
        scaled = None if condition is None else condition.to(device) * generator.settings.condition_scale
        rows.append(mapping(latents.to(device), scaled))
    w = torch.cat(rows).double()
    centred = w - w.mean(dim=0)
    factor = principal_factor(centred.T @ centred / max(len(w) - 1, 1), min(len(w) - 1, w.shape[1]))
    return StyleSpace(w.mean(dim=0).float(), factor.float(), layers)


def shared_planes(generator: Generator, ws: Tensor) -> Tensor:
    """Return the planes of one head for several pictures: the backbone runs once, whatever their number.

    Args:
        generator: any generator.
        ws: (B, num_ws, w_dim) style vectors that differ in the ground's alone.
    """
    return repeated(generator.planes(ws[:1]), len(ws))


def repeated(planes: Tensor, count: int) -> Tensor:
    """Return the planes of one head, (1, ...), as those of `count` pictures, without a copy."""
    return planes.expand(count, *planes.shape[1:])
