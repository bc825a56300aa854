"""The surface renderer: heads are meshes, and the field is asked once a pixel, where a mesh covers it (GET3D, Gao et al. 2022).

Meshes are made in `shape`, drawn in `rasterise` and `antialias`; this asks for their texture and puts the picture together.
Outlines reach the shape through coverage; colours do only where `detach` is off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ....manifests.config import check_ranges
from ...nets.decoder import Decoder
from ...volumes.base import Volume
from ..base import Randomness, Renderer, RendererSettings, Rendering, Scene, register_renderer
from ..rays import Rays
from .antialias import outlines
from .marching import Meshes
from .rasterise import Fragments, project, rasterise
from .shape import Shape, Shapes, ShapeSettings

SOLID, STEEPNESS = 35.0, 1000.0
"""Raw density at the surface, about half opaque in a centimetre, and its growth per world unit inwards: what `solid` tells."""


@register_renderer
@dataclass(frozen=True)
class SurfaceRendererSettings(RendererSettings):
    """Signed distances on tetrahedra, and how their surface is drawn."""

    penalties: ClassVar[Mapping[str, float]] = {"sign": 0.01, "empty": 1.0}

    kind: Literal["surface"] = "surface"
    """Tells the renderers' settings apart in a file."""
    shape: ShapeSettings = field(default_factory=ShapeSettings)
    """Grid, first shape and the network that changes it."""
    detach: bool = True
    """Ask for the texture at points without history, as published: colours do not move the surface."""
    antialias: bool = True
    """Mix pixels beside outlines by their coverage; without it nothing moves the outline."""

    def __post_init__(self) -> None:
        check_ranges(self.shape, cells=(2, 256), hidden=(1, 65_536), deformation=(0.0, 0.5))
        if min(self.shape.radii) <= 0 or (self.shape.size is not None and self.shape.size <= 0):
            raise ValueError(f"expected positive radii and size of the shape, got {self.shape}")

    def open(self, volume: Volume) -> Surface:
        """Make the renderer."""
        return Surface(volume.num_features, volume.box_size, self)


class Surface(Renderer):
    """Renders heads as opaque meshes."""

    def __init__(self, num_features: int, box_size: float, settings: SurfaceRendererSettings) -> None:
        super().__init__()
        self.settings = settings
        self.shape = Shape(num_features, box_size, settings.shape)
        self.reach = self.shape.side / 2

    def forward(self, scene: Scene, rays: Rays, randomness: Randomness | None = None) -> Rendering:
        """Render a scene along rays; nothing is random here."""
        heads, count = rays.origins.shape[:2]
        shapes: Shapes = self.shape(scene.sample, heads, rays.origins.device)
        screen = project(shapes.meshes, rays.camera, rays.resolution)
        fragments = rasterise(screen, heads)
        points = fragments.blend(shapes.meshes.vertices, shapes.meshes.faces)
        directions = rays.directions.flatten(0, 1)[fragments.pixel]
        features = self._texture(
            scene, fragments, points.detach() if self.settings.detach else points, directions, heads, count
        )
        pixels = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
        picture = pixels.new_zeros(heads * count, pixels.shape[1]).index_copy(0, fragments.pixel, pixels)
        if self.settings.antialias:
            picture = outlines(shapes.meshes, screen, fragments, rays.camera).apply(picture)
        picture = picture.view(heads, count, -1)
        depth = self._distances(points, rays, fragments).view(heads, count, 1)
        penalties = {"sign": shapes.sign, "empty": shapes.empty}
        return Rendering(picture[..., :-1], depth, picture[..., -1:].clamp(0.0, 1.0), penalties)

    def solid(self, scene: Scene, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return features at points and raw densities that rise steeply from outside inwards."""
        features, _ = scene.field(points)
        distances = self.shape.distances(scene.sample, points)
        return features, (SOLID + STEEPNESS * distances)[..., None]

    def adopt(self, decoder: Decoder) -> bool:
        """Begin at the level set of a trained decoder's density; the decoder must be as wide as the distance network."""
        return self.shape.begin_at_level(decoder)

    def mesh(self, scene: Scene) -> Meshes:
        """Return the closed meshes that are drawn."""
        shapes: Shapes = self.shape(scene.sample, len(scene.planes), scene.planes.device)
        return shapes.meshes

    def _texture(
        self, scene: Scene, fragments: Fragments, points: Tensor, directions: Tensor, heads: int, count: int
    ) -> Tensor:
        """Return the (P, C) features of covered pixels, asked for head by head in lists of one length."""
        head = torch.div(fragments.pixel, count, rounding_mode="floor")
        sizes = torch.bincount(head, minlength=heads).tolist()
        rows = [part for values in (points, directions) for part in values.split(sizes)]
        packed = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        if not packed.shape[1]:
            packed = packed.new_zeros(2 * heads, 1, 3)
        features, _ = scene.field(packed[:heads], packed[heads:])
        return torch.cat([row[:size] for row, size in zip(features, sizes, strict=True)])

    def _distances(self, points: Tensor, rays: Rays, fragments: Fragments) -> Tensor:
        """Return the (B M,) distances along rays; behind the grid where a ray meets nothing."""
        origins = rays.origins.flatten(0, 1)
        farthest = origins.detach().norm(dim=1) + self.shape.side * 3.0**0.5 / 2.0
        seen: Tensor = ((points - origins[fragments.pixel]) * rays.directions.flatten(0, 1)[fragments.pixel]).sum(dim=1)
        distances: Tensor = farthest.index_copy(0, fragments.pixel, seen)
        return distances
