"""The shape of heads: volume features to signed distances and moved grid points, and from those to meshes.

Distances begin at an egg's (no empty shapes at the start of training), which the head's small network changes. Pictures of the
meshes are left to `surface`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...nets.decoder import Decoder
from ...nets.layers import Dense
from .marching import Meshes, crossing_edges, marching_tetrahedra, sign_entropy
from .tetrahedra import TetrahedralGrid, body_centred_grid

DISTANCE_GAIN = 0.1
"""World units that one unit of the network's output is worth."""
FIRST_WEIGHTS = 0.1
"""Factor on the last layers' first weights, so that heads begin near the egg."""
SIGN_SCALE = 0.1
"""World units at which a distance's sign is a logit of 1 in the sign entropy."""
FALLBACK = 0.25
"""Radius of the ball that takes an empty shape's place, as a share of the grid's side."""
LEVEL, LEVEL_SLOPE = 10.0, 20.0
"""Raw density at which a march's surface is taken to lie, and raw densities that are worth one world unit of distance there.

Of levels 5, 15 and 35 of a trained tiny-64, 5 gave the best outlines (mask IoU 0.94) and 15 the best depth (1.3 cm), on the
views of known persons by which the models page also judges it.
"""
WALL = 0.1
"""Least distance outside of the grid's border, as a share of a cell: what the grid cuts is closed by a plane there."""

Sample = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ShapeSettings:
    """The grid, the shape that it begins with, and the network that changes it."""

    cells: int = 36
    """Cells of the grid along each axis."""
    size: float | None = None
    """Side of the grid's cube about the origin in world units; null for the volume's box."""
    radii: tuple[float, float, float] = (0.2, 0.3, 0.23)
    """Half axes of the egg that shapes begin with, in world units."""
    hidden: int = 32
    """Width of the hidden layers of the distance head and the deformation head."""
    features: int | None = None
    """How many of the volume's features, the first ones, the shape is read from; null for all."""
    deformation: float = 0.14
    """Farthest move of a grid point along each axis, in cells; below 0.144 no tetrahedron can turn over. 0 for none."""


class PointNet(nn.Module):
    """One hidden layer for every point: (..., F) features to (..., num_out) numbers, small at first."""

    def __init__(self, num_in: int, hidden: int, num_out: int) -> None:
        super().__init__()
        self.hidden = Dense(num_in, hidden)
        self.out = Dense(hidden, num_out)
        with torch.no_grad():
            self.out.weight.mul_(FIRST_WEIGHTS)

    def forward(self, features: Tensor) -> Tensor:
        """Return the numbers."""
        out: Tensor = self.out(functional.softplus(self.hidden(features.reshape(-1, features.shape[-1]))))
        return out.view(*features.shape[:-1], -1)


@dataclass(frozen=True, eq=False)
class Shapes:
    """Meshes of a batch of heads, and what a loss may keep small about them."""

    meshes: Meshes
    """The surfaces; each head has one, if need be a ball."""
    sign: Tensor
    """(B,) sign entropy of edges that cross the surface."""
    empty: Tensor
    """(B,) mean size of the distances of heads without a surface, 0 for the others: kept small, a surface appears."""


