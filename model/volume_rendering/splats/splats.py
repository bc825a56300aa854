"""The renderer `splats`: heads are 3D Gaussians at the points of a lattice, moved, shaped and coloured by the volume.

The anchors are the same for every head; those where the volume is empty give no Gaussian. How Gaussians become pixels is in
`gaussians` and `compose`, or in `gsplat` on CUDA.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....manifests.config import ConfigError, check_ranges
from ...nets.decoder import Decoder
from ...nets.layers import Dense
from ...volumes.base import Volume
from ..base import Randomness, Renderer, RenderError, RendererSettings, Rendering, Scene, register_renderer
from ..rays import Rays
from .compose import FAINTEST, composed, sightings, weights
from .gaussians import NEAREST, SMOOTHING, Gaussians, lattice, project

PER_ANCHOR = 10
"""Numbers that the shape network gives: three of a move, three of a size, four of a rotation."""
SIZES = math.log(4.0)
"""Logarithm of the largest factor on a Gaussian's first standard deviation, and of the least one's inverse."""


@register_renderer
@dataclass(frozen=True)
class SplatSettings(RendererSettings):
    """Where Gaussians begin, how far they may change, and what draws them."""

    kind: Literal["splats"] = "splats"
    """Tells the renderers' settings apart in a file."""
    spacing: float = 0.03
    """Side of the cubes of the body-centred lattice of anchors, in world units; nearest anchors are 0.866 of it apart."""
    width: float = 0.35
    """Standard deviation of a Gaussian at the start, in spacings."""
    thickness: float = 0.4
    """World units, in spacings, over which an anchor's density absorbs."""
    move: float = 1.0
    """Farthest move of a Gaussian from its anchor along each axis, in spacings."""
    hidden: int = 32
    """Width of the hidden layer of the network that moves and shapes Gaussians."""
    crop: float | None = 0.4
    """Anchors have |x| and |z| up to this, as in the march; null for the volume's whole box."""
    rasteriser: Literal["auto", "torch", "gsplat"] = "auto"
    """What draws: our PyTorch code on any device, or gsplat, which needs CUDA; auto takes gsplat where both are there."""

    def __post_init__(self) -> None:
        check_ranges(self, spacing=(0.01, 1.0), width=(0.05, 4.0), thickness=(1e-3, 100.0), move=(0.0, 4.0), hidden=(1, 65_536))
        if self.crop is not None and self.crop <= 0:
            raise ConfigError(f"expected a positive crop or null, got {self.crop}")

    def open(self, volume: Volume) -> Splats:
        """Make the renderer."""
        return Splats(volume.num_features, volume.box_size, self)


