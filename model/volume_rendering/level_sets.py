"""The predictor of manifolds: a scalar in space whose level sets are the surfaces, the same for every head.

A small network of the position alone (Deng et al. 2022, sec. 3.2). It may be read from a grid on which it is worked out once a
rendering: fewer evaluations than points on rays, and differentiable all the same. Where rays meet the levels is `manifolds`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

GAIN = 10.0
"""Slope of the scalar at the start, in units of the warped distance from the centre."""
Start = Literal["published", "exact"]


@dataclass(frozen=True)
class StartShape:
    """What the surfaces have the same distance from at the start."""

    centre: tuple[float, float, float]
    """(x, y, z) in world units."""
    stretch: tuple[float, float, float]
    """Factors on the surfaces along x, y and z."""
    tail: float
    """World units that a straight line reaches down from the centre; 0 for the centre alone."""
    warp: float
    """Factor from world units to those that the network sees."""


class LevelSets(nn.Module):
    """World points to the scalar s, which begins as `GAIN` times the warped distance from a centre or line.

    Args of the constructor:
        shape: where the surfaces begin.
        hidden: width of its three hidden layers.
        start: "published" draws weights whose network is about the distance from the centre, more nearly the wider it is;
            "exact" adds the network, which begins as nothing, to the distance itself.
        grid: points per side of the grid that the network is read from; None asks it at each point.
        extent: half the side of the grid's cube about the centre, in world units; points beyond read its border.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, shape: StartShape, hidden: int, start: Start, grid: int | None, extent: float) -> None:
        super().__init__()
        self.warp, self.tail, self.start, self.grid, self.extent = shape.warp, shape.tail, start, grid, extent
        self.layers = nn.Sequential(
            nn.Linear(3, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, 1),
        )  # fmt: skip
        linear = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        for layer in linear:
            nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.out_features))
            nn.init.zeros_(layer.bias)
        nn.init.constant_(linear[-1].weight, GAIN * math.sqrt(math.pi / hidden) if start == "published" else 0.0)
        self.register_buffer("centre", torch.tensor(shape.centre), persistent=False)
        self.register_buffer("scale", shape.warp / torch.tensor(shape.stretch), persistent=False)
        self.held: tuple[tuple[object, ...], Tensor] | None = None

    def radius_levels(self, radii: Tensor) -> Tensor:
        """Return the levels whose surfaces begin at distances in world units from the centre, before they are stretched."""
        return radii * (GAIN * self.warp)

    def exact(self, points: Tensor) -> Tensor:
        """Return s at points (..., 3) from the network itself: (...)."""
        local = (points - self.centre) * self.scale
        return self._with_start(local, self.layers(local)[..., 0])

    def forward(self, points: Tensor, values: Tensor | None = None) -> Tensor:
        """Return s at points (..., 3), from the grid where there is one: (...).

        Args:
            points: world points.
            values: what `values` returned, where many are asked about in parts; None to ask it now.
        """
        if self.grid is None:
            return self.exact(points)
        place = ((points - self.centre) / self.extent).view(1, 1, 1, -1, 3)
        read = functional.grid_sample(
            self.values() if values is None else values, place, padding_mode="border", align_corners=True
        )
        return self._with_start((points - self.centre) * self.scale, read.view(points.shape[:-1]))

    def values(self) -> Tensor:
        """Return the network on the (1, 1, z, y, x) grid; without gradients it is held until a weight changes."""
        assert self.grid is not None
        weights = list(self.parameters())
        if torch.is_grad_enabled() and any(weight.requires_grad for weight in weights):
            return self._asked()
        if any(weight.is_inference() for weight in weights):
            return self._asked()  # made in inference mode, where nothing tells whether a weight changed
        key = tuple((id(parameter), parameter._version, parameter.device, parameter.dtype) for parameter in weights)
        if self.held is None or self.held[0] != key:
            with torch.inference_mode(False), torch.no_grad():  # what is held may meet a gradient later
                self.held = key, self._asked()
        return self.held[1]

    def _asked(self) -> Tensor:
        assert self.grid is not None
        weight = self.layers[0].weight
        axis = torch.linspace(-self.extent, self.extent, self.grid, dtype=weight.dtype, device=weight.device)  # type: ignore[arg-type]
        z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
        out: Tensor = self.layers(torch.stack([x, y, z], dim=-1).view(-1, 3) * self.scale)
        return out.view(1, 1, self.grid, self.grid, self.grid)

    def _with_start(self, local: Tensor, learned: Tensor) -> Tensor:
        if self.start == "published":
            return learned
        x, y, z = local.unbind(-1)
        y = y - y.clamp(-self.tail * self.scale[1], torch.zeros_like(self.scale[1]))
        return learned + GAIN * (x.square() + y.square() + z.square()).clamp_min(1e-12).sqrt()