class Shape(nn.Module):
    """Makes the meshes of heads from what their volume holds at the points of a grid."""

    def __init__(self, num_features: int, box_size: float, settings: ShapeSettings) -> None:
        super().__init__()
        self.settings = settings
        self.side = box_size if settings.size is None else settings.size
        num_in = settings.features or num_features
        self.distance = PointNet(num_in, settings.hidden, 1)
        self.deformation = PointNet(num_in, settings.hidden, 3) if settings.deformation > 0 else None

    @torch.no_grad()
    def begin_at_level(self, decoder: Decoder) -> bool:
        """Take the density of a decoder that was trained with a march: its level set becomes the first surface.

        Density and distance are read from the volume by networks of one form, so the weights are copied; the egg's distances
        stay, and move the surface by a few millimetres.

        Returns:
            Whether the widths agree; nothing is copied where they do not.
        """
        hidden, out = decoder.hidden.weight, decoder.out.weight
        if hidden.shape != self.distance.hidden.weight.shape:
            return False
        scale = 1.0 / (LEVEL_SLOPE * DISTANCE_GAIN)
        self.distance.hidden.load_state_dict(decoder.hidden.state_dict())
        self.distance.out.weight.copy_(out[:1] * scale)
        self.distance.out.bias.copy_((decoder.out.bias[:1] - LEVEL) * scale)
        return True

    def grid(self, device: torch.device) -> TetrahedralGrid:
        """Return the grid in its own unit, on a device."""
        return body_centred_grid(self.settings.cells, str(device))

    def distances(self, sample: Sample, points: Tensor) -> Tensor:
        """Return the (B, N) signed distances at world points (B, N, 3), positive inside."""
        return self._changed(points, self._features(sample, points))

    def egg(self, points: Tensor) -> Tensor:
        """Return the (...) distances of the first shape at points (..., 3), exact on its shortest axis."""
        radii = points.new_tensor(self.settings.radii)
        distances: Tensor = (1.0 - (points / radii).norm(dim=-1)) * radii.min()
        return distances

    def forward(self, sample: Sample, heads: int, device: torch.device) -> Shapes:
        """Make meshes; only the ends of edges that cross the surface are asked for with gradient.

        Args:
            sample: world points (B, N, 3) to volume features (B, N, F).
            heads: B.
            device: where the volume lies.
        """
        grid = self.grid(device)
        world = grid.vertices * self.side
        with torch.no_grad():
            first = self.distances(sample, world.expand(heads, -1, -1))
        inner = first[:, ~grid.border] > 0
        none = ~inner.any(dim=1) | inner.all(dim=1)
        ball = FALLBACK * self.side - world.norm(dim=1)
        first = torch.where(none[:, None], ball, first)
        first = torch.where(grid.border, first.clamp_max(-WALL * self.side / grid.cells), first)
        active = [grid.edges[crossing_edges(grid, row > 0)].unique() for row in first]
        distances, moves = self._asked(sample, world, active, heads)
        meshes, sign = [], []
        for index, near in enumerate(active):
            inside, row = first[index] > 0, first[index]
            if not none[index]:
                held = torch.where(grid.border[near], first[index][near], distances[index, : len(near)])
                row = row.index_copy(0, near, held)
            points = world if moves is None else world.index_add(0, near, moves[index, : len(near)])
            meshes.append(marching_tetrahedra(grid, row, points, inside))
            sign.append(sign_entropy(grid, row, inside, SIGN_SCALE))
        return Shapes(Meshes.joined(meshes), torch.stack(sign), self._emptiness(sample, world, none))

    def _asked(self, sample: Sample, world: Tensor, active: list[Tensor], heads: int) -> tuple[Tensor, Tensor | None]:
        """Return (B, K) distances and (B, K, 3) moves at each head's active points, as many as the head with most has."""
        rows = nn.utils.rnn.pad_sequence(active, batch_first=True)
        points = world[rows]
        features = self._features(sample, points)
        distances = self._changed(points, features)
        if self.deformation is None:
            return distances, None
        farthest = self.settings.deformation * self.side / self.settings.cells
        return distances, torch.tanh(self.deformation(features)) * farthest

    def _changed(self, points: Tensor, features: Tensor) -> Tensor:
        """Return the (B, N) distances of the egg with the network's changes."""
        changes: Tensor = self.distance(features)
        return self.egg(points) + changes[..., 0] * DISTANCE_GAIN

    def _emptiness(self, sample: Sample, world: Tensor, none: Tensor) -> Tensor:
        """Return (B,) mean sizes of the distances of heads without a surface."""
        if not bool(none.any()):
            return torch.zeros(len(none), device=none.device)
        sizes = self.distances(sample, world.expand(len(none), -1, -1)).abs().mean(dim=1)
        return torch.where(none, sizes, 0.0)

    def _features(self, sample: Sample, points: Tensor) -> Tensor:
        features = sample(points)
        return features if self.settings.features is None else features[..., : self.settings.features]