class Splats(Renderer):
    """Renders heads as Gaussians."""

    anchors: Tensor

    def __init__(self, num_features: int, box_size: float, settings: SplatSettings) -> None:
        super().__init__()
        self.settings, self.reach = settings, settings.crop
        side = box_size if settings.crop is None else min(2 * settings.crop, box_size)
        points = lattice(settings.spacing, (side, box_size, side))
        if not len(points):
            raise ConfigError(f"expected a spacing well below the box of {side:g} world units, got {settings.spacing:g}")
        self.register_buffer("anchors", points, persistent=False)
        self.hidden = Dense(num_features, settings.hidden)
        self.out = Dense(settings.hidden, PER_ANCHOR)
        nn.init.zeros_(self.out.weight)

    def forward(self, scene: Scene, rays: Rays, randomness: Randomness | None = None) -> Rendering:
        """Render a scene along rays; nothing is random here."""
        heads, count = rays.origins.shape[:2]
        gaussians, features = self.splats(scene)
        drawn = self._with_gsplat if self._on_gsplat(rays.origins.device) else self._with_torch
        features, depth, weight = (part.view(heads, count, -1) for part in drawn(gaussians, features, rays))
        with torch.no_grad():
            corner = self.anchors.norm(dim=1).max()
            farthest = rays.origins.norm(dim=2, keepdim=True) + corner
        return Rendering(features, torch.where(weight > 0, depth / weight.clamp_min(1e-12), farthest), weight)

    def splats(self, scene: Scene) -> tuple[Gaussians, Tensor]:
        """Return the Gaussians that are drawn and their (N, C) features."""
        settings, heads = self.settings, len(scene.planes)
        anchors = self.anchors[None].expand(heads, -1, -1)
        with torch.no_grad():
            kept = self._opacity(scene.field(anchors)[1])[..., 0] >= FAINTEST
        head, which = kept.nonzero(as_tuple=True)
        sizes = kept.sum(dim=1).tolist()
        places = self.anchors[which]
        packed = nn.utils.rnn.pad_sequence(places.split(sizes), batch_first=True)
        if not packed.shape[1]:
            packed = packed.new_zeros(heads, 1, 3)

        def flat(values: Tensor) -> Tensor:
            return torch.cat([row[:size] for row, size in zip(values, sizes, strict=True)])

        shape = self.out(functional.softplus(self.hidden(flat(scene.sample(packed)))))
        features, raw = (flat(part) for part in scene.field(packed))
        move, size, turn = shape.split((3, 3, 4), dim=1)
        lengths = settings.spacing * settings.width * torch.exp(SIZES * torch.tanh(size))
        turn = turn + turn.new_tensor([1.0, 0.0, 0.0, 0.0])
        centres = places + settings.spacing * settings.move * torch.tanh(move)
        return Gaussians(centres, lengths, turn, self._opacity(raw)[:, 0], head), features

    def adopt(self, decoder: Decoder) -> bool:
        """Begin with what a march shows: the field is asked at the anchors, whatever the decoder."""
        return True

    def _opacity(self, raw: Tensor) -> Tensor:
        """Return how much of a ray through an anchor raw densities there stop."""
        return -torch.expm1(-functional.softplus(raw - 1.0) * (self.settings.thickness * self.settings.spacing))

    def _with_torch(self, gaussians: Gaussians, features: Tensor, rays: Rays) -> tuple[Tensor, Tensor, Tensor]:
        """Return composed features, distances and weights of all pixels, one picture after the other."""
        ellipses = project(gaussians, rays)
        seen = sightings(ellipses, gaussians.opacity, gaussians.head, rays.resolution)
        share = weights(ellipses, gaussians.opacity, seen, rays.resolution)
        values = torch.cat([features, ellipses.distance[:, None], torch.ones_like(features[:, :1])], dim=1)
        picture = composed(values, share, seen, rays.origins.shape[0] * rays.origins.shape[1])
        return picture[:, :-2], picture[:, -2:-1], picture[:, -1:]

    def _on_gsplat(self, device: torch.device) -> bool:
        """Return whether gsplat draws.

        Raises:
            RenderError: it was asked for, and is not there or cannot draw here.
        """
        asked = self.settings.rasteriser
        can = device.type == "cuda" and importlib.util.find_spec("gsplat") is not None
        if asked == "gsplat" and not can:
            raise RenderError(
                f"expected CUDA and the package gsplat for rasteriser=gsplat, got {device}; "
                "pip install gsplat, or set model.generator.renderer.rasteriser=torch"
            )
        return can and asked != "torch"

    def _with_gsplat(self, gaussians: Gaussians, features: Tensor, rays: Rays) -> tuple[Tensor, Tensor, Tensor]:
        """The same by gsplat (Ye et al. 2024), head by head; it leaves the intrinsics' skew out."""
        from gsplat import rasterization

        r, parts = rays.resolution, []
        label = rays.camera.float()
        intrinsics = label[:, 16:].view(-1, 3, 3) * label.new_tensor([r, r, 1.0])[:, None]
        views = torch.linalg.inv(label[:, :16].view(-1, 4, 4))
        distance = (gaussians.centres - rays.origins[gaussians.head, 0]).norm(dim=1, keepdim=True)
        values = torch.cat([features, distance], dim=1).float()
        for head in range(len(label)):
            own = gaussians.head == head
            picture, weight, _ = rasterization(
                gaussians.centres[own].float(), gaussians.turns[own].float(), gaussians.lengths[own].float(),
                gaussians.opacity[own].float(), values[own], views[head, None], intrinsics[head, None], r, r,
                near_plane=NEAREST, eps2d=SMOOTHING,
            )  # fmt: skip
            parts.append(torch.cat([picture, weight], dim=-1).view(r * r, -1))
        whole = torch.cat(parts)
        return whole[:, :-2], whole[:, -2:-1], whole[:, -1:]
